"""S3 as far as the job uses it, in memory: fast enough to kill the job at every one of its calls.

`test_fake_s3.py` holds it against moto.
"""

# ruff: noqa: N803, ARG002 - the arguments are boto3's

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Iterator
from enum import Enum, auto
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError
from botocore.response import StreamingBody

PART_MINIMUM = 5 * 2**20


class NoSuchKeyError(ClientError):
    """As boto3 makes it from the service's model."""


class KilledError(Exception):
    """The host is gone; nothing that the job does afterwards reaches S3."""


class Moment(Enum):
    """When in a call the host dies."""

    BEFORE = auto()
    AFTER = auto()  # the effect is there, the answer never came


class FakeS3:
    """A client whose buckets are dicts; it may die at call number `dies_at`."""

    exceptions = SimpleNamespace(NoSuchKey=NoSuchKeyError, ClientError=ClientError)

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.calls, self.dies_at, self.moment = 0, 0, Moment.BEFORE
        self._numbers = itertools.count(1)

    def revive(self, dies_at: int = 0, moment: Moment = Moment.BEFORE) -> None:
        """A new host, which dies at a call if `dies_at` says so."""
        self.calls, self.dies_at, self.moment = 0, dies_at, moment

    def __getattr__(self, name: str) -> Callable[..., Any]:
        effect: Callable[..., Any] = object.__getattribute__(self, f"_{name}")

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            if self.dies_at and (
                self.calls > self.dies_at
                or (self.calls == self.dies_at and self.moment is Moment.BEFORE)
            ):
                raise KilledError
            answer = effect(*arguments, **named)
            if self.calls == self.dies_at:
                raise KilledError
            return answer

        return call

    def _head_object(self, Bucket: str, Key: str, IfMatch: str = "") -> dict[str, Any]:
        body = self._found(Bucket, Key, IfMatch, head=True)
        return {"ETag": _etag(body), "ContentLength": len(body)}

    def _get_object(
        self, Bucket: str, Key: str, IfMatch: str = "", Range: str = ""
    ) -> dict[str, Any]:
        body = self._found(Bucket, Key, IfMatch)
        part = _range(body, Range) if Range else body
        answer = {"ETag": _etag(body), "ContentLength": len(part)}
        return answer | {"Body": StreamingBody(io.BytesIO(part), len(part))}

    def _put_object(
        self, Bucket: str, Key: str, Body: bytes, IfNoneMatch: str = "", ContentType: str = ""
    ) -> dict[str, Any]:
        if IfNoneMatch and (Bucket, Key) in self.objects:
            raise _error("PreconditionFailed")
        self.objects[Bucket, Key] = Body
        return {"ETag": _etag(Body)}

    def _upload_file(self, Filename: str, Bucket: str, Key: str) -> None:
        self.objects[Bucket, Key] = Path(Filename).read_bytes()

    def _download_file(self, Bucket: str, Key: str, Filename: str) -> None:
        Path(Filename).write_bytes(self._found(Bucket, Key, head=True))

    def _delete_objects(self, Bucket: str, Delete: dict[str, Any]) -> dict[str, Any]:
        for one in Delete["Objects"]:
            self.objects.pop((Bucket, one["Key"]), None)
        return {}

    def _get_paginator(self, name: str) -> Any:
        assert name == "list_objects_v2"
        return SimpleNamespace(paginate=self._pages)

    def _pages(self, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:
        keys = sorted(
            key for bucket, key in self.objects if (bucket, key[: len(Prefix)]) == (Bucket, Prefix)
        )
        yield {"Contents": [{"Key": key} for key in keys]} if keys else {}

    def _create_multipart_upload(self, Bucket: str, Key: str) -> dict[str, Any]:
        number = f"upload-{next(self._numbers)}"
        self.uploads[number] = {}
        return {"UploadId": number}

    def _upload_part(
        self, Bucket: str, Key: str, UploadId: str, PartNumber: int, Body: bytes
    ) -> dict[str, Any]:
        self._parts(UploadId)[PartNumber] = Body
        return {"ETag": _etag(Body)}

    def _upload_part_copy(
        self,
        Bucket: str,
        Key: str,
        UploadId: str,
        PartNumber: int,
        CopySource: dict[str, str],
        CopySourceRange: str,
    ) -> dict[str, Any]:
        body = _range(self._found(CopySource["Bucket"], CopySource["Key"]), CopySourceRange)
        return {"CopyPartResult": self._upload_part(Bucket, Key, UploadId, PartNumber, body)}

    def _complete_multipart_upload(
        self, Bucket: str, Key: str, UploadId: str, MultipartUpload: dict[str, Any]
    ) -> dict[str, Any]:
        parts = self._parts(UploadId)
        bodies = [parts[one["PartNumber"]] for one in MultipartUpload["Parts"]]
        if any(len(body) < PART_MINIMUM for body in bodies[:-1]):
            raise _error("EntityTooSmall")
        self.objects[Bucket, Key] = b"".join(bodies)
        del self.uploads[UploadId]
        return {}

    def _abort_multipart_upload(self, Bucket: str, Key: str, UploadId: str) -> dict[str, Any]:
        self._parts(UploadId)
        del self.uploads[UploadId]
        return {}

    def _parts(self, upload: str) -> dict[int, bytes]:
        if upload not in self.uploads:
            raise _error("NoSuchUpload")
        return self.uploads[upload]

    def _found(self, bucket: str, key: str, if_match: str = "", head: bool = False) -> bytes:
        if (bucket, key) not in self.objects:  # an answer to HEAD has no body that tells a code
            raise _error("404") if head else NoSuchKeyError(_answer("NoSuchKey"), "GetObject")
        body = self.objects[bucket, key]
        if if_match and if_match != _etag(body):
            raise _error("412" if head else "PreconditionFailed")
        return body


def _etag(body: bytes) -> str:
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def _range(body: bytes, given: str) -> bytes:
    first, last = map(int, given.removeprefix("bytes=").split("-"))
    if first >= len(body):
        raise _error("InvalidRange")
    return body[first : last + 1]


def _answer(code: str) -> Any:
    return {"Error": {"Code": code, "Message": code}}


def _error(code: str) -> ClientError:
    return ClientError(_answer(code), "a call")
