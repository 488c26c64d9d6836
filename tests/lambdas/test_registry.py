"""Which model is the approved one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from lambdas.registry import ModelPackage, Registry, UnreadableCeilingError
from tests.lambdas.eventbridge import GROUP, MODELS


def registry(sagemaker: Any = None, group: str = GROUP) -> Registry:
    return Registry(sagemaker or boto3.client("sagemaker"), boto3.client("s3"), MODELS, group)


def newest_approved() -> ModelPackage | None:
    return registry().newest_approved()


def set_ceiling(body: bytes) -> None:
    boto3.client("s3").put_object(Bucket=MODELS, Key=f"serving/{GROUP}.json", Body=body)


def _set(arn: str, status: str) -> None:
    boto3.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)


def test_the_highest_approved_version_counts_whenever_it_was_approved(
    register: Callable[..., str],
) -> None:
    pending = [register("PendingManualApproval") for _ in range(4)]
    _set(pending[2], "Approved")
    _set(pending[0], "Approved")
    _set(pending[3], "Rejected")
    found = newest_approved()
    assert found == ModelPackage(pending[2], 3, "s3://models/model.tar.gz")


def test_a_rejected_version_gives_way_to_the_one_before(register: Callable[..., str]) -> None:
    first, second = register(), register()
    _set(second, "Rejected")
    found = newest_approved()
    assert found is not None
    assert found.arn == first


def test_models_of_other_groups_do_not_count(register: Callable[..., str]) -> None:
    register(group="another")
    register("PendingManualApproval")
    assert newest_approved() is None


def test_a_group_that_does_not_exist_holds_no_model(aws: None) -> None:
    sagemaker = boto3.client("sagemaker")
    assert registry(group="nobody").newest_approved() is None
    with Stubber(sagemaker) as stub:  # where AWS answers with an error, moto has an empty list
        stub.add_client_error(
            "list_model_packages", "ValidationException", "Model Package Group x does not exist."
        )
        assert registry(sagemaker, "x").newest_approved() is None


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
        found = registry(sagemaker).newest_approved()
        stub.assert_no_pending_responses()
    assert found is not None
    assert found.version == 9


def test_a_package_without_an_artifact_is_named(aws: None) -> None:
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
        registry(sagemaker).newest_approved()


def test_a_rollback_and_an_approval_above_it_between_two_looks_do_not_go_together(
    register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    listed = Registry._approved

    def rolled_back_meanwhile(self: Registry) -> Any:
        monkeypatch.setattr(Registry, "_approved", listed)
        set_ceiling(b'{"ceiling": 1}')
        register()
        return listed(self)

    monkeypatch.setattr(Registry, "_approved", rolled_back_meanwhile)
    found = newest_approved()
    assert found is not None
    assert found.version == 1


@pytest.mark.parametrize(("ceiling", "serves"), [(1, 1), (2, 2), (3, 2), (7, 4)])
def test_a_version_above_the_ceiling_is_not_served(
    register: Callable[..., str], ceiling: int, serves: int
) -> None:
    for status in ("Approved", "Approved", "Rejected", "Approved"):
        register(status)
    set_ceiling(json.dumps({"ceiling": ceiling, "set_by": "me", "why": "bad"}).encode())
    found = newest_approved()
    assert found is not None
    assert found.version == serves


def test_with_all_approved_versions_above_the_ceiling_none_is_served(
    register: Callable[..., str],
) -> None:
    register("PendingManualApproval")
    register()
    set_ceiling(b'{"ceiling": 1}')
    assert newest_approved() is None


@pytest.mark.parametrize(
    "body",
    [b"", b"not JSON", b"[]", b"{}", b'{"ceiling": "2"}', b'{"ceiling": 0}', b'{"ceiling": true}'],
)
def test_a_damaged_ceiling_is_an_error_and_not_none(
    register: Callable[..., str], body: bytes
) -> None:
    register()
    set_ceiling(body)
    with pytest.raises(UnreadableCeilingError, match=f"{GROUP}.json .* claimflow model rollback"):
        newest_approved()


def test_a_ceiling_that_may_not_be_read_is_an_error_and_not_none(
    register: Callable[..., str],
) -> None:
    register()
    denied = registry()
    with Stubber(denied.s3) as stub:
        stub.add_client_error("get_object", "AccessDenied", http_status_code=403)
        with pytest.raises(ClientError, match="AccessDenied"):
            denied.newest_approved()
