"""The front: who answers, what is refused, and how lists are paged."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import (
    ROLE,
    Cloud,
    definition,
    processing,
    unique,
)

PIPELINE = f"arn:aws:sagemaker:us-east-1:{'1' * 12}:pipeline/p"


@pytest.mark.parametrize(
    ("service", "operation", "arguments", "name"),
    [
        (
            "sagemaker",
            "create_endpoint",
            {"EndpointName": "e", "EndpointConfigName": "c"},
            "CreateEndpoint",
        ),
        (
            "sagemaker",
            "send_pipeline_execution_step_success",
            {"CallbackToken": "t" * 10},
            "SendPipelineExecutionStepSuccess",
        ),
        ("lambda", "update_event_source_mapping", {"UUID": "x" * 36}, "UpdateEventSourceMapping"),
    ],
)
def test_an_operation_that_is_not_known_is_refused_by_name(
    cloud: Cloud, service: str, operation: str, arguments: dict[str, Any], name: str
) -> None:
    with pytest.raises(ClientError, match=f"does not know {name}") as refused:
        getattr(cloud.client(service), operation)(**arguments)
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


def post(
    cloud: Cloud, target: str, body: bytes, key: str = "", **more: str
) -> tuple[int, dict[str, Any]]:
    """A request to SageMaker as no SDK would send it."""
    connection = http.client.HTTPConnection(cloud.endpoint.removeprefix("http://"))
    key = key or cloud.variables["AWS_ACCESS_KEY_ID"]
    scope = f"{key}/20260101/us-east-1/sagemaker/aws4_request"
    headers = {
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}",
        "X-Amz-Target": f"SageMaker.{target}",
        **more,
    }
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    return answer.status, document


@pytest.mark.parametrize(
    "request_of",
    [{"key": "other"}, {"Origin": "http://evil.example"}, {"Host": "evil.example:80"}],
    ids=["another user", "a page", "a name that a page made resolve here"],
)
def test_who_does_not_hold_the_key_or_sends_for_a_page_is_refused(
    cloud: Cloud, request_of: dict[str, str]
) -> None:
    assert post(cloud, "ListPipelines", b"{}")[0] == 200
    status, answer = post(cloud, "ListPipelines", b"{}", **request_of)
    assert status == 403
    assert "PipelineSummaries" not in answer


@pytest.mark.parametrize("name", ["Run", "FailInterrupted", "Close", "_Describe", "", "Create"])
def test_methods_of_ours_are_no_operations(cloud: Cloud, name: str) -> None:
    status, answer = post(cloud, name, b"{}")
    assert (status, answer["__type"]) == (400, "UnknownOperationException")


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"{", "SerializationException", "not JSON"),
        (b"[]", "SerializationException", "no JSON object"),
        (b"{}", "ValidationException", 'Missing required parameter in input: "PipelineName"'),
        (b'{"PipelineName": 5}', "ValidationException", "Invalid type for parameter PipelineName"),
        (b'{"PipelineName": "a b"}', "ValidationException", "regular expression pattern"),
        (
            b'{"PipelineName": "p", "Extra": 1}',
            "ValidationException",
            'Unknown parameter in input: "Extra"',
        ),
    ],
)
def test_a_request_that_does_not_fit_the_api_is_refused(
    cloud: Cloud, body: bytes, kind: str, message: str
) -> None:
    status, answer = post(cloud, "DescribePipeline", body)
    assert (status, answer["__type"]) == (400, kind)
    assert message in answer["message"]


def test_a_body_of_megabytes_does_not_hurt(cloud: Cloud) -> None:
    status, answer = post(
        cloud, "DescribePipeline", json.dumps({"PipelineName": "x" * 4_000_000}).encode()
    )
    assert status == 400 and answer["__type"] == "ValidationException"


def test_lists_come_in_pages(cloud: Cloud) -> None:
    client, prefix = cloud.client("sagemaker"), unique("paged")
    names = [f"{prefix}-{number}" for number in range(5)]
    for name in names:
        client.create_pipeline(
            PipelineName=name, RoleArn=ROLE, PipelineDefinition=definition(processing("A", ""))
        )

    def listed(**more: Any) -> list[list[str]]:
        pages = client.get_paginator("list_pipelines").paginate(
            PipelineNamePrefix=prefix, PaginationConfig={"PageSize": 2}, **more
        )
        return [[one["PipelineName"] for one in page["PipelineSummaries"]] for page in pages]

    assert listed() == [names[:2:-1], names[2:0:-1], names[:1]]
    assert listed(SortBy="Name", SortOrder="Ascending") == [names[:2], names[2:4], names[4:]]


def test_a_page_that_was_never_given_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="NextToken") as refused:
        cloud.client("sagemaker").list_pipelines(NextToken="nonsense")
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_lists_are_narrowed_by_time(cloud: Cloud) -> None:
    client, name = cloud.client("sagemaker"), unique("timed")
    client.create_pipeline(
        PipelineName=name, RoleArn=ROLE, PipelineDefinition=definition(processing("A", ""))
    )
    made = client.describe_pipeline(PipelineName=name)["CreationTime"]

    def listed(**more: Any) -> list[str]:
        found = client.list_pipelines(PipelineNamePrefix=name, **more)
        return [one["PipelineName"] for one in found["PipelineSummaries"]]

    assert listed(CreatedAfter=made.replace(year=made.year - 1)) == [name]
    assert listed(CreatedAfter=made.replace(year=made.year + 1)) == []
    assert listed(CreatedBefore=made.replace(year=made.year - 1)) == []


def test_tags_of_a_pipeline_can_be_set_and_read(cloud: Cloud) -> None:
    client, name = cloud.client("sagemaker"), unique("tagged")
    arn = client.create_pipeline(
        PipelineName=name,
        RoleArn=ROLE,
        PipelineDefinition=definition(processing("A", "")),
        Tags=[{"Key": "project", "Value": "t"}],
    )["PipelineArn"]
    client.add_tags(ResourceArn=arn, Tags=[{"Key": "stage", "Value": "test"}])
    client.delete_tags(ResourceArn=arn, TagKeys=["project"])
    assert client.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "stage", "Value": "test"}]


def test_a_pipeline_is_made_once_but_a_repeated_request_is_no_error(cloud: Cloud) -> None:
    client, name = cloud.client("sagemaker"), unique("once")
    request = {
        "PipelineName": name,
        "RoleArn": ROLE,
        "PipelineDefinition": definition(processing("A", "")),
    }
    first = client.create_pipeline(**request, ClientRequestToken="a" * 32)
    assert (
        client.create_pipeline(**request, ClientRequestToken="a" * 32)["PipelineArn"]
        == first["PipelineArn"]
    )
    with pytest.raises(ClientError, match="must be unique"):
        client.create_pipeline(**request, ClientRequestToken="b" * 32)


def test_what_is_not_ours_is_moto_s(cloud: Cloud) -> None:
    assert cloud.client("sts").get_caller_identity()["Account"] == "123456789012"
    names = [
        one["repositoryName"] for one in cloud.client("ecr").describe_repositories()["repositories"]
    ]
    assert "t/gluon-cpu" in names


def test_objects_of_any_key_come_back_as_they_were_put(cloud: Cloud) -> None:
    s3, bucket = cloud.client("s3"), unique("keys")
    s3.create_bucket(Bucket=bucket)
    keys = [
        "a b",
        "ü/→",
        "a+b",
        "100%",
        "%41",
        "/leading",
        "a//b",
        "q?x=1&y",
        "a#b",
        "end/",
        "..",
        "~'()*",
    ]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode(), Metadata={"n": "1"})
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert sorted(listed) == sorted(keys)
    for key in keys:
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
