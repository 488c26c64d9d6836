"""The records of uploads on S3: who waits, who is claimed, which job predicts whom.

A claim is a conditional write: of any number of writers S3 lets one through. It is held until
`claimed_until`, when Lambda has for certain ended the invocation that made it; only then may
another take it over, again by a conditional write. So at any time at most one invocation is between
claiming an upload and recording its job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from lambdas import layout, objects
from lambdas.events import Upload
from lambdas.objects import Object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Record = TypeVar("Record")


class ClaimedError(Exception):
    """Another invocation holds the claim: try again later."""


class UnreadableRecordError(Exception):
    """An object of ours on S3 is damaged, or was written by another version of the functions."""


@dataclass(frozen=True)
class Submission:
    """An upload and the job of its newest attempt; without a `job_id` it is only claimed.

    Attributes
    ----------
    results_prefix: where this attempt's results lie.
    claimed_at, claimed_until, submitted_at: ISO 8601 in UTC.
    shards: children of the job, 1 if it is no array.
    claim: names the invocation that holds the claim, to know a write again whose answer was lost.
    """

    upload_id: str
    bucket: str
    key: str
    version: str
    etag: str
    size: int
    results_bucket: str
    results_prefix: str
    model_package_arn: str
    model_package_version: int
    job_name: str
    claimed_at: str
    claimed_until: str
    job_id: str = ""
    submitted_at: str = ""
    attempt: int = 1
    shards: int = 1
    claim: str = ""


@dataclass(frozen=True)
class Stored:
    """A submission as it lies on S3, with the ETag of that very object."""

    submission: Submission
    etag: str


class Submissions:
    """Markers and records in the results bucket."""

    def __init__(self, s3: S3Client, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    def read(self, upload_id: str) -> Stored | None:
        """The record of an upload, None if nobody has claimed it.

        Raises
        ------
        UnreadableRecordError: it is damaged, or has fields that this version does not know.
        """
        key = layout.submission_key(upload_id)
        found = self._get(key)
        return None if found is None else Stored(_record(Submission, found.body, key), found.etag)

    def claim(self, submission: Submission) -> Stored:
        """Writes a new record, or raises ClaimedError if there is one by now."""
        return self._put(submission, IfNoneMatch="*")

    def update(self, stored: Stored, submission: Submission) -> Stored:
        """Replaces a record, or raises ClaimedError if it is no longer the one that was read."""
        return self._put(submission, IfMatch=stored.etag)

    def take_over(self, stored: Stored, now: datetime, until: datetime, claim: str) -> Stored:
        """Renews a claim whose holder has died; its pinned model stays.

        Raises ClaimedError while the holder may live, or if another was faster.
        """
        if now < datetime.fromisoformat(stored.submission.claimed_until):
            raise ClaimedError(f"claimed until {stored.submission.claimed_until}")
        return self.update(
            stored, replace(stored.submission, claimed_until=until.isoformat(), claim=claim)
        )

    def complete(self, stored: Stored, job_id: str, now: datetime) -> None:
        """Records the job; only the holder of the claim calls it."""
        submission = replace(stored.submission, job_id=job_id, submitted_at=now.isoformat())
        self.update(stored, submission)

    def outcome(self, submission: Submission) -> str | None:
        """What the manifest of a submission says, `succeeded` or `failed`; None without one."""
        key = submission.results_prefix + layout.MANIFEST
        found = self._get(key)
        if found is None:
            return None
        try:
            return str(json.loads(found.body)["outcome"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableRecordError(f"{self._address(key)} is no manifest: {error}") from error

    def wait(self, upload: Upload) -> None:
        """Marks an upload as waiting for a model."""
        body = json.dumps(asdict(upload), ensure_ascii=False).encode()
        self._s3.put_object(Bucket=self._bucket, Key=layout.waiting_key(upload.id), Body=body)

    def waiting(self) -> Iterator[str]:
        """The keys of the markers of uploads that wait, in no order that means anything."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=layout.WAITING
        )
        for page in pages:
            for found in page.get("Contents", []):
                yield found["Key"]

    def read_waiting(self, key: str) -> Upload | None:
        """The upload of a marker, None if another invocation has just handled it.

        Raises
        ------
        UnreadableRecordError: as `read`.
        """
        found = self._get(key)
        return None if found is None else _record(Upload, found.body, key)

    def stop_waiting(self, upload_id: str) -> None:
        """Removes the marker, if there is one."""
        self._s3.delete_object(Bucket=self._bucket, Key=layout.waiting_key(upload_id))

    def _get(self, key: str) -> Object | None:
        return objects.read(self._s3, self._bucket, key)

    def _put(self, submission: Submission, **condition: str) -> Stored:
        key = layout.submission_key(submission.upload_id)
        etag = objects.put_json(self._s3, self._bucket, key, asdict(submission), **condition)
        if etag is not None:
            return Stored(submission, etag)
        stored = self.read(submission.upload_id)
        if stored is not None and stored.submission == submission:
            return stored  # our own write, after all
        raise ClaimedError(f"another invocation has just written {key}")

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _record(kind: type[Record], body: bytes, key: str) -> Record:
    """The dataclass that a JSON object holds."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    types: dict[Any, type] = {"str": str, "int": int}
    try:
        given = json.loads(body)
        unknown = sorted(given.keys() - known.keys())
        missing = sorted(
            name for name, field in known.items() if field.default is MISSING and name not in given
        )
        if unknown or missing:
            raise ValueError(f"unknown: {unknown}, missing: {missing}")
        wrong = sorted(
            name for name, value in given.items() if type(value) is not types[known[name].type]
        )
        if wrong:
            raise ValueError(f"of another type: {wrong}")
        if "claimed_until" in given and not datetime.fromisoformat(given["claimed_until"]).tzinfo:
            raise ValueError("claimed_until has no time zone")
        return kind(**given)
    except (ValueError, AttributeError) as error:
        raise UnreadableRecordError(
            f"{key} in the results bucket cannot be read ({error}): it is damaged, or a newer "
            f"version of the functions wrote it; restore an earlier version, then send this again"
        ) from error
