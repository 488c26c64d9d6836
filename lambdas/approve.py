"""Approves a new version of the model by itself, where that is wanted and it reaches more than the
bars that it was registered for; what it does not approve it leaves to people, and says why.

Only a version that still waits is touched. It is approved first and recorded then, as people's
decisions are: no record tells of what never was. If it dies between the two, the next delivery
finds its own words with the approval, and records it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from lambdas import clients, decisions, messages, objects
from lambdas.decisions import Decision, What
from lambdas.events import Ignored, parse_object, reading
from lambdas.log import log
from lambdas.messages import DeadLetters, LambdaContext, utc_now
from lambdas.settings import ApproveSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

PENDING = "PendingManualApproval"
WHO = "automatic approval"
BEGINNING = "Approved automatically: "  # of the reason that the registry keeps


@dataclass(frozen=True)
class Registered:
    """A version of our group that waits for approval."""

    arn: str


@dataclass(frozen=True)
class Verdict:
    """Whether an evaluation is good enough, and why in one line."""

    is_approved: bool
    why: str


def handler(event: dict[str, Any], context: LambdaContext) -> messages.Answer:
    """Handles a batch of SQS messages and answers with those that have to be delivered again."""
    return messages.handle_batch(event, context, *_approver())


def parse(body: str, settings: ApproveSettings) -> Registered | Ignored:
    """Reads the body of one queue message.

    Raises
    ------
    MalformedEventError: it is not JSON, or is one of ours without the fields that we need.
    """
    event = parse_object(body)
    name = str(event.get("detail-type", "unknown"))
    if (event.get("source"), name) == ("aws.sagemaker", "SageMaker Model Package State Change"):
        with reading(name):
            detail = event["detail"]
            group, status = detail["ModelPackageGroupName"], detail["ModelApprovalStatus"]
            if group != settings.model_package_group:
                return Ignored(name, f"group {group} is not {settings.model_package_group}")
            if status != PENDING:
                return Ignored(name, f"status is {status}")
            return Registered(str(detail["ModelPackageArn"]))
    return Ignored(name, "not an event that this function handles")


def judge(evaluation: Mapping[str, Any], accuracy: float, regression: float) -> Verdict:
    """Compares an evaluation with the bars of automatic approval; what it lacks is never good
    enough."""
    challenger, comparison = (_object(evaluation, part) for part in ("challenger", "comparison"))
    reached = _number(challenger, "accuracy")
    if reached is None:
        return Verdict(False, "the evaluation tells no accuracy")
    if reached < accuracy:
        return Verdict(False, f"its accuracy is {reached:.4f}, expected at least {accuracy}")
    has_champion = comparison.get("has_champion")
    if has_champion is False:
        return Verdict(True, f"accuracy {reached:.4f}, no champion to compare with")
    lost = _number(comparison, "regression_high")
    if has_champion is not True or lost is None:
        return Verdict(False, "the evaluation tells of no comparison with the champion")
    if lost < 0:
        told = f"noise included it gains at least {-lost:.4f} of accuracy on the champion"
    else:
        told = f"noise included it may lose {abs(lost):.4f} of accuracy against the champion"
    if lost > regression:
        return Verdict(False, f"{told}, expected to lose at most {regression}")
    return Verdict(True, f"accuracy {reached:.4f}; {told}")


class Approver(messages.Handler):
    """Handles messages one by one."""

    def __init__(
        self,
        settings: ApproveSettings,
        s3: S3Client,
        sagemaker: SageMakerClient,
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._settings = settings
        self._s3 = s3
        self._sagemaker = sagemaker

    def now(self) -> datetime:
        return self._now()

    def handle(self, body: str, deadline: datetime) -> None:  # noqa: ARG002 - it takes a moment
        """Handles one message. Whatever it raises, the message may be handled again."""
        match parse(body, self._settings):
            case Ignored(name, reason):
                log("ignored", name=name, reason=reason)
            case Registered(arn):
                accuracy = self._settings.approve_accuracy
                if accuracy is None:
                    log("left", arn=arn, reason="all versions are left to people")
                else:
                    self._decide(arn, accuracy)

    def _decide(self, arn: str, accuracy: float) -> None:
        package = self._sagemaker.describe_model_package(ModelPackageName=arn)
        status = package.get("ModelApprovalStatus", "")
        before = package.get("ApprovalDescription", "")
        if status == "Approved" and before.startswith(BEGINNING):
            self._record(package, "approved automatically", before.removeprefix(BEGINNING))
        elif status != PENDING:
            log("left", arn=arn, reason=f"status is {status}")
        else:
            verdict = self._verdict(package, accuracy)
            if verdict.is_approved:
                self._sagemaker.update_model_package(
                    ModelPackageArn=arn,
                    ModelApprovalStatus="Approved",
                    ApprovalDescription=BEGINNING + verdict.why,
                )
            what: What = "approved automatically" if verdict.is_approved else "kept for a person"
            self._record(package, what, verdict.why)

    def _verdict(self, package: DescribeModelPackageOutputTypeDef, accuracy: float) -> Verdict:
        quality = package.get("ModelMetrics", {}).get("ModelQuality", {})
        folder = quality.get("Statistics", {}).get("S3Uri", "").rpartition("/")[0]
        bucket, _, prefix = folder.removeprefix("s3://").partition("/")
        if bucket != self._settings.models_bucket:
            return Verdict(False, "it names no evaluation of ours")
        key = f"{prefix}/evaluation.json"
        try:
            evaluation = objects.read_json(self._s3, bucket, key)
        except objects.UnreadableError:
            return Verdict(False, f"s3://{bucket}/{key} cannot be read")
        if evaluation is None:
            return Verdict(False, f"there is no s3://{bucket}/{key}")
        return judge(evaluation, accuracy, self._settings.approve_regression)

    def _record(self, package: DescribeModelPackageOutputTypeDef, what: What, why: str) -> None:
        version = package["ModelPackageVersion"]
        decision = Decision(self.now().isoformat(timespec="milliseconds"), what, version, WHO, why)
        decisions.record(
            self._s3,
            self._settings.models_bucket,
            self._settings.model_package_group,
            package["CreationTime"],
            decision,
        )
        log("decided", version=version, what=what, why=why)


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(document: Mapping[str, Any], name: str) -> float | None:
    found = document.get(name)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        return None
    return float(found)


@cache
def _approver() -> tuple[Approver, DeadLetters]:
    """Made once for each process that Lambda keeps warm."""
    settings = ApproveSettings.from_environment()
    approver = Approver(settings, clients.s3(), clients.sagemaker(), utc_now)
    return approver, DeadLetters(
        clients.sqs(), settings.dead_letter_queue_url, settings.max_receives
    )
