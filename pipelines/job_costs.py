"""What the jobs of an execution cost, as an estimate: machines times billed seconds.

Disks, logs, requests and taxes are left out; they are a small part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.execution_status import StepStatus

# US dollars an hour, us-east-1, training and processing alike. From memory and compared with what
# public calculators name; AWS's own list is aws.amazon.com/sagemaker/pricing.
PRICES_OF = "November 2026"
PRICES = {
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
    "ml.c5.9xlarge": 1.836,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
    "ml.p3.2xlarge": 3.825,
    "ml.p3.8xlarge": 14.688,
}


@dataclass(frozen=True)
class JobCost:
    """One job of an execution, and what its machines cost."""

    step: str
    job: str  # its name
    instance_type: str
    instance_count: int
    billed_seconds: float  # of each machine

    @property
    def dollars(self) -> float | None:
        """None where the price of the instance type is not known here."""
        price = PRICES.get(self.instance_type)
        hours = self.instance_count * self.billed_seconds / 3600
        return None if price is None else price * hours


def job_costs(sagemaker: Any, steps: Sequence[StepStatus]) -> list[JobCost]:
    """The costs of the jobs of an execution, by its steps. A cached step has cost nothing; its job
    belongs to another execution."""
    read = {"TrainingJob": _training, "ProcessingJob": _processing}
    return [
        read[step.type](sagemaker, step.name, step.job_name)
        for step in steps
        if step.job and not step.is_cached
    ]


def _training(sagemaker: Any, step: str, name: str) -> JobCost:
    job = sagemaker.describe_training_job(TrainingJobName=name)
    machines = job["ResourceConfig"]
    # With spot instances less is billed than has passed: the discount is in the seconds.
    billed = job.get("BillableTimeInSeconds")
    if billed is None:
        billed = _seconds(job, "TrainingStartTime", "TrainingEndTime")
    return JobCost(step, name, machines["InstanceType"], machines["InstanceCount"], billed)


def _processing(sagemaker: Any, step: str, name: str) -> JobCost:
    job = sagemaker.describe_processing_job(ProcessingJobName=name)
    machines = job["ProcessingResources"]["ClusterConfig"]
    billed = _seconds(job, "ProcessingStartTime", "ProcessingEndTime")
    return JobCost(step, name, machines["InstanceType"], machines["InstanceCount"], billed)


def _seconds(job: dict[str, Any], start: str, end: str) -> float:
    """What has passed between two times of a job; none where it never came so far."""
    if start not in job or end not in job:
        return 0.0
    return float((job[end] - job[start]).total_seconds())
