"""An object of S3 that is written while its content arrives, in constant memory."""

from __future__ import annotations

import threading
from typing import Any

PART = 8 << 20  # bytes; S3 takes 10,000 parts, so they grow slowly


class ObjectWriter:
    """Writes one object: nothing is there until `finish`, and nothing is left after `abort`.

    Another thread may abort: it waits for what is under way, and what is written later is dropped.
    """

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._s3 = s3
        self._place = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._upload = ""
        self._parts: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._is_aborted = False

    def write(self, content: bytes) -> None:
        with self._lock:
            if self._is_aborted:
                return
            self._buffer += content
            size = PART * (1 + len(self._parts) // 500)
            while len(self._buffer) >= size:
                self._send(bytes(memoryview(self._buffer)[:size]))
                del self._buffer[:size]

    def finish(self) -> dict[str, Any]:
        """Makes the object; what S3 answered: its `ETag` and, if there are versions,
        `VersionId`. Raises RuntimeError after `abort`."""
        with self._lock:
            if self._is_aborted:
                raise RuntimeError("the object was given up")
            return self._finish()

    def abort(self) -> None:
        """Forgets what was written. An object that is finished stays."""
        with self._lock:
            self._is_aborted = True
            self._buffer.clear()
            if self._upload:
                self._s3.abort_multipart_upload(**self._place, UploadId=self._upload)

    def _finish(self) -> dict[str, Any]:
        if not self._upload:
            put: dict[str, Any] = self._s3.put_object(**self._place, Body=bytes(self._buffer))
            return put
        if self._buffer:
            self._send(bytes(self._buffer))
        done: dict[str, Any] = self._s3.complete_multipart_upload(
            **self._place, UploadId=self._upload, MultipartUpload={"Parts": self._parts}
        )
        self._upload = ""
        return done

    def _send(self, content: bytes) -> None:
        if not self._upload:
            self._upload = self._s3.create_multipart_upload(**self._place)["UploadId"]
        number = len(self._parts) + 1
        sent = self._s3.upload_part(
            **self._place, UploadId=self._upload, PartNumber=number, Body=content
        )
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})
