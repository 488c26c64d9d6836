"""How far an execution of the pipeline is: its steps, and what it says about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

ENDED = ("Succeeded", "Failed", "Stopped")


@dataclass(frozen=True)
class StepStatus:
    """One step of an execution.

    Attributes
    ----------
    attempt: the one that is told, from 1 on: a retry policy or a person may have had it run again.
    job: the ARN of its training or processing job, if it has one.
    progress: how far its job is, in words, where `TrainingProgress` has added it.
    """

    name: str
    type: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    is_cached: bool = False
    reason: str = ""
    job: str = ""
    attempt: int = 1
    progress: str = ""

    @classmethod
    def of(cls, step: dict[str, Any]) -> StepStatus:
        """A step as ListPipelineExecutionSteps tells it, its type by the member of its metadata."""
        metadata = step.get("Metadata", {})
        kind = next(iter(metadata), "")
        return cls(
            name=step["StepName"],
            type=kind,
            status=step["StepStatus"],
            started=step.get("StartTime"),
            ended=step.get("EndTime"),
            is_cached="CacheHitResult" in step,
            reason=step.get("FailureReason", ""),
            job=metadata[kind].get("Arn", "") if kind.endswith("Job") else "",
            attempt=max(1, step.get("AttemptCount", 1)),
        )

    @property
    def seconds(self) -> float | None:
        if self.started is None:
            return None
        ended = self.ended or datetime.now(self.started.tzinfo)
        return (ended - self.started).total_seconds()

    @property
    def job_kind(self) -> str:
        """`training-job` or `processing-job`; empty where it has no job."""
        return self.job.rpartition(":")[2].partition("/")[0]

    @property
    def job_name(self) -> str:
        return self.job.rpartition("/")[2]

    @property
    def own_words(self) -> str:
        """Why it failed, without what SageMaker puts around it."""
        reason = re.sub(r"^(AlgorithmError|ClientError): ", "", self.reason)
        return re.sub(r", exit code: 1$", "", reason)


@dataclass(frozen=True)
class ExecutionStatus:
    """How far an execution is, and what it says about itself."""

    arn: str
    status: str
    reason: str
    steps: list[StepStatus] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # bars, in words

    @property
    def id(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def sentence(self) -> str:
        """How it is, and where it failed the reason in the step's own words."""
        step = self.failed_step
        if step is not None:
            return f"{self.status} at {step.name}: {step.own_words}"
        return f"{self.status}: {self.reason}" if self.reason else self.status

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def began(self) -> datetime | None:
        """When its first step did; None where none has."""
        return min((step.started for step in self.steps if step.started), default=None)

    @property
    def is_rejected(self) -> bool:
        """Whether it ended because the model missed a bar, and not because something broke."""
        return any(step.name == "ModelRejected" for step in self.steps)

    @property
    def failed_step(self) -> StepStatus | None:
        """The first that failed; where none did, None."""
        return next((step for step in self.steps if step.status == "Failed"), None)
