"""Which action on which resource a request is, for requests as boto3 really sends them."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config

from pipelines.local.aws_json import ServiceError
from pipelines.local.iam.actions import _ACTIONS, _RESOURCES, operation_calls
from pipelines.local.iam.context import Place
from pipelines.local.iam.policies import Call
from pipelines.local.iam.requests import HttpRequest, calls

PLACE = Place("123456789012", "us-east-1")
ROLE = "arn:aws:iam::123456789012:role/x"
QUEUE = "https://queue.amazonaws.com/123456789012/q"


class Caught(Exception):  # noqa: N818 - it carries a request and is no error
    """The request that boto3 was about to send."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


def send(service: str, operation: str, **parameters: Any) -> Any:
    """The request of a call, as it would go over the wire to the local cloud."""
    client = boto3.client(
        service,
        endpoint_url="http://127.0.0.1:1",
        region_name=PLACE.region,
        aws_access_key_id="KEY",
        aws_secret_access_key="secret",
        config=Config(retries={"max_attempts": 0}),
    )

    def catch(request: Any, **_: Any) -> AWSResponse:
        raise Caught(request)

    client.meta.events.register("before-send", catch)
    with pytest.raises(Caught) as caught:
        getattr(client, operation)(**parameters)
    return caught.value.request


def named(service: str, operation: str, **parameters: Any) -> list[Call]:
    request = send(service, operation, **parameters)
    address = urllib.parse.urlsplit(request.url)
    body = request.body.read() if hasattr(request.body, "read") else request.body or b""
    headers = {
        name.lower(): value.decode() if isinstance(value, bytes) else value
        for name, value in request.headers.items()
    }
    signed = re.search(r"/([a-z0-9-]+)/aws4_request", headers["authorization"])
    assert signed
    return calls(
        HttpRequest(
            signed.group(1),
            request.method,
            address.path,
            urllib.parse.parse_qs(address.query, keep_blank_values=True),
            headers,
            lambda: body.encode() if isinstance(body, str) else bytes(body),
        ),
        PLACE,
    )


def pairs(found: list[Call]) -> list[tuple[str, str]]:
    return [
        (call.action, call.resource.replace(f"{PLACE.region}:{PLACE.account}", ""))
        for call in found
    ]


B, BUCKET, OBJECT = {"Bucket": "b"}, "arn:aws:s3:::b", "arn:aws:s3:::b/ü b/c+d"
K = {**B, "Key": "ü b/c+d"}
PART = {**K, "UploadId": "u"}


@pytest.mark.parametrize(
    ("operation", "parameters", "expected"),
    [
        ("list_buckets", {}, [("s3:ListAllMyBuckets", "*")]),
        ("head_bucket", B, [("s3:ListBucket", BUCKET)]),
        ("list_objects", B, [("s3:ListBucket", BUCKET)]),
        ("list_objects_v2", {**B, "Prefix": "x/"}, [("s3:ListBucket", BUCKET)]),
        ("list_object_versions", B, [("s3:ListBucketVersions", BUCKET)]),
        ("list_multipart_uploads", B, [("s3:ListBucketMultipartUploads", BUCKET)]),
        ("get_bucket_location", B, [("s3:GetBucketLocation", BUCKET)]),
        ("get_bucket_policy", B, [("s3:GetBucketPolicy", BUCKET)]),
        ("put_bucket_policy", {**B, "Policy": "{}"}, [("s3:PutBucketPolicy", BUCKET)]),
        ("delete_bucket_policy", B, [("s3:DeleteBucketPolicy", BUCKET)]),
        ("delete_bucket_lifecycle", B, [("s3:PutLifecycleConfiguration", BUCKET)]),
        ("create_bucket", B, [("s3:CreateBucket", BUCKET)]),
        ("delete_bucket", B, [("s3:DeleteBucket", BUCKET)]),
        ("get_object", K, [("s3:GetObject", OBJECT)]),
        ("head_object", K, [("s3:GetObject", OBJECT)]),
        ("get_object", {**K, "VersionId": "v"}, [("s3:GetObjectVersion", OBJECT)]),
        ("head_object", {**K, "VersionId": "v"}, [("s3:GetObjectVersion", OBJECT)]),
        ("get_object_tagging", K, [("s3:GetObjectTagging", OBJECT)]),
        ("get_object_tagging", {**K, "VersionId": "v"}, [("s3:GetObjectVersionTagging", OBJECT)]),
        (
            "get_object_attributes",
            {**K, "ObjectAttributes": ["ETag"]},
            [("s3:GetObject", OBJECT), ("s3:GetObjectAttributes", OBJECT)],
        ),
        ("put_object", K, [("s3:PutObject", OBJECT)]),
        ("put_object", {**K, "IfNoneMatch": "*"}, [("s3:PutObject", OBJECT)]),
        (
            "put_object",
            {**K, "IfMatch": "e"},
            [("s3:PutObject", OBJECT), ("s3:GetObject", OBJECT)],
        ),
        (
            "put_object",
            {**K, "Tagging": "a=b", "ACL": "private"},
            [
                ("s3:PutObject", OBJECT),
                ("s3:PutObjectTagging", OBJECT),
                ("s3:PutObjectAcl", OBJECT),
            ],
        ),
        (
            "copy_object",
            {**K, "CopySource": {"Bucket": "from", "Key": "ä b"}},
            [("s3:PutObject", OBJECT), ("s3:GetObject", "arn:aws:s3:::from/ä b")],
        ),
        (
            "copy_object",  # which leaves the tags behind, and so needs no right to them
            {**K, "CopySource": {"Bucket": "from", "Key": "k"}, "TaggingDirective": "REPLACE"},
            [("s3:PutObject", OBJECT), ("s3:GetObject", "arn:aws:s3:::from/k")],
        ),
        (
            "upload_part_copy",
            {**PART, "PartNumber": 1, "CopySource": "from/k?versionId=7"},
            [("s3:PutObject", OBJECT), ("s3:GetObjectVersion", "arn:aws:s3:::from/k")],
        ),
        ("create_multipart_upload", K, [("s3:PutObject", OBJECT)]),
        ("upload_part", {**PART, "PartNumber": 1}, [("s3:PutObject", OBJECT)]),
        ("complete_multipart_upload", PART, [("s3:PutObject", OBJECT)]),
        ("abort_multipart_upload", PART, [("s3:AbortMultipartUpload", OBJECT)]),
        ("list_parts", PART, [("s3:ListMultipartUploadParts", OBJECT)]),
        ("delete_object", K, [("s3:DeleteObject", OBJECT)]),
        ("delete_object", {**K, "VersionId": "v"}, [("s3:DeleteObjectVersion", OBJECT)]),
        (
            "delete_objects",
            {**B, "Delete": {"Objects": [{"Key": "a&b"}, {"Key": "c", "VersionId": "v"}]}},
            [("s3:DeleteObject", f"{BUCKET}/a&b"), ("s3:DeleteObjectVersion", f"{BUCKET}/c")],
        ),
    ],
)
def test_requests_to_s3(
    operation: str, parameters: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert pairs(named("s3", operation, **parameters)) == expected


def test_a_listing_tells_its_prefix_or_that_it_has_none() -> None:
    (call,) = named("s3", "list_objects_v2", **B, Prefix="x/", MaxKeys=3)
    assert (call.values("s3:prefix"), call.values("s3:max-keys")) == (("x/",), ("3",))
    (call,) = named("s3", "list_objects_v2", **B)
    assert call.values("s3:prefix") == ()


def test_a_put_tells_its_encryption() -> None:
    (call,) = named("s3", "put_object", **K, ServerSideEncryption="aws:kms")
    assert call.values("s3:x-amz-server-side-encryption") == ("aws:kms",)


MODEL = {"ModelPackageGroupName": "g"}
JOB: dict[str, Any] = {"RoleArn": ROLE, "StoppingCondition": {"MaxRuntimeInSeconds": 1}}
TRAINING = {
    **JOB,
    "TrainingJobName": "t",
    "AlgorithmSpecification": {"TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": "s3://b", "KmsKeyId": "k"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
    "EnableNetworkIsolation": True,
}
CLUSTER = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1}
PROCESSING = {
    **JOB,
    "ProcessingJobName": "p",
    "AppSpecification": {"ImageUri": "i"},
    "ProcessingResources": {"ClusterConfig": CLUSTER},
}
EXECUTION = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/abcdefghijkl"
SUBMIT = {"jobName": "j", "jobQueue": "q", "jobDefinition": "d"}
TAGS = [{"Key": "stage", "Value": "test"}]


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "expected"),
    [
        (
            "sagemaker",
            "create_training_job",
            TRAINING,
            [
                ("sagemaker:CreateTrainingJob", "arn:aws:sagemaker::training-job/t"),
                ("iam:PassRole", ROLE),
            ],
        ),
        (
            "sagemaker",
            "create_processing_job",
            {**PROCESSING, "Tags": TAGS},
            [
                ("sagemaker:CreateProcessingJob", "arn:aws:sagemaker::processing-job/p"),
                ("iam:PassRole", ROLE),
                ("sagemaker:AddTags", "arn:aws:sagemaker::processing-job/p"),
            ],
        ),
        (
            "sagemaker",
            "list_model_packages",
            MODEL,
            [("sagemaker:ListModelPackages", "arn:aws:sagemaker::model-package/g/*")],
        ),
        (
            "sagemaker",
            "create_model_package",
            MODEL,
            [("sagemaker:CreateModelPackage", "arn:aws:sagemaker::model-package/g/*")],
        ),
        (
            "sagemaker",
            "describe_model_package",
            {"ModelPackageName": "arn:aws:sagemaker:us-east-1:123456789012:model-package/g/3"},
            [("sagemaker:DescribeModelPackage", "arn:aws:sagemaker::model-package/g/3")],
        ),
        (
            "sagemaker",
            "start_pipeline_execution",
            {"PipelineName": "p"},
            [("sagemaker:StartPipelineExecution", "arn:aws:sagemaker::pipeline/p")],
        ),
        (
            "sagemaker",
            "describe_pipeline_execution",
            {"PipelineExecutionArn": EXECUTION},
            [
                (
                    "sagemaker:DescribePipelineExecution",
                    "arn:aws:sagemaker::pipeline/p/execution/abcdefghijkl",
                )
            ],
        ),
        (
            "batch",
            "submit_job",
            SUBMIT,
            [
                ("batch:SubmitJob", "arn:aws:batch::job-queue/q"),
                ("batch:SubmitJob", "arn:aws:batch::job-definition/d"),
                ("batch:SubmitJob", "arn:aws:batch::job-definition/d:*"),
            ],
        ),
        (
            "batch",
            "submit_job",
            {**SUBMIT, "jobDefinition": "d:3", "tags": {"a": "b"}},
            [
                ("batch:SubmitJob", "arn:aws:batch::job-queue/q"),
                ("batch:SubmitJob", "arn:aws:batch::job-definition/d:3"),
                ("batch:SubmitJob", "arn:aws:batch::job-definition/d:3"),
                ("batch:TagResource", "arn:aws:batch::job/*"),
            ],
        ),
        ("batch", "list_jobs", {"jobQueue": "q"}, [("batch:ListJobs", "*")]),
        (
            "batch",
            "terminate_job",
            {"jobId": "i", "reason": "r"},
            [("batch:TerminateJob", "arn:aws:batch::job/i")],
        ),
        (
            "batch",
            "register_job_definition",
            {
                "jobDefinitionName": "d",
                "type": "container",
                "containerProperties": {
                    "image": "i",
                    "jobRoleArn": ROLE,
                    "executionRoleArn": f"{ROLE}2",
                },
            },
            [
                ("batch:RegisterJobDefinition", "arn:aws:batch::job-definition/d"),
                ("iam:PassRole", ROLE),
                ("iam:PassRole", f"{ROLE}2"),
            ],
        ),
        (
            "lambda",
            "invoke",
            {"FunctionName": "f", "Payload": b"[]"},
            [("lambda:InvokeFunction", "arn:aws:lambda::function:f")],
        ),
        (
            "lambda",
            "invoke",
            {"FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:f"},
            [("lambda:InvokeFunction", "arn:aws:lambda::function:f")],
        ),
        ("lambda", "list_functions", {}, [("lambda:ListFunctions", "*")]),
        (
            "sqs",
            "send_message",
            {"QueueUrl": QUEUE, "MessageBody": "x"},
            [("sqs:SendMessage", "arn:aws:sqs::q")],
        ),
        (
            "sqs",
            "delete_message_batch",
            {"QueueUrl": QUEUE, "Entries": [{"Id": "1", "ReceiptHandle": "r"}]},
            [("sqs:DeleteMessage", "arn:aws:sqs::q")],
        ),
        ("sqs", "get_queue_url", {"QueueName": "q"}, [("sqs:GetQueueUrl", "arn:aws:sqs::q")]),
        (
            "sns",
            "publish",
            {"TopicArn": "arn:aws:sns:us-east-1:123456789012:t", "Message": "m"},
            [("sns:Publish", "arn:aws:sns::t")],
        ),
        ("sns", "publish", {"PhoneNumber": "+491", "Message": "m"}, [("sns:Publish", "*")]),
        (
            "events",
            "put_events",
            {"Entries": [{"Source": "a"}, {"Source": "b", "EventBusName": "bus"}]},
            [
                ("events:PutEvents", "arn:aws:events::event-bus/default"),
                ("events:PutEvents", "arn:aws:events::event-bus/bus"),
            ],
        ),
        ("sts", "get_caller_identity", {}, []),
        (
            "iam",
            "put_role_policy",
            {"RoleName": "r", "PolicyName": "p", "PolicyDocument": "{}"},
            [("iam:PutRolePolicy", "arn:aws:iam::123456789012:role/r")],
        ),
        ("iam", "list_roles", {}, [("iam:ListRoles", "*")]),
        (
            "kms",
            "decrypt",
            {"KeyId": "k", "CiphertextBlob": b"x"},
            [("kms:Decrypt", "arn:aws:kms::key/k")],
        ),
        ("ecr", "get_authorization_token", {}, [("ecr:GetAuthorizationToken", "*")]),
        (
            "logs",
            "put_log_events",
            {
                "logGroupName": "/g",
                "logStreamName": "s",
                "logEvents": [{"timestamp": 1, "message": "m"}],
            },
            [("logs:PutLogEvents", "arn:aws:logs::log-group:/g:log-stream:s")],
        ),
    ],
)
def test_requests_to_other_services(
    service: str, operation: str, parameters: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert pairs(named(service, operation, **parameters)) == expected


def test_whom_a_role_is_passed_to_is_told() -> None:
    passed = named("sagemaker", "create_training_job", **TRAINING)[1]
    assert passed.values("iam:PassedToService") == ("sagemaker.amazonaws.com",)


def test_what_a_job_asks_for_is_told() -> None:
    call = named("sagemaker", "create_training_job", **TRAINING, Tags=TAGS)[0]
    assert call.values("sagemaker:NetworkIsolation") == ("true",)
    assert call.values("sagemaker:OutputKmsKey") == ("k",)
    assert call.values("sagemaker:VolumeKmsKey") == ()
    assert call.values("sagemaker:InstanceTypes") == ("ml.m5.large",)
    assert call.values("aws:RequestTag/stage") == ("test",)
    assert call.values("aws:RequestTag/owner") == ()


def test_each_event_is_told_by_its_source() -> None:
    entries = [{"Source": "a", "DetailType": "t"}, {"Source": "b"}]
    found = named("events", "put_events", Entries=entries)
    assert [call.values("events:source") for call in found] == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "name"),
    [
        ("sagemaker", "list_endpoints", {}, "sagemaker:ListEndpoints"),
        ("batch", "describe_compute_environments", {}, "batch:DescribeComputeEnvironments"),
        ("s3", "get_bucket_website", B, "GET /b\\?website"),
        ("s3", "get_object_torrent", K, "GET /b\\?torrent"),
        ("dynamodb", "list_tables", {}, "dynamodb"),
        ("cloudwatch", "list_metrics", {}, "monitoring"),
    ],
)
def test_what_cannot_be_named_is_refused_by_name(
    service: str, operation: str, parameters: dict[str, Any], name: str
) -> None:
    with pytest.raises(ServiceError, match=f"cannot name .*{name}"):
        named(service, operation, **parameters)


@pytest.mark.parametrize(
    ("service", "operation"),
    [("sagemaker", "CreateTrainingJob"), ("batch", "SubmitJob"), ("events", "PutEvents")],
)
def test_a_request_without_what_names_its_resource_is_no_fault_of_ours(
    service: str, operation: str
) -> None:
    with pytest.raises(ServiceError, match="lacks what names its resource"):
        operation_calls(service, operation, {}, PLACE)


# AWS's service authorization reference, as cfn-lint carries it.


@cache
def reference() -> dict[str, Any]:
    found = find_spec("cfnlint")
    assert found and found.origin
    path = Path(found.origin).with_name("data") / "AdditionalSpecs" / "Policies.json"
    return dict(json.loads(path.read_text("utf-8")))


def _operations() -> Iterator[tuple[str, str]]:
    for service, operations in _RESOURCES.items():
        yield from ((service, operation) for operation in operations)


@pytest.mark.parametrize(("service", "operation"), list(_operations()))
def test_an_action_is_one_of_aws_and_has_a_resource_where_it_knows_one(
    service: str, operation: str
) -> None:
    action = _ACTIONS.get((service, operation), operation)
    known = reference()[service]["Actions"]
    assert action.lower() in known
    if (service, operation) in (("sts", "GetCallerIdentity"), ("sns", "Publish")):
        return  # needs no permission; may go to no resource
    names = (
        "TrainingJobName ProcessingJobName HyperParameterTuningJobName PipelineName "
        "PipelineExecutionArn ModelPackageGroupName ModelPackageName ModelPackageArn ResourceArn "
        "jobQueue jobDefinition jobDefinitionName resourceArn FunctionName TopicArn Name Rule "
        "logGroupName repositoryName RoleArn"
    )
    arn = f"arn:aws:x:{PLACE.region}:{PLACE.account}:kind/name"
    parameters = {"Entries": [{}], **dict.fromkeys(names.split(), arn)}
    parameters |= {"QueueUrl": QUEUE, "KeyId": "x", "jobId": "x"}
    resources = {
        call.resource == "*"
        for call in operation_calls(service, operation, parameters, PLACE)
        if call.action.lower() == f"{service}:{action}".lower()
    }
    assert resources == {not known[action.lower()].get("Resources")}
