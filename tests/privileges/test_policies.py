"""What AWS's services do with a role's rights, which the local cloud does by itself; who may take a
role; and how far its policy reaches."""

from __future__ import annotations

import json
from functools import cache
from typing import get_args

import pytest

from pipelines.images import GPU_TARGET, TARGETS
from pipelines.local.iam.policies import Call, decide
from pipelines.settings import LOCAL_ACCOUNT, Function, Role
from tests.local.local_cloud import Cloud
from tests.privileges.calls import ROLES, SETTINGS, arn, role_name, sagemaker_arn


@cache
def policies(cloud: Cloud, purpose: Role) -> list[str]:
    iam, name = cloud.client("iam"), role_name(purpose)
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=name, PolicyName=one) for one in names]
    return [json.dumps(one["PolicyDocument"]) for one in documents]


def may(cloud: Cloud, purpose: Role, action: str, resource: str, **context: str) -> bool:
    known = {name.replace("__", ":"): (value,) for name, value in context.items()}
    return decide(policies(cloud, purpose), Call(action, resource, known)).allowed


LOG_GROUPS = {
    **{name: f"/aws/lambda/t-test-{name}" for name in get_args(Function)},
    "training": "/aws/sagemaker/TrainingJobs",
    "processing": "/aws/sagemaker/ProcessingJobs",
}


@pytest.mark.parametrize(("purpose", "group"), list(LOG_GROUPS.items()))
def test_a_log_is_written_with_the_rights_of_whoever_it_is_about(
    cloud: Cloud, purpose: Role, group: str
) -> None:
    for name, expected in ((group, True), ("/aws/lambda/other", False)):
        stream = arn("logs", f"log-group:{name}:log-stream:s")
        for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
            assert may(cloud, purpose, action, stream) is expected


def test_the_log_of_a_prediction_job_is_written_by_what_starts_it(cloud: Cloud) -> None:
    found = cloud.client("batch").describe_job_definitions(
        jobDefinitionName=SETTINGS.job_definition, status="ACTIVE"
    )
    container = found["jobDefinitions"][0]["containerProperties"]
    group = container["logConfiguration"]["options"]["awslogs-group"]
    stream = arn("logs", f"log-group:{group}:log-stream:s")
    assert container["executionRoleArn"] == SETTINGS.role_arn("execution")
    assert may(cloud, "execution", "logs:PutLogEvents", stream)
    assert not may(cloud, "predict", "logs:PutLogEvents", stream)
    repository = arn("ecr", f"repository/{SETTINGS.project}/gluon-cpu")
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert may(cloud, "execution", f"ecr:{action}", repository)


@pytest.mark.parametrize(
    ("purpose", "target"),
    [("training", "gluon-cpu"), ("training", "gluon-gpu"), ("processing", "gluon-cpu")],
)
def test_a_job_s_role_pulls_its_image(cloud: Cloud, purpose: Role, target: str) -> None:
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert may(cloud, purpose, f"ecr:{action}", arn("ecr", f"repository/t/{target}"))
        assert not may(cloud, purpose, f"ecr:{action}", arn("ecr", f"repository/other/{target}"))


@pytest.mark.parametrize("target", [*TARGETS, GPU_TARGET])
def test_ci_pushes_every_image_and_to_no_other_repository(cloud: Cloud, target: str) -> None:
    for action in ("DescribeImages", "InitiateLayerUpload", "UploadLayerPart", "PutImage"):
        assert may(cloud, "ci", f"ecr:{action}", arn("ecr", f"repository/t/{target}"))
        assert not may(cloud, "ci", f"ecr:{action}", arn("ecr", f"repository/other/{target}"))


def test_each_queue_is_polled_with_the_rights_of_the_function_that_it_feeds(cloud: Cloud) -> None:
    mappings = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    fed = {one["FunctionArn"].rpartition("-")[2]: one["EventSourceArn"] for one in mappings}
    assert set(fed) == {"submit", "notify", "retrain", "approve"}
    for purpose, queue in fed.items():
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            assert may(cloud, purpose, f"sqs:{action}", queue)
            assert not may(cloud, purpose, f"sqs:{action}", arn("sqs", "other"))


@pytest.mark.parametrize("purpose", ROLES)
def test_the_key_is_used_through_the_services_that_encrypt_with_it(
    cloud: Cloud, purpose: Role
) -> None:
    """Buckets, queues and the topic are encrypted with the key of the stack: who reads one needs
    `kms:Decrypt`, who writes or sends `kms:GenerateDataKey` (and S3's multipart uploads both)."""
    statements = [one for text in policies(cloud, purpose) for one in json.loads(text)["Statement"]]
    actions = {
        action
        for one in statements
        for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])
    }
    needs = {
        "s3": ({"s3:GetObject", "s3:GetObjectVersion"} & actions, {"s3:PutObject"} & actions),
        "sqs": ({"sqs:ReceiveMessage", "sqs:SendMessage"} & actions, {"sqs:SendMessage"} & actions),
        "sns": ({"sns:Publish"} & actions, {"sns:Publish"} & actions),
    }
    key = arn("kms", "key/00000000-0000-0000-0000-000000000000")
    for service, (reads, writes) in needs.items():
        through = {"kms__viaservice": f"{service}.{SETTINGS.region}.amazonaws.com"}
        if reads:
            assert may(cloud, purpose, "kms:Decrypt", key, **through), service
        if writes:
            assert may(cloud, purpose, "kms:GenerateDataKey", key, **through), service
    elsewhere = {"kms__viaservice": f"ec2.{SETTINGS.region}.amazonaws.com"}
    assert not may(cloud, purpose, "kms:Decrypt", key, **elsewhere)


ASSUMED_BY = {
    **dict.fromkeys(("pipeline", "training", "processing"), "sagemaker.amazonaws.com"),
    **dict.fromkeys(get_args(Function), "lambda.amazonaws.com"),
    **dict.fromkeys(("predict", "execution"), "ecs-tasks.amazonaws.com"),
}


@pytest.mark.parametrize("purpose", ROLES)
def test_a_role_is_assumed_by_its_service_alone_and_for_this_account(
    cloud: Cloud, purpose: Role
) -> None:
    role = cloud.client("iam").get_role(RoleName=role_name(purpose))["Role"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    equal = trust["Condition"]["StringEquals"]
    if purpose == "ci":  # one repository's workflow, and no wildcard in whose
        assert trust["Action"] == "sts:AssumeRoleWithWebIdentity"
        assert set(trust["Principal"]) == {"Federated"}
        issuer = "token.actions.githubusercontent.com"
        assert equal[f"{issuer}:aud"] == "sts.amazonaws.com"
        assert equal[f"{issuer}:sub"].startswith("repo:owner/name:")
        assert "*" not in equal[f"{issuer}:sub"]
    else:
        assert trust["Action"] == "sts:AssumeRole"
        assert trust["Principal"] == {"Service": ASSUMED_BY[purpose]}
        assert equal == {"aws:SourceAccount": LOCAL_ACCOUNT}


@pytest.mark.parametrize("purpose", ROLES)
def test_roles_are_passed_to_one_service_and_only_allowed_what_is_told(
    cloud: Cloud, purpose: Role
) -> None:
    """An exclusion would allow whatever AWS adds; without its version a policy has no variables."""
    passed_to = {"pipeline": "sagemaker.amazonaws.com", "ci": "sagemaker.amazonaws.com"}
    for text in policies(cloud, purpose):
        document = json.loads(text)
        assert document["Version"] == "2012-10-17"
        for one in document["Statement"]:
            assert set(one) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
            assert one["Effect"] == "Allow"
            if "iam:PassRole" in one["Action"]:
                assert one["Action"] == "iam:PassRole"
                assert one["Condition"]["StringEquals"]["iam:PassedToService"] == passed_to[purpose]
                given = [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
                assert not any("*" in resource or "?" in resource for resource in given)


@pytest.mark.parametrize("purpose", ROLES)
def test_a_role_reaches_into_no_other_deployment(cloud: Cloud, purpose: Role) -> None:
    """Each resource names this account and region, and this deployment or what it is made of."""
    shared = (
        *("training-job/pipelines-*", "processing-job/pipelines-*"),  # kept apart by their tags
        *("log-group:/aws/sagemaker/", "job/*", "key/"),
        f"repository/{SETTINGS.project}/",
    )
    for text in policies(cloud, purpose):
        for one in json.loads(text)["Statement"]:
            given = [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
            for resource in (each for each in given if each != "*"):
                _, partition, service, region, account, name = resource.split(":", 5)
                assert partition == "aws"
                if service == "s3":
                    assert name.startswith(f"{SETTINGS.prefix}-"), resource
                    continue
                assert account == LOCAL_ACCOUNT, resource
                assert region == ("" if service == "iam" else SETTINGS.region), resource
                mine = SETTINGS.prefix in name.replace("/*", "")
                assert mine or name.startswith(shared), resource
                if name.startswith(("training-job/", "processing-job/")):
                    assert "aws:" in str(one["Condition"]) or "TaggingAction" in str(one)


def test_a_pipeline_follows_and_stops_the_jobs_of_its_own_deployment_alone(cloud: Cloud) -> None:
    job = sagemaker_arn("training-job/pipelines-x")
    for stage, expected in (("test", True), ("prod", False)):
        known = {
            "aws:resourcetagkeys": ("project", "stage"),
            "aws:resourcetag/project": ("t",),
            "aws:resourcetag/stage": (stage,),
        }
        for action in ("sagemaker:StopTrainingJob", "sagemaker:DescribeTrainingJob"):
            decision = decide(policies(cloud, "pipeline"), Call(action, job, known))
            assert decision.allowed is expected


def test_nobody_has_all_actions_or_an_action_on_all_resources_without_need(cloud: Cloud) -> None:
    """AWS knows no resource for these: see the service authorization reference."""
    without_resource = {
        *("ecr:GetAuthorizationToken", "batch:ListJobs", "batch:DescribeJobs"),
        "cloudwatch:PutMetricData",
    }
    for purpose in ROLES:
        for text in policies(cloud, purpose):
            for one in json.loads(text)["Statement"]:
                actions = [one["Action"]] if isinstance(one["Action"], str) else one["Action"]
                resources = (
                    [one["Resource"]] if isinstance(one["Resource"], str) else one["Resource"]
                )
                assert not any("*" in action for action in actions), (purpose, one)
                assert "*" not in resources or set(actions) <= without_resource, (purpose, one)
