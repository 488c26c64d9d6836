"""Data versions: what lies in `labelled/` at one moment, copied so that it stays what it is.

A version is named by its content: the sums of its files in their order. So the same files are the
same version, however often it is made and by how many at a time, and a version that is half made is
finished by whoever comes next. Its manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from lambdas import layout, objects
from lambdas.counting import Counted, count
from lambdas.errors import RetrainError
from lambdas.log import log

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

FORMAT = 1
MOST_FILES = 9999  # of a set: more would not be read in their order
LARGEST_FILE = 5 << 30  # bytes, S3's limit for one copy
GONE = {"NoSuchKey", "NoSuchVersion", "PreconditionFailed", "404", "412"}


class DataChangedError(Exception):
    """A file was overwritten or removed while it was read: try again."""


class OutOfTimeError(Exception):
    """Too little time is left for another file; what was read and copied is kept."""


@dataclass(frozen=True)
class File:
    """One version of a labelled file; `version` is empty without versioning."""

    set: str
    key: str
    version: str
    etag: str
    size: int
    added: datetime

    @property
    def pinned(self) -> dict[str, Any]:
        """What makes a request of S3 mean this version and no other."""
        return {"VersionId": self.version} if self.version else {}


@dataclass(frozen=True)
class DataVersion:
    """A version that is complete: its manifest as it lies in the bucket."""

    bucket: str
    manifest: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.manifest["version"])

    def files(self, name: str) -> Sequence[Mapping[str, Any]]:
        """The manifest's entries of a set."""
        files: Sequence[Mapping[str, Any]] = self.manifest[name]
        return files

    def address(self, name: str) -> str:
        """Of a set's folder, `train/` or `test/`, or of `manifest.json`."""
        return f"s3://{self.bucket}/{layout.version_prefix(self.id)}{name}"


class Datasets:
    """The labelled files and the versions in the data bucket."""

    def __init__(self, s3: S3Client, bucket: str, now: Callable[[], datetime]) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._now = now
        self._counted: dict[str, Counted] = {}  # a warm process does not even ask S3 again

    def labelled(self) -> list[File]:
        """What lies in `labelled/` now, oldest first: later labels of the same claim win."""
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=self._bucket, Prefix=layout.LABELLED
        )
        files = [
            File(
                set=name,
                key=one["Key"],
                version="" if one["VersionId"] == "null" else one["VersionId"],
                etag=one["ETag"],
                size=one["Size"],
                added=one["LastModified"],
            )
            for page in pages
            for one in page.get("Versions", [])
            if one["IsLatest"] and (name := layout.labelled_set(one["Key"]))
        ]
        return sorted(files, key=lambda file: (file.added, file.key))

    def pin(self, deadline: datetime) -> DataVersion:
        """Makes the version of what lies there now, unless it is there already.

        Raises
        ------
        RetrainError: there is nothing to train or to test with, or too much.
        DataChangedError, OutOfTimeError: see there.
        """
        files = self.labelled()
        self._check(files)
        counted = {file: self._count(file, deadline) for file in files}
        files = [file for name in layout.SETS for file in files if file.set == name]
        content = json.dumps([[file.set, counted[file].sha256] for file in files])
        version = hashlib.sha256(content.encode()).hexdigest()[:16]
        complete = self.read(version)
        if complete is not None:
            return complete
        prefix = layout.version_prefix(version)
        # Files of the same content may have got other names since another began to make this
        # version: its plan decides how the copies are called, so that none lies there twice.
        plan = self._create(f"{prefix}plan.json", self._manifest(version, files, counted))
        copies = [one["copy"] for name in layout.SETS for one in plan[name]]
        lie_there = self._keys(prefix)
        for file, copy in zip(files, copies, strict=True):
            if copy not in lie_there:
                self._copy(file, copy, deadline)
        manifest = self._create(prefix + layout.MANIFEST, plan)
        log("data-version", version=version, **{name: len(plan[name]) for name in layout.SETS})
        return DataVersion(self._bucket, manifest)

    def read(self, version: str) -> DataVersion | None:
        """A version, None if it is not there or not complete."""
        key = layout.version_prefix(version) + layout.MANIFEST
        manifest = objects.read_json(self._s3, self._bucket, key)
        return None if manifest is None else DataVersion(self._bucket, manifest)

    def _check(self, files: Sequence[File]) -> None:
        for name, option in ((layout.TRAIN, ""), (layout.TEST, " --test")):
            count = sum(file.set == name for file in files)
            place = f"s3://{self._bucket}/{layout.LABELLED}{name}/"
            if not count:
                raise RetrainError(
                    f"there are no labelled claims in {place}; "
                    f"add some with `claimflow data add FILE{option}`"
                )
            if count > MOST_FILES:
                raise RetrainError(
                    f"there are {count:,} files in {place}, expected at most {MOST_FILES:,}; "
                    "put several into one"
                )
        for file in files:
            if file.size > LARGEST_FILE:
                raise RetrainError(
                    f"s3://{self._bucket}/{file.key} has {file.size:,} bytes, expected at most "
                    f"{LARGEST_FILE:,}; share its rows among several files"
                )

    def _count(self, file: File, deadline: datetime) -> Counted:
        """What a file holds; it is read only if nobody has read this version of it before."""
        key = layout.counted_key(file.key, file.version or file.etag.strip('"'))
        if key not in self._counted:
            known = objects.read_json(self._s3, self._bucket, key)
            if known is None:
                self._check_time(deadline, "read", file)
                with _as_it_was(file):
                    body = self._s3.get_object(
                        Bucket=self._bucket, Key=file.key, IfMatch=file.etag, **file.pinned
                    )["Body"]
                known = self._create(key, asdict(count(body)))
            self._counted[key] = Counted(**known)
        return self._counted[key]

    def _copy(self, file: File, copy: str, deadline: datetime) -> None:
        """Copies within S3 what was counted."""
        self._check_time(deadline, "copy", file)
        with _as_it_was(file):
            self._s3.copy_object(
                Bucket=self._bucket,
                Key=copy,
                CopySource={"Bucket": self._bucket, "Key": file.key, **file.pinned},  # type: ignore[arg-type]
                CopySourceIfMatch=file.etag,
                TaggingDirective="REPLACE",  # by none: to copy tags takes rights of its own
            )

    def _keys(self, prefix: str) -> set[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        return {one["Key"] for page in pages for one in page.get("Contents", [])}

    def _manifest(
        self, version: str, files: Sequence[File], counted: Mapping[File, Counted]
    ) -> dict[str, Any]:
        def entries(name: str) -> list[dict[str, Any]]:
            return [
                {
                    "key": file.key,
                    "version_id": file.version,
                    "etag": file.etag.strip('"'),
                    **asdict(counted[file]),
                    "added_at": file.added.astimezone(timezone.utc).isoformat(),
                    "copy": layout.copy_key(version, name, number, file.key),
                }
                for number, file in enumerate((one for one in files if one.set == name), 1)
            ]

        return {
            "format": FORMAT,
            "version": version,
            "made_at": self._now().isoformat(),
            **{name: entries(name) for name in layout.SETS},
        }

    def _create(self, key: str, document: dict[str, Any]) -> dict[str, Any]:
        """Whoever is first decides; another's document says the same."""
        return objects.create_json(self._s3, self._bucket, key, document)

    def _check_time(self, deadline: datetime, what: str, file: File) -> None:
        if self._now() >= deadline:
            raise OutOfTimeError(f"no time is left to {what} {file.key}: call again")


@contextmanager
def _as_it_was(file: File) -> Iterator[None]:
    """Says so where a file is no longer the one that was listed."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"].get("Code") not in GONE:
            raise
        raise DataChangedError(f"{file.key} changed while it was read: call again") from error
