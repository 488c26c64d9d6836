"""The objects that the job reads from S3 and writes there."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from steps.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

RANGE = 8 * 2**20  # bytes of one request

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
    """One version of an object as a raw stream, read in ranges of 8 MiB.

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
        self._which: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if version:
            self._which["VersionId"] = version
        head = self._request(s3.head_object)
        if etag and not version and head["ETag"].strip('"') != etag:
            raise InputError(f"{self._name}: {REFUSALS['412']}")
        self._which["IfMatch"] = head["ETag"]
        self.size: int = head["ContentLength"]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        last = min(self._at + len(view), self.size) - 1
        if last < self._at:
            return 0
        answer = self._request(self._s3.get_object, Range=f"bytes={self._at}-{last}")
        data = answer["Body"].read()
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def buffered(self) -> io.BufferedReader:
        """The stream as the readers want it; it closes this one."""
        return io.BufferedReader(self, RANGE)

    def _request(self, call: Callable[..., Any], **more: str) -> Any:
        try:
            return call(**self._which, **more)
        except ClientError as error:
            refusal = REFUSALS.get(error.response["Error"]["Code"])
            if refusal is None:
                raise
            raise InputError(f"{self._name}: {refusal}") from error


def download(s3: S3Client, uri: str, path: Path) -> None:
    """Downloads `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not key:
        raise InputError(f"'{uri}' is not the address of an object (s3://bucket/key)")
    s3.download_file(bucket, key, str(path))
