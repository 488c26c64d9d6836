"""The logs of steps, prediction jobs and functions, out of CloudWatch Logs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result

from pipelines.aws import Aws
from pipelines.cli.logs import _line, command
from pipelines.control import Control
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.logs import JOB_GROUPS, Event, Logs, Source
from tests.pipelines.deployment import SETTINGS, Deployment

TRAINING, PROCESSING = JOB_GROUPS["training-job"], JOB_GROUPS["processing-job"]
RUN = "abcdefghijkl"
ARN = f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/claimflow-dev/execution/{RUN}"
NOW = datetime.now(timezone.utc).replace(microsecond=0)


def printed(group: str, stream: str, *lines: str, at: float = 0.0) -> None:
    """Puts lines into a stream, a second apart from `at` seconds after NOW on."""
    logs = boto3.client("logs")
    groups = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    if group not in [one["logGroupName"] for one in groups]:
        logs.create_log_group(logGroupName=group)
    names = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=stream)["logStreams"]
    if not names:
        logs.create_log_stream(logGroupName=group, logStreamName=stream)
    begin = int((NOW.timestamp() - 600 + at) * 1000)
    events = [{"timestamp": begin + 1000 * n, "message": line} for n, line in enumerate(lines)]
    logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)


def step(name: str, kind: str = "training-job", job: str = "", **more: Any) -> StepStatus:
    arn = f"arn:aws:sagemaker:eu-west-1:1:{kind}/{job or f'pipelines-{RUN}-{name}-x'}"
    given = {"started": NOW - timedelta(seconds=600), "ended": NOW, "job": arn, **more}
    return StepStatus(name, "TrainingJob", "Succeeded", **given)


STEPS = [
    step("Validate", "processing-job"),
    step("Train"),
    StepStatus("Register", "RegisterModel", "Succeeded", NOW, NOW),
]


@pytest.fixture
def place(deployment: Deployment) -> Aws:
    printed(PROCESSING, f"pipelines-{RUN}-Validate-x/algo-1", "passed: rows")
    printed(TRAINING, f"pipelines-{RUN}-Train-x/algo-1", "epoch=1", "epoch=2", at=10)
    printed(TRAINING, f"pipelines-{RUN}-Train-x/algo-2", "a second machine", at=10.5)
    printed(TRAINING, f"pipelines-{RUN}-Train-xy/algo-1", "of another job")
    return deployment.aws


@pytest.fixture
def execution(place: Aws, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExecutionStatus]]:
    """What the execution's status is, call after call; the last stays."""
    statuses = [ExecutionStatus(ARN, "Succeeded", "", list(STEPS))]

    def status(_: Control, arn: str) -> ExecutionStatus:
        assert arn == ARN
        return statuses.pop(0) if len(statuses) > 1 else statuses[0]

    monkeypatch.setattr(Control, "status", status)
    monkeypatch.setattr(Control, "resolve", lambda *_: ARN)
    yield statuses


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_events_of_all_steps_and_machines_stand_in_the_order_of_time(
    execution: list[ExecutionStatus],
) -> None:
    lines = run().stdout.splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == [
        f"{RUN}  Validate  passed: rows",
        f"{RUN}  Train  epoch=1",
        f"{RUN}  Train  a second machine",
        f"{RUN}  Train  epoch=2",
    ]
    assert [line[:24] for line in lines] == sorted(line[:24] for line in lines)


def test_one_step_alone_and_as_json(execution: list[ExecutionStatus]) -> None:
    found = [json.loads(line) for line in run("Validate", "--json").stdout.splitlines()]
    assert [(one["execution"], one["step"], one["message"]) for one in found] == [
        (RUN, "Validate", "passed: rows")
    ]
    assert datetime.fromisoformat(found[0]["time"]) == NOW - timedelta(seconds=600)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        ("epoch=2 val_loss=0.25 rate=1e-05", {"epoch": 2, "val_loss": 0.25, "rate": 1e-05}),
        ("kind=ngram", {"kind": "ngram"}),
        ('{"event": "submitted", "rows": NaN}', {"event": "submitted", "rows": "NaN"}),
        ('{"event": "\\ud800\\u202e"}', {"event": "\ud800\u202e"}),
        *(
            (plain, None)
            for plain in ("passed: rows=3 of 4", "{no json", "[1]", "a=b=c", "{}", "=")
        ),
    ],
)
def test_what_a_line_tells_by_name_is_there_for_programs(
    message: str, fields: dict[str, Any] | None
) -> None:
    told = _line(Event(NOW, RUN, "Train", message), as_json=True)
    assert told.isascii() and "\n" not in told
    document = json.loads(told)
    assert document.get("fields") == fields
    assert (document["execution"], document["step"], document["message"]) == (RUN, "Train", message)


def test_a_step_that_did_not_run_is_told_with_those_that_did(
    execution: list[ExecutionStatus],
) -> None:
    refused = run("Evaluate").exception
    assert isinstance(refused, UserError)
    assert "no step Evaluate that ran; there are Validate, Train, Register" in str(refused)


def test_a_cached_step_is_told_and_its_log_is_that_of_the_execution_it_ran_in(
    execution: list[ExecutionStatus],
) -> None:
    printed(PROCESSING, "pipelines-earlierearly-Validate-x/algo-1", "earlier")
    cached = step("Validate", "processing-job", "pipelines-earlierearly-Validate-x", is_cached=True)
    execution[:] = [ExecutionStatus(ARN, "Succeeded", "", [cached])]
    every = run()
    assert every.stdout == "" and "Validate is cached" in every.stderr
    assert run("Validate").stdout.rstrip().endswith("earlierearly  Validate  earlier")


def test_following_shows_each_line_once_and_ends_with_the_execution(
    place: Aws, execution: list[ExecutionStatus]
) -> None:
    """Lines and steps come while it runs, and the last lines after its end."""
    logs, rounds = Logs(place), iter(range(3))

    def look() -> tuple[list[Source], bool]:
        number = next(rounds)
        if number:
            printed(TRAINING, f"pipelines-{RUN}-Train-x/algo-1", f"epoch={number + 2}", at=100)
        return logs.of_steps(STEPS[: number + 1], RUN), number == 2

    messages = [event.message for event in logs.follow(look, pause=0.01)]
    assert messages == [
        *("passed: rows", "epoch=1", "a second machine", "epoch=2"),
        *("epoch=3", "epoch=4"),
    ]


def test_the_command_follows_a_step_to_its_end_only(
    execution: list[ExecutionStatus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    running = [replace(STEPS[0], status="Executing", ended=None)]
    execution[:] = [
        ExecutionStatus(ARN, "Executing", "", running),
        ExecutionStatus(ARN, "Executing", "", running),
        ExecutionStatus(ARN, "Executing", "", [STEPS[0], step("Train", ended=None)]),
    ]
    assert run("Validate", "--follow").stdout.count("passed: rows") == 1


def test_what_was_printed_cannot_steer_a_terminal(execution: list[ExecutionStatus]) -> None:
    printed(TRAINING, f"pipelines-{RUN}-Train-x/algo-3", "\x1b[2Jred\u202e\nnext", at=60)
    *_, first, second = run("Train").stdout.splitlines()
    assert first.endswith("[2Jred\N{REPLACEMENT CHARACTER}")
    assert first.isprintable()
    assert second.endswith("  next")


def test_a_log_that_is_gone_is_empty(deployment: Deployment) -> None:
    logs = Logs(deployment.aws)
    assert list(logs.read(logs.of_steps(STEPS, RUN))) == []


def test_the_function_of_a_step_tells_the_time_of_the_step_alone(place: Aws) -> None:
    group = f"/aws/lambda/{SETTINGS.function_name('champion')}"
    printed(group, "2026/[$LATEST]1", "before", at=-60)
    printed(group, "2026/[$LATEST]1", "mine", at=1)
    printed(group, "2026/[$LATEST]1", "after", at=60)
    began = NOW - timedelta(seconds=600)
    champion = StepStatus("Champion", "Lambda", "Succeeded", began, began + timedelta(seconds=5))
    logs = Logs(place)
    found = list(logs.read(logs.of_steps([champion], RUN)))
    assert [(one.source, one.execution, one.message) for one in found] == [
        ("Champion", RUN, "mine")
    ]


@pytest.mark.parametrize("name", ["submit", SETTINGS.function_name("submit")])
def test_a_function_is_shown_by_its_short_and_its_whole_name(place: Aws, name: str) -> None:
    printed(f"/aws/lambda/{SETTINGS.function_name('submit')}", "2026/[$LATEST]1", "submitted")
    assert run("function", name).stdout.rstrip().endswith("submit  submitted")
    assert run("function", name, "--since", "1m").stdout == ""


def test_a_function_that_there_is_not_is_told_with_those_that_there_are(place: Aws) -> None:
    refused = run("function", "submitt").exception
    assert "champion, submit, notify" in str(refused)


def test_the_job_of_an_upload_is_shown_of_the_named_and_of_the_latest(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = deployment.upload()
    assert "has no job yet" in run("predictions").stderr
    job_id = deployment.submit("RUNNING")
    deployment.record(upload, job_id)
    batch = boto3.client("batch")
    (job,) = batch.describe_jobs(jobs=[job_id])["jobs"]
    stream = job["container"]["logStreamName"]
    printed("/aws/batch/job", stream, "predicted 5 rows", at=500)
    for arguments in (("predictions",), ("predictions", "claims.csv"), ("predictions", upload)):
        shown = run(*arguments)
        assert "incoming/claims.csv  predicted 5 rows" in shown.stdout, arguments


@pytest.mark.parametrize("words", [("function",), ("Train", "Evaluate")])
def test_wrong_use_is_said_in_one_line(deployment: Deployment, words: tuple[str, ...]) -> None:
    refused = run(*words).exception
    assert isinstance(refused, UserError)
    assert "\n" not in str(refused)
