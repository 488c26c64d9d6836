"""Hyperparameter tuning jobs: the API's operations.

The training jobs run as any others do (`jobs.py`), and what is told of them is read from there.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    in_period,
    invalid,
    not_found,
    now,
    page,
)
from pipelines.local.documents import Document, Documents
from pipelines.local.jobs import ENDED, TRAINING, Assume, Jobs
from pipelines.local.tuning_checks import check
from pipelines.local.tuning_search import (
    CONFIG,
    DEFINITION,
    NAME,
    STATUS,
    TUNING,
    Search,
    end,
    reached,
)


class TuningJobs:
    """Runs tuning jobs, and answers the API's questions about them."""

    def __init__(self, documents: Documents, arn_prefix: str, jobs: Jobs, assume: Assume) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._jobs = jobs
        self._assume = assume
        self._searches: dict[str, Search] = {}

    def fail_interrupted(self, reason: str) -> None:
        """Ends the tuning jobs that a former process of the local cloud left running."""
        for job in self._documents.all(TUNING):
            if job[STATUS] not in ENDED:
                end(self._documents, job[NAME], reason)

    def close(self) -> None:
        """Starts no more training jobs, and stops those that run."""
        for search in list(self._searches.values()):
            search.stop()

    # The API.

    def create_hyper_parameter_tuning_job(self, request: Request) -> Response:
        check(request)
        name = request[NAME]
        if self._documents.get(TUNING, name):
            raise ServiceError("ResourceInUse", f"{NAME} {name} already exists")
        self._assume(request[DEFINITION]["RoleArn"])
        arn = f"{self._arn_prefix}:hyper-parameter-tuning-job/{name}"
        times = {"CreationTime": now(), "LastModifiedTime": now()}
        more = {"HyperParameterTuningJobArn": arn, STATUS: "InProgress", "TrainingJobs": []}
        self._documents.put(TUNING, name, {**request, **more, **times})
        search = self._searches[name] = Search(self._documents, self._jobs, request, arn)

        def run() -> None:
            search.run()
            self._searches.pop(name, None)

        # No pool: Python waits for a pool's threads at its own end, however long they take.
        threading.Thread(target=run, name=f"tuning {name}", daemon=True).start()
        return {"HyperParameterTuningJobArn": arn}

    def describe_hyper_parameter_tuning_job(self, request: Request) -> Response:
        job = self._job(request)
        trainings = self._trainings(job)
        job.pop("Tags", None)
        job.pop("TrainingJobs")
        objective = job[CONFIG]["HyperParameterTuningJobObjective"]
        done = [one for one in trainings if "FinalHyperParameterTuningJobObjectiveMetric" in one]
        if done:
            choose = max if objective["Type"] == "Maximize" else min
            job["BestTrainingJob"] = choose(done, key=_value)
        return {**job, **_counters(trainings)}

    def list_training_jobs_for_hyper_parameter_tuning_job(self, request: Request) -> Response:
        wanted = request.get("StatusEquals")
        trainings = [
            one
            for one in self._trainings(self._job(request))
            if wanted in (None, one["TrainingJobStatus"])
        ]
        by = request.get("SortBy", "Name")
        if by == "FinalObjectiveMetricValue":  # those without one are left out, as on AWS
            trainings = [
                one for one in trainings if "FinalHyperParameterTuningJobObjectiveMetric" in one
            ]
            trainings.sort(key=_value)
        else:
            members = {"Name": "TrainingJobName", "Status": "TrainingJobStatus"}
            member = members.get(by, "CreationTime")
            trainings.sort(key=lambda one: one[member])
        if request.get("SortOrder") == "Descending":
            trainings.reverse()
        shown, token = page(trainings, request, default=10)
        return {"TrainingJobSummaries": shown, **token}

    def list_hyper_parameter_tuning_jobs(self, request: Request) -> Response:
        wanted, part = request.get("StatusEquals"), request.get("NameContains", "")
        jobs = [
            job
            for job in in_period(self._documents.all(TUNING), request)
            if wanted in (None, job[STATUS]) and part in job[NAME]
        ]
        by = {"Name": NAME, "Status": STATUS}.get(request.get("SortBy", "Name"), "CreationTime")
        jobs.sort(key=lambda job: job[by], reverse=request.get("SortOrder") == "Descending")
        shown, token = page(jobs, request, default=10)
        names = (
            *(NAME, "HyperParameterTuningJobArn", STATUS),
            *("CreationTime", "LastModifiedTime", "HyperParameterTuningEndTime"),
        )
        summaries = [
            {
                **{name: job[name] for name in names if name in job},
                "Strategy": job[CONFIG]["Strategy"],
                "ResourceLimits": job[CONFIG]["ResourceLimits"],
                **_counters(self._trainings(job)),
            }
            for job in shown
        ]
        return {"HyperParameterTuningJobSummaries": summaries, **token}

    def stop_hyper_parameter_tuning_job(self, request: Request) -> Response:
        job, search = self._job(request), self._searches.get(request[NAME])
        if search is None or job[STATUS] in ENDED:
            raise invalid(f"The tuning job {job[NAME]} cannot be stopped: it is {job[STATUS]}")
        search.stop()
        return {}

    def _job(self, request: Request) -> Document:
        job = self._documents.get(TUNING, request[NAME])
        if job is None:
            raise not_found("Hyperparameter tuning job", request[NAME])
        return job

    def _trainings(self, job: Document) -> list[Document]:
        """The summaries of a tuning job's training jobs, in the order of their start."""
        objective = job[CONFIG]["HyperParameterTuningJobObjective"]
        found = (
            (self._documents.get(TRAINING, one["TrainingJobName"]), one["TunedHyperParameters"])
            for one in job["TrainingJobs"]
        )
        return [_summary(training, tuned, objective) for training, tuned in found if training]


def _summary(job: Document, tuned: Document, objective: Document) -> Document:
    names = (
        *("TrainingJobName", "TrainingJobArn", "CreationTime", "TrainingStartTime"),
        *("TrainingEndTime", "TrainingJobStatus", "FailureReason"),
    )
    summary: Document = {name: job[name] for name in names if name in job}
    summary["TunedHyperParameters"] = tuned
    value = reached(job, objective["MetricName"])
    if value is not None:
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = {**objective, "Value": value}
    ended = "Failed" if job["TrainingJobStatus"] in ENDED else "Pending"
    summary["ObjectiveStatus"] = ended if value is None else "Succeeded"
    return summary


def _value(summary: Document) -> Any:
    return summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]


def _counters(trainings: list[Document]) -> Document:
    jobs = Counter(one["TrainingJobStatus"] for one in trainings)
    objectives = Counter(one["ObjectiveStatus"] for one in trainings)
    return {
        "TrainingJobStatusCounters": {
            "Completed": jobs["Completed"],
            "InProgress": jobs["InProgress"],
            "RetryableError": 0,
            "NonRetryableError": jobs["Failed"],
            "Stopped": jobs["Stopped"],
        },
        "ObjectiveStatusCounters": {
            name: objectives[name] for name in ("Succeeded", "Pending", "Failed")
        },
    }
