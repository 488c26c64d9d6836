"""The local cloud is made from the templates: what runs in it is what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from pipelines.deployment.stacks import STACKS, Planned, parameters, plans
from pipelines.images import addresses
from pipelines.local.resource_types import MAKERS, NOT_HERE
from pipelines.settings import Function, Settings
from tests.conftest import ROOT
from tests.local.local_cloud import ACCOUNT, REGION, Cloud

SETTINGS = Settings(project="t", stage="test", region=REGION, account=ACCOUNT)
Document = dict[str, Any]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud that these tests may change."""
    running = Cloud(tmp_path_factory.mktemp("own") / "state")
    yield running
    running.stop()


def planned(cloud: Cloud, kind: str) -> list[Planned]:
    values = parameters(SETTINGS, addresses(SETTINGS))
    found = plans(SETTINGS, values, cloud.endpoint)
    return [one for plan in found for one in plan.resources if one.type == kind]


def claimflow(cloud: Cloud, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command line as a user of this cloud runs it."""
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=cloud.state.parent,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(cloud.state.parent),
            "PYTHONPATH": str(ROOT),
            "CLAIMFLOW_PROJECT": "t",
            "CLAIMFLOW_STAGE": "test",
            **cloud.variables,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_type_of_the_templates_is_made_or_left_out_for_a_reason() -> None:
    used = {
        described["Type"] for stack in STACKS for described in stack.document["Resources"].values()
    }
    assert used <= set(MAKERS) | set(NOT_HERE)
    assert not set(MAKERS) & set(NOT_HERE)
    assert set(NOT_HERE) <= used, "a reason for what no template has any more"
    assert all(NOT_HERE.values())


def test_buckets_are_those_of_the_templates(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for one in planned(cloud, "AWS::S3::Bucket"):
        versioning = s3.get_bucket_versioning(Bucket=one.name)
        assert versioning["Status"] == one.properties["VersioningConfiguration"]["Status"]
        rules = s3.get_bucket_lifecycle_configuration(Bucket=one.name)["Rules"]
        found = {rule["ID"]: rule.get("Expiration", {}).get("Days") for rule in rules}
        assert found == {
            rule["Id"]: int(rule["ExpirationInDays"]) if "ExpirationInDays" in rule else None
            for rule in one.properties["LifecycleConfiguration"]["Rules"]
        }


def test_roles_have_the_policies_of_the_templates(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    roles = planned(cloud, "AWS::IAM::Role")
    assert {f"t-test-{purpose}" for purpose in ("pipeline", "training", "submit", "predict")} <= {
        one.name for one in roles
    }
    for one in roles:
        found = iam.get_role(RoleName=one.name)["Role"]
        assert found["AssumeRolePolicyDocument"] == one.properties["AssumeRolePolicyDocument"]
        names = iam.list_role_policies(RoleName=one.name)["PolicyNames"]
        documents = {
            name: iam.get_role_policy(RoleName=one.name, PolicyName=name)["PolicyDocument"]
            for name in names
        }
        assert documents == {
            policy["PolicyName"]: policy["PolicyDocument"]
            for policy in one.properties.get("Policies", [])
        }


def test_functions_have_the_limits_and_variables_of_the_templates(cloud: Cloud) -> None:
    functions = planned(cloud, "AWS::Lambda::Function")
    assert {one.name for one in functions} == {
        SETTINGS.function_name(purpose) for purpose in get_args(Function)
    }
    for one in functions:
        found = cloud.client("lambda").get_function_configuration(FunctionName=one.name)
        given = one.properties
        assert found["Handler"] == given["Handler"]
        assert found["Timeout"] == int(given["Timeout"])
        assert found["MemorySize"] == int(given["MemorySize"])
        assert found["Role"] == given["Role"]
        assert found["Environment"]["Variables"] == given["Environment"]["Variables"]


def test_each_function_finds_in_the_cloud_what_its_variables_name(cloud: Cloud) -> None:
    for one in planned(cloud, "AWS::Lambda::Function"):
        for name, value in one.properties["Environment"]["Variables"].items():
            if name.endswith("_BUCKET"):
                cloud.client("s3").head_bucket(Bucket=value)
            elif name.endswith("_QUEUE_URL"):
                cloud.client("sqs").get_queue_attributes(QueueUrl=value)
            elif name == "TOPIC_ARN":
                cloud.client("sns").get_topic_attributes(TopicArn=value)
            elif name == "JOB_QUEUE":
                assert cloud.client("batch").describe_job_queues(jobQueues=[value])["jobQueues"]


def test_rules_have_the_patterns_and_targets_of_the_templates(cloud: Cloud) -> None:
    events = cloud.client("events")
    for one in planned(cloud, "AWS::Events::Rule"):
        found = events.describe_rule(Name=one.name)
        assert json.loads(found.get("EventPattern", "null")) == one.properties.get("EventPattern")
        assert found.get("ScheduleExpression") == one.properties.get("ScheduleExpression")
        targets = events.list_targets_by_rule(Rule=one.name)["Targets"]
        assert {target["Id"]: target["Arn"] for target in targets} == {
            target["Id"]: target["Arn"] for target in one.properties["Targets"]
        }


def test_queues_have_the_attributes_of_the_templates(cloud: Cloud) -> None:
    sqs = cloud.client("sqs")
    queues = planned(cloud, "AWS::SQS::Queue")
    names = {SETTINGS.upload_queue, SETTINGS.notice_queue, SETTINGS.dead_letter_queue}
    assert {one.name for one in queues} == names | {
        SETTINGS.labelled_queue,
        SETTINGS.registered_queue,
    }
    for one in queues:
        url = sqs.get_queue_url(QueueName=one.name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        for name, value in one.properties.items():
            if name in ("VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds"):
                assert found[name] == str(value)
            if name == "RedrivePolicy":
                assert json.loads(found[name]) == value


def test_event_sources_and_job_definition_are_those_of_the_templates(cloud: Cloud) -> None:
    found = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    names = {
        (one["EventSourceArn"], one["FunctionArn"].rpartition(":")[2], one["BatchSize"])
        for one in found
    }
    for one in planned(cloud, "AWS::Lambda::EventSourceMapping"):
        given = one.properties
        function = given["FunctionName"].rpartition(":")[2]
        assert (given["EventSourceArn"], function, int(given["BatchSize"])) in names
    batch = cloud.client("batch")
    (definition,) = planned(cloud, "AWS::Batch::JobDefinition")
    listed = batch.describe_job_definitions(jobDefinitionName=definition.name, status="ACTIVE")
    (made,) = listed["jobDefinitions"]
    container = definition.properties["ContainerProperties"]
    assert made["containerProperties"]["jobRoleArn"] == container["JobRoleArn"]
    assert made["containerProperties"]["image"] == container["Image"]
    assert made["containerProperties"]["command"] == container["Command"]
    assert made["retryStrategy"]["attempts"] == definition.properties["RetryStrategy"]["Attempts"]
    timeout = definition.properties["Timeout"]["AttemptDurationSeconds"]
    assert made["timeout"]["attemptDurationSeconds"] == timeout


def test_log_groups_are_kept_as_long_as_the_templates_say(cloud: Cloud) -> None:
    groups = planned(cloud, "AWS::Logs::LogGroup")
    assert groups
    for one in groups:
        (found,) = [
            group
            for group in cloud.client("logs").describe_log_groups(logGroupNamePrefix=one.name)[
                "logGroups"
            ]
            if group["logGroupName"] == one.name
        ]
        assert found["retentionInDays"] == int(one.properties["RetentionInDays"])


def test_deploy_finds_nothing_to_do_after_the_start_and_sees_a_change(own: Cloud) -> None:
    done = claimflow(own, "deploy", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("no change") == len(STACKS)

    (own.state.parent / "claimflow.toml").write_text("[deployment]\nlog_days = 7\n", "utf-8")
    shown = claimflow(own, "deploy", "--dry-run", "--stack", "batch")
    assert "~ AWS::Logs::LogGroup" in shown.stdout
    assert "t-test-lambdas" not in shown.stdout
    assert claimflow(own, "deploy", "--yes").returncode == 0
    group = own.client("logs").describe_log_groups(logGroupNamePrefix="/aws/batch/t-test")
    assert [one["retentionInDays"] for one in group["logGroups"]] == [7]
    again = claimflow(own, "deploy")
    assert again.stdout.count("no change") == len(STACKS)


def test_doctor_is_content_with_a_local_cloud_that_has_no_model_yet(own: Cloud) -> None:
    done = claimflow(own, "doctor", "--json")
    findings = {one["what"]: one for one in json.loads(done.stdout)}
    assert findings["approved model"]["level"] == "warning"
    assert findings["bucket data"]["level"] == "ok"
    assert not [one for one in findings.values() if one["level"] == "error"]
    assert done.returncode == 0


def test_destroy_refuses_while_there_is_data_and_then_takes_everything_out(own: Cloud) -> None:
    own.put("a claim", "file.txt")
    own.put("a claim, corrected", "file.txt")
    own.client("s3").delete_object(Bucket=SETTINGS.bucket("data"), Key="file.txt")
    for _ in range(2):
        own.client("sagemaker").create_model_package(
            ModelPackageGroupName=SETTINGS.model_package_group,
            InferenceSpecification={
                "Containers": [{"Image": "image", "ModelDataUrl": "s3://b/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )
    refused = claimflow(own, "destroy", "--yes")
    assert refused.returncode == 1
    assert "3 versions of objects" in refused.stdout
    assert f"model registry {SETTINGS.model_package_group}: 2 versions" in refused.stdout
    assert "--delete-data" in refused.stderr
    own.client("s3").head_bucket(Bucket=SETTINGS.bucket("data"))

    done = claimflow(own, "destroy", "--yes", "--delete-data")
    assert done.returncode == 0, done.stderr
    assert own.client("s3").list_buckets()["Buckets"] == []
    assert own.client("sagemaker").list_model_packages()["ModelPackageSummaryList"] == []
    groups = own.client("sagemaker").list_model_package_groups()
    assert groups["ModelPackageGroupSummaryList"] == []
    assert own.client("ecr").describe_repositories()["repositories"] == []
    assert own.client("lambda").list_functions()["Functions"] == []
    assert own.client("sqs").list_queues().get("QueueUrls", []) == []
    assert own.client("events").list_rules()["Rules"] == []
    assert own.client("batch").describe_job_queues()["jobQueues"] == []
    roles = [one["RoleName"] for one in own.client("iam").list_roles()["Roles"]]
    assert not [name for name in roles if name.startswith("t-test")]

    assert claimflow(own, "deploy", "--yes").returncode == 0, "and back again"
    own.client("s3").head_bucket(Bucket=SETTINGS.bucket("data"))
