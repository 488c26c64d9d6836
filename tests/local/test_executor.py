"""Executions of pipelines: order, parallel steps, branches, failures, retries, caching, stop."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import (
    IMAGE,
    OK,
    ROLE,
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
    join,
    json_get,
    output_of,
    parameter,
    policy,
    processing,
    register,
    training,
    unique,
    wait_for,
    writes,
)


def test_a_line_of_processing_training_condition_and_registration_succeeds(cloud: Cloud) -> None:
    data, group, report = cloud.put("a\nb\nc\n"), unique("group"), folder()
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    artifact = get("Steps.Train.ModelArtifacts.S3ModelArtifacts")
    run = cloud.run(
        processing(
            "Prepare",
            writes("o", "len(open('processing/i/file.txt').readlines())"),
            inputs={"i": data},
            outputs={"o": folder()},
        ),
        training(
            "Train",
            "open('model/weights', 'w').write(open('input/data/train/out.txt').read())",
            channels={"train": output_of("Prepare", "o")},
        ),
        processing(
            "Evaluate",
            "import tarfile; tar = tarfile.open('processing/model/model.tar.gz');"
            "rows = tar.extractfile('weights').read().decode();"
            "open('processing/report/report.json', 'w').write('{\"a\": {\"rows\": %s}}' % rows)",
            inputs={"model": artifact},
            outputs={"report": report},
            files={"Report": ("report", "report.json")},
        ),
        condition(
            "Gate",
            compare(
                "GreaterThanOrEqualTo",
                json_get("Evaluate", "Report", "a.rows"),
                get("Parameters.Least"),
            ),
            then=(register("Register", group, artifact),),
            otherwise=(fail("Rejected", "no"),),
        ),
        parameters=(parameter("Least", "Integer", 3),),
    )
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert list(run["Steps"]) == ["Prepare", "Train", "Evaluate", "Gate", "Register"]
    assert run["Steps"]["Gate"]["Metadata"]["Condition"]["Outcome"] == "True"
    arn = run["Steps"]["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == "PendingManualApproval"
    model = cloud.job(run, "Train")["ModelArtifacts"]["S3ModelArtifacts"]
    assert package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"] == model
    assert json.loads(cloud.read(f"{report}/report.json")) == {"a": {"rows": 3}}
    for step in run["Steps"].values():
        assert step["StartTime"] <= step["EndTime"] and step["StepStatus"] == "Succeeded"


def test_outputs_of_a_function_reach_a_later_step(cloud: Cloud) -> None:
    function = create_function(
        cloud, "def handler(event, context): return {'uri': event['where'] + '/x', 'n': 7}"
    )
    output = folder()
    run = cloud.run(
        invoke("Ask", function, ("uri", "n"), where=get("Parameters.Where"), times=2),
        processing(
            "Use",
            writes("o", "sys.argv[1:]"),
            outputs={"o": output},
            arguments=(
                get("Steps.Ask.OutputParameters['uri']"),
                join("n=", get("Steps.Ask.OutputParameters['n']")),
            ),
        ),
        parameters=(parameter("Where", "String", "s3://b"),),
    )
    assert run["PipelineExecutionStatus"] == "Succeeded", run
    assert cloud.read(f"{output}/out.txt") == "['s3://b/x', 'n=7']"
    metadata = run["Steps"]["Ask"]["Metadata"]["Lambda"]
    assert {"Name": "uri", "Value": "s3://b/x"} in metadata["OutputParameters"]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def handler(event, context): raise KeyError('no such claim')", "no such claim"),
        ("def handler(event, context): return {}", r"did not return \[uri\]"),
        ("def handler(event, context): return {'uri': [1]}", "no flat value"),
        ("def handler(event, context): return [1]", r"did not return \[uri\]"),
    ],
)
def test_a_function_that_fails_or_returns_something_else_fails_its_step(
    cloud: Cloud, source: str, reason: str
) -> None:
    run = cloud.run(invoke("Ask", create_function(cloud, source), ("uri",)))
    assert run["PipelineExecutionStatus"] == "Failed"
    assert re.search(reason, run["Steps"]["Ask"]["FailureReason"])


def test_a_function_that_does_not_exist_fails_its_step_by_name(cloud: Cloud) -> None:
    run = cloud.run(invoke("Ask", "nobody"))
    assert "function:nobody does not exist" in run["Steps"]["Ask"]["FailureReason"]


def test_parameters_have_defaults_that_a_start_overrides(cloud: Cloud) -> None:
    output = folder()
    pipeline = cloud.create(
        processing(
            "Show",
            writes("o", "sys.argv[1:] + [os.environ['RATE']]"),
            outputs={"o": join(output, get("Execution.PipelineExecutionId"), on="/")},
            arguments=(
                get("Parameters.Text"),
                join(get("Parameters.Count")),
                join(get("Parameters.Flag")),
            ),
            environment={"RATE": join(get("Parameters.Rate"))},
        ),
        parameters=(
            parameter("Text", "String", "text"),
            parameter("Count", "Integer", 1),
            parameter("Rate", "Float", 0.5),
            parameter("Flag", "Boolean", False),
        ),
    )

    def shown(**given: str) -> str:
        arn = cloud.start(pipeline, **given)
        assert cloud.finish(arn)["PipelineExecutionStatus"] == "Succeeded"
        return cloud.read(f"{output}/{arn.rpartition('/')[2]}/out.txt")

    assert shown() == "['text', '1', 'False', '0.5']"
    assert (
        shown(Text="ü b", Count="-3", Rate="1e-3", Flag="true") == "['ü b', '-3', 'True', '0.001']"
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("Count", "many", r"\[Count\] value \[many\] is not a valid Integer"),
        ("Count", "1.5", "not a valid Integer"),
        ("Count", "1_000", "not a valid Integer"),
        ("Rate", "nan", "not a valid Float"),
        ("Rate", "1e999", "not a valid Float"),
        ("Flag", "maybe", "not a valid Boolean"),
        ("Kind", "c", r"not one of \[a, b\]"),
        ("Other", "1", r"Unknown parameter \[Other\]"),
        ("Needed", None, r"\[Needed\] has no default"),
    ],
)
def test_a_start_with_a_wrong_parameter_is_refused_and_nothing_runs(
    cloud: Cloud, name: str, value: str | None, reason: str
) -> None:
    pipeline = cloud.create(
        processing("A", OK),
        parameters=(
            parameter("Count", "Integer", 1),
            parameter("Rate", "Float", 1),
            parameter("Flag", "Boolean", True),
            parameter("Kind", "String", "a", EnumValues=["a", "b"]),
            parameter("Needed", "String"),
        ),
    )
    given = {"Needed": "x", name: value}
    with pytest.raises(ClientError, match=reason) as refused:
        cloud.start(pipeline, **{key: text for key, text in given.items() if text is not None})
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    listed = cloud.client("sagemaker").list_pipeline_executions(PipelineName=pipeline)
    assert listed["PipelineExecutionSummaries"] == []


def test_independent_steps_run_at_the_same_time(cloud: Cloud, tmp_path: Path) -> None:
    # Each waits for the other: one after the other, neither could end.
    script = (
        "import sys, time, pathlib; mine, other = map(pathlib.Path, sys.argv[1:]); mine.touch()\n"
        "end = time.monotonic() + 20\n"
        "while not other.exists(): time.sleep(.01); assert time.monotonic() < end"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    run = cloud.run(
        processing("A", script, arguments=(a, b)), processing("B", script, arguments=(b, a))
    )
    assert run["PipelineExecutionStatus"] == "Succeeded"


def test_a_step_waits_for_what_it_depends_on(cloud: Cloud, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    run = cloud.run(
        processing("Last", f"assert open('{mark}').read() == 'there'", DependsOn=["First"]),
        processing("First", f"import time; time.sleep(.3); open('{mark}', 'w').write('there')"),
    )
    assert run["PipelineExecutionStatus"] == "Succeeded"
    assert run["Steps"]["First"]["EndTime"] <= run["Steps"]["Last"]["StartTime"]


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (
            training("Bad", "open('output/failure', 'w').write('bad labels'); raise SystemExit(3)"),
            "AlgorithmError: bad labels, exit code: 3",
        ),
        (
            processing("Bad", "open('output/message', 'w').write('2 nulls'); raise SystemExit(1)"),
            "AlgorithmError: 2 nulls, exit code: 1",
        ),
        (processing("Bad", "raise SystemExit(9)"), "see the job log, exit code: 9"),
        (training("Bad", "import os; os.kill(os.getpid(), 9)"), "memory.*exit code: 137"),
        (training("Bad", "import time; time.sleep(60)", seconds=1), "MaxRuntimeInSeconds"),
        (processing("Bad", OK, image="unknown:1"), "Image unknown:1 cannot run"),
        (processing("Bad", OK, inputs={"i": folder()}), "No S3 objects found under S3 URL s3://"),
        (
            training("Bad", OK, hyperparameters={"n": get("Parameters.N")}),
            "HyperParameters.n.*<class 'int'>",
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:24],
)
def test_a_failed_step_fails_the_execution_with_its_reason_and_starts_nothing_more(
    cloud: Cloud, step: Document, reason: str
) -> None:
    run = cloud.run(
        step,
        processing("After", OK, DependsOn=["Bad"]),
        parameters=(parameter("N", "Integer", 1),),
    )
    assert run["PipelineExecutionStatus"] == "Failed"
    assert re.search(reason, run["Steps"]["Bad"]["FailureReason"], re.DOTALL)
    assert run["Steps"]["Bad"]["StepStatus"] == "Failed"
    assert "Bad: " in run["FailureReason"]
    assert list(run["Steps"]) == ["Bad"]


def test_after_a_failure_what_runs_goes_on_to_its_end_and_nothing_more_starts(
    cloud: Cloud, tmp_path: Path
) -> None:
    slow = (
        "import os, time\n"
        f"open('{tmp_path}/slow', 'w').close()\n"
        f"while not os.path.exists('{tmp_path}/go'): time.sleep(.01)"
    )
    hasty = f"import os, time\nwhile not os.path.exists('{tmp_path}/slow'): time.sleep(.01)\n1 / 0"
    arn = cloud.start(
        cloud.create(
            processing("Slow", slow),
            processing("Hasty", hasty),
            processing("AfterSlow", OK, DependsOn=["Slow"]),
        )
    )
    wait_for(lambda: cloud.steps(arn).get("Hasty", {}).get("StepStatus") == "Failed")
    assert cloud.status(arn) == "Executing"
    (tmp_path / "go").touch()
    run = cloud.finish(arn)
    assert run["PipelineExecutionStatus"] == "Failed"
    assert {name: step["StepStatus"] for name, step in run["Steps"].items()} == {
        "Slow": "Succeeded",
        "Hasty": "Failed",
    }


def test_a_fail_step_ends_the_execution_with_its_message(cloud: Cloud) -> None:
    uri = folder()
    run = cloud.run(
        processing("Evaluate", writes("o", "1"), outputs={"o": uri}),
        condition(
            "Gate",
            compare("LessThan", get("Parameters.Most"), 0.5),
            then=(processing("Never", OK),),
            otherwise=(
                fail(
                    "Rejected",
                    join("above ", get("Parameters.Most"), ": ", output_of("Evaluate", "o")),
                ),
            ),
        ),
        parameters=(parameter("Most", "Float", 0.7),),
    )
    assert run["PipelineExecutionStatus"] == "Failed"
    assert run["FailureReason"] == f"above 0.7: {uri}"
    assert run["Steps"]["Rejected"]["FailureReason"] == f"above 0.7: {uri}"
    assert run["Steps"]["Rejected"]["Metadata"]["Fail"]["ErrorMessage"] == f"above 0.7: {uri}"
    assert run["Steps"]["Gate"]["Metadata"]["Condition"]["Outcome"] == "False"
    assert "Never" not in run["Steps"]


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (compare("Equals", get("Parameters.N"), "1"), "cannot compare 1"),
        (compare("GreaterThan", "a", get("Parameters.N")), "cannot compare 'a'"),
        (compare("Equals", json_get("A", "F", "b"), 1), "there is no b"),
        (compare("Equals", json_get("A", "F", "nothing"), 1), "no value"),
        (compare("Equals", json_get("A", "Missing", "b"), 1), "cannot be read"),
        (compare("Equals", json_get("A", "Broken", "b"), 1), "cannot be read as JSON"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_fails_by_name(
    cloud: Cloud, one: Document, reason: str
) -> None:
    script = (
        "open('processing/o/f.json', 'w').write('{\"a\": 1, \"nothing\": null}');"
        "open('processing/o/broken.json', 'w').write('{')"
    )
    files = {"F": ("o", "f.json"), "Missing": ("o", "g.json"), "Broken": ("o", "broken.json")}
    run = cloud.run(
        processing("A", script, outputs={"o": folder()}, files=files),
        condition("Gate", one, then=(fail("Then", "then"),), DependsOn=["A"]),
        parameters=(parameter("N", "Integer", 1),),
    )
    assert run["Steps"]["Gate"]["StepStatus"] == "Failed"
    assert reason in run["Steps"]["Gate"]["FailureReason"]
    assert "Then" not in run["Steps"]


def test_json_on_s3_can_be_read_by_its_address(cloud: Cloud) -> None:
    address = cloud.put('{"a": [{"b": 5}]}')
    read = {"Std:JsonGet": {"S3Uri": join(address), "Path": "a[0].b"}}
    run = cloud.run(condition("Gate", compare("Equals", read, 5), otherwise=(fail("No", "no"),)))
    assert run["PipelineExecutionStatus"] == "Succeeded"


def test_a_transient_fault_is_tried_again(cloud: Cloud) -> None:
    image = f"flaky-{unique('i')}"
    step = processing(
        "A", OK, image=image, RetryPolicies=[policy("SageMaker.JOB_INTERNAL_ERROR", 2)]
    )
    run = cloud.run(step)
    assert run["PipelineExecutionStatus"] == "Succeeded"
    assert run["Steps"]["A"]["AttemptCount"] == 2


@pytest.mark.parametrize(
    ("policies", "attempts"),
    [
        ([], 1),
        ([policy("Step.THROTTLING", 3)], 1),
        ([policy("SageMaker.JOB_INTERNAL_ERROR", 2)], 3),
    ],
    ids=["no policy", "another kind", "used up"],
)
def test_a_fault_is_tried_as_often_as_the_policies_for_its_kind_say(
    cloud: Cloud, policies: list[Document], attempts: int
) -> None:
    run = cloud.run(processing("A", OK, image="broken", RetryPolicies=policies))
    assert run["PipelineExecutionStatus"] == "Failed"
    assert run["Steps"]["A"]["AttemptCount"] == attempts
    assert "the disk has a fault" in run["Steps"]["A"]["FailureReason"]


def test_an_error_of_the_algorithm_is_never_tried_again(cloud: Cloud, tmp_path: Path) -> None:
    script = f"open('{tmp_path}/runs', 'a').write('x'); raise SystemExit(1)"
    policies = [policy("SageMaker.JOB_INTERNAL_ERROR", 3), policy("Step.SERVICE_FAULT", 3)]
    run = cloud.run(processing("A", script, RetryPolicies=policies))
    assert run["PipelineExecutionStatus"] == "Failed"
    assert run["Steps"]["A"]["AttemptCount"] == 1
    assert (tmp_path / "runs").read_text() == "x"


# What the pipelines' API tells.


def test_an_execution_tells_its_parameters_and_times(cloud: Cloud) -> None:
    pipeline = cloud.create(processing("A", OK), parameters=(parameter("N", "Integer", 4),))
    arn = cloud.start(pipeline)
    cloud.finish(arn)
    client = cloud.client("sagemaker")
    listed = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
    assert listed["PipelineParameters"] == [{"Name": "N", "Value": "4"}]
    (summary,) = client.list_pipeline_executions(PipelineName=pipeline)[
        "PipelineExecutionSummaries"
    ]
    assert summary["PipelineExecutionArn"] == arn
    assert summary["PipelineExecutionStatus"] == "Succeeded"
    described = client.describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    assert json.loads(described["PipelineDefinition"])["Steps"][0]["Name"] == "A"


def test_a_pipeline_with_a_running_execution_cannot_be_deleted(cloud: Cloud) -> None:
    pipeline, client = (
        cloud.create(processing("A", "import time; time.sleep(60)")),
        cloud.client("sagemaker"),
    )
    arn = cloud.start(pipeline)
    with pytest.raises(ClientError, match="ConflictException"):
        client.delete_pipeline(PipelineName=pipeline)
    client.stop_pipeline_execution(PipelineExecutionArn=arn)
    cloud.finish(arn)
    client.delete_pipeline(PipelineName=pipeline)
    with pytest.raises(client.exceptions.ResourceNotFound):
        client.describe_pipeline(PipelineName=pipeline)


def test_a_pipeline_with_the_longest_name_can_be_run(cloud: Cloud) -> None:
    name = "p" * 256
    cloud.client("sagemaker").create_pipeline(
        PipelineName=name, RoleArn=ROLE, PipelineDefinition=definition(processing("A", OK))
    )
    assert cloud.finish(cloud.start(name))["PipelineExecutionStatus"] == "Succeeded"


def test_a_pipeline_that_was_never_made_cannot_be_started(cloud: Cloud) -> None:
    with pytest.raises(cloud.client("sagemaker").exceptions.ResourceNotFound, match="nobody"):
        cloud.start("nobody")


def test_the_image_of_a_job_is_told_as_the_definition_names_it(cloud: Cloud) -> None:
    run = cloud.run(processing("A", OK))
    assert cloud.job(run, "A")["AppSpecification"]["ImageUri"] == IMAGE
