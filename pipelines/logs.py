"""What steps, prediction jobs and functions print, out of CloudWatch Logs, on AWS or locally."""

from __future__ import annotations

import contextlib
import heapq
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, get_args

from botocore.exceptions import ClientError

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.execution_status import StepStatus
from pipelines.plain_text import plain
from pipelines.settings import Function
from pipelines.upload_state import UploadState

JOB_GROUPS = {
    "training-job": "/aws/sagemaker/TrainingJobs",
    "processing-job": "/aws/sagemaker/ProcessingJobs",
}
_BATCH_GROUP = "/aws/batch/job"  # where a job definition names none
_LAMBDA_STEPS: dict[str, Function] = {"Champion": "champion"}
_JOB_OF_EXECUTION = re.compile(r"pipelines-([a-z0-9]+)-")  # SageMaker names the jobs of steps so
MOST_LINES = 30  # of the end of a log
LONGEST_LINE = 500  # characters of such a line
_PAIRS = re.compile(r"[a-z]\w*=[^\s=]+(?: [a-z]\w*=[^\s=]+)*")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?(?:e[+-]?[0-9]{1,2})?")
_DESCRIBED = 100  # jobs that Batch describes at once
_LATE = 2.0  # seconds after its end within which what a job printed is there


@dataclass(frozen=True)
class Source:
    """Streams of a log group.

    Attributes
    ----------
    name: the step, the upload's file, or the function.
    execution: its id; empty for what belongs to none.
    prefix: of the names of its streams, one a machine; empty: all of the group.
    since, until: what is older or newer belongs to something else.
    """

    name: str
    execution: str
    group: str
    prefix: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Event:
    """One line. Its texts are safe to show on a terminal."""

    time: datetime
    execution: str
    source: str
    message: str

    def document(self) -> dict[str, Any]:
        """For `--json`: the source under the log's own word for it, `step`; and `fields`, where the
        message is a JSON object, as the functions print, or pairs, as the training prints."""
        told = asdict(self) | {"time": self.time.isoformat(timespec="milliseconds")}
        told = {"step" if name == "source" else name: value for name, value in told.items()}
        fields = _fields(self.message)
        return told | {"fields": fields} if fields else told


class Logs:
    """The logs of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._logs = aws.client("logs")

    def of_steps(self, steps: Sequence[StepStatus], execution: str) -> list[Source]:
        """The logs of those steps of an execution (its id) that have any."""
        sources = []
        for step in steps:
            if step.job_kind in JOB_GROUPS:
                ran_in = _JOB_OF_EXECUTION.match(step.job_name)
                own = ran_in[1] if ran_in and step.is_cached else execution
                group = JOB_GROUPS[step.job_kind]
                sources.append(Source(step.name, own, group, f"{step.job_name}/"))
            elif step.name in _LAMBDA_STEPS and step.started:
                group = f"/aws/lambda/{self._aws.settings.function_name(_LAMBDA_STEPS[step.name])}"
                until = step.ended and step.ended + timedelta(seconds=_LATE)
                since = step.started - timedelta(seconds=1)
                sources.append(Source(step.name, execution, group, "", since, until))
        return sources

    def of_upload(self, found: UploadState) -> list[Source]:
        """The log of an upload's prediction job, or of each share of it."""
        job_id = (found.record or {}).get("job_id")
        if not job_id:
            return []
        batch = self._aws.client("batch")
        jobs = batch.describe_jobs(jobs=[job_id])["jobs"]
        size = jobs[0].get("arrayProperties", {}).get("size", 0) if jobs else 0
        for start in range(0, size, _DESCRIBED):
            shares = range(start, min(size, start + _DESCRIBED))
            described = batch.describe_jobs(jobs=[f"{job_id}:{share}" for share in shares])
            jobs += described["jobs"]
        return [source for job in jobs for source in _batch_sources(job, found.upload.key)]

    def of_function(self, function: str, since: datetime) -> list[Source]:
        """The log of a function, by its name or the short one.

        Raises
        ------
        UserError
            There is no such function.
        """
        for short in get_args(Function):
            name = self._aws.settings.function_name(short)
            if function in (short, name):
                return [Source(short, "", f"/aws/lambda/{name}", "", since)]
        raise UserError(
            f"There is no function {function}; there are {', '.join(get_args(Function))}"
        )

    def read(self, sources: Sequence[Source]) -> Iterator[Event]:
        """What is there, oldest first."""
        tails = [tail for source in sources for tail in self._tails(source)]
        yield from heapq.merge(*(tail.new() for tail in tails), key=lambda event: event.time)

    def follow(
        self, look: Callable[[], tuple[Sequence[Source], bool]], pause: float = 1.0
    ) -> Iterator[Event]:
        """What is there, and then what comes, until `look` says that all has ended: it tells the
        sources that there are now, and whether they have ended."""
        tails: dict[tuple[Source, str], _Tail] = {}
        while True:
            sources, has_ended = look()
            if has_ended:
                time.sleep(min(pause, _LATE))  # the last lines come later than the end
            for source in sources:
                for tail in self._tails(source):
                    tails.setdefault((_key(source), tail.stream), tail)
            yield from sorted(
                (event for tail in tails.values() for event in tail.new()),
                key=lambda event: event.time,
            )
            if has_ended:
                return
            time.sleep(pause)

    def _tails(self, source: Source) -> Iterator[_Tail]:
        try:
            for stream in streams(self._logs, source.group, source.prefix, source.since):
                yield _Tail(self._logs, source, stream["logStreamName"])
        except self._logs.exceptions.ResourceNotFoundException:
            return  # nothing was ever printed, or it is gone


class _Tail:
    """One stream, read on from where it was left."""

    def __init__(self, logs: Any, source: Source, stream: str) -> None:
        self.stream = stream
        self._logs = logs
        self._source = source
        self._token = ""

    def new(self) -> Iterator[Event]:
        """The events since the last call."""
        source = self._source
        given: dict[str, Any] = {"logGroupName": source.group, "logStreamName": self.stream}
        if source.since:
            given["startTime"] = int(source.since.timestamp() * 1000)
        if source.until:
            given["endTime"] = int(source.until.timestamp() * 1000)
        while True:
            more = {"nextToken": self._token} if self._token else {"startFromHead": True}
            try:
                answer = self._logs.get_log_events(**given, **more)
            except self._logs.exceptions.ResourceNotFoundException:
                return
            for event in answer["events"]:
                when = datetime.fromtimestamp(event["timestamp"] / 1000, timezone.utc)
                for line in event["message"].splitlines():
                    told = (source.execution, plain(source.name), plain(line).rstrip())
                    yield Event(when, *told)
            before, self._token = self._token, answer["nextForwardToken"]
            if self._token == before:  # the same again: this is the end for now
                return


def streams(
    logs: Any, group: str, prefix: str, since: datetime | None = None
) -> Iterator[dict[str, Any]]:
    """The streams of a group whose names begin so, or (without a prefix) those that were written to
    since then, newest first."""
    pages = logs.get_paginator("describe_log_streams")
    if prefix:
        for page in pages.paginate(logGroupName=group, logStreamNamePrefix=prefix):
            yield from page["logStreams"]
        return
    # CloudWatch may take an hour to tell when a stream was last written to.
    oldest = since.timestamp() - 3600 if since else 0.0
    for page in pages.paginate(logGroupName=group, orderBy="LastEventTime", descending=True):
        for stream in page["logStreams"]:
            written = stream.get("lastEventTimestamp", stream.get("creationTime", 0))
            if written / 1000 < oldest:
                return
            yield stream


def last_lines(logs: Any, group: str, job: str) -> tuple[list[str], str]:
    """The last lines of a job's log, oldest first, and why they cannot be read, if so: the cause is
    told even to those who may not. No lines where it never wrote one, or it is gone."""
    try:
        found = list(streams(logs, group, f"{job}/"))
        if not found:
            return [], ""
        newest = max(found, key=lambda one: one.get("lastEventTimestamp", 0))
        events = logs.get_log_events(
            logGroupName=group,
            logStreamName=newest["logStreamName"],
            startFromHead=False,
            limit=MOST_LINES,
        )["events"]
    except logs.exceptions.ResourceNotFoundException:
        return [], ""
    except ClientError as error:
        return [], plain(str(error))
    lines = [plain(line) for event in events for line in event["message"].splitlines()]
    return [line[:LONGEST_LINE] for line in lines[-MOST_LINES:]], ""


def _fields(message: str) -> dict[str, Any]:
    """What a message tells by name; empty where it is a sentence."""
    if message.startswith("{"):
        with contextlib.suppress(ValueError, RecursionError):
            document = json.loads(message, parse_constant=str)
            return document if isinstance(document, dict) else {}
        return {}
    if not _PAIRS.fullmatch(message):
        return {}
    pairs = (one.split("=", 1) for one in message.split(" "))
    return {name: _value(given) for name, given in pairs}


def _value(given: str) -> int | float | str:
    if not _NUMBER.fullmatch(given):
        return given
    return int(given) if given.lstrip("-").isdigit() else float(given)


def _key(source: Source) -> Source:
    """What stays the same of a source while it grows."""
    return Source(source.name, source.execution, source.group, source.prefix, source.since)


def _batch_sources(job: dict[str, Any], name: str) -> list[Source]:
    """One for each attempt of a Batch job."""
    container = job.get("container", {})
    options = container.get("logConfiguration", {}).get("options", {})
    group = options.get("awslogs-group", _BATCH_GROUP)
    attempts = [one.get("container", {}) for one in job.get("attempts", [])]
    written = [one.get("logStreamName") for one in (*attempts, container)]
    share = job.get("arrayProperties", {}).get("index")
    shown = name if share is None else f"{name} share {share}"
    return [Source(shown, "", group, stream) for stream in dict.fromkeys(filter(None, written))]
