"""What an account holds before the first run: buckets, roles, functions, queues, rules, job
definition.

The local cloud makes them through the API, under the names that the settings give; on AWS they come
from the stacks of the rooms.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from lambdas.layout import INCOMING
from pipelines.images import TARGETS, image
from pipelines.lambda_package import zip_lambdas
from pipelines.settings import Settings

MAX_RECEIVES = 5  # tries of the submit function before an upload goes to the dead-letter queue
FUNCTION_SECONDS = 60

Client = Callable[[str], Any]


def create_resources(settings: Settings, client: Client) -> None:
    """Makes what is not there yet."""
    _buckets(settings, client("s3"))
    _roles(settings, client("iam"))
    _repositories(settings, client("ecr"))
    _registry(settings, client("sagemaker"))
    _batch(settings, client("batch"), client("ec2"))
    _functions(settings, client("lambda"))
    _upload_path(settings, client("sqs"), client("events"), client("lambda"))


def _buckets(settings: Settings, s3: Any) -> None:
    for purpose in ("data", "models", "predictions", "results"):
        name = settings.bucket(purpose)
        with contextlib.suppress(s3.exceptions.BucketAlreadyOwnedByYou):
            place = {"LocationConstraint": settings.region}
            more = {} if settings.region == "us-east-1" else {"CreateBucketConfiguration": place}
            s3.create_bucket(Bucket=name, **more)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(
        Bucket=settings.bucket("predictions"),
        NotificationConfiguration={"EventBridgeConfiguration": {}},
    )


def _roles(settings: Settings, iam: Any) -> None:
    services = {
        "pipeline": "sagemaker",
        "training": "sagemaker",
        "processing": "sagemaker",
        "champion": "lambda",
        "submit": "lambda",
        "predict": "ecs-tasks",
        "execution": "ecs-tasks",
    }
    for purpose, service in services.items():
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": f"{service}.amazonaws.com"},
                    "Action": "sts:AssumeRole",
                }
            ],
        }
        name = settings.role_arn(purpose).rpartition("/")[2]  # type: ignore[arg-type]
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))


def _repositories(settings: Settings, ecr: Any) -> None:
    for target in TARGETS:
        ecr.create_repository(
            repositoryName=f"{settings.project}/{target}", imageTagMutability="IMMUTABLE"
        )


def _registry(settings: Settings, sagemaker: Any) -> None:
    groups = sagemaker.list_model_package_groups(NameContains=settings.model_package_group)
    names = [one["ModelPackageGroupName"] for one in groups["ModelPackageGroupSummaryList"]]
    if settings.model_package_group not in names:
        sagemaker.create_model_package_group(
            ModelPackageGroupName=settings.model_package_group,
            ModelPackageGroupDescription="Text classifiers; the newest approved version predicts",
        )


def _batch(settings: Settings, batch: Any, ec2: Any) -> None:
    network = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    of_network = [{"Name": "vpc-id", "Values": [network]}]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets(Filters=of_network)["Subnets"]]
    groups = ec2.describe_security_groups(Filters=of_network)["SecurityGroups"]
    environment = batch.create_compute_environment(
        computeEnvironmentName=settings.job_queue,
        type="MANAGED",
        state="ENABLED",
        computeResources={
            "type": "FARGATE",
            "maxvCpus": 8,
            "subnets": subnets,
            "securityGroupIds": [one["GroupId"] for one in groups],
        },
        serviceRole=settings.role_arn("predict"),
    )
    batch.create_job_queue(
        jobQueueName=settings.job_queue,
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[
            {"order": 1, "computeEnvironment": environment["computeEnvironmentArn"]}
        ],
    )
    described = image("gluon-cpu")
    batch.register_job_definition(
        jobDefinitionName=settings.job_definition,
        type="container",
        platformCapabilities=["FARGATE"],
        containerProperties={
            "image": described.uri(settings),
            "command": ["predict"],
            "jobRoleArn": settings.role_arn("predict"),
            "executionRoleArn": settings.role_arn("execution"),
            "user": "10001",  # claimflow, in the image
            "environment": [{"name": "CLAIMFLOW_CODE_VERSION", "value": described.tag}],
            "resourceRequirements": [
                {"type": "VCPU", "value": "2"},
                {"type": "MEMORY", "value": "4096"},
            ],
        },
        # A file that cannot be read (2) fails the same way each time; everything else may pass.
        retryStrategy={
            "attempts": 3,
            "evaluateOnExit": [
                {"onExitCode": "2", "action": "EXIT"},
                {"onExitCode": "*", "action": "RETRY"},
            ],
        },
        timeout={"attemptDurationSeconds": 6 * 3600},
    )


def _functions(settings: Settings, functions: Any) -> None:
    code = zip_lambdas()
    environments = {
        "champion": {},
        "submit": {
            "MODEL_PACKAGE_GROUP": settings.model_package_group,
            "UPLOAD_BUCKET": settings.bucket("predictions"),
            "RESULTS_BUCKET": settings.bucket("results"),
            "JOB_QUEUE": settings.job_queue,
            "JOB_DEFINITION": settings.job_definition,
            "INCOMING_PREFIX": INCOMING,
        },
    }
    for purpose, environment in environments.items():
        functions.create_function(
            FunctionName=settings.function_name(purpose),  # type: ignore[arg-type]
            Runtime="python3.11",
            Role=settings.role_arn(purpose),  # type: ignore[arg-type]
            Handler=f"lambdas.{purpose}.handler",
            Timeout=FUNCTION_SECONDS,
            MemorySize=256,
            Code={"ZipFile": code},
            Environment={"Variables": environment},
        )


def _upload_path(settings: Settings, sqs: Any, events: Any, functions: Any) -> None:
    """S3 and the model registry → EventBridge → SQS → the submit function."""

    def queue(name: str, **attributes: str) -> tuple[str, str]:
        url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    _, dead_letters = queue(settings.dead_letter_queue, MessageRetentionPeriod="1209600")
    redrive = {"deadLetterTargetArn": dead_letters, "maxReceiveCount": MAX_RECEIVES}
    _, uploads = queue(
        settings.upload_queue,
        VisibilityTimeout=str(6 * FUNCTION_SECONDS),  # what Lambda asks for
        MessageRetentionPeriod="1209600",
        RedrivePolicy=json.dumps(redrive),
    )
    patterns = {
        "upload": {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": [settings.bucket("predictions")]},
                "object": {"key": [{"prefix": INCOMING}]},
            },
        },
        "approval": {
            "source": ["aws.sagemaker"],
            "detail-type": ["SageMaker Model Package State Change"],
            "detail": {
                "ModelPackageGroupName": [settings.model_package_group],
                "ModelApprovalStatus": ["Approved"],
            },
        },
    }
    for name, pattern in patterns.items():
        rule = f"{settings.prefix}-{name}"
        events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
        events.put_targets(Rule=rule, Targets=[{"Id": "uploads", "Arn": uploads}])
    functions.create_event_source_mapping(
        EventSourceArn=uploads,
        FunctionName=settings.function_arn("submit"),
        BatchSize=10,
        FunctionResponseTypes=["ReportBatchItemFailures"],
    )
