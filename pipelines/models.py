"""The model registry: versions, approval, rejection, and the way back to an older version."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.serving import Ceiling, Decision, Serving, iso


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
        self._s3 = aws.client("s3")
        self.serving = Serving(aws)

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
        """The one that new uploads get: the newest approved one that is not above the ceiling."""
        ceiling = self.serving.ceiling()
        approved = [
            one
            for one in versions
            if one.approval == "Approved" and (ceiling is None or one.version <= ceiling.version)
        ]
        return max(approved, key=lambda one: one.version, default=None)

    def roll_back(self, version: int | None, why: str) -> Ceiling:
        """Lets an older approved version predict, at once: the named one, or the one before that
        which predicts now.

        Raises
        ------
        UserError
            There is no such version, or it is not approved.
        """
        versions = self.versions()
        if version is None:
            version = self._approved_before(versions)
        approval = {one.version: one.approval for one in versions}.get(version)
        if approval is None:
            raise self._unknown(version, versions)
        if approval != "Approved":
            raise UserError(
                f"Model version {version} is {approval}: approve it first, "
                f"`claimflow model approve {version} --why …`"
            )
        return self.serving.set(version, why)

    def history(self) -> list[Decision]:
        """What was decided, newest first: rollbacks from the versions of the ceiling, approvals and
        rejections as the registry knows them, which keeps only the last for each version."""
        decisions = self.serving.history()
        for one in self.versions():
            described = self._sagemaker.describe_model_package(ModelPackageName=one.arn)
            decisions.append(Decision(iso(one.created), f"version {one.version} registered"))
            if one.approval == "PendingManualApproval":
                continue
            decisions.append(
                Decision(
                    iso(described.get("LastModifiedTime") or one.created),
                    f"version {one.version} {one.approval.lower()}",
                    (described.get("LastModifiedBy") or {}).get("UserProfileName", ""),
                    described.get("ApprovalDescription", ""),
                )
            )
        return sorted(decisions, key=lambda one: one.at, reverse=True)

    def fetch(self, version: int, folder: Path) -> Path:
        """Downloads a version's `model.tar.gz` into a folder."""
        from botocore.exceptions import ClientError

        artifact = self.show(version).artifact
        bucket, _, key = artifact.removeprefix("s3://").partition("/")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.tar.gz"
        part = folder / "model.tar.gz.part"
        try:
            self._s3.download_file(bucket, key, str(part))
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise UserError(
                f"The artifact of model version {version} is gone: {artifact}; train again"
            ) from None
        return part.replace(path)

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

    def _approved_before(self, versions: Sequence[ModelVersion]) -> int:
        now = self.predicting(versions)
        if now is None:
            raise UserError("No version predicts now: name the one to go back to")
        before = [
            one.version
            for one in versions
            if one.approval == "Approved" and one.version < now.version
        ]
        if not before:
            raise UserError(
                f"There is no approved version before {now.version}, which predicts now: "
                "`claimflow model list` shows what there is"
            )
        return max(before)

    def _arn(self, version: int) -> str:
        versions = self.versions()
        for one in versions:
            if one.version == version:
                return one.arn
        raise self._unknown(version, versions)

    def _unknown(self, version: int, versions: Sequence[ModelVersion]) -> UserError:
        have = ", ".join(str(one.version) for one in versions) or "none"
        return UserError(f"There is no model version {version}; the registry has: {have}")

    def _read_json(self, uri: str) -> dict[str, Any]:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        document: dict[str, Any] = json.loads(body)
        return document
