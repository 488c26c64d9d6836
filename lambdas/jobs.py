"""Batch's side: how a job is sized, submitted once, found again, and what became of it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

from lambdas import layout
from lambdas.log import log
from lambdas.settings import SubmitSettings
from lambdas.submissions import Submission

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient

WHOLE = (".gz", ".parquet")  # names of files that no child could begin to read in the middle
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0  # seconds
THROTTLED = {
    "TooManyRequestsException",
    "ThrottlingException",
    "Throttling",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
}

State = Literal["going", "ended", "forgotten"]


class Jobs:
    """The prediction jobs.

    `batch_once` sends each request once: it submits. `batch` may repeat them: it reads.
    """

    def __init__(
        self,
        settings: SubmitSettings,
        batch: BatchClient,
        batch_once: BatchClient,
        now: Callable[[], datetime],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._batch = batch
        self._batch_once = batch_once
        self._now = now
        self._sleep = sleep

    def shards(self, key: str, size: int) -> int:
        """How many children the job of an upload has; 1 is a job that is no array."""
        if size <= self._settings.shard_bytes or key.lower().endswith(WHOLE):
            return 1
        return min(self._settings.max_shards, -(-size // self._settings.shard_bytes))

    def submit(self, claim: Submission, until: datetime) -> str:
        """Submits the job of a claim and returns its id.

        A throttling answer is a definite refusal: there is no job, so the request may be sent again
        with jitter until `until`. A lost answer (a time-out, a broken connection, a fault of the
        service) may stand for a job, so it is raised: the next delivery looks for the job by its
        name before it submits one.
        """
        request = self._request(claim)
        for tries in itertools.count():
            try:
                return self._batch_once.submit_job(**request)["jobId"]
            except ClientError as error:
                pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2**tries))  # noqa: S311
                if not _is_throttled(error) or self._now() + timedelta(seconds=pause) > until:
                    raise
                log("throttled", upload_id=claim.upload_id, tries=tries + 1, pause=round(pause, 3))
                self._sleep(pause)
        raise AssertionError("unreachable: the loop has no end")

    def find(self, name: str) -> str | None:
        """The id of the job of that name, None if there is none."""
        pages = self._batch.get_paginator("list_jobs").paginate(
            jobQueue=self._settings.job_queue,
            filters=[{"name": "JOB_NAME", "values": [name]}],
        )
        for page in pages:
            for job in page["jobSummaryList"]:
                if job["jobName"] == name:  # the filter knows no case
                    return job["jobId"]
        return None

    def state(self, job_id: str) -> State:
        """Batch forgets a job about seven days after it has ended."""
        jobs = self._batch.describe_jobs(jobs=[job_id])["jobs"]
        if not jobs:
            return "forgotten"
        return "ended" if jobs[0]["status"] in ("SUCCEEDED", "FAILED") else "going"

    def _request(self, claim: Submission) -> dict[str, Any]:
        environment = {
            "INPUT_BUCKET": claim.bucket,
            "INPUT_KEY": claim.key,
            "INPUT_VERSION": claim.version,
            "INPUT_ETAG": claim.etag,
            "MODEL_PACKAGE_ARN": claim.model_package_arn,
            "RESULTS_BUCKET": claim.results_bucket,
            "RESULTS_PREFIX": claim.results_prefix,
            "UPLOAD_ID": claim.upload_id,
            "TEXT_COLUMN": self._settings.text_column,
            "FORMULAS": self._settings.formulas,
        }
        request: dict[str, Any] = {
            "jobName": claim.job_name,
            "jobQueue": self._settings.job_queue,
            "jobDefinition": self._settings.job_definition,
            # No key among the tags: they do not allow all the characters that a key does.
            "tags": {
                "claimflow:upload-id": claim.upload_id,
                "claimflow:attempt": str(claim.attempt),
                "claimflow:model-package-version": str(claim.model_package_version),
            },
        }
        if claim.shards > 1:
            environment["SHARDS"] = str(claim.shards)
            environment["SHARDS_PREFIX"] = layout.shards_prefix(claim.upload_id, claim.attempt)
            request["arrayProperties"] = {"size": claim.shards}
        # Batch drops a variable with an empty value: leaving it out says the same.
        request["containerOverrides"] = {
            "environment": [
                {"name": name, "value": value} for name, value in environment.items() if value
            ]
        }
        return request


def _is_throttled(error: ClientError) -> bool:
    code = error.response.get("Error", {}).get("Code")
    return code in THROTTLED or error.response["ResponseMetadata"]["HTTPStatusCode"] == 429
