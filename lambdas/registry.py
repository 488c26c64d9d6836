"""The look-up in the model registry: the one place that says which model is the approved one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas import layout, objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
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


class UnreadableCeilingError(Exception):
    """There is a ceiling, and it cannot be read: no model may be served on a guess."""


@dataclass(frozen=True)
class Registry:
    """The versions of one model package group, and how high one may go."""

    sagemaker: SageMakerClient
    s3: S3Client
    models_bucket: str
    group: str

    def newest_approved(self) -> ModelPackage | None:
        """The highest version whose status is Approved now and that is not above the ceiling; None
        if there is none.

        Versions are compared, not times: `ListModelPackages` has no time of approval, and approving
        an old version must not make it newer than a later one. A group that does not exist holds
        no model.

        Raises
        ------
        UnreadableCeilingError: see `ceiling`.
        ValueError: the version names no artifact.
        """
        ceiling = self.ceiling()
        while True:
            listed = self._approved()
            # A rollback between the two looks, and an approval above it, must not go together.
            before, ceiling = ceiling, self.ceiling()
            if before == ceiling:
                break
        approved = [
            summary
            for summary in listed
            if ceiling is None or summary["ModelPackageVersion"] <= ceiling
        ]
        if not approved:
            return None
        newest = max(approved, key=lambda summary: summary["ModelPackageVersion"])
        arn = newest["ModelPackageArn"]
        described = self.sagemaker.describe_model_package(ModelPackageName=arn)
        containers = described.get("InferenceSpecification", {}).get("Containers", [])
        if not containers or "ModelDataUrl" not in containers[0]:
            raise ValueError(f"model package {arn} names no model artifact in its first container")
        return ModelPackage(arn, newest["ModelPackageVersion"], containers[0]["ModelDataUrl"])

    def ceiling(self) -> int | None:
        """The version above which none is served, set by a rollback; None without one.

        Raises
        ------
        UnreadableCeilingError: the object is there and does not say a version.
        """
        key = layout.serving_key(self.group)
        found = objects.read(self.s3, self.models_bucket, key)
        if found is None:
            return None
        try:
            ceiling = json.loads(found.body)["ceiling"]
            if type(ceiling) is not int or ceiling < 1:
                raise ValueError(f"ceiling is {ceiling!r}")
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableCeilingError(
                f"s3://{self.models_bucket}/{key} does not say a version as its ceiling ({error}): "
                f"set it again with claimflow model rollback"
            ) from error
        return ceiling

    def status(self, arn: str) -> str:
        """The approval status that a version has now."""
        described = self.sagemaker.describe_model_package(ModelPackageName=arn)
        return described.get("ModelApprovalStatus", "")

    def _approved(self) -> list[ModelPackageSummaryTypeDef]:
        pages = self.sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self.group,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        try:
            return [summary for page in pages for summary in page["ModelPackageSummaryList"]]
        except ClientError as error:
            if _says_no_such_group(error):
                return []
            raise


def _says_no_such_group(error: ClientError) -> bool:
    answer = error.response.get("Error", {})
    return answer.get("Code") in {"ValidationException", "ResourceNotFound"} and (
        "does not exist" in answer.get("Message", "")
    )
