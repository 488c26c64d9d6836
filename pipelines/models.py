"""The model registry: versions, approval, rejection."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError


@dataclass(frozen=True)
class ModelVersion:
    """One version of the model package group."""

    version: int
    arn: str
    approval: str
    created: datetime
    artifact: str = ""
    reason: str = ""
    metadata: dict[str, str] | None = None
    metrics: dict[str, Any] | None = None

    def document(self) -> dict[str, Any]:
        """For `--json`: what is known."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, "")}
        return {**known, "created": self.created.isoformat()}

    def figures(self) -> dict[str, float]:
        """The metrics that are one number, out of SageMaker's model-quality form."""
        groups = [group for group in (self.metrics or {}).values() if isinstance(group, dict)]
        return {
            name: metric["value"]
            for group in groups
            for name, metric in group.items()
            if isinstance(metric, dict) and isinstance(metric.get("value"), (int, float))
        }


class Models:
    """The versions of one deployment's model."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._sagemaker = aws.client("sagemaker")

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first."""
        pages = self._sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=self._aws.settings.model_package_group
        )
        found = [
            ModelVersion(
                version=one["ModelPackageVersion"],
                arn=one["ModelPackageArn"],
                approval=one["ModelApprovalStatus"],
                created=one["CreationTime"],
            )
            for page in pages
            for one in page["ModelPackageSummaryList"]
        ]
        return sorted(found, key=lambda one: -one.version)

    def predicting(self, versions: Sequence[ModelVersion]) -> ModelVersion | None:
        """The one that new uploads get: the newest that is approved."""
        approved = [one for one in versions if one.approval == "Approved"]
        return max(approved, key=lambda one: one.version, default=None)

    def show(self, version: int) -> ModelVersion:
        """One version with all that the registry knows, and its metrics."""
        described = self._sagemaker.describe_model_package(ModelPackageName=self._arn(version))
        statistics = described.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
        return ModelVersion(
            version=described["ModelPackageVersion"],
            arn=described["ModelPackageArn"],
            approval=described["ModelApprovalStatus"],
            created=described["CreationTime"],
            artifact=described["InferenceSpecification"]["Containers"][0]["ModelDataUrl"],
            reason=described.get("ApprovalDescription", ""),
            metadata=described.get("CustomerMetadataProperties", {}),
            metrics=self._read_json(statistics["S3Uri"]) if "S3Uri" in statistics else None,
        )

    def decide(self, version: int, approve: bool, why: str) -> ModelVersion:
        """Approves or rejects a version; the reason is kept with it."""
        self._sagemaker.update_model_package(
            ModelPackageArn=self._arn(version),
            ModelApprovalStatus="Approved" if approve else "Rejected",
            ApprovalDescription=why,
        )
        return self.show(version)

    def _arn(self, version: int) -> str:
        for one in self.versions():
            if one.version == version:
                return one.arn
        have = ", ".join(str(one.version) for one in self.versions()) or "none"
        raise UserError(f"There is no model version {version}; the registry has: {have}")

    def _read_json(self, uri: str) -> dict[str, Any]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self._aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
        document: dict[str, Any] = json.loads(body)
        return document
