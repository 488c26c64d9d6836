"""Calls of AWS's APIs that a role may be tried with, and what they need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from pipelines.settings import LOCAL_ACCOUNT, Role, Settings
from tests.local.local_cloud import Document

SETTINGS = Settings(project="t", stage="test", region="us-east-1").with_account(LOCAL_ACCOUNT)
DATA, MODELS = SETTINGS.bucket("data"), SETTINGS.bucket("models")
UPLOADS, RESULTS = SETTINGS.bucket("predictions"), SETTINGS.bucket("results")
ROLES: tuple[Role, ...] = get_args(Role)
GROUP = SETTINGS.model_package_group
OTHER_GROUP = f"{GROUP}-other"  # begins with the name of ours, on purpose
ID = "0" * 32
SPECIFICATION = {
    "Containers": [{"Image": "i", "ModelDataUrl": f"s3://{MODELS}/runs/m/model/model.tar.gz"}],
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


def create(bucket: str, key: str) -> Asked:
    """A put that writes over nothing."""
    arguments = {"Key": key, "Bucket": bucket, "IfNoneMatch": "*"}
    return Asked("s3:PutObject", "put_object", arguments)


def delete(bucket: str, key: str) -> Asked:
    return Asked("s3:DeleteObject", "delete_object", {"Key": key, "Bucket": bucket})


def delete_version(bucket: str, key: str) -> Asked:
    arguments = {"Key": key, "Bucket": bucket, "VersionId": "x"}
    return Asked("s3:DeleteObjectVersion", "delete_object", arguments)


def listing(bucket: str, prefix: str = "") -> Asked:
    return Asked("s3:ListBucket", "list_objects_v2", {"Bucket": bucket, "Prefix": prefix})


def listing_versions(bucket: str, prefix: str) -> Asked:
    arguments = {"Bucket": bucket, "Prefix": prefix}
    return Asked("s3:ListBucketVersions", "list_object_versions", arguments)


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


def update(group: str) -> Asked:
    arguments = {
        "ModelPackageArn": sagemaker_arn(f"model-package/{group}/1"),
        "ModelApprovalStatus": "Approved",
    }
    return Asked("sagemaker:UpdateModelPackage", "update_model_package", arguments)


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


def role_name(purpose: Role) -> str:
    return SETTINGS.role_arn(purpose).rpartition("/")[2]


OWN_TAGS = [{"Key": key, "Value": value} for key, value in SETTINGS.tags.items()]
OTHER_TAGS = [{"Key": "project", "Value": "t"}, {"Key": "stage", "Value": "prod"}]
ADMIN = f"arn:aws:iam::{LOCAL_ACCOUNT}:role/admin"
TRAINING = SETTINGS.role_arn("training")
EXECUTION = sagemaker_arn(f"pipeline/{SETTINGS.pipeline_name}/execution/abcdefghijkl")
UPLOAD, RESULT = f"incoming/{ID}.csv", f"results/x/{ID}/predictions.csv"
CEILING = f"serving/{GROUP}.json"
EVALUATION = "runs/r/evaluation/evaluation.json"
DECISION = f"decisions/{GROUP}/20261123T060000000000Z-01234567.json"
VECTORS = "vectors/words.txt"
VERSION = "versions/0123456789abcdef"  # of the labelled data
RECORD, MARKER = f"submissions/{ID}.json", f"waiting/{ID}.json"

CLAIMS = get(UPLOADS, UPLOAD)
LABELLED = get(DATA, f"{VERSION}/train/0001-claims.csv")
TRAINING_DATA = get(MODELS, "runs/r/training/train.csv")
PREDICTIONS = get(RESULTS, RESULT)
MODEL = get(MODELS, "runs/m/model/model.tar.gz")
MANIFEST = get(RESULTS, f"results/x/{ID}/manifest.json")
SECRETS = (CLAIMS, LABELLED, TRAINING_DATA, PREDICTIONS, MODEL)
REST = (put(MODELS, "runs/m/model/model.tar.gz"), put(RESULTS, RESULT), submit(SETTINGS.job_queue))
MESSAGES = tuple(
    send(queue)
    for queue in (SETTINGS.upload_queue, SETTINGS.labelled_queue, SETTINGS.registered_queue)
)
NOTICE = publish(SETTINGS.notice_topic_arn)

# What lies there for those that may read it.
OBJECTS = [
    *((one.arguments["Bucket"], one.arguments["Key"]) for one in (*SECRETS, MANIFEST)),
    *((MODELS, key) for key in (EVALUATION, CEILING)),
    *((RESULTS, RECORD), (DATA, f"{VERSION}/manifest.json"), (DATA, VECTORS)),
]
