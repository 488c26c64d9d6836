"""Tells people what became of each upload: one SNS message when it is settled, or its job failed.

A marker is written after the message. So nobody is left untold; and told twice only if the function
dies between the two, or the same event is handled twice at the same moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from lambdas import clients, layout, messages, notices, objects
from lambdas.drift import prediction_drift
from lambdas.events import Ignored, MalformedEventError, parse_object, reading
from lambdas.log import Unit, log, log_metrics
from lambdas.messages import DeadLetters, LambdaContext, utc_now
from lambdas.notices import Notice, Place
from lambdas.settings import NotifySettings
from lambdas.submissions import Submissions

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


Metrics = dict[Unit, dict[str, float]]


class UnreadableManifestError(Exception):
    """A manifest is damaged, or lacks what a notice needs."""


@dataclass(frozen=True)
class Settled:
    """A manifest was written."""

    upload_id: str
    attempt: int
    key: str


@dataclass(frozen=True)
class JobFailed:
    """A job, all its children and retries included, has failed."""

    upload_id: str
    attempt: int
    job_id: str
    reason: str


def handler(event: dict[str, Any], context: LambdaContext) -> messages.Answer:
    """Handles a batch of SQS messages and answers with those that have to be delivered again."""
    return messages.handle_batch(event, context, *_notifier())


def parse(body: str, settings: NotifySettings) -> Settled | JobFailed | Ignored:
    """Reads the body of one queue message.

    Raises
    ------
    MalformedEventError: it is not JSON, or is one of ours without the fields that we need.
    """
    event = parse_object(body)
    name = str(event.get("detail-type", "unknown"))
    with reading(name):
        match event.get("source"), name:
            case "aws.s3", "Object Created":
                return _manifest_written(event["detail"], name, settings)
            case "aws.batch", "Batch Job State Change":
                return _job_changed(event["detail"], name, settings)
    return Ignored(name, "not an event that this function handles")


class Notifier:
    """Handles messages one by one."""

    def __init__(
        self,
        settings: NotifySettings,
        s3: S3Client,
        sns: Any,
        now: Callable[[], datetime],
    ) -> None:
        self.now = now
        self._settings = settings
        self._s3 = s3
        self._sns = sns
        self._submissions = Submissions(s3, settings.results_bucket)
        self._place = Place.of_topic(
            settings.topic_arn, settings.results_bucket, has_console=not settings.endpoint
        )

    def handle(self, body: str, deadline: datetime) -> None:  # noqa: ARG002 - it takes a moment
        """Handles one message. Whatever it raises, the message may be handled again."""
        match parse(body, self._settings):
            case Ignored(name, reason):
                log("ignored", name=name, reason=reason)
            case Settled() as settled:
                self._settled(settled)
            case JobFailed() as failed:
                self._job_failed(failed)

    def upload_id(self, body: str) -> str:
        """The upload that a message is about; empty where it is not known, whatever the body."""
        try:
            event = parse(body, self._settings)
        except MalformedEventError:
            return ""
        return "" if isinstance(event, Ignored) else event.upload_id

    def _settled(self, settled: Settled) -> None:
        manifest = self._manifest(settled.key)
        if manifest is None:
            log("ignored", key=settled.key, reason="the manifest has been removed")
            return
        prefix = settled.key.removesuffix(layout.MANIFEST)
        try:
            if manifest["outcome"] == "succeeded":
                notice = notices.classified(manifest, prefix, self._place)
                metrics: Metrics = {
                    "Count": {
                        "JobsSucceeded": 1,
                        "RowsPredicted": int(manifest["predicted"]),
                        "RowsRejected": int(manifest["rejected"]),
                        "RowsForReview": int(manifest["for_review"]),
                    }
                }
                drift = prediction_drift(manifest)
                if drift is not None:
                    metrics["None"] = {"PredictionDrift": drift}
            else:
                notice = notices.unreadable(manifest, prefix, self._place)
                metrics = {"Count": {"JobsFailed": 1}}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreadableManifestError(f"{settled.key} lacks {error}") from error
        self._tell(settled, str(manifest["outcome"]), notice, metrics)

    def _job_failed(self, failed: JobFailed) -> None:
        stored = self._submissions.read(failed.upload_id)
        if stored is None:
            log("ignored", job_id=failed.job_id, reason="the job of no upload that has a record")
            return
        submission = stored.submission
        prefix = layout.prefix_of_attempt(submission.results_prefix, failed.attempt)
        if self._manifest(prefix + layout.MANIFEST) is not None:
            log("ignored", job_id=failed.job_id, reason="its manifest tells what became of it")
            return
        notice = notices.job_failed(
            submission.key, failed.upload_id, failed.job_id, failed.reason, self._place
        )
        self._tell(failed, "failed", notice, {"Count": {"JobsFailed": 1}})

    def _tell(
        self, about: Settled | JobFailed, outcome: str, notice: Notice, metrics: Metrics
    ) -> None:
        marker = layout.notice_key(about.upload_id, about.attempt, outcome)
        bucket = self._settings.results_bucket
        if objects.read(self._s3, bucket, marker) is not None:
            log("duplicate", upload_id=about.upload_id, attempt=about.attempt, outcome=outcome)
            return
        self._sns.publish(
            TopicArn=self._settings.topic_arn,
            Subject=notice.subject,
            Message=notice.text,
            MessageAttributes={
                "Outcome": {"DataType": "String", "StringValue": outcome},
                "UploadId": {"DataType": "String", "StringValue": about.upload_id},
            },
        )
        now = self.now()
        for unit, values in metrics.items():
            log_metrics(self._settings.deployment, now, values, unit)
        objects.put_json(self._s3, bucket, marker, {"told_at": now.isoformat()})
        log("told", upload_id=about.upload_id, attempt=about.attempt, outcome=outcome)

    def _manifest(self, key: str) -> dict[str, Any] | None:
        found = objects.read(self._s3, self._settings.results_bucket, key)
        if found is None:
            return None
        try:
            manifest = json.loads(found.body)
        except ValueError as error:
            raise UnreadableManifestError(f"{key} is not JSON") from error
        if not isinstance(manifest, dict) or manifest.get("outcome") not in ("succeeded", "failed"):
            raise UnreadableManifestError(f"{key} has no outcome succeeded or failed")
        return manifest


def _manifest_written(
    detail: dict[str, Any], name: str, settings: NotifySettings
) -> Settled | Ignored:
    key = str(detail["object"]["key"])
    if detail["bucket"]["name"] != settings.results_bucket:
        return Ignored(name, f"bucket {detail['bucket']['name']} is not {settings.results_bucket}")
    found = layout.parse_manifest_key(key)
    return Ignored(name, "not a manifest") if found is None else Settled(*found, key)


def _job_changed(
    detail: dict[str, Any], name: str, settings: NotifySettings
) -> JobFailed | Ignored:
    if detail["status"] != "FAILED":
        return Ignored(name, f"status is {detail['status']}")
    if _last(detail["jobQueue"]) != _last(settings.job_queue):
        return Ignored(name, f"queue {detail['jobQueue']} is not {settings.job_queue}")
    if "index" in (detail.get("arrayProperties") or {}):
        return Ignored(name, "a child; its parent tells")
    found = layout.parse_job_name(detail["jobName"])
    if found is None:
        return Ignored(name, f"job {detail['jobName']} is not the prediction of an upload")
    reasons = [detail.get("statusReason"), (detail.get("container") or {}).get("reason")]
    reason = "; ".join(dict.fromkeys(str(each) for each in reasons if each))
    return JobFailed(*found, str(detail["jobId"]), reason)


def _last(name_or_arn: str) -> str:
    return name_or_arn.rpartition("/")[2]


@cache
def _notifier() -> tuple[Notifier, DeadLetters]:
    """Made once for each process that Lambda keeps warm."""
    settings = NotifySettings.from_environment()
    notifier = Notifier(settings, clients.s3(), clients.sns(), utc_now)
    return notifier, DeadLetters(
        clients.sqs(), settings.dead_letter_queue_url, settings.max_receives
    )
