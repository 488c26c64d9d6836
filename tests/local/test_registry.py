"""The model registry: versions, approvals, and what others learn of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import IMAGE, Cloud, unique, wait_for


@pytest.fixture
def group(cloud: Cloud) -> str:
    name = unique("group")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=name)
    return name


def create(cloud: Cloud, group: str, **more: Any) -> str:
    created = cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=group,
        InferenceSpecification={
            "Containers": [{"Image": IMAGE, "ModelDataUrl": "s3://b/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
        **more,
    )
    return str(created["ModelPackageArn"])


def describe(cloud: Cloud, arn: str) -> dict[str, Any]:
    return dict(cloud.client("sagemaker").describe_model_package(ModelPackageName=arn))


def test_versions_count_from_one_and_are_never_used_again(cloud: Cloud, group: str) -> None:
    first, second = create(cloud, group), create(cloud, group)
    assert (first.rpartition("/")[2], second.rpartition("/")[2]) == ("1", "2")
    cloud.client("sagemaker").delete_model_package(ModelPackageName=second)
    assert create(cloud, group).endswith(f"model-package/{group}/3")
    with pytest.raises(ClientError, match="does not exist"):
        describe(cloud, second)


def test_a_version_waits_for_approval_unless_told_otherwise(cloud: Cloud, group: str) -> None:
    assert describe(cloud, create(cloud, group))["ModelApprovalStatus"] == "PendingManualApproval"
    arn = create(cloud, group, ModelApprovalStatus="Approved")
    assert describe(cloud, arn)["ModelApprovalStatus"] == "Approved"


def test_an_update_keeps_what_it_does_not_name(cloud: Cloud, group: str) -> None:
    arn = create(cloud, group, CustomerMetadataProperties={"a": "1", "b": "2", "c": "4"})
    client = cloud.client("sagemaker")
    client.update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved", ApprovalDescription="looks right"
    )
    client.update_model_package(
        ModelPackageArn=arn,
        CustomerMetadataProperties={"b": "3"},
        CustomerMetadataPropertiesToRemove=["a"],
    )
    found = describe(cloud, arn)
    assert found["ModelApprovalStatus"] == "Approved"
    assert found["ApprovalDescription"] == "looks right"
    assert found["CustomerMetadataProperties"] == {"b": "3", "c": "4"}
    assert found["InferenceSpecification"]["Containers"][0]["Image"] == IMAGE


def test_the_same_token_gives_the_same_version(cloud: Cloud, group: str) -> None:
    arns = [create(cloud, group, ClientToken=token) for token in ("a", "a", "b")]
    assert arns[0] == arns[1] != arns[2]


def test_versions_are_listed_oldest_first_page_by_page_and_by_status(
    cloud: Cloud, group: str
) -> None:
    arns = [create(cloud, group) for _ in range(5)]
    client = cloud.client("sagemaker")
    client.update_model_package(ModelPackageArn=arns[3], ModelApprovalStatus="Approved")

    def listed(**more: Any) -> list[str]:
        pages = client.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group, PaginationConfig={"PageSize": 2}, **more
        )
        return [one["ModelPackageArn"] for page in pages for one in page["ModelPackageSummaryList"]]

    assert listed() == arns
    assert listed(SortOrder="Descending", SortBy="CreationTime") == arns[::-1]
    assert listed(ModelApprovalStatus="Approved") == [arns[3]]


def test_an_approval_is_announced_once(cloud: Cloud, group: str) -> None:
    sqs, events = cloud.client("sqs"), cloud.client("events")
    queue = sqs.create_queue(QueueName=unique("q"))["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    pattern = {"source": ["aws.sagemaker"], "detail": {"ModelPackageGroupName": [group]}}
    rule = unique("rule")
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
    target = {"Id": "q", "Arn": attributes["Attributes"]["QueueArn"]}
    events.put_targets(Rule=rule, Targets=[target])

    arn = create(cloud, group)
    client = cloud.client("sagemaker")
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Approved")
    client.update_model_package(ModelPackageArn=arn, ApprovalDescription="same status")
    heard: list[Any] = []

    def receive() -> bool:
        for message in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get(
            "Messages", []
        ):
            heard.append(json.loads(message["Body"])["detail"])
        return len(heard) >= 2

    wait_for(receive)
    statuses = [one["ModelApprovalStatus"] for one in heard]
    assert statuses == ["PendingManualApproval", "Approved"]
    assert heard[1]["ModelPackageArn"] == arn and heard[1]["ModelPackageVersion"] == 1
    assert sqs.receive_message(QueueUrl=queue).get("Messages") is None


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("describe_model_package", {"ModelPackageName": "nobody"}, "ModelPackage nobody does not"),
        (
            "update_model_package",
            {"ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/x/9"},
            "does not exist",
        ),
        (
            "update_model_package",
            {
                "ModelPackageArn": "arn:aws:sagemaker:us-east-1:123456789012:model-package/x/9",
                "ModelApprovalStatus": "Great",
            },
            r"enum value set: \[Approved, Rejected, PendingManualApproval\]",
        ),
        ("list_model_packages", {"ModelPackageGroupName": "nobody"}, "nobody does not exist"),
        ("describe_model_package_group", {"ModelPackageGroupName": "nobody"}, "does not exist"),
        ("create_model_package_group", {"ModelPackageGroupName": "a b"}, "regular expression"),
        (
            "create_model_package",
            {"ModelPackageGroupName": "x"},
            "InferenceSpecification is needed",
        ),
    ],
)
def test_a_wrong_request_is_refused(
    cloud: Cloud, operation: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        getattr(cloud.client("sagemaker"), operation)(**arguments)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_group_is_made_once_and_deleted_only_when_empty(cloud: Cloud, group: str) -> None:
    client = cloud.client("sagemaker")
    with pytest.raises(ClientError, match="already exists"):
        client.create_model_package_group(ModelPackageGroupName=group)
    arn = create(cloud, group)
    with pytest.raises(ClientError, match="ConflictException"):
        client.delete_model_package_group(ModelPackageGroupName=group)
    client.delete_model_package(ModelPackageName=arn)
    client.delete_model_package_group(ModelPackageGroupName=group)
    found = client.list_model_package_groups(NameContains=group)
    assert found["ModelPackageGroupSummaryList"] == []
