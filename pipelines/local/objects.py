"""S3 as the jobs of the local cloud need it: folders down, folders up, and folders kept in step."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

from pipelines.aws import split_uri

MIRROR_SECONDS = 2.0


class Objects:
    """Downloads and uploads through the S3 API."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def read(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        body: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    def download(self, uri: str, folder: Path) -> int:
        """Downloads what lies under a prefix into `folder` and returns the number of files.

        As SageMaker does with `S3Prefix`: a prefix that is the key of one object gives that file.
        """
        bucket, prefix = split_uri(uri)
        folder.mkdir(parents=True, exist_ok=True)
        count = 0
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        for one in (item for part in pages for item in part.get("Contents", [])):
            key = one["Key"]
            inside = key.startswith(below)
            name = key[len(below) :].lstrip("/") if inside else key.rpartition("/")[2]
            target = (folder / name).resolve()
            if key.endswith("/") or not target.is_relative_to(folder.resolve()):
                continue  # a "folder", or a key that would lead out of the job's folder
            target.parent.mkdir(parents=True, exist_ok=True)
            self._client.download_file(bucket, key, str(target))
            count += 1
        return count

    def upload(self, path: Path, uri: str) -> None:
        bucket, key = split_uri(uri)
        self._client.upload_file(str(path), bucket, key)

    def upload_folder(self, folder: Path, uri: str) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                self.upload(path, f"{uri.rstrip('/')}/{name}")


class Mirror:
    """Keeps what lies in a folder on S3 as well, while a job runs; without an address, nothing."""

    def __init__(self, objects: Objects, folder: Path, uri: str | None) -> None:
        self._objects = objects
        self._folder = folder
        self._uri = uri
        self._seen: dict[Path, tuple[int, int]] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if uri is not None:
            self._seen = self._files()
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def __enter__(self) -> Mirror:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Brings everything up once more, and ends."""
        if self._thread is not None:
            self._closed.set()
            self._thread.join()
            self._upload()

    def _run(self) -> None:
        while not self._closed.wait(MIRROR_SECONDS):
            self._upload()

    def _upload(self) -> None:
        for path, state in self._files().items():
            if self._seen.get(path) != state:
                name = path.relative_to(self._folder).as_posix()
                try:
                    self._upload_copy(path, f"{str(self._uri).rstrip('/')}/{name}")
                except FileNotFoundError:  # replaced in this moment: it comes with the next round
                    continue
                self._seen[path] = state

    def _upload_copy(self, path: Path, uri: str) -> None:
        """The job may replace or cut the file at any moment, and an upload opens it anew for each
        of its parts: one that found less than it had announced would wait for its time-out."""
        with tempfile.NamedTemporaryFile(dir=self._folder.parent, prefix=".mirror-") as copy:
            shutil.copyfile(path, copy.name)
            self._objects.upload(Path(copy.name), uri)

    def _files(self) -> dict[Path, tuple[int, int]]:
        states = {}
        for path in self._folder.rglob("*"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                states[path] = (stat.st_mtime_ns, stat.st_size)
        return states
