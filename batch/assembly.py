"""Makes one result of the shares of an array job."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from batch.outputs import rejects_writer
from batch.shares import PREDICTIONS, Share, Shares
from batch.tally import Tally

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PART_MINIMUM = 5 * 2**20  # bytes; S3 takes a smaller part of a multipart upload as the last only
PART_LIMIT = 2**30  # bytes that one call copies, less than S3's 5 GiB: it takes seconds

Repair = Callable[[int, int], Share]  # of the share with an index, from where it truly begins


def chained(shares: Sequence[Share], repair: Repair) -> list[Share]:
    """The shares, each beginning where the one before has ended.

    One that guessed wrong is predicted anew, until the guesses are right again.
    """
    chain: list[Share] = []
    for share in shares:
        begin = chain[-1].end if chain else share.begin
        chain.append(share if share.begin == begin else repair(share.index, begin))
    return chain


def lines_before(shares: Sequence[Share]) -> list[int]:
    """For each share the lines of those before it."""
    before = [0]
    for share in shares[:-1]:
        before.append(before[-1] + share.lines)
    return before


def merged(shares: Sequence[Share]) -> Tally:
    """The tally of the whole file."""
    tally = Tally()
    for share, before in zip(shares, lines_before(shares), strict=True):
        tally = tally.merge(share.counted, before)
    return tally


def write_rejects(shares: Shares, chain: Sequence[Share], path: Path, neutralise: bool) -> None:
    """The rejects of all shares as one file."""
    with rejects_writer(path, neutralise) as rejects:
        for share, before in zip(chain, lines_before(chain), strict=True):
            rejects.write(shares.rejects(share, before))


def join(s3: S3Client, bucket: str, shares: Sequence[Share], key: str) -> None:
    """Joins the predictions of the shares to the object `key`.

    S3 copies what is large enough to be a part of a multipart upload; smaller pieces are read and
    go up together with the beginning of what follows them.
    """
    pieces = [(share.folder + PREDICTIONS, share.size) for share in shares if share.size]
    if not pieces:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        return
    upload = _Multipart(s3, bucket, key)
    try:
        held = b""
        for source, size in pieces:
            at = 0
            while at < size:
                if held or size - at < PART_MINIMUM:
                    taken = min(PART_MINIMUM - len(held), size - at)
                    held += _read(s3, bucket, source, at, at + taken)
                    if len(held) == PART_MINIMUM:
                        upload.put(held)
                        held = b""
                else:
                    taken = min(PART_LIMIT, size - at)
                    upload.copy(source, at, at + taken)
                at += taken
        if held:
            upload.put(held)
        upload.complete()
    except BaseException:
        upload.abort()
        raise


class _Multipart:
    def __init__(self, s3: S3Client, bucket: str, key: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        made = s3.create_multipart_upload(Bucket=bucket, Key=key)
        self._which: Any = {"Bucket": bucket, "Key": key, "UploadId": made["UploadId"]}
        self._parts: list[Any] = []

    def put(self, body: bytes) -> None:
        number = len(self._parts) + 1
        made = self._s3.upload_part(**self._which, PartNumber=number, Body=body)
        self._parts.append({"PartNumber": number, "ETag": made["ETag"]})

    def copy(self, source: str, first: int, beyond: int) -> None:
        number = len(self._parts) + 1
        made = self._s3.upload_part_copy(
            **self._which,
            PartNumber=number,
            CopySource={"Bucket": self._bucket, "Key": source},
            CopySourceRange=f"bytes={first}-{beyond - 1}",
        )
        self._parts.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})

    def complete(self) -> None:
        self._s3.complete_multipart_upload(**self._which, MultipartUpload={"Parts": self._parts})

    def abort(self) -> None:
        """As far as that succeeds: a lifecycle rule of the bucket ends what is left."""
        with suppress(BotoCoreError, ClientError):
            self._s3.abort_multipart_upload(**self._which)


def _read(s3: S3Client, bucket: str, key: str, first: int, beyond: int) -> bytes:
    answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{beyond - 1}")
    return answer["Body"].read()
