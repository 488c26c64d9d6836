"""Finds uploads that have no job although they should, and puts them into the queue again.

An event may be lost before it reaches the queue, a message may expire there, an approval may be
missed. What counts is what lies on S3: every version of every upload is compared with the records.
Announcing an upload that is being handled changes nothing: `lambdas.submit` drops duplicates.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from lambdas import clients, layout, objects
from lambdas.events import Upload, announcement, stored_upload
from lambdas.log import log, log_metrics
from lambdas.messages import LambdaContext, utc_now
from lambdas.registry import Registry
from lambdas.settings import SweepSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import SendMessageBatchRequestEntryTypeDef

TIME_TO_STOP = timedelta(seconds=20)  # left when a sweep stops, to write down where
LATE_RECORDS = timedelta(minutes=10)  # a record's time is when its write began, not when it showed
LONGEST_GAP = timedelta(days=1)  # between two announcements of the same upload
SQS_BATCH = 10
NEVER = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class State:
    """Where the next sweep goes on.

    Attributes
    ----------
    records_read_until: records written before, and not among the open claims, have a job.
    open_claims: uploads whose record had no job when it was read last.
    key_marker, version_marker: as ListObjectVersions has them, where a sweep ran out of time; empty
        at the beginning.
    unsettled, oldest: what this pass has found so far: how many, and the time of the oldest.
    """

    records_read_until: str = NEVER.isoformat()
    open_claims: tuple[str, ...] = ()
    key_marker: str = ""
    version_marker: str = ""
    unsettled: int = 0
    oldest: str = ""


@dataclass(frozen=True)
class Known:
    """What lies in the results bucket: times by upload id, and whether any model is approved."""

    records: Mapping[str, datetime]
    open_claims: frozenset[str]
    waiting: Mapping[str, datetime]
    announced: Mapping[str, datetime]
    has_model: bool

    def is_settled(self, upload_id: str) -> bool:
        """Whether it has its job, and no marker was left behind."""
        unfinished = upload_id in self.open_claims or upload_id in self.waiting
        return upload_id in self.records and not unfinished

    def waits_rightly(self, upload_id: str) -> bool:
        return upload_id in self.waiting and upload_id not in self.records and not self.has_model


def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """One sweep; `minimum_age_seconds` in the event overrules the setting."""
    sweep = _sweep()
    deadline = sweep.now() + timedelta(milliseconds=context.get_remaining_time_in_millis())
    age = event.get("minimum_age_seconds", sweep.settings.minimum_age_seconds)
    return sweep.run(timedelta(seconds=age), deadline)


class Sweep:
    """Compares uploads with records."""

    def __init__(
        self,
        settings: SweepSettings,
        s3: S3Client,
        sqs: SQSClient,
        registry: Registry,
        now: Callable[[], datetime],
        page_size: int = 1000,
    ) -> None:
        self.settings = settings
        self.now = now
        self._s3 = s3
        self._sqs = sqs
        self._registry = registry
        self._page_size = page_size

    def run(self, minimum_age: timedelta, deadline: datetime) -> dict[str, Any]:
        """Announces what is older than `minimum_age`, once; then ever more rarely, at most daily.

        More rarely, because what fails for good becomes a dead letter at each announcement. With a
        minimum age of nothing, all is announced at once: the queue has lost its memory.
        """
        stop = deadline - TIME_TO_STOP
        started = self.now()
        before = self._read_state()
        known, state = self._known(before, started, stop)
        announced, complete = 0, True
        for page in self._pages(before):
            uploads = list(self._unsettled(page, known, started - minimum_age))
            due = [
                upload
                for upload, created in uploads
                if not known.waits_rightly(upload.id)
                and _is_due(known.announced.get(upload.id), created, started, minimum_age)
            ]
            announced += self._announce(due)
            times = [created.isoformat() for _, created in uploads]
            oldest = min([*times, *filter(None, [state.oldest])], default="")
            state = replace(
                state,
                unsettled=state.unsettled + len(uploads),
                oldest=oldest,
                key_marker=page.get("NextKeyMarker", ""),
                version_marker=page.get("NextVersionIdMarker", ""),
            )
            if page["IsTruncated"] and self.now() >= stop:
                complete = False
                break
        found = {"announced": announced, "unsettled": state.unsettled, "complete": complete}
        log("swept", **found)
        if complete:
            self._measure(state)
            state = replace(state, key_marker="", version_marker="", unsettled=0, oldest="")
        self._write_state(state)
        return found

    def _known(self, state: State, started: datetime, stop: datetime) -> tuple[Known, State]:
        """What lies in the results bucket, and the state with its claims brought up to date."""
        records = self._listed(layout.SUBMISSIONS)
        waiting = self._listed(layout.WAITING)
        until = datetime.fromisoformat(state.records_read_until)
        to_read = [(NEVER, each) for each in state.open_claims if each in records]
        to_read += sorted((time, each) for each, time in records.items() if time >= until)
        claims: set[str] = set()
        until = started - LATE_RECORDS
        for time, upload_id in to_read:
            if self.now() >= stop:
                claims.update(state.open_claims)
                until = max(time, datetime.fromisoformat(state.records_read_until))
                break
            if not self._has_job(upload_id):
                claims.add(upload_id)
        known = Known(
            records=records,
            open_claims=frozenset(claims),
            waiting=waiting,
            announced=self._listed(layout.ANNOUNCED),
            has_model=bool(waiting) and self._registry.newest_approved() is not None,
        )
        return known, replace(
            state, records_read_until=until.isoformat(), open_claims=tuple(sorted(claims))
        )

    def _pages(self, state: State) -> Iterator[Any]:
        """The versions of all uploads, from where the sweep before stopped."""
        markers = {"KeyMarker": state.key_marker, "VersionIdMarker": state.version_marker}
        while True:
            page = self._s3.list_object_versions(
                Bucket=self.settings.upload_bucket,
                Prefix=self.settings.incoming_prefix,
                MaxKeys=self._page_size,
                **{name: value for name, value in markers.items() if value},  # type: ignore[arg-type]
            )
            yield page
            if not page["IsTruncated"]:
                return
            markers = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page.get("NextVersionIdMarker", ""),
            }

    def _unsettled(
        self, page: Any, known: Known, born_before: datetime
    ) -> Iterator[tuple[Upload, datetime]]:
        """The uploads of a page that have no job, each with its time."""
        for version in page.get("Versions", []):
            if version["LastModified"] > born_before:
                continue
            upload = stored_upload(self.settings.upload_bucket, version, self.settings)
            if upload is not None and not known.is_settled(upload.id):
                yield upload, version["LastModified"]

    def _announce(self, uploads: Iterable[Upload]) -> int:
        """Puts uploads into the queue and marks those that SQS took; returns how many."""
        count = 0
        rest = iter(uploads)
        while batch := list(islice(rest, SQS_BATCH)):
            entries: list[SendMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "MessageBody": announcement(upload)}
                for number, upload in enumerate(batch)
            ]
            answer = self._sqs.send_message_batch(
                QueueUrl=self.settings.upload_queue_url, Entries=entries
            )
            for refused in answer.get("Failed", []):  # the next sweep tries again
                log("announcement-refused", **refused)
            for taken in answer.get("Successful", []):
                upload = batch[int(taken["Id"])]
                # Only its time counts, and it is read from the listing.
                self._s3.put_object(
                    Bucket=self.settings.results_bucket,
                    Key=layout.announced_key(upload.id),
                    Body=b"",
                )
                log("announced", upload_id=upload.id, key=upload.key)
                count += 1
        return count

    def _listed(self, prefix: str) -> dict[str, datetime]:
        """When the objects below a prefix were written, by the upload ids in their names."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.settings.results_bucket, Prefix=prefix
        )
        return {
            found["Key"].removeprefix(prefix).removesuffix(".json"): found["LastModified"]
            for page in pages
            for found in page.get("Contents", [])
        }

    def _has_job(self, upload_id: str) -> bool:
        record = self._read(layout.submission_key(upload_id))
        if record is None:
            log("unreadable", upload_id=upload_id, key=layout.submission_key(upload_id))
        return bool(record and record.get("job_id"))

    def _read_state(self) -> State:
        """The state; without one, or with one that cannot be read, all is looked at again."""
        try:
            given = self._read(layout.SWEEP_STATE) or {}
            state = State(**{**given, "open_claims": tuple(given.get("open_claims", ()))})
            datetime.fromisoformat(state.records_read_until).astimezone(timezone.utc)
            return state
        except (TypeError, ValueError) as error:
            log("unreadable", key=layout.SWEEP_STATE, reason=str(error))
            return State()

    def _write_state(self, state: State) -> None:
        bucket = self.settings.results_bucket
        objects.put_json(self._s3, bucket, layout.SWEEP_STATE, asdict(state))

    def _read(self, key: str) -> dict[str, Any] | None:
        """A JSON object, None where there is none that can be read."""
        found = objects.read(self._s3, self.settings.results_bucket, key)
        try:
            document = json.loads(found.body) if found else None
        except ValueError:
            return None
        return document if isinstance(document, dict) else None

    def _measure(self, state: State) -> None:
        now, deployment = self.now(), self.settings.deployment
        age = (now - datetime.fromisoformat(state.oldest)).total_seconds() if state.oldest else 0.0
        log_metrics(deployment, now, {"UnsettledUploads": state.unsettled})
        log_metrics(deployment, now, {"OldestWaitingSeconds": max(0.0, age)}, "Seconds")


def _is_due(
    announced: datetime | None, created: datetime, now: datetime, minimum_age: timedelta
) -> bool:
    """Whether to announce (again): each time, the gap is as long as all the time before it."""
    if announced is None or not minimum_age:
        return True
    return now - announced >= min(max(announced - created, minimum_age), LONGEST_GAP)


@cache
def _sweep() -> Sweep:
    """Made once for each process that Lambda keeps warm."""
    settings = SweepSettings.from_environment()
    s3 = clients.s3()
    registry = Registry(
        clients.sagemaker(), s3, settings.models_bucket, settings.model_package_group
    )
    return Sweep(settings, s3, clients.sqs(), registry, utc_now)
