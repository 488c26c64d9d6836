"""The objects that the job reads from S3 and writes there."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from steps.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE = 8 * 2**20  # bytes of one request, at most
FIRST_RANGE = 2**18  # of the first after a seek: a child of an array wants the header alone
_DOCUMENT_LIMIT = 4 * 2**20  # bytes

REFUSALS = {
    "NoSuchBucket": "its bucket does not exist",
    "NoSuchKey": "it was deleted before it could be read",
    "NoSuchVersion": "this version was deleted before it could be read",
    "404": "it was deleted before it could be read",
    "412": "it was overwritten; the new content is predicted by a job of its own",
    "PreconditionFailed": "it was overwritten; the new content is predicted by a job of its own",
    "AccessDenied": "the job's role may not read it",
    "403": "the job's role may not read it",
    "InvalidObjectState": "it is archived; restore it and upload it again",
}


class InputObject(io.RawIOBase):
    """One version of an object as a raw stream, read in ranges that double up to 8 MiB.

    A job may read for hours: single requests of bounded length are retried by boto3 one by one,
    where one long response would be cut by an idle connection. Every range is asked for with the
    ETag of the first look, so that two contents are never mixed.

    Raises
    ------
    InputError: the object is gone, was overwritten, or may not be read.
    """

    def __init__(self, s3: S3Client, bucket: str, key: str, version: str, etag: str) -> None:
        self._s3 = s3
        self._name = f"s3://{bucket}/{key}"
        self._at = 0
        self._range = FIRST_RANGE
        self._which: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if version:
            self._which["VersionId"] = version
        head = self._request(s3.head_object)
        if etag and not version and head["ETag"].strip('"') != etag:
            raise InputError(f"{legible(self._name)}: {REFUSALS['412']}")
        self._which["IfMatch"] = head["ETag"]
        self.size: int = head["ContentLength"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = base + offset
        self._range = FIRST_RANGE
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        last = min(self._at + min(self._range, len(view)), self.size) - 1
        if last < self._at:
            return 0
        self._range = min(2 * self._range, RANGE)
        answer = self._request(self._s3.get_object, Range=f"bytes={self._at}-{last}")
        data = answer["Body"].read()
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def buffered(self) -> io.BufferedReader:
        """The stream as the readers want it; it closes this one."""
        return io.BufferedReader(self, RANGE)

    def _request(self, call: Callable[..., Any], **more: str) -> Any:
        with _refusals(self._name):
            return call(**self._which, **more)


def download(s3: S3Client, uri: str, path: Path) -> None:
    """Downloads `s3://bucket/key`; raises InputError if that is gone or may not be read."""
    with _refusals(uri):
        s3.download_file(*_place(uri), str(path))


def read_json(s3: S3Client, uri: str) -> Any:
    """The JSON document at `s3://bucket/key`, of a sensible size."""
    bucket, key = _place(uri)
    answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{_DOCUMENT_LIMIT - 1}")
    return json.loads(answer["Body"].read())


def put_once(s3: S3Client, bucket: str, key: str, document: Any) -> bool:
    """Writes a JSON document if there is none; whether this call wrote it."""
    while True:
        try:
            s3.put_object(
                Bucket=bucket,
                Key=key,
                Body=json_bytes(document),
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "PreconditionFailed":
                return False
            if code != "ConditionalRequestConflict":  # another is writing: ask again
                raise
        else:
            return True


def legible(name: str) -> str:
    """A name from outside in one line: S3 takes line breaks and control characters in keys."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in name)


def json_bytes(document: Any) -> bytes:
    """A document as it is written everywhere: legible to people."""
    return json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not key:
        raise InputError(f"'{legible(uri)}' is not the address of an object (s3://bucket/key)")
    return bucket, key


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turns what S3 refuses for good into one InputError."""
    try:
        yield
    except ClientError as error:
        refusal = REFUSALS.get(error.response["Error"]["Code"])
        if refusal is None:
            raise
        raise InputError(f"{legible(name)}: {refusal}") from error
