"""The resolver: what CloudFormation would make of a template, without CloudFormation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from pipelines.deployment.stacks import (
    ROOMS,
    STACKS,
    Plan,
    Stack,
    parameter_name,
    parameters,
    plans,
)
from pipelines.deployment.templates import Template, read_template
from pipelines.deployment_settings import Deployment
from pipelines.settings import Function, Role, Settings

SETTINGS = Settings(project="claims", stage="prod", account="111122223333", region="eu-west-1")
IMAGES = {"gluon-cpu": "gluon@sha256:1", "validate": "validate@sha256:2"}
TEXT = """
AWSTemplateFormatVersion: 2010-09-09
Parameters:
  Name: {Type: String}
  Count: {Type: Number, Default: 3}
  Zones: {Type: CommaDelimitedList, Default: "a, b"}
  Wide: {Type: String, Default: "false", AllowedValues: ["true", "false"]}
Mappings:
  Sizes: {small: {cpu: 2}}
Conditions:
  IsWide: !Equals [!Ref Wide, "true"]
  IsNarrow: !Not [!Condition IsWide]
  Both: !And [!Condition IsWide, !Condition IsNarrow]
  Either: !Or [!Condition IsWide, !Condition IsNarrow]
Resources:
  Second:
    Type: A::B::Thing
    DependsOn: Third
    Properties: {ThingName: !Sub "${Name}-x", Other: !GetAtt First.Arn}
  First:
    Type: A::B::Thing
    Properties: {ThingName: !Ref Name}
  Third: {Type: A::B::Thing}
  Wide:
    Type: A::B::Thing
    Condition: IsWide
Outputs:
  Narrow: {Condition: IsNarrow, Value: !Ref First}
  OnlyWide: {Condition: IsWide, Value: x}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "stack.yaml").write_text(TEXT, "utf-8")
    return tmp_path / "stack.yaml"


def template(path: Path, **given: str) -> Template:
    return Template(
        read_template(path),
        {"Name": "n", **given},
        {"AWS::Region": "eu-west-1", "AWS::AccountId": "1"},
        lambda name, attribute: f"{name}/{attribute}" if attribute else name.lower(),
    )


@pytest.mark.parametrize(
    ("value", "gives"),
    [
        ({"Ref": "Name"}, "n"),
        ({"Ref": "Count"}, "3"),
        ({"Ref": "Zones"}, ["a", "b"]),
        ({"Ref": "First"}, "first"),
        ({"Ref": "AWS::Region"}, "eu-west-1"),
        ({"Fn::GetAtt": ["First", "Arn"]}, "First/Arn"),
        ({"Fn::GetAtt": "First.Arn.More"}, "First/Arn.More"),
        ({"Fn::Sub": "${Name} ${First.Arn} ${!Left} ${AWS::AccountId}"}, "n First/Arn ${Left} 1"),
        ({"Fn::Sub": ["${a}${Name}", {"a": {"Ref": "Count"}}]}, "3n"),
        ({"Fn::Join": ["-", ["a", {"Ref": "Name"}, 1]]}, "a-n-1"),
        ({"Fn::Join": [",", {"Ref": "Zones"}]}, "a,b"),
        ({"Fn::Select": [1, {"Fn::Split": ["/", "a/b/c"]}]}, "b"),
        ({"Fn::Select": ["0", {"Fn::GetAZs": ""}]}, "eu-west-1a"),
        ({"Fn::FindInMap": ["Sizes", "small", "cpu"]}, 2),
        ({"Fn::Base64": "text"}, "dGV4dA=="),
        ({"Fn::If": ["IsNarrow", "yes", "no"]}, "yes"),
        ({"Fn::If": ["Both", "yes", "no"]}, "no"),
        ({"Fn::If": ["Either", "yes", "no"]}, "yes"),
        ({"a": {"Ref": "AWS::NoValue"}, "b": 1}, {"b": 1}),
        ([1, {"Fn::If": ["IsWide", 2, {"Ref": "AWS::NoValue"}]}], [1]),
        ({"Condition": {"Bool": {"aws:SecureTransport": False}}},) * 2,
    ],
)
def test_a_function_gives_what_cloudformation_gives(path: Path, value: Any, gives: Any) -> None:
    assert template(path).resolve(value) == gives


@pytest.mark.parametrize(
    "value",
    [
        {"Fn::ImportValue": "x"},
        {"Fn::Transform": "x"},
        {"Ref": "Nothing"},
        {"Fn::GetAtt": ["Nothing", "Arn"]},
        {"Fn::Sub": "${Nothing}"},
    ],
)
def test_what_is_not_known_is_refused(path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r"not known|no such"):
        template(path).resolve(value)


def test_resources_come_after_what_they_need_and_only_if_their_condition_holds(path: Path) -> None:
    assert [one.id for one in template(path).resources] == ["Third", "First", "Second"]
    assert [one.id for one in template(path, Wide="true").resources][-1] == "Wide"
    assert template(path).outputs() == {"Narrow": "first"}
    assert template(path, Wide="true").outputs() == {"OnlyWide": "x"}


def test_a_parameter_needs_a_value_that_is_allowed(path: Path) -> None:
    with pytest.raises(ValueError, match="allowed"):
        template(path, Wide="perhaps")
    with pytest.raises(ValueError, match="neither a value nor a default"):
        Template(read_template(path), {}, {}, lambda *_: "")


def test_resources_that_need_each_other_are_named(tmp_path: Path) -> None:
    circle = "Resources:\n  A: {Type: x, DependsOn: [B]}\n  B: {Type: x, DependsOn: A}\n"
    (tmp_path / "circle.yaml").write_text(circle, "utf-8")
    found = Template(read_template(tmp_path / "circle.yaml"), {}, {}, lambda *_: "")
    with pytest.raises(ValueError, match="A -> B -> A"):
        _ = found.resources


def test_dates_stay_text(path: Path) -> None:
    assert read_template(path)["AWSTemplateFormatVersion"] == "2010-09-09"


# Our own templates.


def test_every_parameter_has_a_source_and_every_setting_a_parameter() -> None:
    given = set(parameters(SETTINGS, IMAGES))
    declared: set[str] = set()
    outputs: set[str] = set()
    for stack in STACKS:
        wanted = set(stack.document["Parameters"])
        assert wanted <= given | outputs, f"{stack.room}: nothing gives {wanted - given - outputs}"
        declared |= wanted
        outputs |= set(stack.document.get("Outputs", {}))
    settings = {parameter_name(name) for name in Deployment.model_fields}
    assert settings <= declared, "a setting that no template takes"


def test_templates_and_settings_have_the_same_defaults() -> None:
    given = parameters(SETTINGS, IMAGES)
    for stack in STACKS:
        for name, described in stack.document["Parameters"].items():
            if name in given and "Default" in described:
                assert given[name] == str(described["Default"]), f"{stack.room}: {name}"


@pytest.mark.parametrize(
    "deployment",
    [
        {},
        {"vpc_id": "vpc-1", "subnet_ids": ("subnet-1", "subnet-2")},
        {"use_gpu": True, "gpu_image": "repository@sha256:3"},
        {"use_mlflow_server": True, "notice_email": "a@b", "create_repositories": False},
        {"github_repository": "o/n", "deploy_role_arn": "arn:aws:iam::111122223333:role/r"},
        {"github_repository": "o/n", "create_identity_provider": False, "endpoint_zones": "2"},
        {"retrain_schedule": "cron(0 6 ? * MON *)", "retrain_on_data": False, "quiet_seconds": 0},
    ],
    ids=lambda one: "+".join(one) or "plain",
)
def test_every_way_to_deploy_can_be_resolved(deployment: dict[str, Any]) -> None:
    settings = SETTINGS.model_copy(update={"deployment": Deployment(**deployment)})
    made = list(plans(settings, parameters(settings, IMAGES)))
    assert [plan.stack.room for plan in made] == list(ROOMS)
    types = [one.type for plan in made for one in plan.resources]
    assert ("AWS::EC2::VPC" in types) == ("vpc_id" not in deployment)
    assert ("AWS::SageMaker::MlflowTrackingServer" in types) == ("use_mlflow_server" in deployment)
    assert ("AWS::ECR::Repository" in types) == deployment.get("create_repositories", True)
    own = {one.name for one in made[-1].resources if one.type == "AWS::IAM::Role"}
    assert own == ({"claims-prod-ci"} if "github_repository" in deployment else set())
    rules = {one.name for one in made[-1].resources if one.type == "AWS::Events::Rule"}
    assert ("claims-prod-retrain" in rules) == ("retrain_schedule" in deployment)
    assert ("claims-prod-labelled" in rules) == deployment.get("retrain_on_data", True)


def test_names_in_the_templates_are_those_of_the_settings() -> None:
    made = [one for p in plans(SETTINGS, parameters(SETTINGS, IMAGES)) for one in p.resources]
    names = {(one.type.rpartition("::")[2], one.name) for one in made}
    for purpose in ("data", "models", "predictions", "results"):
        assert ("Bucket", SETTINGS.bucket(purpose)) in names
    for role in get_args(Role):
        if role != "ci":  # which needs a repository
            assert ("Role", SETTINGS.role_arn(role).rpartition("/")[2]) in names
    for function in get_args(Function):
        assert ("Function", SETTINGS.function_name(function)) in names
    for queue in (
        *(SETTINGS.upload_queue, SETTINGS.notice_queue, SETTINGS.dead_letter_queue),
        *(SETTINGS.labelled_queue, SETTINGS.registered_queue),
    ):
        assert ("Queue", queue) in names
    assert ("Topic", SETTINGS.notice_topic_arn.rpartition(":")[2]) in names
    assert ("JobQueue", SETTINGS.job_queue) in names
    assert ("JobDefinition", SETTINGS.job_definition) in names
    assert ("ModelPackageGroup", SETTINGS.model_package_group) in names
    for target in IMAGES:
        repository = SETTINGS.image_repository(target).partition("/")[2]
        assert ("Repository", repository) in names


def test_the_first_stack_fits_into_a_request_because_no_bucket_is_there_yet() -> None:
    from pipelines.deployment.deploy import LARGEST_BODY

    assert Stack("pipelines").path.stat().st_size <= LARGEST_BODY


def test_what_only_aws_can_give_is_a_stand_in_of_the_right_form() -> None:
    plan = Plan(SETTINGS, Stack("pipelines"), parameters(SETTINGS, IMAGES))
    assert plan.outputs["KeyArn"].startswith("arn:aws:kms:eu-west-1:111122223333:key/")
    assert plan.outputs["DataBucket"] == "claims-prod-data-111122223333-eu-west-1"
