"""What people do about an execution that failed: have it explained, and go on with it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result

from pipelines.aws import Aws
from pipelines.cli import claimflow
from pipelines.cli.pipeline import command as pipeline_command
from pipelines.control import Control
from pipelines.diagnosis import Diagnosis, diagnose
from pipelines.errors import UserError
from pipelines.logs import LONGEST_LINE, MOST_LINES
from pipelines.settings import Settings
from tests.local.local_cloud import (
    OK,
    REGION,
    Cloud,
    Document,
    compare,
    condition,
    definition,
    fail,
    make_role,
    processing,
    training,
    wait_for,
)

PROCESSING = "/aws/sagemaker/ProcessingJobs"


@pytest.fixture
def place(cloud: Cloud) -> Aws:
    return Aws(Settings(project="t", stage="test", region=REGION), cloud.variables)


def explained(place: Aws, run: Document) -> Diagnosis:
    return diagnose(place, run["PipelineExecutionArn"])


def leaves(text: str) -> str:
    return f"open('output/message', 'w').write({text!r}); raise SystemExit(1)"


def test_a_failed_step_is_told_with_its_job_its_cause_and_its_last_lines(
    cloud: Cloud, place: Aws
) -> None:
    script = "for n in range(50): print('line', n)\n" + leaves(
        "The data did not pass validation: 1"
    )
    run = cloud.run(processing("Validate", script), processing("Other", OK))
    found = explained(place, run)
    assert (found.status, found.step, found.symptom) == ("Failed", "Validate", "bad data")
    assert found.reason == "AlgorithmError: The data did not pass validation: 1, exit code: 1"
    assert found.log_group == PROCESSING
    assert run["Steps"]["Validate"]["Metadata"]["ProcessingJob"]["Arn"].endswith(found.job)
    assert found.log == [f"line {n}" for n in range(50 - MOST_LINES, 50)]


def test_what_a_job_prints_cannot_steer_a_terminal(cloud: Cloud, place: Aws) -> None:
    script = "print('\\x1b[2J\\x07red\\u202e'); print('x' * 9000)\n" + leaves(
        "bad \x1b]0;title\x07"
    )
    found = explained(place, cloud.run(processing("Validate", script)))
    assert all(text.isprintable() for text in (*found.log, found.reason, found.cause))
    assert found.log[0].endswith("red\N{REPLACEMENT CHARACTER}")
    assert len(found.log[1]) == LONGEST_LINE


def test_a_training_job_that_was_killed_lacked_memory(cloud: Cloud, place: Aws) -> None:
    run = cloud.run(training("Train", "import os\nprint('there')\nos.kill(os.getpid(), 9)"))
    found = explained(place, run)
    assert (found.step, found.symptom) == ("Train", "out of memory")
    assert found.log_group == "/aws/sagemaker/TrainingJobs"
    assert found.log == ["there"]


def test_a_role_that_lacks_a_permission_is_told_with_the_action(cloud: Cloud, place: Aws) -> None:
    name, client = f"p-{uuid.uuid4().hex[:8]}", cloud.client("sagemaker")
    client.create_pipeline(
        PipelineName=name,
        RoleArn=make_role(cloud, name),
        PipelineDefinition=definition(processing("Validate", OK)),
    )
    found = explained(place, cloud.finish(cloud.start(name)))
    assert found.symptom == "access denied"
    assert "sagemaker:CreateProcessingJob" in found.cause
    assert found.log == []


def test_a_log_that_is_gone_is_no_obstacle(cloud: Cloud, place: Aws) -> None:
    run = cloud.run(processing("Validate", "print('x'); raise SystemExit(1)"))
    job = explained(place, run).job
    logs = cloud.client("logs")
    (stream,) = logs.describe_log_streams(logGroupName=PROCESSING, logStreamNamePrefix=f"{job}/")[
        "logStreams"
    ]
    logs.delete_log_stream(logGroupName=PROCESSING, logStreamName=stream["logStreamName"])
    assert explained(place, run).log == []


def test_who_may_not_read_the_log_is_told_the_cause_all_the_same(
    cloud: Cloud, place: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cloud.run(processing("Validate", leaves("The data did not pass validation: 1")))
    client = Aws.client

    def no_logs(self: Aws, service: str) -> Any:
        found = client(self, service)
        if service == "logs":
            found.meta.events.register("before-call", refuse)
        return found

    def refuse(**_: object) -> None:
        denied = {"Code": "AccessDeniedException", "Message": "not authorized to perform: logs:x"}
        raise ClientError({"Error": denied}, "GetLogEvents")

    monkeypatch.setattr(Aws, "client", no_logs)
    found = explained(place, run)
    assert found.symptom == "bad data"
    assert "logs:x" in found.log_fault


def test_a_model_below_a_bar_is_no_fault_and_is_not_retried(cloud: Cloud, place: Aws) -> None:
    gate = condition("Gate", compare("Equals", 1, 2), otherwise=(fail("ModelRejected", "below"),))
    run = cloud.run(gate)
    found = explained(place, run)
    assert (found.step, found.symptom, found.reason) == ("ModelRejected", "bar missed", "below")
    with pytest.raises(UserError, match="missed a bar"):
        Control(place).retry(run["PipelineExecutionArn"])


def test_what_somebody_stopped_is_told_so(cloud: Cloud, place: Aws) -> None:
    arn = cloud.start(cloud.create(processing("A", "import time; time.sleep(60)")))
    wait_for(lambda: "ProcessingJob" in cloud.steps(arn).get("A", {}).get("Metadata", {}))
    Control(place).stop(arn)
    cloud.finish(arn)
    found = diagnose(place, arn)
    assert (found.status, found.step, found.symptom) == ("Stopped", "A", "stopped")


def test_what_did_not_fail_is_neither_explained_nor_retried(cloud: Cloud, place: Aws) -> None:
    run = cloud.run(processing("A", OK))
    arn = run["PipelineExecutionArn"]
    assert explained(place, run) == Diagnosis(arn, "Succeeded")
    with pytest.raises(UserError, match="is Succeeded: only one that failed or was stopped"):
        Control(place).retry(arn)


def command(cloud: Cloud, *arguments: str) -> Result:
    variables = {**cloud.variables, "CLAIMFLOW_PROJECT": "t", "CLAIMFLOW_STAGE": "test"}
    return CliRunner().invoke(claimflow, ["pipeline", *arguments], env=variables)


def test_the_commands_explain_and_go_on(cloud: Cloud, tmp_path: Path) -> None:
    script = f"import os, sys; print('hm'); sys.exit(not os.path.exists('{tmp_path}/mark'))"
    run = cloud.run(processing("A", script))
    arn = run["PipelineExecutionArn"]
    shown = command(cloud, "diagnose", arn)
    assert shown.exit_code == 0, shown.output
    for line in (
        f"execution {arn[-12:]}: Failed",
        "step        A",
        "cause       none of the usual causes fits",
        "            hm",
    ):
        assert line in shown.output.splitlines()
    assert json.loads(command(cloud, "diagnose", arn, "--json").output)["log"] == ["hm"]
    (tmp_path / "mark").touch()
    retried = command(cloud, "retry", arn, "--wait")
    assert retried.exit_code == 0, retried.output
    assert retried.stdout.splitlines()[-1] == "Succeeded"
    assert command(cloud, "diagnose", arn).output.splitlines() == [
        f"execution {arn[-12:]}: Succeeded",
        "there is no failure to explain",
    ]


def test_the_difference_of_definitions_is_a_command_of_the_pipeline() -> None:
    assert "diff" in pipeline_command.commands  # type: ignore[attr-defined]
