"""Takes uploads from the queue and submits one prediction job for each.

`README.md` tells the order of the writes and what happens when it dies between any two of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config

from lambdas import layout, registry
from lambdas.events import Approval, Ignored, Upload, parse
from lambdas.log import log
from lambdas.settings import LambdaSettings
from lambdas.submissions import ClaimedError, Submission, Submissions

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_sagemaker import SageMakerClient

TIME_FOR_ONE = timedelta(seconds=10)  # an upload is not begun with less than this left
CLOCK_MARGIN = timedelta(seconds=10)  # clocks differ, and ListJobs shows a new job a little late


class LambdaContext(Protocol):
    """What of Lambda's context object is used here."""

    def get_remaining_time_in_millis(self) -> int: ...


class OutOfTimeError(Exception):
    """Too little time is left to begin another upload; it is handled after the next delivery."""


class NotListedError(Exception):
    """A model was approved, and the registry does not list it (yet)."""


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, list[dict[str, str]]]:
    """Handles a batch of SQS messages and answers with those that have to be delivered again."""
    submitter = _submitter()
    now = submitter.now()
    deadline = now + timedelta(milliseconds=context.get_remaining_time_in_millis())
    failures = []
    for message in event["Records"]:
        try:
            submitter.handle(message["body"], deadline)
        except Exception as error:  # of whatever kind: one bad message must not hold up the others
            log(
                "failed",
                message_id=message["messageId"],
                receives=message.get("attributes", {}).get("ApproximateReceiveCount"),
                error=type(error).__name__,
                reason=str(error),
            )
            failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}


class Submitter:
    """Handles messages one by one."""

    def __init__(
        self,
        settings: LambdaSettings,
        submissions: Submissions,
        sagemaker: SageMakerClient,
        batch: BatchClient,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        self.now = now
        self._settings = settings
        self._submissions = submissions
        self._sagemaker = sagemaker
        self._batch = batch

    def handle(self, body: str, deadline: datetime) -> None:
        """Handles one message. Whatever it raises, the message may be handled again."""
        match parse(body, self._settings):
            case Ignored(name, reason):
                log("ignored", name=name, reason=reason)
            case Approval(arn):
                self._handle_waiting(arn, deadline)
            case Upload() as upload:
                self._handle_upload(upload, deadline)

    def _handle_upload(self, upload: Upload, deadline: datetime) -> bool:
        """Whether the upload has its job now; if not, it waits for a model."""
        if deadline - self.now() < TIME_FOR_ONE:
            raise OutOfTimeError(f"too little time is left to handle upload {upload.id}")
        until = deadline + CLOCK_MARGIN
        stored = self._submissions.read(upload.id)
        if stored is None:
            model = self._model_or_wait(upload)
            if model is None:
                return False
            claim = self._submissions.claim(self._new_submission(upload, model, until))
            self._submissions.complete(claim, self._submit(claim), self.now())
        elif not stored.submission.job_id:
            claim = self._submissions.take_over(stored, self.now(), until)
            job_id = self._find_job(claim) or self._submit(claim)
            self._submissions.complete(claim, job_id, self.now())
        else:
            log("duplicate", upload_id=upload.id, job_id=stored.submission.job_id)
        self._submissions.stop_waiting(upload.id)
        return True

    def _handle_waiting(self, arn: str, deadline: datetime) -> None:
        """Submits every upload that waits; one that cannot be does not hold up the others."""
        failed = 0
        for upload in self._submissions.waiting():
            try:
                if not self._handle_upload(upload, deadline):
                    raise NotListedError(f"{arn} was approved, and no approved version is listed")
            except (OutOfTimeError, NotListedError):
                raise
            except Exception as error:
                failed += 1
                log("failed", upload_id=upload.id, error=type(error).__name__, reason=str(error))
        if failed:
            raise ClaimedError(f"{failed} uploads that wait could not be submitted")

    def _model_or_wait(self, upload: Upload) -> registry.ModelPackage | None:
        group = self._settings.model_package_group
        model = registry.newest_approved(self._sagemaker, group)
        if model is not None:
            return model
        self._submissions.wait(upload)
        # An approval between the look and the marker has not seen the marker: so look once more.
        model = registry.newest_approved(self._sagemaker, group)
        if model is None:
            log(
                "waiting",
                upload_id=upload.id,
                key=upload.key,
                todo=f"approve a version of {group}, and this upload is predicted",
            )
        return model

    def _new_submission(
        self, upload: Upload, model: registry.ModelPackage, until: datetime
    ) -> Submission:
        return Submission(
            upload_id=upload.id,
            **asdict(upload),
            results_bucket=self._settings.results_bucket,
            results_prefix=layout.results_prefix(
                upload.key, upload.id, self._settings.incoming_prefix
            ),
            model_package_arn=model.arn,
            model_package_version=model.version,
            job_name=layout.job_name(upload.id),
            claimed_at=self.now().isoformat(),
            claimed_until=until.isoformat(),
        )

    def _find_job(self, claim: Submission) -> str | None:
        """The job that a predecessor submitted before it died, if it came that far."""
        pages = self._batch.get_paginator("list_jobs").paginate(
            jobQueue=self._settings.job_queue,
            filters=[{"name": "JOB_NAME", "values": [claim.job_name]}],
        )
        for page in pages:
            for job in page["jobSummaryList"]:
                if job["jobName"] == claim.job_name:
                    log("adopted", upload_id=claim.upload_id, job_id=job["jobId"])
                    return job["jobId"]
        return None

    def _submit(self, claim: Submission) -> str:
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
        }
        job = self._batch.submit_job(
            jobName=claim.job_name,
            jobQueue=self._settings.job_queue,
            jobDefinition=self._settings.job_definition,
            containerOverrides={
                # Batch drops a variable with an empty value: leaving it out says the same.
                "environment": [
                    {"name": name, "value": value} for name, value in environment.items() if value
                ]
            },
            # No key among the tags: they do not allow all the characters that a key does.
            tags={
                "claimflow:upload-id": claim.upload_id,
                "claimflow:model-package-version": str(claim.model_package_version),
            },
        )
        log(
            "submitted",
            upload_id=claim.upload_id,
            key=claim.key,
            job_id=job["jobId"],
            model_package_arn=claim.model_package_arn,
        )
        return job["jobId"]


@cache
def _submitter() -> Submitter:
    """Made once for each process that Lambda keeps warm."""
    settings = LambdaSettings.from_environment()
    retrying = Config(retries={"mode": "standard", "total_max_attempts": 5})
    # SubmitJob has no idempotency token: a request sent again because its answer was lost would be
    # a second job. The message comes back once the claim has run out, and then ListJobs tells.
    once = Config(retries={"mode": "standard", "total_max_attempts": 1})
    return Submitter(
        settings,
        Submissions(boto3.client("s3", config=retrying), settings.results_bucket),
        boto3.client("sagemaker", config=retrying),
        boto3.client("batch", config=once),
    )
