"""There is one training for each change and none is forgotten: whatever is delivered twice or out
of order, wherever the function dies, how many of it run at once, and whatever people do meanwhile.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.causes import Request
from lambdas.datasets import DataChangedError, OutOfTimeError
from lambdas.errors import RetrainError
from lambdas.objects import BeingWrittenError
from tests.lambdas.eventbridge import created
from tests.lambdas.training import DATA, QUIET, Training, definition, table
from tests.lambdas.world import FAULTS, Fault, Invocation, Message

Kind = Literal["wait", "deliver", "ask", "go on", "upload", "remove", "end", "upsert"]
KINDS: dict[Kind, int] = {
    "wait": 2,
    "deliver": 4,
    "ask": 3,
    "go on": 5,
    "upload": 3,
    "remove": 1,
    "end": 3,
    "upsert": 1,
}
NAMES = ("train/a.csv", "test/t.csv", "train/b.csv")
ENDS: tuple[tuple[str, ...], ...] = (
    ("Succeeded",),
    ("Failed", "Train", "ModelRejected"),
    ("Failed", "Validate"),
    ("Stopped",),
)
VISIBILITY = timedelta(seconds=900)
TIMEOUT = timedelta(seconds=900)
COME_AGAIN = (RetrainError, DataChangedError, OutOfTimeError, BeingWrittenError)


@dataclass(frozen=True)
class Turn:
    """One thing that happens; an invocation goes on for some requests, the next has the fault."""

    kind: Kind
    number: int
    requests: int = 0
    fault: Fault = "none"


TURNS = st.builds(
    Turn,
    kind=st.sampled_from([kind for kind, times in KINDS.items() for _ in range(times)]),
    number=st.integers(0, 11),
    requests=st.integers(0, 25),
    fault=st.sampled_from([*["none"] * len(FAULTS), *FAULTS]),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(turns=st.lists(TURNS, min_size=8, max_size=24))
def test_each_change_is_trained_once_and_none_is_forgotten(turns: list[Turn]) -> None:
    story = Story()
    try:
        story.upload(0, 3)
        story.upload(1, 2)
        for turn in turns:
            story.take(turn)
        story.drain()
    finally:
        story.close()


@dataclass
class Story(Training):
    """What happens, and what must hold after each request."""

    queue: list[Message] = field(default_factory=list)
    invocations: list[Invocation] = field(default_factory=list)
    running: Invocation | None = None
    seen: int = 0
    is_newest_an_upload: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.call = lambda name, effect: (
            effect() if self.running is None else self.running.request(name, effect)
        )

    def served(self) -> int:
        return 0

    def take(self, turn: Turn) -> None:
        match turn.kind:
            case "wait":
                self.time += timedelta(seconds=(5, 200, 400, 1000)[turn.number % 4])
                for invocation in list(self.invocations):
                    if self.time >= invocation.deadline:  # Lambda ends it
                        self._step(invocation, "dies before")
            case "deliver" if len(self.invocations) < 3:
                found = [one for one in self.queue if one.visible_at <= self.time]
                if found:  # now and then SQS forgets that a message was deleted
                    message = found[turn.number % len(found)]
                    self._go(self.deliver(message, deletes=turn.number < 9), turn)
            case "ask" if len(self.invocations) < 3:
                self._go(self.ask(), turn)
            case "go on" if self.invocations:
                self._go(self.invocations[turn.number % len(self.invocations)], turn)
            case "upload":
                self.upload(turn.number % 3, turn.number)
            case "remove":
                self.remove(NAMES[2 * (turn.number % 2)])
                self.is_newest_an_upload = False
            # An execution that ends, or another definition, between two invocations' looks at what
            # there is may lead to two executions: README.md, "What is left to chance".
            case "end" if not self.invocations:
                going = self._going()
                if going:
                    self.end(going[turn.number % len(going)], *ENDS[turn.requests % len(ENDS)])
            case "upsert" if not self.invocations:
                self.sagemaker.definition = definition(("one", "two")[turn.number % 2])

    def upload(self, name: int, rows: int) -> None:
        self.put(NAMES[name], table(rows))
        body = created(f"labelled/{NAMES[name]}", bucket=DATA)
        self.queue.append(Message(body, self.time + QUIET))
        self.is_newest_an_upload = True

    def ask(self) -> Invocation:
        return self._begin(
            lambda: self.retrainer().run(Request("manual"), self.time + TIMEOUT),
            lambda _: None,
        )

    def deliver(self, message: Message, deletes: bool = True) -> Invocation:
        message.visible_at = self.time + VISIBILITY

        def done(_: Any) -> None:
            if deletes and message in self.queue:
                self.queue.remove(message)

        deadline = self.time + TIMEOUT
        return self._begin(lambda: self.retrainer().handle(message.body, deadline), done)

    def drain(self) -> None:
        """All goes well from now on: what runs ends, and the queue empties."""
        for invocation in list(self.invocations):
            self._finish(invocation)
        while self.queue:
            self.time = max(self.time, min(one.visible_at for one in self.queue))
            message = min(self.queue, key=lambda one: one.visible_at)
            self._finish(self.deliver(message))
        if self.is_newest_an_upload and self._has_both_sets():
            assert self._current() in [one["TrainData"] for one in self._parameters()]
        before = len(self.sagemaker.executions)
        self._finish(self.ask())
        self._finish(self.ask())
        assert len(self.sagemaker.executions) <= before + 1

    def close(self) -> None:
        for invocation in list(self.invocations):
            if not invocation.is_over:
                self.running = invocation
                invocation.step("dies before")

    def check(self) -> None:
        for version in self.versions():
            self.check_version(version)
        executions = list(self.sagemaker.executions.values())
        going = Counter(_content(one) for one in executions if one["Status"] == "Executing")
        assert not [one for one, count in going.items() if count > 1], "two for the same"
        for number in range(self.seen, len(executions)):
            settled = [
                _content(one)
                for one in executions[:number]
                if one["Status"] == "Succeeded" or "ModelRejected" in one["Steps"]
            ]
            assert _content(executions[number]) not in settled, "settled already"
            version = executions[number]["Parameters"]["DataManifest"].split("/")[-2]
            assert version in self.versions()
        self.seen = len(executions)

    def _begin(self, work: Any, done: Any) -> Invocation:
        def try_it() -> Any:
            try:
                return work()
            except COME_AGAIN:
                return COME_AGAIN

        self.running = None
        invocation = Invocation(
            self, try_it, lambda answer: None if answer is COME_AGAIN else done(answer)
        )
        invocation.deadline = self.time + TIMEOUT
        self.invocations.append(invocation)
        return invocation

    def _go(self, invocation: Invocation, turn: Turn) -> None:
        for fault in [*["none"] * turn.requests, turn.fault]:
            if not invocation.is_over:
                self._step(invocation, fault)  # type: ignore[arg-type]

    def _finish(self, invocation: Invocation) -> None:
        while not invocation.is_over:
            self._step(invocation, "none")

    def _step(self, invocation: Invocation, fault: Fault) -> None:
        invocation.step(fault)
        self.running = None
        self.invocations = [one for one in self.invocations if not one.is_over]
        self.check()

    def _going(self) -> list[str]:
        executions = self.sagemaker.executions.items()
        return [arn for arn, one in executions if one["Status"] == "Executing"]

    def _has_both_sets(self) -> bool:
        return {"labelled/train/", "labelled/test/"} == {
            key.rpartition("/")[0] + "/" for key in self.stored("labelled/")
        }

    def _current(self) -> str:
        deadline = self.time + TIMEOUT
        return self.quietly(lambda: self.datasets().pin(deadline)).address("train/")

    def _parameters(self) -> list[dict[str, str]]:
        return [one["Parameters"] for one in self.sagemaker.executions.values()]


def _content(execution: dict[str, Any]) -> tuple[str, ...]:
    parameters = execution["Parameters"]
    return execution["Definition"], parameters["TrainData"], parameters["TestData"]
