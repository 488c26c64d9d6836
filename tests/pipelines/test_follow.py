"""An execution while it runs, as a terminal shows it."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from rich.console import Console

from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.follow import Now, follow, step_table
from pipelines.logs import JOB_GROUPS
from pipelines.training_log import TrainingProgress
from tests.pipelines.deployment import Deployment

STATES = ("Starting", "Executing", "Stopping", "Stopped", "Failed", "Succeeded", "[/] of tomorrow")


@pytest.mark.parametrize("state", STATES)
def test_a_step_is_shown_in_every_state_that_the_service_may_tell(state: str) -> None:
    shown = io.StringIO()
    status = ExecutionStatus("arn", "Executing", "", [StepStatus("[Train", "TrainingJob", state)])
    Console(file=shown, force_terminal=True, width=80).print(step_table(status))
    assert state in shown.getvalue()
    assert "[Train" in shown.getvalue()


BEGAN = datetime.now(timezone.utc) - timedelta(seconds=65)
LOG = [
    "vectors for 2 of 3 words",
    "epoch=1 train_loss=0.5 samples_per_s=9",
    "epoch=2 train_loss=0.4",
    "descent=2 epoch=1 loss=0.3",
]


def statuses(*steps: StepStatus) -> Iterator[ExecutionStatus]:
    """One status after the other, each with one step."""
    return iter(ExecutionStatus("arn", "Executing", "", [step]) for step in steps)


def training(status: str = "Executing", **more: Any) -> StepStatus:
    arn = "arn:aws:sagemaker:eu-west-1:1:training-job/pipelines-abc-Train-x"
    return StepStatus("Train", "TrainingJob", status, BEGAN, job=arn, **more)


def test_elsewhere_than_on_a_terminal_each_change_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = [
        training(),
        training(),
        training(progress="epoch 1"),
        training(progress="epoch 1"),
        training(attempt=2),
        training("Succeeded", attempt=2, is_cached=True, ended=BEGAN + timedelta(seconds=3)),
    ]
    last = follow(statuses(*told))
    assert last.steps == [told[-1]]
    lines = [line.split(maxsplit=4) for line in capsys.readouterr().out.splitlines()]
    assert [line[4:] for line in lines[:3]] == [[], ["epoch 1"], ["attempt 2"]]
    assert lines[3] == ["Train", "Succeeded", "(cached)", "3.0", "s  attempt 2"]


def test_the_time_of_a_step_goes_on_between_two_statuses() -> None:
    shown = Now(next(statuses(training(attempt=3, progress="epoch 7"))))
    times = []
    for _ in range(2):
        drawn = io.StringIO()
        Console(file=drawn, width=80).print(shown)
        found = re.search(r"Train +Executing +(\S+) s +attempt 3, epoch 7", drawn.getvalue())
        assert found
        times.append(float(found[1]))
        time.sleep(0.15)
    assert times[0] < times[1]


def test_how_far_a_training_is_comes_from_its_log(deployment: Deployment) -> None:
    logs = deployment.aws.client("logs")
    group, stream = JOB_GROUPS["training-job"], "pipelines-abc-Train-x/algo-1"
    logs.create_log_group(logGroupName=group)
    progress = TrainingProgress(deployment.aws)
    assert [one.steps[0].progress for one in progress.added(statuses(training()))] == [""]
    logs.create_log_stream(logGroupName=group, logStreamName=stream)
    now = int(time.time() * 1000)
    events = [{"timestamp": now + n, "message": line} for n, line in enumerate(LOG)]
    told = []
    for count, step in (*((count, training()) for count in (1, 2, 3, 4)), (4, training("Failed"))):
        logs.put_log_events(
            logGroupName=group, logStreamName=stream, logEvents=events[count - 1 : count]
        )
        (found,) = progress.added(statuses(step))
        told.append(found.steps[0].progress)
    assert told == [
        "",
        "epoch 1, training loss 0.5000, 9 rows/s",
        "epoch 2, training loss 0.4000",
        "descent 2, epoch 1, training loss 0.3000",
        "",
    ]


@pytest.mark.parametrize(("told", "attempt"), [({}, 1), ({"AttemptCount": 3}, 3)])
def test_a_step_tells_which_attempt_it_is(told: dict[str, int], attempt: int) -> None:
    step = {"StepName": "Train", "StepStatus": "Executing", **told}
    assert StepStatus.of(step).attempt == attempt
