"""What became of the uploads: each one's record, job and manifest, put into one state.

Everything is found from an upload's bucket, key and version; `lambdas/README.md` tells the places.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any, Literal

from pipelines.aws import Aws, split_uri
from pipelines.counts import many
from pipelines.errors import NotThereError, UserError

INCOMING = "incoming/"
State = Literal["predicted", "failed", "running", "waiting", "unhandled", "unreadable"]
WORDS: dict[State, str] = {
    "predicted": "predicted",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting for a model",
    "unhandled": "not handled yet",
    "unreadable": "unreadable",
}
MOST_LISTED = 100_000  # versions of uploads that a listing looks at: some ten seconds

_ID = re.compile(r"[0-9a-f]{32}")
_SHORT_ID = re.compile(r"[0-9a-f]{6,31}")  # as the list shows them
_DESCRIBED = 100  # jobs that Batch describes at once
_FORGETS_AFTER = timedelta(days=1)  # Batch keeps ended jobs for a week; well below that
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
_COUNTS = ("rows_in", "predicted", "rejected", "for_review", "seconds")
_GONE = {"NoSuchKey", "NoSuchVersion", "404"}


@dataclass(frozen=True)
class Upload:
    """One version of a file of claims on S3, and the id under which its prediction is known.

    Without versioning `version` is empty; `etag` has no quotes.
    """

    bucket: str
    key: str
    id: str
    version: str = ""
    etag: str = ""
    size: int | None = None
    uploaded_at: datetime | None = None


@dataclass(frozen=True)
class UploadState:
    """What became of an upload.

    Attributes
    ----------
    reason: what more there is to say of the state, in one line.
    record: `submissions/<id>.json`, of the newest attempt.
    manifest: of that attempt, once it is settled.
    """

    upload: Upload
    state: State
    reason: str = ""
    record: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None

    @property
    def attempt(self) -> int:
        return int((self.record or {}).get("attempt", 1))

    @property
    def words(self) -> str:
        return f"{WORDS[self.state]}: {self.reason}" if self.reason else WORDS[self.state]

    @property
    def summary(self) -> str:
        """The state, and of a predicted file how many rows."""
        if self.state != "predicted" or self.manifest is None:
            return self.words
        predicted = self.manifest["predicted"]
        told = f"predicted: {many(predicted, 'row') if predicted else 'none of the rows'}"
        if self.manifest["for_review"]:
            told += f", {self.manifest['for_review']:,} for review"
        if self.manifest["rejected"]:
            told += f", {self.manifest['rejected']:,} rejected"
        return told

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        upload = {name: value for name, value in asdict(self.upload).items() if value is not None}
        if self.upload.uploaded_at:
            upload["uploaded_at"] = self.upload.uploaded_at.isoformat()
        return {
            "state": self.state,
            "reason": self.reason,
            "upload": upload,
            "record": self.record,
            "manifest": self.manifest,
        }


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
                    return self._with_record(upload, record, job)
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

    def _with_record(
        self, upload: Upload, record: dict[str, Any], job: dict[str, Any] | None
    ) -> UploadState:
        key = f"{record['results_prefix']}manifest.json"
        manifest = self._json(key, ("outcome",))
        if manifest is not None:
            is_predicted = manifest["outcome"] == "succeeded"
            if is_predicted and not manifest.keys() >= set(_COUNTS):
                raise self._unreadable(key)
            reason = "" if is_predicted else str(manifest.get("reason", ""))
            state: State = "predicted" if is_predicted else "failed"
            return UploadState(upload, state, reason, record, manifest)
        if job and job["status"] == "FAILED":
            return UploadState(upload, "failed", _failure(job), record)
        return UploadState(upload, *_running(record, job), record)

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


def upload_id(bucket: str, key: str, version: str) -> str:
    """The id of one version of an upload (its version id, or else its ETag).

    The same formula as in the trigger (`lambdas/layout.py`): a contract, held by a test on both.
    """
    version = version.strip('"')
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()[:32]


def _upload(
    bucket: str, key: str, version: str, etag: str, size: int, uploaded_at: datetime
) -> Upload:
    version = "" if version == "null" else version  # S3's name for no version
    identifier = upload_id(bucket, key, version or etag)
    return Upload(bucket, key, identifier, version, etag.strip('"'), size, uploaded_at)


def _running(record: dict[str, Any], job: dict[str, Any] | None) -> tuple[State, str]:
    """The state of an upload without manifest whose job, if it has one, has not failed."""
    if not record.get("job_id"):
        return "running", "claimed by the trigger"
    if job is None:
        submitted = datetime.fromisoformat(record.get("submitted_at") or record["claimed_at"])
        if datetime.now(timezone.utc) - submitted > _FORGETS_AFTER:
            return "failed", "its job left no result, and Batch does not know it any more"
        return "running", "submitted"
    told = f"Batch job {job['status'].lower()}"
    shares = job.get("arrayProperties", {})
    if size := shares.get("size"):
        done = shares.get("statusSummary", {}).get("SUCCEEDED", 0)
        told += f", {done} of {size} shares done"
    return "running", told


def _failure(job: dict[str, Any]) -> str:
    told = f"Batch job {job['jobId']} failed: {job.get('statusReason', 'no reason')}"
    container = job.get("container", {})
    stream = container.get("logStreamName")
    if not stream:
        return told
    options = container.get("logConfiguration", {}).get("options", {})
    group = options.get("awslogs-group", "/aws/batch/job")
    return (
        f"{told}; its log: aws logs get-log-events --log-group-name {group} "
        f"--log-stream-name {stream}"
    )
