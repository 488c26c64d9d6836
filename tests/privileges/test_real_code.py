"""The code works with no more than its role's rights, where `test_line.py` does not run it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lambdas.causes import parse_request
from pipelines.aws import Aws
from pipelines.control import Control
from pipelines.registry.models import Models
from pipelines.retraining import Request, Retraining
from tests.local.local_cloud import Cloud, unique, wait_for
from tests.privileges.calls import DATA, GROUP, MODELS, SETTINGS
from tests.privileges.conftest import key_of


@pytest.fixture(scope="module")
def ci(own: Cloud) -> Aws:
    """A deployment as CI sees it, with a pipeline that CI has stored, and labelled claims."""
    place = Aws(SETTINGS, {**own.variables, "AWS_ACCESS_KEY_ID": key_of(own, "ci")})
    control = Control(place)
    assert control.upsert() == "created"
    assert control.upsert() == "unchanged"
    for name in ("train", "test"):
        add(own, name, "first")
    return place


@pytest.fixture
def executions(own: Cloud) -> Iterator[Any]:
    """The executions by ARN, with their parameters; what runs at the end is stopped."""
    sagemaker = own.client("sagemaker")

    def listed() -> dict[str, dict[str, str]]:
        found = sagemaker.list_pipeline_executions(PipelineName=SETTINGS.pipeline_name)
        arns = [one["PipelineExecutionArn"] for one in found["PipelineExecutionSummaries"]]
        return {arn: parameters(arn) for arn in arns}

    def parameters(arn: str) -> dict[str, str]:
        found = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
        return {one["Name"]: one["Value"] for one in found["PipelineParameters"]}

    yield listed
    for arn in listed():
        if own.status(arn) == "Executing":
            sagemaker.stop_pipeline_execution(PipelineExecutionArn=arn)


def add(cloud: Cloud, name: str, text: str) -> None:
    """Adds a labelled file that has not been there yet."""
    body = f"text,label\n{text},0\n{unique(text)},1\n"
    key = f"labelled/{name}/{unique(text)}.csv"
    cloud.client("s3").put_object(Bucket=DATA, Key=key, Body=body.encode())


def test_ci_can_follow_and_report_what_it_has_asked_for(
    own: Cloud, ci: Aws, executions: Any
) -> None:
    add(own, "train", "followed")
    asked, retraining = Request("push"), Retraining(ci)
    decision = retraining.ask(asked)
    assert decision.execution in executions()
    control = retraining.control
    assert control.status(decision.execution).status == "Executing"
    assert control.parameters(decision.execution)["Cause"] == "push"
    own.client("sagemaker").stop_pipeline_execution(PipelineExecutionArn=decision.execution)
    *_, status = control.follow(decision.execution)
    assert retraining.report(asked, decision, status).outcome == "stopped"
    assert Models(ci).versions() == []


def test_ci_asks_for_a_retraining_and_sees_what_it_trains_on(
    own: Cloud, ci: Aws, executions: Any
) -> None:
    add(own, "train", "asked")
    decision = Retraining(ci).ask(Request("push", commit="0123abc", again=True))
    assert decision.outcome == "started"
    given = executions()[decision.execution]
    assert (given["Cause"], given["CodeVersion"]) == ("push", "0123abc")
    assert given["DataManifest"] == decision.manifest
    assert decision.manifest == f"s3://{DATA}/versions/{decision.data_version}/manifest.json"
    key = decision.manifest.removeprefix(f"s3://{DATA}/")
    manifest = json.loads(ci.client("s3").get_object(Bucket=DATA, Key=key)["Body"].read())
    assert manifest["version"] == decision.data_version
    for one in manifest["train"]:
        own.client("s3").head_object(Bucket=DATA, Key=one["copy"])


@pytest.mark.usefixtures("ci")
def test_labelled_data_that_is_added_is_trained_on(own: Cloud, executions: Any) -> None:
    before = set(executions())
    add(own, "train", "added")

    def started() -> list[str]:
        new = {arn: given for arn, given in executions().items() if arn not in before}
        return [arn for arn, given in new.items() if given["Cause"] == "data"]

    assert wait_for(started)


def test_the_schedule_tells_the_function_why_it_calls(own: Cloud) -> None:
    events, rule = own.client("events"), "t-test-retrain"
    assert events.describe_rule(Name=rule)["ScheduleExpression"] == "rate(7 days)"
    (target,) = events.list_targets_by_rule(Rule=rule)["Targets"]
    assert target["Arn"] == SETTINGS.function_arn("retrain")
    assert parse_request(json.loads(target["Input"])).cause == "schedule"


@pytest.mark.usefixtures("ci", "executions")
def test_the_alarm_of_drift_is_heard(own: Cloud) -> None:
    for name, state in (("waiting", "ALARM"), ("prediction-drift", "ALARM")):
        detail = {"alarmName": f"t-test-{name}", "state": {"value": state}}
        entry = {
            "Source": "aws.cloudwatch",
            "DetailType": "CloudWatch Alarm State Change",
            "Detail": json.dumps(detail),
        }
        own.client("events").put_events(Entries=[entry])

    def said() -> list[str]:
        found = own.client("logs").filter_log_events(logGroupName="/aws/lambda/t-test-retrain")
        lines = [one["message"] for one in found["events"]]
        return [one for one in lines if '"cause": "drift"' in one and '"decided"' in one]

    assert wait_for(said)


@pytest.mark.parametrize(
    ("accuracy", "status", "what"),
    [
        (0.95, "Approved", "approved automatically"),
        (0.85, "PendingManualApproval", "kept for a person"),
    ],
)
def test_a_model_that_reaches_the_bar_is_approved_and_each_decision_is_recorded(
    own: Cloud, accuracy: float, status: str, what: str
) -> None:
    s3, sagemaker = own.client("s3"), own.client("sagemaker")
    folder = f"runs/{unique('run')}"
    evaluation = {"challenger": {"accuracy": accuracy}, "comparison": {"has_champion": False}}
    body = json.dumps(evaluation).encode()
    s3.put_object(Bucket=MODELS, Key=f"{folder}/evaluation/evaluation.json", Body=body)
    statistics = {
        "ContentType": "application/json",
        "S3Uri": f"s3://{MODELS}/{folder}/evaluation/statistics.json",
    }
    arn = sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelMetrics={"ModelQuality": {"Statistics": statistics}},
        InferenceSpecification={
            "Containers": [{"Image": "i", "ModelDataUrl": f"s3://{MODELS}/{folder}/model/m"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]

    def decided() -> list[dict[str, Any]]:
        listed = s3.list_objects_v2(Bucket=MODELS, Prefix=f"decisions/{GROUP}/")
        keys = [one["Key"] for one in listed.get("Contents", [])]
        found = [json.loads(s3.get_object(Bucket=MODELS, Key=key)["Body"].read()) for key in keys]
        return [one for one in found if one["version"] == int(arn.rpartition("/")[2])]

    (decision,) = wait_for(decided)
    assert decision["what"] == what
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    assert package["ModelApprovalStatus"] == status
