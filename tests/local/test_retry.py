"""An execution that failed or was stopped goes on where it was, under its own ARN."""

from __future__ import annotations

import json
import uuid
from functools import partial
from pathlib import Path

import pytest

from tests.local.local_cloud import (
    OK,
    Cloud,
    Document,
    compare,
    condition,
    create_function,
    definition,
    fail,
    folder,
    get,
    invoke,
    is_alive,
    join,
    json_get,
    output_of,
    parameter,
    pid_of,
    processing,
    training,
    wait_for,
    writes,
)


def retry(cloud: Cloud, arn: str, token: str | None = None) -> str:
    answer = cloud.client("sagemaker").retry_pipeline_execution(
        PipelineExecutionArn=arn, ClientRequestToken=token or str(uuid.uuid4())
    )
    return str(answer["PipelineExecutionArn"])


def fails_until(mark: Path, runs: Path) -> str:
    """A script that notes each of its runs, and fails as long as a file is not there."""
    return (
        "import os, sys\n"
        f"open({str(runs)!r}, 'a').write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"sys.exit(0 if os.path.exists({str(mark)!r}) else 1)"
    )


def counts(runs: Path) -> str:
    return f"open({str(runs)!r}, 'a').write('x')\n"


def test_a_retry_keeps_what_succeeded_with_its_properties_and_runs_the_rest(
    cloud: Cloud, tmp_path: Path
) -> None:
    report, function = folder(), create_function(cloud, "def handler(event, _): return {'n': 7}")
    script = counts(tmp_path / "first") + "open('processing/o/r.json', 'w').write('{\"n\": 7}')"
    arn = cloud.start(
        cloud.create(
            processing("First", script, outputs={"o": report}, files={"R": ("o", "r.json")}),
            invoke("Ask", function, ("n",)),
            training("Fit", counts(tmp_path / "fit") + "open('model/w', 'w').write('1')"),
            processing(
                "Flaky",
                fails_until(tmp_path / "mark", tmp_path / "flaky"),
                arguments=(
                    output_of("First", "o"),
                    join("n=", get("Steps.Ask.OutputParameters['n']")),
                    get("Steps.Fit.ModelArtifacts.S3ModelArtifacts"),
                ),
            ),
            condition(
                "Gate",
                compare("Equals", json_get("First", "R", "n"), 7),
                then=(processing("Then", OK),),
                otherwise=(fail("No", "no"),),
                DependsOn=["Flaky"],
            ),
        )
    )
    failed = cloud.finish(arn)
    assert failed["PipelineExecutionStatus"] == "Failed"
    assert "Gate" not in failed["Steps"]
    (tmp_path / "mark").touch()
    assert retry(cloud, arn) == arn
    run = cloud.finish(arn)
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert "FailureReason" not in run
    assert {step["StepStatus"] for step in run["Steps"].values()} == {"Succeeded"}
    assert set(run["Steps"]) == {"First", "Ask", "Fit", "Flaky", "Gate", "Then"}
    assert "FailureReason" not in run["Steps"]["Flaky"]
    for kept in ("First", "Ask", "Fit"):
        assert run["Steps"][kept] == failed["Steps"][kept]
    assert (tmp_path / "first").read_text() == (tmp_path / "fit").read_text() == "x"
    before, after = (tmp_path / "flaky").read_text().splitlines()
    assert before == after, "the properties are those of before"
    assert before.startswith(f"{report} n=7 s3://")


def test_a_branch_that_was_taken_is_kept(cloud: Cloud, tmp_path: Path) -> None:
    flaky = fails_until(tmp_path / "mark", tmp_path / "runs")
    arn = cloud.start(
        cloud.create(
            condition(
                "Gate",
                compare("Equals", get("Parameters.N"), 1),
                then=(fail("Never", "never"),),
                otherwise=(processing("Flaky", flaky),),
            ),
            parameters=(parameter("N", "Integer", 2),),
        )
    )
    gate = cloud.finish(arn)["Steps"]["Gate"]
    (tmp_path / "mark").touch()
    retry(cloud, arn)
    run = cloud.finish(arn)
    assert run["PipelineExecutionStatus"] == "Succeeded"
    assert run["Steps"]["Gate"] == gate
    assert "Never" not in run["Steps"]


def test_what_was_stopped_or_had_not_begun_runs(cloud: Cloud, tmp_path: Path) -> None:
    slow = (
        "import os, time\n"
        f"open('{tmp_path}/pid', 'w').write(str(os.getpid()))\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(.01)"
    )
    arn = cloud.start(
        cloud.create(
            processing("A", counts(tmp_path / "a")),
            processing("Slow", slow, DependsOn=["A"]),
            processing("Last", counts(tmp_path / "last"), DependsOn=["Slow"]),
        )
    )
    pid = wait_for(partial(pid_of, tmp_path / "pid"))
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Stopped"
    assert not is_alive(pid)
    (tmp_path / "go").touch()
    retry(cloud, arn)
    run = cloud.finish(arn)
    assert {name: step["StepStatus"] for name, step in run["Steps"].items()} == {
        "A": "Succeeded",
        "Slow": "Succeeded",
        "Last": "Succeeded",
    }
    assert (tmp_path / "a").read_text() == (tmp_path / "last").read_text() == "x"


def test_a_retry_can_be_stopped_and_retried_again(cloud: Cloud, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        f"open('{tmp_path}/pid', 'w').write(str(os.getpid()))\n"
        f"if os.path.exists('{tmp_path}/second'): sys.exit()\n"
        f"if not os.path.exists('{tmp_path}/first'): sys.exit(1)\n"
        "time.sleep(60)"
    )
    arn = cloud.start(cloud.create(processing("A", script)))
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Failed"
    (tmp_path / "pid").unlink()
    (tmp_path / "first").touch()
    retry(cloud, arn)
    wait_for(partial(pid_of, tmp_path / "pid"))
    cloud.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=arn)
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Stopped"
    (tmp_path / "second").touch()
    retry(cloud, arn)
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Succeeded"


def test_the_definition_and_the_parameters_stay_those_of_the_execution(
    cloud: Cloud, tmp_path: Path
) -> None:
    flaky = processing(
        "A",
        fails_until(tmp_path / "mark", tmp_path / "runs"),
        arguments=(get("Parameters.Word"),),
    )
    word = parameter("Word", "String", "default")
    pipeline = cloud.create(flaky, parameters=(word,))
    arn = cloud.start(pipeline, Word="given")
    cloud.finish(arn)
    client = cloud.client("sagemaker")
    client.update_pipeline(
        PipelineName=pipeline, PipelineDefinition=definition(processing("B", OK))
    )
    described = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert json.loads(described["PipelineDefinition"])["Steps"] == [flaky]
    (tmp_path / "mark").touch()
    retry(cloud, arn)
    assert list(cloud.finish(arn)["Steps"]) == ["A"]
    assert (tmp_path / "runs").read_text() == "given\ngiven\n"
    described = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert json.loads(described["PipelineDefinition"])["Steps"] == [flaky]


def test_the_same_token_retries_once(cloud: Cloud, tmp_path: Path) -> None:
    runs, token = tmp_path / "runs", str(uuid.uuid4())
    arn = cloud.start(cloud.create(processing("A", fails_until(tmp_path / "never", runs))))
    cloud.finish(arn)
    for _ in range(3):  # also while it runs, and when it has ended
        assert retry(cloud, arn, token) == arn
    cloud.finish(arn)
    assert retry(cloud, arn, token) == arn
    assert cloud.status(arn) == "Failed"
    assert runs.read_text().count("\n") == 2
    retry(cloud, arn)
    cloud.finish(arn)
    assert runs.read_text().count("\n") == 3


@pytest.mark.parametrize("script", [OK, "import time; time.sleep(60)"])
def test_only_what_failed_or_was_stopped_can_be_retried(cloud: Cloud, script: str) -> None:
    client, arn = cloud.client("sagemaker"), cloud.start(cloud.create(processing("A", script)))
    if script == OK:
        cloud.finish(arn)
    with pytest.raises(client.exceptions.ConflictException, match="failed or was stopped"):
        retry(cloud, arn)
    if script != OK:
        client.stop_pipeline_execution(PipelineExecutionArn=arn)
        cloud.finish(arn)


def test_an_execution_that_does_not_exist_cannot_be_retried(cloud: Cloud) -> None:
    arn = str(cloud.run(fail("No", "no"))["PipelineExecutionArn"])
    with pytest.raises(cloud.client("sagemaker").exceptions.ResourceNotFound):
        retry(cloud, f"{arn}x")


def test_the_description_tells_nothing_of_what_is_kept_for_a_retry(cloud: Cloud) -> None:
    run: Document = cloud.run(processing("A", writes("o", "1"), outputs={"o": folder()}))
    assert not {"Results", "RetryTokens", "Parameters", "ClientRequestToken"} & run.keys()
