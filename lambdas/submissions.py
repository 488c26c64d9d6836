"""The records of uploads on S3: who waits, who is claimed, which job predicts whom.

A claim is a conditional write: of any number of writers S3 lets one through. It is held until
`claimed_until`, when Lambda has for certain ended the invocation that made it; only then may
another take it over, again by a conditional write. So at any time at most one invocation is between
claiming an upload and recording its job.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas import layout
from lambdas.events import Upload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class ClaimedError(Exception):
    """Another invocation holds the claim: try again later."""


@dataclass(frozen=True)
class Submission:
    """One upload and its job. Times are ISO 8601 in UTC; without a `job_id` it is only claimed."""

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
        """The record of an upload, None if nobody has claimed it."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=layout.submission_key(upload_id))
        except self._s3.exceptions.NoSuchKey:
            return None
        return Stored(Submission(**json.loads(answer["Body"].read())), answer["ETag"])

    def claim(self, submission: Submission) -> Submission:
        """Writes a new record, or raises ClaimedError if there is one by now."""
        self._put(submission, IfNoneMatch="*")
        return submission

    def take_over(self, stored: Stored, now: datetime, until: datetime) -> Submission:
        """Renews a claim whose holder has died; its pinned model stays.

        Raises ClaimedError while the holder may live, or if another was faster.
        """
        if now < datetime.fromisoformat(stored.submission.claimed_until):
            raise ClaimedError(f"claimed until {stored.submission.claimed_until}")
        taken = replace(stored.submission, claimed_until=until.isoformat())
        self._put(taken, IfMatch=stored.etag)
        return taken

    def complete(self, submission: Submission, job_id: str, now: datetime) -> None:
        """Records the job; only the holder of the claim calls it."""
        self._put(replace(submission, job_id=job_id, submitted_at=now.isoformat()))

    def wait(self, upload: Upload) -> None:
        """Marks an upload as waiting for a model."""
        body = json.dumps(asdict(upload), ensure_ascii=False).encode()
        self._s3.put_object(Bucket=self._bucket, Key=layout.waiting_key(upload.id), Body=body)

    def waiting(self) -> Iterator[Upload]:
        """The uploads that wait, in no order that means anything."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=layout.WAITING
        )
        for page in pages:
            for found in page.get("Contents", []):
                try:
                    body = self._s3.get_object(Bucket=self._bucket, Key=found["Key"])["Body"]
                except self._s3.exceptions.NoSuchKey:
                    continue  # another invocation has just handled it
                yield Upload(**json.loads(body.read()))

    def stop_waiting(self, upload_id: str) -> None:
        """Removes the marker, if there is one."""
        self._s3.delete_object(Bucket=self._bucket, Key=layout.waiting_key(upload_id))

    def _put(self, submission: Submission, **condition: str) -> None:
        body = json.dumps(asdict(submission), ensure_ascii=False, indent=1).encode()
        key = layout.submission_key(submission.upload_id)
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                **condition,  # type: ignore[arg-type]
            )
        except ClientError as error:
            # 412: the condition does not hold; 409: another conditional write is under way.
            if error.response["ResponseMetadata"]["HTTPStatusCode"] in {409, 412}:
                raise ClaimedError(f"another invocation has just written {key}") from error
            raise
