"""Deployment through CloudFormation: what is shown, what is asked, and why something failed.

Change sets run against moto's CloudFormation with small templates; what moto cannot do (a resource
that fails, a change set without changes) is told by a scripted CloudFormation.
"""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import click
import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from pipelines.aws import Aws
from pipelines.cli import claimflow
from pipelines.cli.deploy import show_changes
from pipelines.deployment import stacks
from pipelines.deployment.deploy import Change, Deployer, StackError
from pipelines.deployment.destroy import Contents, delete_stacks
from pipelines.deployment.stacks import STACKS, Plan, Stack, parameters
from pipelines.errors import UserError
from pipelines.settings import Settings

IMAGES = {"gluon-cpu": "g", "validate": "v"}
FIRST = """
Parameters: {Project: {Type: String}, Stage: {Type: String}}
Resources:
  DataBucket:
    Type: AWS::S3::Bucket
    Properties: {BucketName: !Sub "${Project}-${Stage}-data-123456789012-eu-west-1"}
  Queue:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "${Project}-${Stage}-one"}
Outputs:
  CodeBucket: {Value: !Ref DataBucket}
"""
SECOND = """
Parameters: {Project: {Type: String}, CodeBucket: {Type: String}, CodeKey: {Type: String}}
Resources:
  Other:
    Type: AWS::SQS::Queue
    Properties: {QueueName: !Sub "${Project}-${CodeBucket}"}
"""


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_aws: str) -> Path:
    """Two small stacks in place of ours."""
    small = (Stack("pipelines"), Stack("lambdas"))
    for stack, text in zip(small, (FIRST, SECOND), strict=True):
        (tmp_path / stack.room).mkdir()
        (tmp_path / stack.room / "stack.yaml").write_text(text, "utf-8")
    monkeypatch.setattr(stacks, "ROOT", tmp_path)
    monkeypatch.setattr(stacks, "STACKS", small)
    monkeypatch.setattr("pipelines.deployment.destroy.STACKS", small)
    # What moto lacks, and the scripted CloudFormation below has: protection, and the outputs of a
    # stack that was made by a change set.
    monkeypatch.setattr(Deployer, "_protect", lambda *_: None)
    monkeypatch.setattr(Deployer, "outputs", outputs)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAIMFLOW_PROJECT", "t")
    return tmp_path


def outputs(deployer: Deployer, stack: Stack) -> dict[str, str]:
    if not deployer.is_there(stack):
        return {}
    settings = deployer.settings
    earlier = {"CodeBucket": settings.bucket("data")}
    return Plan(settings, stack, {**parameters(settings, IMAGES), **earlier}).outputs


def deploy(*arguments: str, answer: str = "") -> Any:
    return CliRunner().invoke(claimflow, ["deploy", *arguments], input=answer)


def queues() -> set[str]:
    found = boto3.client("sqs").list_queues().get("QueueUrls", [])
    return {url.rpartition("/")[2] for url in found}


def change_sets() -> list[str]:
    listed = boto3.client("cloudformation").list_change_sets(StackName="t-dev-pipelines")
    return [one["ChangeSetName"] for one in listed["Summaries"]]


def test_a_deployment_shows_what_it_will_do_asks_and_passes_outputs_on(templates: Path) -> None:
    refused = deploy(answer="n\n")
    assert refused.exit_code == 1
    assert "+ AWS::SQS::Queue" in refused.output
    assert "nothing more is changed" in refused.output
    assert queues() == set()

    done = deploy("--yes")
    assert done.exit_code == 0, done.output
    assert "CodeBucket" in done.output
    bucket = "t-dev-data-123456789012-eu-west-1"
    assert queues() == {"t-dev-one", f"t-{bucket}"}, "an output is a parameter of the next"
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in listed] == [stacks.code_key()]
    for stack in boto3.client("cloudformation").describe_stacks()["Stacks"]:
        assert {one["Key"]: one["Value"] for one in stack["Tags"]} == {
            "project": "t",
            "stage": "dev",
        }
    place = Aws(Settings(project="t", region="eu-west-1"))
    assert not Deployer(place).upload_code(bucket), "the same code is not uploaded again"


def test_a_dry_run_changes_nothing(templates: Path) -> None:
    shown = deploy("--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "t-t-dev-data-123456789012-eu-west-1" in shown.output, "by the output to come"
    assert boto3.client("cloudformation").describe_stacks()["Stacks"] == []

    deploy("--yes")
    (templates / "pipelines" / "stack.yaml").write_text(FIRST.replace("-one", "-two"), "utf-8")
    stacks.read_template.cache_clear()
    before = change_sets()
    shown = deploy("--dry-run", "--stack", "pipelines")
    assert "~ AWS::SQS::Queue" in shown.output
    assert "t-dev-one" in queues()
    assert change_sets() == before


def test_one_stack_alone_needs_the_earlier_ones(templates: Path) -> None:
    refused = CliRunner().invoke(claimflow, ["deploy", "--stack", "lambdas", "--yes"])
    assert isinstance(refused.exception, UserError)
    assert "deploy pipelines, batch first" in str(refused.exception)
    unknown = CliRunner().invoke(claimflow, ["deploy", "--stack", "lambda"])
    assert "did you mean lambdas?" in str(unknown.exception)


def test_destroying_takes_data_and_stacks_out(templates: Path) -> None:
    deploy("--yes")
    place = Aws(Settings(project="t", region="eu-west-1"))
    bucket = place.settings.bucket("data")
    s3 = boto3.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for text in (b"a", b"bc"):
        s3.put_object(Bucket=bucket, Key="x", Body=text)
    s3.delete_object(Bucket=bucket, Key="x")
    s3.create_multipart_upload(Bucket=bucket, Key="unfinished")

    plan = Plan(place.settings, Stack("pipelines"), parameters(place.settings, IMAGES))
    contents = Contents(place, [plan])
    (holding,) = contents.holdings()
    assert holding.count == 4  # the code, two versions and a delete marker
    said: list[str] = []
    delete_stacks(Deployer(place, pause=0), contents, place, said.append)
    assert s3.list_buckets()["Buckets"] == []
    assert queues() == set()
    left = boto3.client("cloudformation").list_stacks()["StackSummaries"]
    assert {one["StackStatus"] for one in left} == {"DELETE_COMPLETE"}


def test_a_large_template_goes_through_the_bucket(templates: Path) -> None:
    deploy("--yes")
    padded = SECOND + "# " + "x" * 60_000 + "\n"
    (templates / "lambdas" / "stack.yaml").write_text(padded.replace("Other", "More"), "utf-8")
    stacks.read_template.cache_clear()
    place = Aws(Settings(project="t", region="eu-west-1"))
    template = Deployer(place)._template(Stack("lambdas"))
    key = template["TemplateURL"].partition(".amazonaws.com/")[2]
    body = boto3.client("s3").get_object(Bucket=place.settings.bucket("data"), Key=key)["Body"]
    assert body.read().decode() == padded.replace("Other", "More")


class Scripted:
    """A CloudFormation whose stack goes through given states, with given events."""

    def __init__(self, states: list[str | None], **more: Any) -> None:
        self.states = states
        self.more = more
        self.called: list[str] = []

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            told = {"Code": "ValidationError", "Message": f"Stack {StackName} does not exist"}
            raise ClientError({"Error": told}, "DescribeStacks")
        outputs = [{"OutputKey": "KeyArn", "OutputValue": "arn:key"}]
        return {"Stacks": [{"StackStatus": state, "Outputs": outputs}]}

    def get_paginator(self, _name: str) -> Scripted:
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        has_begun = "execute_change_set" in self.called
        return [{"StackEvents": self.more.get("events", []) if has_begun else []}]

    def __getattr__(self, name: str) -> Any:
        def call(**_: Any) -> Any:
            self.called.append(name)
            return self.more.get(name, {"Id": "arn:change-set"})

        return call


class ScriptedAws(Aws):
    def __init__(self, cloudformation: Scripted) -> None:
        super().__init__(Settings(account="123456789012", region="eu-west-1"))
        self.cloudformation = cloudformation

    @property
    def settings(self) -> Settings:  # type: ignore[override]
        return self.given

    def client(self, _service: str) -> Any:
        return self.cloudformation


def event(resource: str, status: str, reason: str = "") -> dict[str, Any]:
    return {
        "EventId": f"{resource}-{status}",
        "LogicalResourceId": resource,
        "ResourceType": "AWS::SQS::Queue",
        "ResourceStatus": status,
        "Timestamp": datetime(2025, 1, 1, tzinfo=timezone.utc),
        **({"ResourceStatusReason": reason} if reason else {}),
    }


VALUES = parameters(Settings(account="123456789012"), IMAGES)


def test_a_failure_names_the_first_resource_and_not_what_was_cancelled_after_it() -> None:
    newest_first = [
        event("claimflow-dev-pipelines", "ROLLBACK_COMPLETE"),
        event("Key", "CREATE_FAILED", "Resource creation cancelled"),
        event("DataBucket", "CREATE_FAILED", "the name\nis taken"),
        event("Key", "CREATE_IN_PROGRESS"),
    ]
    scripted = Scripted(
        [None, None, None, "CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE"],
        events=newest_first,
        describe_change_set={"Status": "CREATE_COMPLETE", "Changes": []},
    )
    deployer = Deployer(ScriptedAws(scripted), pause=0)
    prepared = deployer.prepare(STACKS[0], VALUES)
    assert prepared is not None
    said: list[str] = []
    with pytest.raises(StackError, match=r"DataBucket \(AWS::SQS::Queue\) failed: the name is tak"):
        deployer.execute(STACKS[0], prepared, said.append)
    assert len(said) == 4
    assert "update_termination_protection" not in scripted.called


def test_what_is_made_is_protected_from_deletion() -> None:
    scripted = Scripted(
        [None, None, "CREATE_COMPLETE"],
        describe_change_set={"Status": "CREATE_COMPLETE", "Changes": []},
    )
    deployer = Deployer(ScriptedAws(scripted), pause=0)
    prepared = deployer.prepare(STACKS[0], VALUES)
    assert prepared is not None
    deployer.execute(STACKS[0], prepared, lambda _line: None)
    assert "update_termination_protection" in scripted.called
    assert deployer.outputs(STACKS[0]) == {"KeyArn": "arn:key"}


@pytest.mark.parametrize(
    ("reason", "is_refused"),
    [
        ("The submitted information didn't contain changes.", False),
        ("No updates are to be performed.", False),
        ("Parameter Stage is not allowed", True),
    ],
)
def test_no_change_is_told_from_a_refusal(reason: str, is_refused: bool) -> None:
    scripted = Scripted(
        ["UPDATE_COMPLETE"], describe_change_set={"Status": "FAILED", "StatusReason": reason}
    )
    deployer = Deployer(ScriptedAws(scripted), pause=0)
    if is_refused:
        with pytest.raises(StackError, match="Parameter Stage"):
            deployer.prepare(STACKS[0], VALUES)
    else:
        assert deployer.prepare(STACKS[0], VALUES) is None
    assert "delete_change_set" in scripted.called


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("UPDATE_IN_PROGRESS", "try again when it has ended"),
        ("UPDATE_ROLLBACK_FAILED", "continue-update-rollback"),
        ("ROLLBACK_COMPLETE", "must go first"),
    ],
)
def test_a_stack_that_cannot_be_changed_is_left_alone(state: str, said: str) -> None:
    scripted = Scripted([state])
    with pytest.raises(UserError, match=said):
        Deployer(ScriptedAws(scripted)).prepare(STACKS[0], VALUES)
    assert scripted.called == []


def test_a_stack_in_review_is_made_and_not_updated() -> None:
    scripted = Scripted(
        ["REVIEW_IN_PROGRESS"], describe_change_set={"Status": "CREATE_COMPLETE", "Changes": []}
    )
    prepared = Deployer(ScriptedAws(scripted), pause=0).prepare(STACKS[0], VALUES)
    assert prepared is not None
    assert prepared.is_new


def test_what_is_replaced_or_removed_cannot_be_overlooked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lost = Change("Modify", "DataBucket", "AWS::S3::Bucket", "b", "True", ("BucketName",))
    maybe = Change("Modify", "Rule", "AWS::Events::Rule", "r", "Conditional")
    plain = Change("Modify", "Role", "AWS::IAM::Role", "x", "", ("Policies",))
    show_changes("s", [lost, maybe, plain])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "s: 3 changed"
    assert "!! REPLACED" in lines[0]
    assert "HOLDS DATA" in lines[0]
    assert "PERHAPS REPLACED" in lines[1]
    assert "!!" not in lines[2]
    assert [one.loses_data for one in (lost, maybe, plain)] == [True, False, False]


def test_without_an_account_a_dry_run_shows_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = deploy("--dry-run")
    assert shown.exit_code == 0, shown.output
    for stack in STACKS:
        assert f"claimflow-dev-{stack.room}" in shown.output
    assert "+ AWS::S3::Bucket" in shown.output
    assert "claimflow-dev-predict" in shown.output


STATEFUL = {
    "Action": "Modify",
    "LogicalResourceId": "Uploads",
    "ResourceType": "AWS::SQS::Queue",
    "Replacement": "True",
    "Details": [{"Target": {"Name": "QueueName"}}],
}


class Answering(Scripted):
    """One stack that exists, and a change set of one change."""

    def __init__(self, change: dict[str, Any]) -> None:
        described = {"Status": "CREATE_COMPLETE", "Changes": [{"ResourceChange": change}]}
        super().__init__(["UPDATE_COMPLETE"], describe_change_set=described)

    def __getattr__(self, name: str) -> Any:
        if name == "exceptions":
            raise AttributeError(name)
        return super().__getattr__(name)


@pytest.mark.parametrize(
    ("more", "answer", "is_executed", "is_asked"),
    [
        ({"Replacement": "False"}, "", True, False),
        ({}, "", False, True),
        ({}, "n\n", False, True),
        ({}, "y\n", True, True),
        ({"Replacement": "Conditional"}, "n\n", False, True),
        ({"Action": "Remove", "Replacement": "False"}, "n\n", False, True),
        ({"ResourceType": "AWS::Events::Rule"}, "", True, False),
    ],
)
def test_yes_does_not_answer_for_data_that_may_be_lost(
    monkeypatch: pytest.MonkeyPatch,
    more: dict[str, Any],
    answer: str,
    is_executed: bool,
    is_asked: bool,
) -> None:
    from pipelines.cli import deploy as commands

    scripted = Answering({**STATEFUL, **more})
    deployer = Deployer(ScriptedAws(scripted), pause=0)

    @click.command()
    def changes() -> None:
        commands._deploy_stack(deployer, STACKS[0], VALUES, dry_run=False, yes=True)

    done = CliRunner().invoke(changes, input=answer)
    assert ("DATA MAY BE LOST (Uploads)" in done.output) is is_asked
    assert ("execute_change_set" in scripted.called) is is_executed
    assert ("delete_change_set" in scripted.called) is not is_executed
    assert done.exit_code == (0 if is_executed else 1)


def test_what_is_left_of_a_failed_creation_goes_first(templates: Path) -> None:
    from moto.cloudformation.models import cloudformation_backends

    deploy("--yes")
    (stack,) = (
        one
        for one in cloudformation_backends["123456789012"]["eu-west-1"].stacks.values()
        if one.name == "t-dev-lambdas"
    )
    stack.status = "ROLLBACK_COMPLETE"
    shown = deploy("--stack", "lambdas", "--dry-run")
    assert "it must go first" in shown.output
    assert "t-dev-lambdas" in [one["StackName"] for one in _stacks()], "nothing is deleted"
    refused = deploy("--stack", "lambdas", answer="n\n")
    assert "Delete what is left of t-dev-lambdas?" in refused.output
    assert refused.exit_code == 1
    assert stack.stack_id in [one["StackId"] for one in _stacks()]

    done = deploy("--stack", "lambdas", "--yes")
    assert done.exit_code == 0, done.output
    (made,) = [one for one in _stacks() if one["StackName"] == "t-dev-lambdas"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    assert made["StackId"] != stack.stack_id


def _stacks() -> list[Any]:
    return boto3.client("cloudformation").describe_stacks()["Stacks"]


def test_a_protected_stack_is_not_protected_again() -> None:
    class Protected(Scripted):
        def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803
            found = super().describe_stacks(StackName)
            found["Stacks"][0]["EnableTerminationProtection"] = True
            return found

    scripted = Protected(
        ["UPDATE_COMPLETE"], describe_change_set={"Status": "CREATE_COMPLETE", "Changes": []}
    )
    deployer = Deployer(ScriptedAws(scripted), pause=0)
    prepared = deployer.prepare(STACKS[0], VALUES)
    assert prepared is not None
    deployer.execute(STACKS[0], prepared, lambda _line: None)
    assert "update_termination_protection" not in scripted.called
