"""Takes uploads from the queue and submits one prediction job for each, and one for each retry.

`README.md` tells the order of the writes and what happens when it dies between any two of them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from lambdas import clients, layout, messages
from lambdas.events import Approval, Ignored, Retry, Upload, parse
from lambdas.jobs import Jobs
from lambdas.log import log
from lambdas.messages import DeadLetters, HopelessError, LambdaContext, utc_now
from lambdas.registry import ModelPackage, Registry
from lambdas.settings import SubmitSettings
from lambdas.submissions import ClaimedError, Stored, Submission, Submissions

TIME_FOR_ONE = timedelta(seconds=10)  # an upload is not begun with less than this left
TIME_TO_RECORD = timedelta(seconds=5)  # no request is sent again with less than this left
CLOCK_MARGIN = timedelta(seconds=10)  # clocks differ, and ListJobs shows a new job a little late
NEWLY_SUBMITTED = timedelta(days=1)  # Batch cannot have forgotten such a job already


class OutOfTimeError(Exception):
    """Too little time is left to begin another upload; it is handled after the next delivery."""


class NotListedError(Exception):
    """A model was approved, and the registry does not list it (yet)."""


class NoModelError(HopelessError):
    """A retry needs an approved model, and there is none."""


def handler(event: dict[str, Any], context: LambdaContext) -> messages.Answer:
    """Handles a batch of SQS messages and answers with those that have to be delivered again."""
    return messages.handle_batch(event, context, *_submitter())


class Submitter:
    """Handles messages one by one."""

    def __init__(
        self,
        settings: SubmitSettings,
        submissions: Submissions,
        registry: Registry,
        jobs: Jobs,
        now: Callable[[], datetime],
    ) -> None:
        self.now = now
        self._settings = settings
        self._submissions = submissions
        self._registry = registry
        self._jobs = jobs

    def handle(self, body: str, deadline: datetime) -> None:
        """Handles one message. Whatever it raises, the message may be handled again."""
        for event in parse(body, self._settings):
            match event:
                case Ignored(name, reason):
                    log("ignored", name=name, reason=reason)
                case Approval():
                    self._handle_waiting(event, deadline)
                case Retry():
                    self._retry(event, deadline)
                case Upload():
                    self._handle_upload(event, deadline)

    def upload_id(self, body: str) -> str:
        """The upload that a message is about; empty where it is not known, whatever the body."""
        try:
            events = parse(body, self._settings)
        except messages.HopelessError:
            return ""
        found = [
            event.id if isinstance(event, Upload) else event.upload_id
            for event in events
            if isinstance(event, (Upload, Retry))
        ]
        return found[0] if len(found) == 1 else ""

    def _handle_upload(self, upload: Upload, deadline: datetime) -> bool:
        """Whether the upload has its job now; if not, it waits for a model."""
        self._check_time(upload.id, deadline)
        stored = self._submissions.read(upload.id)
        if stored is None:
            model = self._model_or_wait(upload)
            if model is None:
                return False
            claim = self._submissions.claim(self._new_submission(upload, model, deadline))
            self._submit(claim, deadline)
        elif not stored.submission.job_id:
            self._finish(stored, deadline)
        else:
            log("duplicate", upload_id=upload.id, job_id=stored.submission.job_id)
        self._submissions.stop_waiting(upload.id)
        return True

    def _retry(self, retry: Retry, deadline: datetime) -> None:
        """Claims and submits the next attempt of an upload whose newest one has failed."""
        self._check_time(retry.upload_id, deadline)
        stored = self._submissions.read(retry.upload_id)
        if stored is not None and not stored.submission.job_id:
            self._finish(stored, deadline)
            return
        reason = self._why_not(retry, stored)
        if stored is None or reason:
            log("dropped", upload_id=retry.upload_id, reason=reason)
            return
        model = self._registry.newest_approved()
        if model is None:
            raise NoModelError(
                f"no version of {self._settings.model_package_group} is approved: approve one, "
                f"then send this again"
            )
        again = self._next_attempt(stored.submission, model, deadline)
        self._submit(self._submissions.update(stored, again), deadline)

    def _why_not(self, retry: Retry, stored: Stored | None) -> str:
        """Why an upload must not be predicted again; empty if it may.

        The job is asked before the manifest: one that ends in between has written it before.
        """
        if stored is None:
            return "it has no job yet"
        submission = stored.submission
        if retry.attempt not in (None, submission.attempt):
            return f"attempt {retry.attempt} is not its newest, {submission.attempt}"
        state = self._jobs.state(submission.job_id)
        outcome = self._submissions.outcome(submission)
        if outcome == "succeeded":
            return "it has been predicted"
        if outcome is None and state == "going":
            return f"job {submission.job_id} is still under way"
        submitted = datetime.fromisoformat(submission.submitted_at)
        if outcome is None and state == "forgotten" and self.now() - submitted < NEWLY_SUBMITTED:
            return f"job {submission.job_id} is so new that Batch does not show it yet"
        return ""

    def _handle_waiting(self, approval: Approval, deadline: datetime) -> None:
        """Submits every upload that waits; one that cannot be does not hold up the others.

        Where more wait than there is time for, the sweep puts the rest into the queue, at once and
        not a minute's worth by each delivery.
        """
        done = failed = 0
        for key in self._submissions.waiting():
            try:
                upload = self._submissions.read_waiting(key)
                if upload is not None and not self._handle_upload(upload, deadline):
                    self._explain(approval)
                    return
                done += 1
            except OutOfTimeError:
                if not done:
                    raise
                log("left-to-the-sweep", arn=approval.arn, submitted=done)
                break
            except NotListedError:
                raise
            except Exception as error:
                failed += 1
                log("failed", marker=key, error=type(error).__name__, reason=str(error))
        if failed:
            raise ClaimedError(f"{failed} uploads that wait could not be submitted")

    def _explain(self, approval: Approval) -> None:
        """Logs why an approval serves no upload, or raises NotListedError if it should."""
        ceiling = self._registry.ceiling()
        if ceiling is not None and approval.version > ceiling:
            log("ignored", arn=approval.arn, reason=f"it is above the ceiling, version {ceiling}")
            return
        status = self._registry.status(approval.arn)
        if status == "Approved":
            raise NotListedError(f"{approval.arn} was approved, and no approved version is listed")
        log("ignored", arn=approval.arn, reason=f"its status is {status} by now")

    def _model_or_wait(self, upload: Upload) -> ModelPackage | None:
        model = self._registry.newest_approved()
        if model is not None:
            return model
        self._submissions.wait(upload)
        # An approval between the look and the marker has not seen the marker: so look once more.
        model = self._registry.newest_approved()
        if model is None:
            group = self._settings.model_package_group
            log(
                "waiting",
                upload_id=upload.id,
                key=upload.key,
                todo=f"approve a version of {group}, and this upload is predicted",
            )
        return model

    def _finish(self, stored: Stored, deadline: datetime) -> None:
        """Finishes what an invocation began that died between its claim and its record."""
        claim = self._submissions.take_over(
            stored, self.now(), deadline + CLOCK_MARGIN, uuid.uuid4().hex
        )
        job_id = self._jobs.find(claim.submission.job_name)
        if job_id is None:
            self._submit(claim, deadline)
        else:
            log("adopted", upload_id=claim.submission.upload_id, job_id=job_id)
            self._submissions.complete(claim, job_id, self.now())

    def _submit(self, claim: Stored, deadline: datetime) -> None:
        job_id = self._jobs.submit(claim.submission, deadline - TIME_TO_RECORD)
        log(
            "submitted",
            upload_id=claim.submission.upload_id,
            key=claim.submission.key,
            attempt=claim.submission.attempt,
            shards=claim.submission.shards,
            job_id=job_id,
            model_package_arn=claim.submission.model_package_arn,
        )
        self._submissions.complete(claim, job_id, self.now())

    def _new_submission(
        self, upload: Upload, model: ModelPackage, deadline: datetime
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
            claimed_until=(deadline + CLOCK_MARGIN).isoformat(),
            shards=self._jobs.shards(upload.key, upload.size),
            claim=uuid.uuid4().hex,
        )

    def _next_attempt(
        self, last: Submission, model: ModelPackage, deadline: datetime
    ) -> Submission:
        attempt = last.attempt + 1
        return replace(
            last,
            attempt=attempt,
            job_name=layout.job_name(last.upload_id, attempt),
            results_prefix=layout.prefix_of_attempt(last.results_prefix, attempt),
            model_package_arn=model.arn,
            model_package_version=model.version,
            claimed_at=self.now().isoformat(),
            claimed_until=(deadline + CLOCK_MARGIN).isoformat(),
            job_id="",
            submitted_at="",
            shards=self._jobs.shards(last.key, last.size),
            claim=uuid.uuid4().hex,
        )

    def _check_time(self, upload_id: str, deadline: datetime) -> None:
        if deadline - self.now() < TIME_FOR_ONE:
            raise OutOfTimeError(f"too little time is left to handle upload {upload_id}")


@cache
def _submitter() -> tuple[Submitter, DeadLetters]:
    """Made once for each process that Lambda keeps warm."""
    settings = SubmitSettings.from_environment()
    s3 = clients.s3()
    registry = Registry(
        clients.sagemaker(), s3, settings.models_bucket, settings.model_package_group
    )
    submitter = Submitter(
        settings,
        Submissions(s3, settings.results_bucket),
        registry,
        Jobs(settings, clients.batch(), clients.batch_once(), utc_now),
        utc_now,
    )
    return submitter, DeadLetters(
        clients.sqs(), settings.dead_letter_queue_url, settings.max_receives
    )
