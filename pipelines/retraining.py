"""One retraining: the images and the pipeline brought up to date, started where something has
changed, followed to its end, and told.

Whether something has changed, and what, is decided by one function in the cloud (`retrain`),
whatever the cause: a push, a person, the schedule, new data, drift.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pipelines.aws import Aws
from pipelines.bars import Bar, judged
from pipelines.control import Control
from pipelines.diagnosis import Diagnosis, diagnose
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus
from pipelines.job_costs import JobCost, job_costs

Cause = Literal["push", "manual", "schedule"]
Outcome = Literal["registered", "rejected", "failed", "stopped", "running"]
_MOST_COMPARED = 30  # versions that may have the same artifact: a request each
FUNCTION_SECONDS = 900  # that Lambda gives the function, which may have much new data to count


class FunctionFailedError(Exception):
    """The function that decides broke, and not by a fault of the user's."""


@dataclass(frozen=True)
class Request:
    """Why a retraining is asked for, and what is special about it."""

    cause: Cause = "manual"
    commit: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    again: bool = False  # although nothing has changed


@dataclass(frozen=True)
class Decision:
    """What the function has decided, and why."""

    outcome: Literal["started", "running", "unchanged"]
    execution: str  # that was started, that runs, or that had the same content
    data_version: str
    manifest: str
    changes: list[str]
    previous: str | None = None
    previous_outcome: str | None = None

    @property
    def sentence(self) -> str:
        name = self.execution.rpartition("/")[2]
        if self.outcome == "started":
            return f"started execution {name}"
        if self.outcome == "running":
            return f"execution {name} runs already, with the same code and data"
        if self.changes:
            return f"execution {name} had the same code and data: there is nothing to do"
        return f"nothing has changed since execution {name}: there is nothing to do"


@dataclass(frozen=True)
class Report:
    """All there is to say about a retraining."""

    request: Request
    decision: Decision
    outcome: Outcome
    status: ExecutionStatus
    evaluation: dict[str, Any] | None = None
    bars: list[Bar] = field(default_factory=list)
    costs: list[JobCost] = field(default_factory=list)
    version: int | None = None  # of the registered model
    approval: str | None = None
    same_as: int | None = None  # an older version with the same artifact, where Train was cached
    diagnosis: Diagnosis | None = None  # of one that failed or was stopped


class Retraining:
    """Asks for a retraining, and reports on it."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self.control = Control(aws)

    def ask(self, request: Request) -> Decision:
        """Has the function decide, which starts an execution where something has changed.

        Raises
        ------
        UserError
            There is no such function, no labelled data or no pipeline.
        FunctionFailedError
            The function broke.
        """
        client = self._aws.client("lambda", answers_within=FUNCTION_SECONDS + 10)
        name = self._aws.settings.function_name("retrain")
        asked = {
            "cause": request.cause,
            "parameters": dict(request.parameters),
            "again": request.again,
            **({"commit": request.commit} if request.commit else {}),
        }
        try:
            answer = client.invoke(FunctionName=name, Payload=json.dumps(asked).encode())
        except client.exceptions.ResourceNotFoundException:
            raise UserError(f"There is no function {name}: `claimflow deploy` makes it") from None
        document = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            _raise(name, document)
        return Decision(**document)

    def report(self, request: Request, decision: Decision, status: ExecutionStatus) -> Report:
        """What has come of an execution so far."""
        outcome = _outcome(status)
        if not status.has_ended:
            return Report(request, decision, outcome, status)
        execution, sagemaker = status.arn, self._aws.client("sagemaker")
        evaluation = self.control.evaluation(execution)
        version = approval = same_as = None
        registered = self.control.registered(execution)
        if registered:
            version = int(registered.rpartition("/")[2])
            package = sagemaker.describe_model_package(ModelPackageName=registered)
            approval = package["ModelApprovalStatus"]
            if is_train_cached(status):
                same_as = self._same_as(package)
        return Report(
            request,
            decision,
            outcome,
            status,
            evaluation,
            judged(evaluation, self.control.parameters(execution)) if evaluation else [],
            job_costs(sagemaker, status.steps),
            version,
            approval,
            same_as,
            diagnose(self._aws, execution) if outcome in ("failed", "stopped") else None,
        )

    def _same_as(self, package: Mapping[str, Any]) -> int | None:
        """The newest version before this one that has its artifact, of those just before it."""
        sagemaker = self._aws.client("sagemaker")
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=package["ModelPackageGroupName"]
        )
        versions = {
            one["ModelPackageVersion"]: one["ModelPackageArn"]
            for page in pages
            for one in page["ModelPackageSummaryList"]
            if one["ModelPackageVersion"] < package["ModelPackageVersion"]
        }
        for version in sorted(versions, reverse=True)[:_MOST_COMPARED]:
            other = sagemaker.describe_model_package(ModelPackageName=versions[version])
            if _artifact(other) == _artifact(package):
                return int(version)
        return None


def is_train_cached(status: ExecutionStatus) -> bool:
    return any(step.name == "Train" and step.is_cached for step in status.steps)


def _artifact(package: Mapping[str, Any]) -> str:
    return str(package["InferenceSpecification"]["Containers"][0]["ModelDataUrl"])


def _raise(name: str, document: Mapping[str, Any]) -> None:
    """Raises what an error of the function means, in one line."""
    message = " ".join(str(document.get("errorMessage", "it said nothing")).split())
    if document.get("errorType") == "RetrainError":
        raise UserError(message)
    raise FunctionFailedError(
        f"the function {name} failed: {document.get('errorType', 'error')}: {message}; "
        f"its log is /aws/lambda/{name}"
    )


def _outcome(status: ExecutionStatus) -> Outcome:
    if not status.has_ended:
        return "running"
    if status.status == "Succeeded":
        return "registered"
    if status.is_rejected:
        return "rejected"
    return "stopped" if status.status == "Stopped" else "failed"
