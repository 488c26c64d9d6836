"""What each role of a deployment may do, and what it may not, by the policies of the templates.

That the real code works with what its role may is proved wherever it runs in the local cloud, where
roles are always enforced (`test_line.py` runs all of it). Here are the other sides: what a role
must not be able to do, a few calls that it must, and what AWS's services do with a role's rights,
which the local cloud does by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from pipelines.aws import Aws
from pipelines.control import Control
from pipelines.deployment.stacks import parameters, plans
from pipelines.images import addresses
from pipelines.local.iam.access import Access
from pipelines.local.iam.policies import Call, decide
from pipelines.local.resource_types import role as make_role
from pipelines.models import Models
from pipelines.settings import LOCAL_ACCOUNT, Settings
from tests.local.local_cloud import Cloud, Document

SETTINGS = Settings(project="t", stage="test", region="us-east-1").with_account(LOCAL_ACCOUNT)
REFUSED = ("AccessDenied", "AccessDeniedException", "AuthorizationError")
ROLES = (
    *("pipeline", "training", "processing", "champion", "submit", "notify", "sweep"),
    *("predict", "execution", "ci"),
)
DATA, MODELS = SETTINGS.bucket("data"), SETTINGS.bucket("models")
UPLOADS, RESULTS = SETTINGS.bucket("predictions"), SETTINGS.bucket("results")
GROUP = SETTINGS.model_package_group
OTHER_GROUP = f"{GROUP}-other"  # begins with the name of ours, on purpose
ID = "0" * 32
SPECIFICATION = {
    "Containers": [{"Image": "i", "ModelDataUrl": f"s3://{MODELS}/runs/m/model.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


@dataclass(frozen=True)
class Asked:
    """One call of an API; `action` is what it needs."""

    action: str
    operation: str
    arguments: Document

    def __str__(self) -> str:
        return f"{self.action} {next(iter(self.arguments.values()), '')}"


def get(bucket: str, key: str) -> Asked:
    return Asked("s3:GetObject", "get_object", {"Key": key, "Bucket": bucket})


def put(bucket: str, key: str) -> Asked:
    return Asked("s3:PutObject", "put_object", {"Key": key, "Bucket": bucket})


def delete(bucket: str, key: str) -> Asked:
    return Asked("s3:DeleteObject", "delete_object", {"Key": key, "Bucket": bucket})


def delete_version(bucket: str, key: str) -> Asked:
    arguments = {"Key": key, "Bucket": bucket, "VersionId": "x"}
    return Asked("s3:DeleteObjectVersion", "delete_object", arguments)


def listing(bucket: str, prefix: str = "") -> Asked:
    return Asked("s3:ListBucket", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix})


def queue_url(queue: str) -> str:
    return f"https://queue.amazonaws.com/{LOCAL_ACCOUNT}/{queue}"


def send(queue: str) -> Asked:
    arguments = {"QueueUrl": queue_url(queue), "MessageBody": "{}"}
    return Asked("sqs:SendMessage", "send_message", arguments)


def copy(source: str, bucket: str, key: str, of: str) -> Asked:
    """A copy, which reads what it must not: `of`."""
    arguments = {"Bucket": bucket, "Key": key, "CopySource": {"Bucket": of, "Key": source}}
    return Asked("s3:GetObject", "copy_object", arguments)


def packages(group: str) -> Asked:
    arguments = {"ModelPackageGroupName": group}
    return Asked("sagemaker:ListModelPackages", "list_model_packages", arguments)


def package(group: str) -> Asked:
    arguments = {"ModelPackageName": sagemaker_arn(f"model-package/{group}/1")}
    return Asked("sagemaker:DescribeModelPackage", "describe_model_package", arguments)


def register(group: str) -> Asked:
    arguments = {"ModelPackageGroupName": group, "InferenceSpecification": SPECIFICATION}
    return Asked("sagemaker:CreateModelPackage", "create_model_package", arguments)


def start(pipeline: str) -> Asked:
    arguments = {"PipelineName": pipeline}
    return Asked("sagemaker:StartPipelineExecution", "start_pipeline_execution", arguments)


def train(role: str, action: str = "sagemaker:CreateTrainingJob", **more: Any) -> Asked:
    arguments = {
        "TrainingJobName": "pipelines-x",
        "RoleArn": role,
        "AlgorithmSpecification": {"TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{MODELS}/runs/x"},
        "ResourceConfig": {
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": 60},
        **more,
    }
    return Asked(action, "create_training_job", arguments)


def follow(job: str) -> Asked:
    kind, name = job.split("/")
    word = {"training-job": "Training", "processing-job": "Processing"}[kind]
    operation = f"describe_{word.lower()}_job"
    return Asked(f"sagemaker:Describe{word}Job", operation, {f"{word}JobName": name})


def submit(queue: str, definition: str = SETTINGS.job_definition) -> Asked:
    arguments = {"jobName": "j", "jobQueue": queue, "jobDefinition": definition}
    return Asked("batch:SubmitJob", "submit_job", arguments)


def invoke(function: str) -> Asked:
    return Asked("lambda:InvokeFunction", "invoke", {"FunctionName": function, "Payload": b"{}"})


def publish(topic: str) -> Asked:
    return Asked("sns:Publish", "publish", {"TopicArn": topic, "Message": "m"})


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{SETTINGS.region}:{LOCAL_ACCOUNT}:{resource}"


def sagemaker_arn(resource: str) -> str:
    return arn("sagemaker", resource)


def role_name(purpose: str) -> str:
    return SETTINGS.role_arn(purpose).rpartition("/")[2]  # type: ignore[arg-type]


OWN_TAGS = [{"Key": key, "Value": value} for key, value in SETTINGS.tags.items()]
OTHER_TAGS = [{"Key": "project", "Value": "t"}, {"Key": "stage", "Value": "prod"}]
ADMIN = f"arn:aws:iam::{LOCAL_ACCOUNT}:role/admin"
TRAINING = SETTINGS.role_arn("training")
TRUST_ANYONE = {"RoleName": "{role}", "PolicyDocument": "{}"}
VERSIONING_OFF = {"Bucket": RESULTS, "VersioningConfiguration": {"Status": "Suspended"}}
NOTIFICATIONS_OFF = {"Bucket": UPLOADS, "NotificationConfiguration": {}}
UPLOAD, RESULT = f"incoming/{ID}.csv", f"results/x/{ID}/predictions.csv"
CEILING = f"serving/{GROUP}.json"

# What nobody may: it would give itself more rights, approve models, or make what was done unseen.
NOBODY = [
    Asked(
        "iam:PutRolePolicy",
        "put_role_policy",
        {"RoleName": "{role}", "PolicyName": "p", "PolicyDocument": "{}"},
    ),
    Asked(
        "iam:AttachRolePolicy",
        "attach_role_policy",
        {"RoleName": "{role}", "PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"},
    ),
    Asked("iam:CreateRole", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": "{}"}),
    Asked("sts:AssumeRole", "assume_role", {"RoleArn": ADMIN, "RoleSessionName": "session"}),
    Asked(
        "sagemaker:UpdateModelPackage",
        "update_model_package",
        {
            "ModelPackageArn": sagemaker_arn(f"model-package/{GROUP}/1"),
            "ModelApprovalStatus": "Approved",
        },
    ),
    Asked(
        "sagemaker:DeleteModelPackage",
        "delete_model_package",
        {"ModelPackageName": sagemaker_arn(f"model-package/{GROUP}/1")},
    ),
    Asked("iam:UpdateAssumeRolePolicy", "update_assume_role_policy", TRUST_ANYONE),
    Asked("iam:CreateUser", "create_user", {"UserName": "u"}),
    Asked("iam:CreateAccessKey", "create_access_key", {"UserName": "u"}),
    Asked("iam:GetRolePolicy", "get_role_policy", {"RoleName": "{role}", "PolicyName": "p"}),
    Asked(
        "sagemaker:CreateModelPackageGroup",
        "create_model_package_group",
        {"ModelPackageGroupName": "g"},
    ),
    Asked(
        "sagemaker:DeleteModelPackageGroup",
        "delete_model_package_group",
        {"ModelPackageGroupName": GROUP},
    ),
    Asked(
        "sagemaker:DeletePipeline",
        "delete_pipeline",
        {"PipelineName": SETTINGS.pipeline_name, "ClientRequestToken": "t" * 32},
    ),
    Asked(
        "sagemaker:AddTags",
        "add_tags",
        {"ResourceArn": sagemaker_arn(f"model-package/{GROUP}/1"), "Tags": OWN_TAGS},
    ),
    Asked(
        "lambda:UpdateFunctionCode",
        "update_function_code",
        {"FunctionName": SETTINGS.function_name("submit"), "ZipFile": b"x"},
    ),
    Asked("lambda:GetFunction", "get_function", {"FunctionName": SETTINGS.function_name("submit")}),
    Asked(
        "batch:RegisterJobDefinition",
        "register_job_definition",
        {
            "jobDefinitionName": SETTINGS.job_definition,
            "type": "container",
            "containerProperties": {"image": "i"},
        },
    ),
    Asked("batch:TerminateJob", "terminate_job", {"jobId": "i", "reason": "r"}),
    Asked("sqs:PurgeQueue", "purge_queue", {"QueueUrl": queue_url(SETTINGS.upload_queue)}),
    Asked(
        "sqs:SetQueueAttributes",
        "set_queue_attributes",
        {"QueueUrl": queue_url(SETTINGS.upload_queue), "Attributes": {"VisibilityTimeout": "0"}},
    ),
    Asked(
        "sqs:ReceiveMessage",
        "receive_message",
        {"QueueUrl": queue_url(SETTINGS.dead_letter_queue)},
    ),
    Asked(
        "sns:Subscribe",
        "subscribe",
        {"TopicArn": SETTINGS.notice_topic_arn, "Protocol": "email", "Endpoint": "a@example.com"},
    ),
    Asked("events:DisableRule", "disable_rule", {"Name": "t-test-upload"}),
    Asked(
        "events:PutTargets",
        "put_targets",
        {"Rule": "t-test-upload", "Targets": [{"Id": "i", "Arn": arn("sqs", "other")}]},
    ),
    Asked("events:PutEvents", "put_events", {"Entries": [{"Source": "aws.s3", "Detail": "{}"}]}),
    Asked(
        "logs:GetLogEvents",
        "get_log_events",
        {"logGroupName": "/aws/lambda/t-test-submit", "logStreamName": "s"},
    ),
    Asked("kms:Decrypt", "decrypt", {"CiphertextBlob": b"x", "KeyId": "k"}),
    Asked("s3:ListAllMyBuckets", "list_buckets", {}),
    Asked("s3:PutBucketVersioning", "put_bucket_versioning", VERSIONING_OFF),
    Asked("s3:PutBucketPublicAccessBlock", "delete_public_access_block", {"Bucket": RESULTS}),
    Asked("s3:PutLifecycleConfiguration", "delete_bucket_lifecycle", {"Bucket": RESULTS}),
    Asked("s3:PutBucketNotification", "put_bucket_notification_configuration", NOTIFICATIONS_OFF),
    Asked(
        "s3:PutObjectAcl",
        "put_object_acl",
        {"Key": RESULT, "Bucket": RESULTS, "ACL": "public-read"},
    ),
    put(MODELS, CEILING),
    delete(DATA, "train.csv"),
    delete(MODELS, "runs/m/model.tar.gz"),
    delete(UPLOADS, UPLOAD),
    delete(RESULTS, RESULT),
    delete_version(RESULTS, RESULT),
    put(UPLOADS, UPLOAD),
    put(DATA, "train.csv"),
    get("somebody-elses-bucket", "x"),
    get(f"{DATA}-2", "train.csv"),
    packages(OTHER_GROUP),
    package(OTHER_GROUP),
    register(OTHER_GROUP),
    submit("other-queue"),
    submit(f"{SETTINGS.job_queue}-2"),
    submit(SETTINGS.job_queue, "other-definition"),
    send("t-test-uploads-2"),
    publish(f"{SETTINGS.notice_topic_arn}-2"),
    invoke("t-test-other"),
    start("other-pipeline"),
    train(TRAINING, TrainingJobName="mine", Tags=OWN_TAGS),
    train(ADMIN, Tags=OTHER_TAGS),
]

CLAIMS = get(UPLOADS, UPLOAD)
LABELLED = get(DATA, "train.csv")
PREDICTIONS = get(RESULTS, RESULT)
MODEL = get(MODELS, "runs/m/model.tar.gz")
MANIFEST = get(RESULTS, f"results/x/{ID}/manifest.json")
RECORD, MARKER = f"submissions/{ID}.json", f"waiting/{ID}.json"
REST = (put(MODELS, "runs/m/model.tar.gz"), put(RESULTS, RESULT), submit(SETTINGS.job_queue))
MESSAGES = (send(SETTINGS.upload_queue), publish(SETTINGS.notice_topic_arn))

MUST_NOT: dict[str, list[Asked]] = {
    "pipeline": [
        *(CLAIMS, LABELLED, PREDICTIONS, *REST, *MESSAGES),
        invoke(SETTINGS.function_name("submit")),
        train(ADMIN, "iam:PassRole", Tags=OWN_TAGS),
        train(SETTINGS.role_arn("pipeline"), "iam:PassRole", Tags=OWN_TAGS),
        train(SETTINGS.role_arn("predict"), "iam:PassRole", Tags=OWN_TAGS),
        train(TRAINING, Tags=OTHER_TAGS),
        train(TRAINING),
        start(SETTINGS.pipeline_name),
        *(listing(MODELS), listing(DATA), listing(UPLOADS), listing(RESULTS), put(DATA, "x")),
        *(get(MODELS, CEILING), get(MODELS, "checkpoints/x"), packages(GROUP)),
        follow("training-job/other"),
    ],
    "training": [
        *(CLAIMS, PREDICTIONS, MODEL, submit(SETTINGS.job_queue), *MESSAGES),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(UPLOADS), listing(RESULTS)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        *(get(MODELS, CEILING), put(MODELS, "no-champion/no-champion.json"), put(RESULTS, RESULT)),
        *(listing(MODELS), listing(MODELS, "serving/"), copy(UPLOAD, MODELS, "runs/x", UPLOADS)),
        follow("training-job/pipelines-x"),
    ],
    "processing": [
        *(CLAIMS, PREDICTIONS, *REST, *MESSAGES, get(MODELS, "checkpoints/x")),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(UPLOADS), listing(RESULTS)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        *(get(MODELS, CEILING), listing(MODELS), listing(MODELS, "serving/")),
        copy(UPLOAD, MODELS, "runs/r/evaluation/x", UPLOADS),
        follow("processing-job/pipelines-x"),
    ],
    "champion": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST, *MESSAGES, register(GROUP)),
        *(listing(UPLOADS), listing(DATA), listing(RESULTS), put(MODELS, "runs/x")),
        *(put(MODELS, "no-champion/other.json"), start(SETTINGS.pipeline_name)),
    ],
    "submit": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST[:2], *MESSAGES, register(GROUP)),
        *(listing(UPLOADS), listing(DATA), delete(RESULTS, RECORD), start(SETTINGS.pipeline_name)),
        *(put(RESULTS, f"results/x/{ID}/manifest.json"), put(RESULTS, f"notices/{ID}/1-done.json")),
        *(send(SETTINGS.notice_queue), copy(RESULT, RESULTS, RECORD, RESULTS)),
    ],
    "notify": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST, send(SETTINGS.upload_queue)),
        *(packages(GROUP), register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(listing(UPLOADS), listing(DATA), delete(RESULTS, RECORD), package(GROUP)),
        *(get(MODELS, CEILING), get(RESULTS, MARKER), start(SETTINGS.pipeline_name)),
        copy(RESULT, RESULTS, f"notices/{ID}/1-done.json", RESULTS),
    ],
    "sweep": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST, publish(SETTINGS.notice_topic_arn)),
        *(register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER), delete(RESULTS, RECORD)),
        *(send(SETTINGS.notice_queue), listing(DATA), start(SETTINGS.pipeline_name)),
        put(RESULTS, f"results/x/{ID}/manifest.json"),
    ],
    "predict": [
        *(LABELLED, *MESSAGES, put(MODELS, "runs/m/model.tar.gz"), submit(SETTINGS.job_queue)),
        *(packages(GROUP), register(GROUP), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(listing(DATA), get(UPLOADS, "elsewhere/x.csv"), delete(RESULTS, RECORD)),
        *(get(MODELS, CEILING), get(RESULTS, RECORD), get(RESULTS, MARKER)),
        *(invoke(SETTINGS.function_name("champion")), start(SETTINGS.pipeline_name)),
        copy("train.csv", RESULTS, RESULT, DATA),
    ],
    # What starts the container sees none of what the container sees.
    "execution": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST, *MESSAGES),
        *(packages(GROUP), package(GROUP), register(GROUP), listing(RESULTS), listing(UPLOADS)),
        *(listing(DATA), listing(MODELS), get(RESULTS, RECORD), start(SETTINGS.pipeline_name)),
    ],
    "ci": [
        *(CLAIMS, LABELLED, PREDICTIONS, MODEL, *REST, *MESSAGES, register(GROUP)),
        *(listing(UPLOADS), listing(RESULTS), invoke(SETTINGS.function_name("submit"))),
        *(get(MODELS, CEILING), put(DATA, "code/x"), get(RESULTS, RECORD)),
        *(follow("training-job/pipelines-x"), follow("processing-job/other")),
        Asked(
            "iam:PassRole",
            "create_pipeline",
            {
                "PipelineName": SETTINGS.pipeline_name,
                "PipelineDefinition": "{}",
                "RoleArn": SETTINGS.role_arn("training"),
            },
        ),
        Asked(
            "iam:PassRole",
            "create_pipeline",
            {"PipelineName": SETTINGS.pipeline_name, "PipelineDefinition": "{}", "RoleArn": ADMIN},
        ),
    ],
}

MUST: dict[str, list[Asked]] = {
    "pipeline": [
        train(TRAINING, Tags=OWN_TAGS),
        *(register(GROUP), get(MODELS, "runs/r/evaluation/report.json")),
    ],
    "training": [LABELLED, listing(DATA), put(MODELS, "runs/n/model.tar.gz")],
    "processing": [LABELLED, MODEL, listing(MODELS, "runs/m/")],
    "champion": [packages(GROUP), package(GROUP), get(MODELS, CEILING)],
    "submit": [
        *(packages(GROUP), package(GROUP), get(MODELS, CEILING), MANIFEST),
        *(get(RESULTS, RECORD), put(RESULTS, RECORD), put(RESULTS, MARKER)),
        *(delete(RESULTS, MARKER), send(SETTINGS.dead_letter_queue)),
        Asked("batch:ListJobs", "list_jobs", {"jobQueue": SETTINGS.job_queue}),
    ],
    "notify": [
        *(MANIFEST, get(RESULTS, RECORD), put(RESULTS, f"notices/{ID}/1-done.json")),
        *(publish(SETTINGS.notice_topic_arn), send(SETTINGS.dead_letter_queue)),
    ],
    "sweep": [
        *(send(SETTINGS.upload_queue), packages(GROUP), get(RESULTS, RECORD)),
        *(put(RESULTS, f"announced/{ID}"), listing(RESULTS)),
    ],
    "predict": [CLAIMS, MODEL, package(GROUP), put(RESULTS, RESULT), PREDICTIONS],
    "execution": [Asked("ecr:GetAuthorizationToken", "get_authorization_token", {})],
    "ci": [Asked("ecr:GetAuthorizationToken", "get_authorization_token", {}), packages(GROUP)],
}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A deployment with a model and some objects, and the role that CI has where there is one."""
    running = Cloud(tmp_path_factory.mktemp("privileges") / "state")
    with_ci = {**parameters(SETTINGS, addresses(SETTINGS)), "GithubRepository": "owner/name"}
    (ci,) = (
        resource
        for plan in plans(SETTINGS, with_ci, running.endpoint)
        for resource in plan.resources
        if resource.name == role_name("ci")
    )
    make_role(running.client, ci)
    sagemaker = running.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=OTHER_GROUP)
    for group in (GROUP, OTHER_GROUP):
        sagemaker.create_model_package(
            ModelPackageGroupName=group, InferenceSpecification=SPECIFICATION
        )
    for one in (LABELLED, MODEL, CLAIMS, PREDICTIONS, MANIFEST):
        running.client("s3").put_object(**one.arguments, Body=b"x")
    for key in (RECORD, "runs/r/evaluation/report.json", CEILING):
        bucket = RESULTS if key == RECORD else MODELS
        running.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    yield running
    running.stop()


def key_of(cloud: Cloud, purpose: str) -> str:
    return Access(cloud.variables["AWS_ACCESS_KEY_ID"], {}).key(SETTINGS.role_arn(purpose))  # type: ignore[arg-type]


def ask(cloud: Cloud, purpose: str, asked: Asked) -> None:
    """Calls as a role."""
    service = _SERVICES.get(asked.operation) or asked.action.partition(":")[0]
    client = boto3.client(
        service,
        endpoint_url=cloud.endpoint,
        region_name=SETTINGS.region,
        aws_access_key_id=key_of(cloud, purpose),
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 0}),
    )
    arguments = {
        name: value.format(role=role_name(purpose)) if value == "{role}" else value
        for name, value in asked.arguments.items()
    }
    getattr(client, asked.operation)(**arguments)


# Calls that fail for a role that they pass on.
_SERVICES = {"create_training_job": "sagemaker", "create_pipeline": "sagemaker"}


def cases(table: dict[str, list[Asked]], also: tuple[Asked, ...] = ()) -> list[Any]:
    return [
        pytest.param(purpose, asked, id=f"{purpose}-{asked}")
        for purpose in ROLES
        for asked in (*table[purpose], *also)
    ]


@pytest.mark.parametrize(("purpose", "asked"), cases(MUST_NOT, tuple(NOBODY)))
def test_a_role_must_not(cloud: Cloud, purpose: str, asked: Asked) -> None:
    with pytest.raises(ClientError) as refused:
        ask(cloud, purpose, asked)
    error = refused.value.response["Error"]
    assert error["Code"] in REFUSED
    assert (
        f"{role_name(purpose)}/local is not authorized to perform: {asked.action} on"
        in (error["Message"])
    )


@pytest.mark.parametrize(("purpose", "asked"), cases(MUST))
def test_a_role_must(cloud: Cloud, purpose: str, asked: Asked) -> None:
    ask(cloud, purpose, asked)


def test_ci_can_keep_start_and_follow_the_pipeline_with_its_own_rights(cloud: Cloud) -> None:
    place = Aws(SETTINGS, {**cloud.variables, "AWS_ACCESS_KEY_ID": key_of(cloud, "ci")})
    control = Control(place)
    assert control.upsert() == "created"
    assert control.upsert() == "unchanged"
    data = f"s3://{DATA}/train.csv"
    execution = control.start({"TrainData": data, "TestData": data})
    assert control.status(execution).status == "Executing"
    control.stop(execution)
    assert execution in [one["PipelineExecutionArn"] for one in control.executions()]
    assert Models(place).versions()


# What AWS's services do with a role's rights: the local cloud does it by itself.


@cache
def policies(cloud: Cloud, purpose: str) -> list[str]:
    iam, name = cloud.client("iam"), role_name(purpose)
    names = iam.list_role_policies(RoleName=name)["PolicyNames"]
    documents = [iam.get_role_policy(RoleName=name, PolicyName=one) for one in names]
    return [json.dumps(one["PolicyDocument"]) for one in documents]


def may(cloud: Cloud, purpose: str, action: str, resource: str, **context: str) -> bool:
    known = {name.replace("__", ":"): (value,) for name, value in context.items()}
    return decide(policies(cloud, purpose), Call(action, resource, known)).allowed


LOG_GROUPS = {
    **{name: f"/aws/lambda/t-test-{name}" for name in ("champion", "submit", "notify", "sweep")},
    "training": "/aws/sagemaker/TrainingJobs",
    "processing": "/aws/sagemaker/ProcessingJobs",
}


@pytest.mark.parametrize(("purpose", "group"), list(LOG_GROUPS.items()))
def test_a_log_is_written_with_the_rights_of_whoever_it_is_about(
    cloud: Cloud, purpose: str, group: str
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


@pytest.mark.parametrize("purpose", ["training", "processing"])
def test_a_job_s_role_pulls_its_image(cloud: Cloud, purpose: str) -> None:
    for action in ("BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability"):
        assert may(cloud, purpose, f"ecr:{action}", arn("ecr", "repository/t/gluon-cpu"))
        assert not may(cloud, purpose, f"ecr:{action}", arn("ecr", "repository/other/gluon-cpu"))


def test_each_queue_is_polled_with_the_rights_of_the_function_that_it_feeds(cloud: Cloud) -> None:
    mappings = cloud.client("lambda").list_event_source_mappings()["EventSourceMappings"]
    fed = {one["FunctionArn"].rpartition("-")[2]: one["EventSourceArn"] for one in mappings}
    assert set(fed) == {"submit", "notify"}
    for purpose, queue in fed.items():
        for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes"):
            assert may(cloud, purpose, f"sqs:{action}", queue)
            assert not may(cloud, purpose, f"sqs:{action}", arn("sqs", "other"))


@pytest.mark.parametrize("purpose", ROLES)
def test_the_key_is_used_through_the_services_that_encrypt_with_it(
    cloud: Cloud, purpose: str
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
    **dict.fromkeys(("champion", "submit", "notify", "sweep"), "lambda.amazonaws.com"),
    **dict.fromkeys(("predict", "execution"), "ecs-tasks.amazonaws.com"),
}


@pytest.mark.parametrize("purpose", ROLES)
def test_a_role_is_assumed_by_its_service_alone_and_for_this_account(
    cloud: Cloud, purpose: str
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
    cloud: Cloud, purpose: str
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
def test_a_role_reaches_into_no_other_deployment(cloud: Cloud, purpose: str) -> None:
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
