"""Each upload gets exactly one job per attempt and none is lost: whatever is delivered twice, out
of order or not at all, wherever a function dies, and whatever people do meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas import layout
from tests.lambdas.eventbridge import RESULTS, retry
from tests.lambdas.world import FAULTS, Fault, Invocation, World

Kind = Literal[
    "wait", "deliver", "go on", "sweep", "upload", "end a job", "ask again", "change models"
]
# How often each comes: mostly Lambda works, and now and then people do something.
KINDS: dict[Kind, int] = {
    "wait": 2,
    "deliver": 6,
    "go on": 4,
    "sweep": 2,
    "upload": 1,
    "end a job": 2,
    "ask again": 1,
    "change models": 2,
}
# A shortcut to where it becomes difficult.
Beginning = Literal["model", "no model", "dead claim", "failed job"]
BEGINNINGS: tuple[Beginning, ...] = ("model", "no model", "dead claim", "failed job")
SECONDS = (1, 30, 65, 400, 90_000)
ENDS = (("SUCCEEDED", "succeeded"), ("FAILED", "failed"), ("FAILED", ""), ("RUNNING", "failed"))

# What a message may fail for; anything else is a fault of the functions.
KNOWN_FAILURES = {
    "ClaimedError",
    "ClientError",
    "EndpointConnectionError",
    "NoModelError",
    "NotListedError",
    "OutOfTimeError",
    "ReadTimeoutError",
}


@dataclass(frozen=True)
class Turn:
    """One thing that happens: to the `number`-th of what it can happen to, wrapped around.

    An invocation goes on for some requests; the next has the fault. As often as not that is none,
    and it pauses there, so that another may come in between.
    """

    kind: Kind
    number: int
    requests: int = 0
    fault: Fault = "none"


TURNS = st.builds(
    Turn,
    kind=st.sampled_from([kind for kind, times in KINDS.items() for _ in range(times)]),
    number=st.integers(0, 7),
    requests=st.integers(0, 12),
    fault=st.sampled_from([*["none"] * len(FAULTS), *FAULTS]),
)


@settings(
    max_examples=800,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    beginning=st.sampled_from(BEGINNINGS),
    copies=st.sampled_from([2, 1, 0]),
    turns=st.lists(TURNS, min_size=10, max_size=20),
)
def test_each_upload_has_one_job_per_attempt_and_none_is_lost(
    beginning: Beginning, copies: int, turns: list[Turn]
) -> None:
    story = Story()
    try:
        story.begin(beginning, copies)
        for turn in turns:
            story.take(turn)
        story.world.drain()
        story.check()
        story.check_that_nothing_is_lost()
    finally:
        story.world.close()


@dataclass
class Story:
    """What happens, and what must hold after each request."""

    world: World = field(default_factory=World)
    attempts: dict[str, int] = field(default_factory=dict)

    def begin(self, beginning: Beginning, copies: int) -> None:
        if beginning != "no model":
            self.world.approve(1)
        self.upload("a.csv", copies)
        if beginning in ("dead claim", "failed job"):
            self.world.announce(self.world.uploads[0])
            invocation = self.world.deliver(self.world.queue[-1:], deletes=True)
            while not invocation.is_over:
                is_claimed = any(self._records())
                dies = is_claimed and beginning == "dead claim"
                self._go(invocation, Turn("go on", 0, fault="dies before" if dies else "none"))
            self.world.advance(timedelta(seconds=400))
        if beginning == "failed job":
            for job in self.world.batch.jobs.values():
                self.world.end_job(job, "FAILED", "")
            for _ in range(2):
                self.world.send(retry(self.world.uploads[0].id, attempt=1))

    def take(self, turn: Turn) -> None:
        match turn.kind:
            case "wait":
                self.world.advance(timedelta(seconds=SECONDS[turn.number % len(SECONDS)]))
            case "deliver":
                self._deliver(turn)
            case "go on" if self.world.invocations:
                self._go(self._one(self.world.invocations, turn), turn)
            case "sweep" if len(self.world.invocations) < 3:
                self._go(self.world.sweep(), turn)
            case "upload" if len(self.world.uploads) < 3:
                name = ("a.csv", "b c+%.csv")[turn.number % 2]  # a name may be used again
                self.upload(name, copies=turn.number // 2)
            case "end a job" if self._going():
                self.world.end_job(self._one(self._going(), turn), *ENDS[turn.requests % len(ENDS)])
            case "ask again":
                upload = self._one(self.world.uploads, turn).id
                record = self._record(upload)
                self.world.send(retry(upload, **({"attempt": record["attempt"]} if record else {})))
            case "change models":
                self._change_models(turn.requests % 5, 1 + turn.number % 3)

    def upload(self, name: str, copies: int) -> None:
        """The event may come twice, or be lost."""
        upload = self.world.put(name)
        for _ in range(copies):
            self.world.announce(upload)

    def check(self) -> None:
        jobs = {job["jobName"]: job for job in self.world.batch.jobs.values()}
        names = Counter(job["jobName"] for job in self.world.batch.jobs.values())
        assert not [name for name, count in names.items() if count > 1], "two jobs for one attempt"
        for name in names:
            upload, attempt = layout.parse_job_name(name) or ("", 0)
            if attempt > 1:
                before = jobs[layout.job_name(upload, attempt - 1)]
                outcome = self._outcome(before)
                assert outcome == "failed" or (outcome == "" and before["status"] == "FAILED")
        for record in self._records():
            if record["job_id"]:
                job = self.world.batch.jobs[record["job_id"]]
                given = _environment(job)
                assert job["jobName"] == record["job_name"]
                assert job["jobName"] == layout.job_name(record["upload_id"], record["attempt"])
                assert given["MODEL_PACKAGE_ARN"] == record["model_package_arn"]
                assert given["RESULTS_PREFIX"] == record["results_prefix"]

    def check_that_nothing_is_lost(self) -> None:
        for upload in self.world.uploads:
            record = self._record(upload.id)
            marker = self.world.s3.newest(RESULTS, layout.waiting_key(upload.id))
            if record is None:
                assert marker is not None, "neither submitted nor waiting: it is lost"
                assert not self.world.served(), "it waits although a model is approved"
            else:
                assert record["job_id"], "claimed, and never submitted"
                assert marker is None, "submitted, and it looks as if it waited"
        for letter in self.world.sqs.sent.get("dead", []):
            reason = letter["MessageAttributes"]["Reason"]["StringValue"]
            assert reason.partition(":")[0] in KNOWN_FAILURES, reason

    def _deliver(self, turn: Turn) -> None:
        found = self.world.next_visible()
        if found and len(self.world.invocations) < 3:
            first = turn.number % len(found)
            batch = found[first : first + 1 + turn.number % 2]
            # Now and then SQS forgets that a message was deleted.
            self._go(self.world.deliver(batch, deletes=turn.number < 6), turn)

    def _go(self, invocation: Invocation, turn: Turn) -> None:
        faults: list[Fault] = [*["none"] * turn.requests, turn.fault]  # type: ignore[list-item]
        for fault in faults:
            if not invocation.is_over:
                self.world.step(invocation, fault)
                self.check()
                self._check_models(invocation)

    def _check_models(self, invocation: Invocation) -> None:
        """A claim pins a model that was the approved one while its invocation ran."""
        for record in self._records():
            if self.attempts.get(record["upload_id"], 0) < record["attempt"]:
                self.attempts[record["upload_id"]] = record["attempt"]
                assert record["model_package_version"] in invocation.served

    def _change_models(self, change: int, version: int) -> None:
        match change:
            case 0:
                self.world.approve(version)
            case 1:  # and its event is lost
                self.world.approve(version)
                self.world.queue.pop()
            case 2 if version in self.world.sagemaker.versions:
                self.world.reject(version)
            case 3:
                self.world.roll_back(version)
            case 4:
                self.world.roll_back(None)

    def _one(self, things: list[Any], turn: Turn) -> Any:
        return things[turn.number % len(things)]

    def _going(self) -> list[dict[str, Any]]:
        jobs = self.world.batch.jobs.values()
        return [job for job in jobs if job["status"] == "RUNNING" and not self._outcome(job)]

    def _outcome(self, job: dict[str, Any]) -> str:
        prefix = _environment(job)["RESULTS_PREFIX"]
        found = self.world.s3.newest(RESULTS, prefix + layout.MANIFEST)
        return json.loads(found.body)["outcome"] if found else ""

    def _record(self, upload_id: str) -> dict[str, Any] | None:
        found = self.world.s3.newest(RESULTS, layout.submission_key(upload_id))
        return json.loads(found.body) if found else None

    def _records(self) -> Iterator[dict[str, Any]]:
        for upload in self.world.uploads:
            record = self._record(upload.id)
            if record is not None:
                yield record


def _environment(job: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in job["containerOverrides"]["environment"]}
