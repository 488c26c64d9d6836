"""The look-up in the model registry: the one place that says which model is the approved one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import ModelPackageSummaryTypeDef


@dataclass(frozen=True)
class ModelPackage:
    """An approved version of a model.

    Attributes
    ----------
    arn: of the model package.
    version: its number in the group, from 1.
    artifact_uri: `s3://…/model.tar.gz`.
    """

    arn: str
    version: int
    artifact_uri: str


def newest_approved(sagemaker: SageMakerClient, group: str) -> ModelPackage | None:
    """The highest version of `group` whose status is Approved now; None if there is none.

    Versions are compared, not times: `ListModelPackages` has no time of approval, and approving an
    old version must not make it newer than a later one. A group that does not exist holds no model.
    """
    approved: list[ModelPackageSummaryTypeDef] = []
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=group,
        ModelApprovalStatus="Approved",
        SortBy="CreationTime",
        SortOrder="Descending",
    )
    try:
        for page in pages:
            approved.extend(page["ModelPackageSummaryList"])
    except ClientError as error:
        if _says_no_such_group(error):
            return None
        raise
    if not approved:
        return None
    newest = max(approved, key=lambda summary: summary["ModelPackageVersion"])
    arn = newest["ModelPackageArn"]
    described = sagemaker.describe_model_package(ModelPackageName=arn)
    containers = described.get("InferenceSpecification", {}).get("Containers", [])
    if not containers or "ModelDataUrl" not in containers[0]:
        raise ValueError(f"model package {arn} names no model artifact in its first container")
    return ModelPackage(arn, newest["ModelPackageVersion"], containers[0]["ModelDataUrl"])


def _says_no_such_group(error: ClientError) -> bool:
    answer = error.response.get("Error", {})
    return answer.get("Code") in {"ValidationException", "ResourceNotFound"} and (
        "does not exist" in answer.get("Message", "")
    )
