"""Which model is the approved one."""

from __future__ import annotations

from collections.abc import Callable

import boto3
import pytest
from botocore.stub import Stubber

from lambdas.registry import ModelPackage, newest_approved
from tests.lambdas.eventbridge import GROUP


def _set(arn: str, status: str) -> None:
    boto3.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)


def test_the_highest_approved_version_counts_whenever_it_was_approved(
    register: Callable[..., str],
) -> None:
    pending = [register("PendingManualApproval") for _ in range(4)]
    _set(pending[2], "Approved")
    _set(pending[0], "Approved")
    _set(pending[3], "Rejected")
    found = newest_approved(boto3.client("sagemaker"), GROUP)
    assert found == ModelPackage(pending[2], 3, "s3://models/model.tar.gz")


def test_a_rejected_version_gives_way_to_the_one_before(register: Callable[..., str]) -> None:
    first, second = register(), register()
    _set(second, "Rejected")
    found = newest_approved(boto3.client("sagemaker"), GROUP)
    assert found is not None
    assert found.arn == first


def test_models_of_other_groups_do_not_count(register: Callable[..., str]) -> None:
    register(group="another")
    register("PendingManualApproval")
    assert newest_approved(boto3.client("sagemaker"), GROUP) is None


def test_a_group_that_does_not_exist_holds_no_model(aws: str) -> None:
    sagemaker = boto3.client("sagemaker")
    assert newest_approved(sagemaker, "nobody") is None
    with Stubber(sagemaker) as stub:  # where AWS answers with an error, moto has an empty list
        stub.add_client_error(
            "list_model_packages", "ValidationException", "Model Package Group x does not exist."
        )
        assert newest_approved(sagemaker, "x") is None


def test_all_pages_are_looked_through(register: Callable[..., str]) -> None:
    arn = register()
    sagemaker = boto3.client("sagemaker")

    def page(version: int, status: str = "Approved") -> dict[str, object]:
        return {
            "ModelPackageVersion": version,
            "ModelPackageArn": arn,
            "ModelApprovalStatus": status,
            "ModelPackageStatus": "Completed",
            "CreationTime": "2025-01-01T00:00:00Z",
        }

    described = sagemaker.describe_model_package(ModelPackageName=arn)
    described = {**described, "ModelPackageName": GROUP}
    del described["ResponseMetadata"]
    with Stubber(sagemaker) as stub:
        for versions, token in (([3, 4], "t1"), ([9], "t2"), ([1], None)):
            answer = {"ModelPackageSummaryList": [page(version) for version in versions]}
            stub.add_response(
                "list_model_packages", answer | ({"NextToken": token} if token else {})
            )
        stub.add_response("describe_model_package", described)
        found = newest_approved(sagemaker, GROUP)
        stub.assert_no_pending_responses()
    assert found is not None
    assert found.version == 9


def test_a_package_without_an_artifact_is_named(aws: str) -> None:
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=GROUP)
    sagemaker.create_model_package(
        ModelPackageGroupName=GROUP,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "image"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    with pytest.raises(ValueError, match=f"{GROUP}/1 names no model artifact"):
        newest_approved(sagemaker, GROUP)
