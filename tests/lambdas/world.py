"""A world in which the functions run in any order, die anywhere, and time is virtual.

Each invocation is a thread that stops before each of its requests to AWS until it is told to go on,
and how: only one thread runs at any time, so a run is what its choices make it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from lambdas import layout, messages
from lambdas.events import Upload
from lambdas.jobs import Jobs
from lambdas.registry import Registry
from lambdas.settings import SubmitSettings, SweepSettings
from lambdas.submissions import Submissions
from lambdas.submit import Submitter
from lambdas.sweep import Sweep
from tests.lambdas.eventbridge import GROUP, MODELS, RESULTS, UPLOADS, created, state_change
from tests.lambdas.fakes import FakeBatch, FakeS3, FakeSageMaker, FakeSqs, client_error

MAX_RECEIVES = 3
TIMEOUT = timedelta(seconds=60)
VISIBILITY = timedelta(seconds=360)
MINIMUM_AGE = timedelta(seconds=900)

SUBMIT = SubmitSettings(
    GROUP, MODELS, UPLOADS, RESULTS, "queue", "definition", "dead", MAX_RECEIVES, shard_bytes=10
)
SWEEP = SweepSettings(
    GROUP, MODELS, UPLOADS, RESULTS, "queue", int(MINIMUM_AGE.total_seconds()), "test"
)

Fault = Literal[
    "none",
    "dies before",  # the request is not sent
    "dies after",  # it takes effect, and nobody hears of it
    "refused",  # an error before it takes effect
    "answer lost",  # an error after it took effect
    "repeated",  # the answer was lost, and botocore sends the request again
    "throttled",
]
FAULTS: tuple[Fault, ...] = (
    "none",
    "dies before",
    "dies after",
    "refused",
    "answer lost",
    "repeated",
    "throttled",
)


class DeadError(BaseException):
    """The process is gone, as by kill -9: nothing in the code may catch it."""


@dataclass(eq=False)
class Message:
    body: str
    visible_at: datetime
    receives: int = 0


class Host(Protocol):
    """Where invocations run, one at a time."""

    time: datetime
    running: Invocation | None

    def served(self) -> int: ...


class Invocation:
    """One invocation of a function: goes on by one request at a time."""

    def __init__(self, world: Host, work: Callable[[], Any], done: Callable[[Any], None]) -> None:
        self._world = world
        self._work = work
        self._done = done
        self._go = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._fault: Fault = "none"
        self._error: BaseException | None = None
        self.deadline = world.time + TIMEOUT
        self.served = {world.served()}  # the models that were the approved one while it ran
        self.is_over = False
        threading.Thread(target=self._run, daemon=True).start()
        self._stopped.acquire()

    def step(self, fault: Fault = "none") -> None:
        """Lets it make its next request."""
        self._fault, self._world.running = fault, self
        self._go.release()
        self._stopped.acquire()
        if self._error is not None:
            raise self._error

    def request(self, name: str, effect: Callable[[], Any]) -> Any:
        """A request of this invocation: waits to be told what becomes of it."""
        self._wait()
        fault = self._fault
        if fault == "dies before":
            raise DeadError
        if fault == "refused":
            raise EndpointConnectionError(endpoint_url="any")
        if fault == "throttled" and name == "submit_job":
            raise client_error("TooManyRequestsException", 429)
        answer = effect()
        if fault == "dies after":
            raise DeadError
        if fault == "answer lost":
            raise ReadTimeoutError(endpoint_url="any")
        if fault == "repeated" and name != "submit_job":
            answer = effect()
        return answer

    def _run(self) -> None:
        try:
            self._wait()
            self._done(self._work())
        except (DeadError, ClientError, BotoCoreError):
            pass  # an invocation that failed: its messages come again
        except BaseException as error:  # a fault of ours: raised in the thread that steps
            self._error = error
        self.is_over = True
        self._stopped.release()

    def _wait(self) -> None:
        self._stopped.release()
        self._go.acquire()


@dataclass
class World:
    """Buckets, jobs, models, the queue, and the invocations that run."""

    time: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)
    queue: list[Message] = field(default_factory=list)
    uploads: list[Upload] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    running: Invocation | None = None

    def __post_init__(self) -> None:
        self.s3 = FakeS3(self.now, self._request)
        self.batch = FakeBatch(self._request)
        self.sagemaker = FakeSageMaker(self._request)
        self.sqs = FakeSqs(self._request)

    # What people and AWS do.

    def put(self, name: str) -> Upload:
        """Someone uploads a file; its event is `announce`d, or not."""
        key, body = f"incoming/{name}", b"text\nsome claim\n"
        put = self._quietly(lambda: self.s3.put_object(Bucket=UPLOADS, Key=key, Body=body))
        etag = put["ETag"].strip('"')
        upload = Upload(UPLOADS, key, put["VersionId"], etag, len(body))
        self.uploads.append(upload)
        return upload

    def announce(self, upload: Upload) -> None:
        more: dict[str, Any] = {"version-id": upload.version, "size": upload.size}
        self.send(created(upload.key, upload.etag, **more))

    def approve(self, version: int) -> None:
        self.sagemaker.versions[version] = "Approved"
        self.send(state_change(FakeSageMaker.arn(version), group=GROUP, version=version))
        self._model_changed()

    def reject(self, version: int) -> None:
        self.sagemaker.versions[version] = "Rejected"
        self._model_changed()

    def roll_back(self, ceiling: int | None) -> None:
        key = layout.serving_key(GROUP)
        if ceiling is None:
            self._quietly(lambda: self.s3.delete_object(Bucket=MODELS, Key=key))
        else:
            body = b'{"ceiling": %d}' % ceiling
            self._quietly(lambda: self.s3.put_object(Bucket=MODELS, Key=key, Body=body))
        self._model_changed()

    def served(self) -> int:
        """The version that new uploads get now; 0 if none."""
        found = self.s3.newest(MODELS, layout.serving_key(GROUP))
        ceiling = int(found.body.split()[1].rstrip(b"}")) if found else 1000
        versions = self.sagemaker.versions.items()
        return max(
            (v for v, status in versions if status == "Approved" and v <= ceiling), default=0
        )

    def end_job(self, job: dict[str, Any], status: str, outcome: str) -> None:
        """A job ends, with a manifest of that outcome or (empty) without."""
        if outcome:
            given = job["containerOverrides"]["environment"]
            prefix = next(one["value"] for one in given if one["name"] == "RESULTS_PREFIX")
            body = b'{"outcome": "%s"}' % outcome.encode()
            self._quietly(
                lambda: self.s3.put_object(Bucket=RESULTS, Key=prefix + layout.MANIFEST, Body=body)
            )
        job["status"] = status

    def send(self, body: str) -> None:
        self.queue.append(Message(body, self.time))

    def advance(self, by: timedelta) -> None:
        """Time passes; Lambda ends what is over its time."""
        self.time += by
        for invocation in list(self.invocations):
            if self.time >= invocation.deadline:
                invocation.step("dies before")
        self._sort_out()

    # What Lambda does.

    def visible(self) -> list[Message]:
        """What may be delivered now; what was delivered too often goes by the redrive policy."""
        self.queue += [
            Message(sent["MessageBody"], self.time) for sent in self.sqs.sent.pop("queue", [])
        ]
        self.queue = [
            one for one in self.queue if one.receives < MAX_RECEIVES or one.visible_at > self.time
        ]
        return [one for one in self.queue if one.visible_at <= self.time]

    def next_visible(self) -> list[Message]:
        """What may be delivered now, or else as soon as something may."""
        found = self.visible()
        if not found and self.queue:
            self.advance(min(one.visible_at for one in self.queue) - self.time)
            found = self.visible()
        return found

    def deliver(self, batch: list[Message], deletes: bool = True) -> Invocation:
        """Begins an invocation of submit; without `deletes`, SQS forgets what was done."""
        for message in batch:
            message.receives += 1
            message.visible_at = self.time + VISIBILITY
        records = [
            {
                "messageId": str(number),
                "body": message.body,
                "attributes": {"ApproximateReceiveCount": str(message.receives)},
                "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:uploads",
            }
            for number, message in enumerate(batch)
        ]

        def done(answer: messages.Answer) -> None:
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            for number, message in enumerate(batch):
                if str(number) not in failed and deletes and message in self.queue:
                    self.queue.remove(message)

        registry = Registry(self.sagemaker, self.s3, MODELS, GROUP)  # type: ignore[arg-type]
        jobs = Jobs(SUBMIT, self.batch, self.batch, self.now, self._sleep)  # type: ignore[arg-type]
        submissions = Submissions(self.s3, RESULTS)  # type: ignore[arg-type]
        submitter = Submitter(SUBMIT, submissions, registry, jobs, self.now)
        dead = messages.DeadLetters(self.sqs, "dead", MAX_RECEIVES)  # type: ignore[arg-type]
        context = Context(self.now, self.time + TIMEOUT)
        return self._begin(
            lambda: messages.handle_batch({"Records": records}, context, submitter, dead), done
        )

    def sweep(self, minimum_age: timedelta = MINIMUM_AGE) -> Invocation:
        """Begins an invocation of sweep."""
        registry = Registry(self.sagemaker, self.s3, MODELS, GROUP)  # type: ignore[arg-type]
        sweep = Sweep(SWEEP, self.s3, self.sqs, registry, self.now, page_size=2)  # type: ignore[arg-type]
        deadline = self.time + TIMEOUT
        return self._begin(lambda: sweep.run(minimum_age, deadline), lambda _: None)

    def step(self, invocation: Invocation, fault: Fault = "none") -> None:
        """Lets an invocation make its next request, if it has time left."""
        invocation.step(fault if self.time < invocation.deadline else "dies before")
        self._sort_out()

    def finish(self, invocation: Invocation) -> None:
        while not invocation.is_over:
            self.step(invocation)

    def drain(self) -> None:
        """All goes well from now on: what runs ends, the queue empties, a sweep finds the rest."""
        for invocation in list(self.invocations):
            self.finish(invocation)
        for _ in range(2):
            for _ in range(MAX_RECEIVES + 1):
                self.advance(VISIBILITY + TIMEOUT)
                for message in self.visible():
                    self.finish(self.deliver([message]))
            self.advance(timedelta(days=1))
            self.finish(self.sweep())
        while batch := self.visible():
            self.finish(self.deliver(batch[:1]))

    def now(self) -> datetime:
        return self.time

    def close(self) -> None:
        for invocation in self.invocations:
            if not invocation.is_over:
                invocation.step("dies before")

    def _begin(self, work: Callable[[], Any], done: Callable[[Any], None]) -> Invocation:
        invocation = Invocation(self, work, done)
        self.invocations.append(invocation)
        return invocation

    def _sort_out(self) -> None:
        self.invocations = [one for one in self.invocations if not one.is_over]

    def _model_changed(self) -> None:
        for invocation in self.invocations:
            invocation.served.add(self.served())

    def _request(self, name: str, effect: Callable[[], Any]) -> Any:
        return effect() if self.running is None else self.running.request(name, effect)

    def _quietly(self, effect: Callable[[], Any]) -> Any:
        self.running = None
        return effect()

    def _sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@dataclass
class Context:
    """Lambda's context object."""

    now: Callable[[], datetime]
    deadline: datetime

    def get_remaining_time_in_millis(self) -> int:
        return int((self.deadline - self.now()).total_seconds() * 1000)
