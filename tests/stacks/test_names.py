"""The templates say what the settings, the pipeline's definition and the images say."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from pipelines.deployment.stacks import ROOMS, find_stack
from pipelines.images import GPU_TARGET, TARGETS
from pipelines.settings import Bucket, Function, Role, Settings
from tests.stacks.conftest import EVERYTHING, Deployed, Found, deploy

NAMES = {
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::Batch::JobDefinition": "JobDefinitionName",
    "AWS::Batch::JobQueue": "JobQueueName",
    "AWS::CloudWatch::Alarm": "AlarmName",
    "AWS::ECR::Repository": "RepositoryName",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::SageMaker::ModelPackageGroup": "ModelPackageGroupName",
}


@pytest.fixture(
    params=[("claimflow", "dev", "us-east-1"), ("a", "b-c", "eu-west-3")], ids=["usual", "other"]
)
def named(request: pytest.FixtureRequest) -> tuple[Settings, Deployed]:
    """Deployments of several names."""
    project, stage, region = request.param
    settings = Settings(project=project, stage=stage, region=region, account="999988887777")
    return settings, deploy(settings, **EVERYTHING)


def _names(deployed: Deployed, kind: str) -> set[str]:
    return {one.properties[NAMES[kind]] for one in deployed.of(kind)}


def test_buckets(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    expected = {settings.bucket(purpose) for purpose in get_args(Bucket)}
    logs = settings.bucket("data").replace("-data-", "-logs-")
    assert _names(deployed, "AWS::S3::Bucket") - {logs} == expected - {logs}


def test_roles(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    expected = {settings.role_arn(purpose).rpartition("/")[2] for purpose in get_args(Role)}
    # Roles that no code of ours names.
    own = {f"{settings.prefix}-{one}" for one in ("instance", "flow-log", "tracking")}
    assert _names(deployed, "AWS::IAM::Role") - own == expected - own


def test_functions_and_their_code(named: tuple[Settings, Deployed]) -> None:
    from importlib.util import find_spec

    settings, deployed = named
    purposes = {settings.function_name(purpose): purpose for purpose in get_args(Function)}
    assert _names(deployed, "AWS::Lambda::Function") == set(purposes)
    for function in deployed.of("AWS::Lambda::Function"):
        given = function.properties
        purpose = purposes[given["FunctionName"]]
        assert given["Role"] == settings.role_arn(purpose), function
        module, _, attribute = given["Handler"].rpartition(".")
        assert (module, attribute) == (f"lambdas.{purpose}", "handler")
        assert find_spec(module), function


def test_queues_topic_and_rules(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    queues = {settings.upload_queue, settings.notice_queue, settings.dead_letter_queue}
    queues |= {settings.labelled_queue, settings.registered_queue}
    assert _names(deployed, "AWS::SQS::Queue") == queues
    assert _names(deployed, "AWS::SNS::Topic") == {settings.notice_topic_arn.rpartition(":")[2]}
    rules = (
        *("upload", "approval", "settled", "failed-job", "sweep"),
        *("labelled", "drift", "retrain", "registered"),
    )
    assert _names(deployed, "AWS::Events::Rule") == {f"{settings.prefix}-{one}" for one in rules}


def test_batch(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    queues, definitions = "AWS::Batch::JobQueue", "AWS::Batch::JobDefinition"
    assert _names(deployed, queues) == {settings.job_queue, f"{settings.job_queue}-gpu"}
    assert _names(deployed, definitions) == {
        settings.job_definition,
        f"{settings.job_definition}-gpu",
    }
    container = deployed.one("JobDefinition").properties["ContainerProperties"]
    assert container["JobRoleArn"] == settings.role_arn("predict")
    assert container["ExecutionRoleArn"] == settings.role_arn("execution")


def test_registry_and_repositories(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    groups = _names(deployed, "AWS::SageMaker::ModelPackageGroup")
    assert groups == {settings.model_package_group}
    targets = (*TARGETS, GPU_TARGET)
    repositories = {settings.image_repository(one).split("/", 1)[1] for one in targets}
    assert _names(deployed, "AWS::ECR::Repository") == repositories


def test_alarms_bear_the_deployments_name(named: tuple[Settings, Deployed]) -> None:
    settings, deployed = named
    for name in _names(deployed, "AWS::CloudWatch::Alarm"):
        assert name.startswith(f"{settings.prefix}-")


def test_the_champion_is_the_function_that_the_pipeline_calls(
    named: tuple[Settings, Deployed],
) -> None:
    settings, deployed = named
    (document,) = [one for found, one in deployed.documents() if found.id == "PipelineRole"]
    (statement,) = [one for one in document["Statement"] if one["Sid"] == "AsksForTheChampion"]
    assert statement["Resource"] == settings.function_arn("champion")


def test_what_has_tags_has_those_of_the_settings(everything: Deployed, settings: Settings) -> None:
    def tags(one: Found) -> dict[str, str]:
        given = one.properties["Tags"]
        if isinstance(given, list):
            given = {tag["Key"]: tag["Value"] for tag in given}
        return {name: value for name, value in given.items() if name in settings.tags}

    tagged = [one for one in everything.resources if "Tags" in one.properties]
    for one in tagged:
        if one.type == "AWS::ECR::Repository":  # it belongs to all stages
            assert tags(one) == {"project": settings.project}, one
        else:
            assert tags(one) == settings.tags, one
    assert {one.type for one in tagged} > {"AWS::S3::Bucket", "AWS::IAM::Role", "AWS::SQS::Queue"}


def test_longest_names_fit(settings: Settings) -> None:
    longest = settings.model_copy(update={"project": "p" * 16, "stage": "s" * 16})
    for one in deploy(longest, **EVERYTHING).resources:
        if one.type in NAMES:
            limit = 63 if one.type == "AWS::S3::Bucket" else 64
            name = one.properties[NAMES[one.type]]
            if one.type == "AWS::S3::Bucket" and len(longest.bucket("predictions")) > limit:
                continue  # which the settings refuse
            assert len(name) <= limit, one


def test_names_are_of_the_form_that_the_settings_ask_for(room: str) -> None:
    pattern = Settings.model_fields["project"].metadata[0].pattern
    for name in ("Project", "Stage"):
        given = find_stack(room).document["Parameters"][name]["AllowedPattern"]
        assert re.sub(r"^\^|\$$", "", pattern) == given


def test_parameters_come_from_settings_or_from_an_earlier_stack(settings: Settings) -> None:
    from pipelines.deployment.stacks import parameters

    images = {"gluon-cpu": "", "validate": ""}
    known = set(parameters(settings, images))
    for room in ROOMS:
        document = find_stack(room).document
        for name, described in document["Parameters"].items():
            assert name in known or "Default" in described, f"{room}/stack.yaml: {name}"
        known |= set(document["Outputs"])
