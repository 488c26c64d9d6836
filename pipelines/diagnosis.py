"""Why an execution failed: the step, its job's last words, and the likely cause in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipelines.aws import Aws
from pipelines.control import Control
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.logs import JOB_GROUPS, last_lines
from pipelines.plain_text import plain
from pipelines.symptoms import MISSED, STOPPED, Cause, likely_cause


@dataclass(frozen=True)
class Diagnosis:
    """What became of an execution. All texts are safe to show on a terminal."""

    execution: str
    status: str
    step: str = ""  # the one that failed, or was stopped
    reason: str = ""
    symptom: str = ""
    cause: str = ""
    advice: str = ""
    missed: list[str] = field(default_factory=list)  # bars, in words
    job: str = ""
    log_group: str = ""
    log: list[str] = field(default_factory=list)  # the last lines
    log_fault: str = ""  # why it could not be read


def diagnose(aws: Aws, execution: str) -> Diagnosis:
    """Looks for the cause of an execution's failure; nothing but its status where it has none."""
    found = Control(aws).status(execution)
    if found.status not in ("Failed", "Stopped"):
        return Diagnosis(execution, found.status)
    step = _step_at_fault(found)
    if found.is_rejected:
        return _diagnosis(found, step, MISSED, missed=[plain(bar) for bar in found.missed])
    if step is None:
        cause = STOPPED if found.status == "Stopped" else likely_cause("", found.reason)
        return _diagnosis(found, None, cause)
    kind, job = step.job_kind, step.job_name
    group = JOB_GROUPS.get(kind, "")
    log, log_fault = last_lines(aws.client("logs"), group, job) if group else ([], "")
    said = f"{step.reason or found.reason}\n{_secondary_status(aws, kind, job)}".strip()
    cause = likely_cause(step.name, said, log)
    if step.status == "Stopped" and cause.symptom in ("unknown", "fault of the code"):
        cause = STOPPED
    more = {"job": plain(job), "log_group": group, "log": log, "log_fault": log_fault}
    return _diagnosis(found, step, cause, **more)


def _diagnosis(
    found: ExecutionStatus, step: StepStatus | None, cause: Cause, **more: Any
) -> Diagnosis:
    return Diagnosis(
        execution=found.arn,
        status=found.status,
        step=step.name if step else "",
        reason=plain((step and step.reason) or found.reason),
        symptom=cause.symptom,
        cause=plain(cause.cause),
        advice=cause.advice,
        **more,
    )


def _step_at_fault(found: ExecutionStatus) -> StepStatus | None:
    """The step that failed first, or else one that was stopped."""
    failed = {step.ended: step for step in found.steps if step.status == "Failed" and step.ended}
    if failed:
        return failed[min(failed)]
    return next((step for step in found.steps if step.status in ("Failed", "Stopped")), None)


def _secondary_status(aws: Aws, kind: str, job: str) -> str:
    """What a training job says of its end: `MaxWaitTimeExceeded` where no spot instance came."""
    if kind != "training-job":
        return ""
    sagemaker = aws.client("sagemaker")
    return str(sagemaker.describe_training_job(TrainingJobName=job).get("SecondaryStatus", ""))
