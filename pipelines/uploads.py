"""The uploads of a deployment: how they are found, and what is known of each.

Everything is found from an upload's bucket, key and version; `lambdas/README.md` tells the places.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from pipelines.aws import Aws, split_uri
from pipelines.errors import NotThereError, UserError
from pipelines.upload_state import PREDICTED, Upload, UploadState, state_of, upload_id

INCOMING = "incoming/"
MOST_LISTED = 100_000  # versions of uploads that a listing looks at: some ten seconds

_ID = re.compile(r"[0-9a-f]{32}")
_SHORT_ID = re.compile(r"[0-9a-f]{6,31}")  # as the list shows them
_DESCRIBED = 100  # jobs that Batch describes at once
_RECORD = (
    "bucket",
    "key",
    "version",
    "etag",
    "results_bucket",
    "results_prefix",
    "model_package_arn",
    "model_package_version",
    "claimed_at",
)
_COUNTS = {"rows_in", "predicted", "rejected", "for_review", "seconds"}
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}


@dataclass(frozen=True)
class Recent:
    """The latest uploads; not `complete` if there are more than a listing looks at."""

    states: list[UploadState]
    complete: bool


@dataclass(frozen=True)
class ResultFile:
    """A file among the results of an upload; `size` is in bytes."""

    name: str
    bucket: str
    key: str
    size: int


class UnreadableError(UserError):
    """An object among the records or results is damaged."""


class Uploads:
    """The uploads of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def recent(self, since: datetime, most: int | None = None, folder: str = "") -> Recent:
        """The uploads since then, newest first, at most as many as asked for.

        S3 lists by name, not by time: so all below `incoming/` have to be looked at, or all below a
        folder in it, and at most the first `MOST_LISTED` are.
        """
        found, is_complete = self.newest(since, most, folder)
        return Recent(self.states(found), is_complete)

    def newest(
        self, since: datetime, most: int | None = None, folder: str = ""
    ) -> tuple[list[Upload], bool]:
        """The uploads of `recent` without their states, and whether all were looked at."""
        listed = list(islice(self._all(folder), MOST_LISTED + 1))
        found = [
            one for one in listed[:MOST_LISTED] if one.uploaded_at and one.uploaded_at >= since
        ]
        found.sort(key=lambda one: (one.uploaded_at, one.id), reverse=True)
        return found[:most], len(listed) <= MOST_LISTED

    def find(self, name: str) -> Upload:
        """An upload by its id, its key (with or without `incoming/`; the newest version), its
        address, or the address of anything among its results.

        Raises
        ------
        UserError
            There is no such upload.
        """
        bucket, key = self._aws.settings.bucket("predictions"), name
        if name.startswith("s3://"):
            bucket, key = split_uri(name)
            if bucket == self._aws.settings.bucket("results"):
                ids = [part for part in re.split(r"[/.]", key) if _ID.fullmatch(part)]
                key = ids[-1] if ids else key
        if _ID.fullmatch(key):
            return self._by_id(key)
        if _SHORT_ID.fullmatch(key) and (known := self._beginning_with(key)):
            if len(known) > 1:
                raise UserError(
                    f"The ids of {len(known)} uploads begin with {key}: give more of it"
                )
            return self._by_id(known.pop())
        for candidate in dict.fromkeys((key, INCOMING + key)):
            if found := self._head(bucket, candidate):
                return found
        raise NotThereError(
            f"There is no upload {name}; `claimflow predictions list` shows the latest"
        )

    def state(self, upload: Upload) -> UploadState:
        """What became of one upload."""
        (found,) = self.states([upload])
        return found

    def files(self, found: UploadState) -> list[ResultFile]:
        """The results of an upload's newest attempt, none while it is not settled."""
        if found.record is None or found.manifest is None:
            return []
        bucket, prefix = found.record["results_bucket"], found.record["results_prefix"]
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=bucket, Prefix=prefix, Delimiter="/"
        )
        return [
            ResultFile(one["Key"][len(prefix) :], bucket, one["Key"], one["Size"])
            for page in pages
            for one in page.get("Contents", [])
        ]

    def states(self, uploads: Sequence[Upload]) -> list[UploadState]:
        """What became of each upload.

        Records are read first, then jobs, then manifests: a job that ends in between has written
        its manifest before.
        """
        with ThreadPoolExecutor(8) as pool:
            records = list(pool.map(self._record, uploads))
            jobs = self._jobs(one.get("job_id", "") for one in records if isinstance(one, dict))

            def state(
                upload: Upload, record: dict[str, Any] | UnreadableError | None
            ) -> UploadState:
                if isinstance(record, UnreadableError):
                    return UploadState(upload, "unreadable", str(record))
                if record is None:
                    return self._without_record(upload)
                job = jobs.get(record.get("job_id", ""))
                try:
                    return state_of(upload, record, self._manifest(record), job)
                except UnreadableError as error:
                    return UploadState(upload, "unreadable", str(error), record)

            return list(pool.map(state, uploads, records))

    def _record(self, upload: Upload) -> dict[str, Any] | UnreadableError | None:
        """One that is damaged must not hide the other uploads."""
        try:
            return self._json(f"submissions/{upload.id}.json", _RECORD)
        except UnreadableError as error:
            return error

    def _without_record(self, upload: Upload) -> UploadState:
        if self._exists(f"waiting/{upload.id}.json"):
            return UploadState(upload, "waiting")
        return UploadState(upload, "unhandled")

    def _manifest(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """What the newest attempt left; None while it is not settled."""
        key = f"{record['results_prefix']}manifest.json"
        manifest = self._json(key, ("outcome",))
        if manifest and manifest["outcome"] == PREDICTED and not manifest.keys() >= _COUNTS:
            raise self._unreadable(key)
        return manifest

    def _jobs(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Batch's jobs by their ids, those that it still knows."""
        wanted = sorted(set(filter(None, ids)))
        if not wanted:
            return {}
        batch = self._aws.client("batch")
        parts = [wanted[start : start + _DESCRIBED] for start in range(0, len(wanted), _DESCRIBED)]
        return {
            job["jobId"]: job for part in parts for job in batch.describe_jobs(jobs=part)["jobs"]
        }

    def _all(self, folder: str = "") -> Iterator[Upload]:
        bucket = self._aws.settings.bucket("predictions")
        pages = self._s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=INCOMING + folder.removeprefix(INCOMING)
        )
        for one in (one for page in pages for one in page.get("Versions", [])):
            if one["Key"].endswith("/") and not one["Size"]:
                continue  # a folder that a console made
            yield _upload(
                bucket,
                one["Key"],
                one["VersionId"],
                one["ETag"],
                one["Size"],
                one["LastModified"],
            )

    def _beginning_with(self, short: str) -> set[str]:
        """The ids of handled or waiting uploads that begin so."""
        bucket = self._aws.settings.bucket("results")
        found = [
            self._s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}{short}").get("Contents", [])
            for folder in ("submissions/", "waiting/")
        ]
        return {match[0] for page in found for one in page if (match := _ID.search(one["Key"]))}

    def _by_id(self, identifier: str) -> Upload:
        record = self._json(f"submissions/{identifier}.json", _RECORD)
        record = record or self._json(f"waiting/{identifier}.json", _RECORD[:4])
        if record is None:  # not handled yet, so nothing but the list of all tells its name
            for one in islice(self._all(), MOST_LISTED):
                if one.id == identifier:
                    return one
            raise NotThereError(
                f"There is no upload {identifier}; `claimflow predictions list` shows the latest"
            )
        bucket, key, version = (record[name] for name in ("bucket", "key", "version"))
        found = self._head(bucket, key, version) if version else None
        return found or Upload(
            bucket, key, identifier, version, record["etag"], record.get("size")
        )  # deleted since, or in a bucket without versions

    def _head(self, bucket: str, key: str, version: str = "") -> Upload | None:
        from botocore.exceptions import ClientError

        which = {"VersionId": version} if version else {}
        try:
            head = self._s3.head_object(Bucket=bucket, Key=key, **which)
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise
        return _upload(
            bucket,
            key,
            head.get("VersionId", ""),
            head["ETag"],
            head["ContentLength"],
            head["LastModified"],
        )

    def _exists(self, key: str) -> bool:
        return self._body(key) is not None

    def _json(self, key: str, members: Iterable[str]) -> dict[str, Any] | None:
        """A JSON object in the results bucket that has these members, None if there is none.

        Raises
        ------
        UnreadableError
            It is something else.
        """
        body = self._body(key)
        if body is None:
            return None
        try:
            document = json.loads(body)
        except ValueError:
            document = None
        if not isinstance(document, dict) or not document.keys() >= set(members):
            raise self._unreadable(key)
        return document

    def _body(self, key: str) -> bytes | None:
        try:
            answer = self._s3.get_object(Bucket=self._aws.settings.bucket("results"), Key=key)
        except self._s3.exceptions.NoSuchKey:
            return None
        body: bytes = answer["Body"].read()
        return body

    def _unreadable(self, key: str) -> UnreadableError:
        return UnreadableError(
            f"s3://{self._aws.settings.bucket('results')}/{key} is damaged: restore an earlier "
            "version of it"
        )


def _upload(
    bucket: str, key: str, version: str, etag: str, size: int, uploaded_at: datetime
) -> Upload:
    version = "" if version == "null" else version  # S3's name for no version
    identifier = upload_id(bucket, key, version or etag)
    return Upload(bucket, key, identifier, version, etag.strip('"'), size, uploaded_at)
