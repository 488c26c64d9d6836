"""The model registry: versions, approval, rejection, and the way back to an older version."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.aws import Aws, split_uri
from pipelines.errors import NotThereError, UserError
from pipelines.registry.card import attached
from pipelines.registry.decisions import Decision, Decisions, iso, reason
from pipelines.registry.lineage import Lineage, Lineages
from pipelines.registry.serving import Ceiling, Serving
from pipelines.transfers import Progress, download, untold

PENDING = "PendingManualApproval"
_SET_BACK = "set back to pending"
_VERDICTS = {"approved": "Approved", "approved automatically": "Approved", "rejected": "Rejected"}


@dataclass(frozen=True)
class ModelVersion:
    """One version of the model package group.

    Attributes
    ----------
    artifact, statistics: addresses of `model.tar.gz` and of the metrics.
    reason: of the last approval or rejection.
    metadata: what was noted when it was registered: execution, commit, data.
    """

    version: int
    arn: str
    approval: str
    created: datetime
    artifact: str = ""
    reason: str = ""
    metadata: dict[str, str] | None = None
    metrics: dict[str, Any] | None = None
    statistics: str = ""

    @property
    def verdict(self) -> str:
        """The approval with its reason, which may begin with the same word."""
        if self.reason.startswith(f"{self.approval} "):
            return self.reason
        return f"{self.approval}: {self.reason}" if self.reason else self.approval

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
        self.decisions = Decisions(aws)

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
            There is no such version, or it is not approved, or there is no reason.
        """
        why = reason(why, "A rollback")
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
        decision = self.decisions.new("rolled back", version, why)
        ceiling = self.serving.set(decision)
        self.decisions.add(decision)
        return ceiling

    def lift(self, why: str) -> bool:
        """Lets the newest approved version predict again; whether a rollback was in force."""
        if not self.serving.is_set():
            return False
        try:
            ceiling = self.serving.ceiling()
        except UserError:  # one that cannot be read is lifted, too
            ceiling = None
        decision = self.decisions.new(
            "rollback lifted", ceiling.version if ceiling else 0, " ".join(why.split())
        )
        self.serving.lift(decision)
        self.decisions.add(decision)
        return True

    def history(self) -> list[Decision]:
        """All that was decided, newest first: what is recorded, and what has no record and still
        shows where it took effect (in the registry, in the versions of the ceiling)."""
        recorded = self.decisions.all()
        known = {(one.at, one.what) for one in recorded}
        decisions = [
            *recorded,
            *(one for one in self.serving.history() if (one.at, one.what) not in known),
        ]
        for one in self.versions():
            decisions.append(Decision(iso(one.created), "registered", one.version))
            decisions.extend(self._changed_elsewhere(one, recorded))
        return sorted(decisions, key=lambda one: one.at, reverse=True)

    def decision_on(self, version: ModelVersion) -> Decision | None:
        """The record of the decision that a version's approval comes from, if there is one."""
        for one in reversed(self.decisions.all()):
            if one.version == version.version and one.what in _VERDICTS:
                return one if _VERDICTS[one.what] == version.approval else None
        return None

    def _changed_elsewhere(
        self, version: ModelVersion, recorded: Sequence[Decision]
    ) -> list[Decision]:
        """What the registry says of a version and the last record on it does not, or nothing."""
        verdicts = [
            one for one in recorded if one.version == version.version and one.what in _VERDICTS
        ]
        described = self._sagemaker.describe_model_package(ModelPackageName=version.arn)
        why = described.get("ApprovalDescription", "")
        last = verdicts[-1] if verdicts else Decision("", "", version.version, why=why)
        # The automatic approval puts words of its own before the reason that it records.
        if _VERDICTS.get(last.what, PENDING) == version.approval and why.endswith(last.why):
            return []
        by = described.get("LastModifiedBy") or {}
        return [
            Decision(
                at=iso(described.get("LastModifiedTime") or version.created),
                what=_SET_BACK if version.approval == PENDING else version.approval.lower(),
                version=version.version,
                who=by.get("IamIdentity", {}).get("Arn") or by.get("UserProfileName", ""),
                why=why,
                is_recorded=False,
            )
        ]

    def fetch(self, version: int, folder: Path, progress: Progress = untold) -> Path:
        """Downloads a version's `model.tar.gz` into a folder."""
        from botocore.exceptions import ClientError

        artifact = self.show(version).artifact
        bucket, key = split_uri(artifact)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "model.tar.gz"
        part = folder / "model.tar.gz.part"
        try:
            download(self._s3, bucket, key, part, progress)
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"404", "NoSuchKey"}:
                raise
            raise UserError(
                f"The artifact of model version {version} is gone: {artifact}; train again"
            ) from None
        return part.replace(path)

    def show(self, version: int) -> ModelVersion:
        """One version with all that the registry knows, and its metrics."""
        return self.read(self._arn(version))

    def read(self, arn: str) -> ModelVersion:
        """The same of the version with this ARN."""
        described = self._sagemaker.describe_model_package(ModelPackageName=arn)
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
            statistics=statistics.get("S3Uri", ""),
        )

    def lineage(self, version: int) -> Lineage:
        """Where a version comes from, and the decision on it."""
        found = Lineages(self._aws).of(self.show(version))
        found.decision = self.decision_on(found.model)
        return found

    def decide(
        self,
        version: int,
        approve: bool,
        why: str,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> ModelVersion:
        """Approves or rejects a version and records it; an approved one gets its model card.

        `tell` hears of a card that the registry did not take: no reason to hold an approval up.

        Raises
        ------
        UserError
            There is no such version, or no reason.
        """
        why = reason(why, "An approval" if approve else "A rejection")
        arn = self._arn(version)
        decision = self.decisions.new("approved" if approve else "rejected", version, why)
        change = {
            "ModelPackageArn": arn,
            "ModelApprovalStatus": "Approved" if approve else "Rejected",
            "ApprovalDescription": why,
        }
        if approve:
            self._approve(arn, change, decision, tell)
        else:
            self._sagemaker.update_model_package(**change)
        self.decisions.add(decision)
        return self.show(version)

    def _approve(
        self, arn: str, change: dict[str, Any], decision: Decision, tell: Callable[[str], None]
    ) -> None:
        found = Lineages(self._aws).of(self.read(arn))
        found.decision = decision
        card = attached(found)
        try:
            self._sagemaker.update_model_package(**change, ModelCard=card)
        except self._sagemaker.exceptions.ClientError as error:
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            self._sagemaker.update_model_package(**change)  # raises if it is not for the card
            told = " ".join(str(error.response["Error"].get("Message", "")).split())
            tell(f"the registry does not take the model card of {arn}: {told}")

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
        return NotThereError(f"There is no model version {version}; the registry has: {have}")

    def _read_json(self, uri: str) -> dict[str, Any] | None:
        """None for what is gone."""
        bucket, key = split_uri(uri)
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except (self._s3.exceptions.NoSuchKey, self._s3.exceptions.NoSuchBucket):
            return None
        document: dict[str, Any] = json.loads(body)
        return document
