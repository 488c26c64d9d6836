"""What the children of an array job leave for each other.

    <prefix><index>/<uuid>/predictions, rejects    the files of one try at a share
    <prefix><index>/share.json                     the try that counts, written once
    <prefix><index>/from-<begin>.json              the same, predicted anew from the true beginning

A child writes its files under a name of its own, then commits them with one conditional write: of
several tries at a share, whoever makes them, one counts, and it never changes.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from batch.objects import put_once
from batch.outputs import kept
from batch.rows import Reject
from batch.tally import Tally

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREDICTIONS, REJECTS = "predictions", "rejects"


@dataclass(frozen=True)
class Share:
    """A part of the file, predicted.

    Attributes
    ----------
    begin, end, lines: the extent of the part (see `batch.parts`).
    name: what the file of predictions is called in the end, told by the first share.
    folder: where its files lie, and `size` of the predictions in bytes.
    tally: with lines counted from the share's own first line, as in its rejects.
    started: when its job started, in seconds since 1970.
    """

    index: int
    begin: int
    end: int
    lines: int
    name: str
    folder: str
    size: int
    started: float
    tally: dict[str, Any]

    @property
    def counted(self) -> Tally:
        return Tally.from_json(self.tally)


class Shares:
    """The shares of one array job."""

    def __init__(self, s3: S3Client, bucket: str, prefix: str, count: int) -> None:
        self._s3, self.bucket, self._prefix, self._count = s3, bucket, prefix, count

    def find(self, index: int, begin: int | None = None) -> Share | None:
        """The share that counts, None if there is none yet; with `begin`, the one predicted anew
        from there."""
        try:
            return self._read(index, begin)
        except self._s3.exceptions.NoSuchKey:
            return None

    def commit(self, share: Share, predictions: Path, rejects: Path, begin: int | None) -> Share:
        """Uploads the files of a share and makes it the one that counts, unless there is one
        already; returns the one that counts."""
        folder = f"{self._prefix}{share.index}/{uuid.uuid4()}/"
        for name, path in ((PREDICTIONS, predictions), (REJECTS, rejects)):
            self._s3.upload_file(str(path), self.bucket, folder + name)
        document = asdict(replace(share, folder=folder, size=predictions.stat().st_size))
        put_once(self._s3, self.bucket, self._key(share.index, begin), document)
        return self._read(share.index, begin)

    def all(self) -> list[Share] | None:
        """All shares in their order, None while one is missing."""
        found = {
            int(match[1])
            for key in self._keys()
            if (match := re.fullmatch(r"(\d+)/share\.json", key.removeprefix(self._prefix)))
        }
        if found != set(range(self._count)):
            return None
        shares = [share for index in range(self._count) if (share := self.find(index))]
        return shares if len(shares) == self._count else None

    def rejects(self, share: Share, lines_before: int) -> Iterator[Reject]:
        """The rejects of a share, by their lines in the whole file."""
        body = self._s3.get_object(Bucket=self.bucket, Key=share.folder + REJECTS)["Body"]
        for line in body.iter_lines(2**20):
            number, reason, row = json.loads(line)
            yield Reject(number + lines_before, reason, row.encode())

    def delete(self) -> None:
        """Deletes everything that the children left."""
        keys = list(self._keys())
        for first in range(0, len(keys), 1000):
            objects: Any = [{"Key": key} for key in keys[first : first + 1000]]
            self._s3.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})

    def _read(self, index: int, begin: int | None) -> Share:
        answer = self._s3.get_object(Bucket=self.bucket, Key=self._key(index, begin))
        return Share(**json.loads(answer["Body"].read()))

    def _key(self, index: int, begin: int | None) -> str:
        name = "share" if begin is None else f"from-{begin}"
        return f"{self._prefix}{index}/{name}.json"

    def _keys(self) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=self._prefix
        )
        for page in pages:
            for found in page.get("Contents", []):
                yield found["Key"]


class ShareRejectsWriter:
    """Writes the rejects of a share, one JSON array a line, for `Shares.rejects`."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, rejects: Sequence[Reject]) -> None:
        """Appends rejects."""
        self._file.writelines(
            json.dumps((line, reason, kept(raw))) + "\n" for line, reason, raw in rejects
        )
