"""Scheduled rules fire when their time has come, which counts from the start of the local cloud;
functions that make up for what was missed are called at the start."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import Any

import boto3
import pytest

from pipelines.local.functions import Answer
from pipelines.local.schedules import Schedules
from tests.local.local_cloud import wait_for

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:sweep"
AT_ONCE = {FUNCTION: '{"minimum_age_seconds": 0}'}
MINUTE = 60.0


@dataclass
class Functions:
    """Notes what is invoked."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    failing: bool = False

    def invoke(self, name: str, payload: bytes) -> Answer:
        self.calls.append((name, json.loads(payload)))
        return Answer(b'{"errorMessage": "no"}', "Unhandled") if self.failing else Answer(b"null")


@dataclass
class Clock:
    """A clock that the tests set; `looked` counts who asked."""

    time: float = datetime(2026, 11, 23, 5, 50, 30, tzinfo=timezone.utc).timestamp()  # a Monday
    looked: int = 0

    def __call__(self) -> float:
        self.looked += 1
        return self.time


@dataclass
class Running:
    schedules: Schedules
    functions: Functions
    clock: Clock
    events: Any

    def rule(self, rate: str, *targets: Any, **more: Any) -> None:
        self.events.put_rule(Name="sweep", ScheduleExpression=rate, **more)
        self.events.put_targets(
            Rule="sweep", Targets=[{"Id": str(i), **one} for i, one in enumerate(targets)]
        )

    def pass_time(self, seconds: float) -> None:
        """Lets the time pass, and two looks at the rules."""
        self.clock.time += seconds
        before = self.clock.looked
        wait_for(lambda: self.clock.looked >= before + 2)


@pytest.fixture
def running(empty_aws: str) -> Iterator[Running]:
    functions, clock = Functions(), Clock()
    client = partial(boto3.client, endpoint_url=empty_aws)
    schedules = Schedules(functions, client, clock, look_seconds=0.01)  # type: ignore[arg-type]
    yield Running(schedules, functions, clock, client("events"))
    schedules.close()


def test_a_function_that_catches_up_is_called_at_the_start_and_then_at_its_rate(
    running: Running,
) -> None:
    running.rule("rate(15 minutes)", {"Arn": FUNCTION, "Input": '{"a": 1}'})
    running.schedules.start(AT_ONCE)
    running.pass_time(0)
    assert running.functions.calls == [(FUNCTION, {"minimum_age_seconds": 0})]
    running.pass_time(14 * MINUTE)
    assert len(running.functions.calls) == 1
    running.pass_time(MINUTE)
    wait_for(lambda: len(running.functions.calls) == 2)
    assert running.functions.calls[1] == (FUNCTION, {"a": 1})
    running.pass_time(15 * MINUTE)
    wait_for(lambda: len(running.functions.calls) == 3)


def test_at_the_start_no_other_function_is_called(running: Running) -> None:
    retrain = FUNCTION.replace("sweep", "retrain")
    running.rule("rate(1 day)", {"Arn": retrain, "Input": '{"cause": "schedule"}'})
    running.schedules.start(AT_ONCE)
    running.pass_time(0)
    running.pass_time(23 * 60 * MINUTE)
    assert running.functions.calls == []
    running.pass_time(60 * MINUTE)
    wait_for(lambda: running.functions.calls == [(retrain, {"cause": "schedule"})])


def test_a_cron_rule_fires_in_its_minute_once(running: Running) -> None:
    running.rule("cron(0 6 ? * MON *)", {"Arn": FUNCTION, "Input": '{"cause": "schedule"}'})
    running.schedules.start()
    running.pass_time(0)

    def has_calls(count: int) -> bool:
        return len(running.functions.calls) == count

    for seconds, calls in ((9 * MINUTE, 0), (40, 1), (10, 1), (24 * 60 * MINUTE, 1)):
        running.pass_time(seconds)
        wait_for(partial(has_calls, calls))
    running.pass_time(6 * 24 * 60 * MINUTE)  # the machine slept through the minute itself
    wait_for(lambda: len(running.functions.calls) == 2)


def test_an_expression_that_is_not_understood_is_told_once(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.rule("cron(0 6 L * ? *)", {"Arn": FUNCTION})
    running.schedules.start()
    for _ in range(3):
        running.pass_time(31 * 24 * 60 * MINUTE)
    assert running.functions.calls == []
    assert capsys.readouterr().err.count("cron(0 6 L * ? *) never fires here") == 1


def test_without_an_input_the_function_gets_the_scheduled_event(running: Running) -> None:
    running.rule("rate(1 minute)", {"Arn": FUNCTION}, {"Arn": "arn:aws:sqs:eu-west-1:1:q"})
    running.schedules.start()
    running.pass_time(0)
    running.pass_time(MINUTE)
    wait_for(lambda: running.functions.calls)
    ((name, event),) = running.functions.calls
    assert name == FUNCTION
    assert (event["detail-type"], event["source"]) == ("Scheduled Event", "aws.events")
    assert event["resources"][0].endswith(":rule/sweep")
    assert (event["region"], event["account"]) == ("eu-west-1", "123456789012")


def test_a_rule_that_comes_later_fires_when_its_time_has_passed(running: Running) -> None:
    running.schedules.start()
    running.pass_time(0)
    running.rule("rate(1 hour)", {"Arn": FUNCTION})
    running.pass_time(0)
    running.pass_time(59 * MINUTE)
    assert running.functions.calls == []
    running.pass_time(MINUTE)
    wait_for(lambda: len(running.functions.calls) == 1)


def test_a_disabled_rule_and_one_of_events_do_not_fire(running: Running) -> None:
    running.rule("rate(1 minute)", {"Arn": FUNCTION}, State="DISABLED")
    running.events.put_rule(Name="pattern", EventPattern='{"source": ["aws.s3"]}')
    running.events.put_targets(Rule="pattern", Targets=[{"Id": "1", "Arn": FUNCTION}])
    running.schedules.start()
    for _ in range(3):
        running.pass_time(24 * 60 * MINUTE)
    assert running.functions.calls == []
    running.events.enable_rule(Name="sweep")
    running.pass_time(0)
    running.pass_time(MINUTE)
    wait_for(lambda: len(running.functions.calls) == 1)


def test_a_function_that_fails_is_told_and_called_again(
    running: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    running.functions.failing = True
    running.rule("rate(1 minute)", {"Arn": FUNCTION})
    running.schedules.start(AT_ONCE)
    running.pass_time(0)
    running.pass_time(MINUTE)
    wait_for(lambda: len(running.functions.calls) == 2)
    wait_for(lambda: threading.active_count() and "sweep" in capsys.readouterr().err)


def test_after_close_nothing_fires(running: Running) -> None:
    running.rule("rate(1 minute)", {"Arn": FUNCTION})
    running.schedules.start(AT_ONCE)
    running.pass_time(0)
    running.schedules.close()
    running.clock.time += 60 * MINUTE
    looked = running.clock.looked
    threading.Event().wait(0.1)
    assert running.clock.looked == looked
    assert len(running.functions.calls) == 1
