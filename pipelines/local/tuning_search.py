"""The search of one tuning job: it draws points, runs a training job for each, and ends.

Whatever strategy a job names, its points are drawn at random, from `RandomSeed` or 0: the same job
draws the same points. No training is stopped early.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from queue import SimpleQueue
from random import Random

from pipelines.local.aws_json import Request, ServiceError, now, present
from pipelines.local.documents import Document, Documents
from pipelines.local.jobs import ENDED, TRAINING, Jobs
from pipelines.local.search_space import SearchSpace

TUNING = "tuning-jobs"
NAME, STATUS = "HyperParameterTuningJobName", "HyperParameterTuningJobStatus"
CONFIG, DEFINITION = "HyperParameterTuningJobConfig", "TrainingJobDefinition"
MOST_FAILURES = 5  # before one has succeeded
_METRIC_GIVEN = "_tuning_objective_metric"  # what SageMaker puts beside a user's hyperparameters


class Search:
    """One tuning job while it runs."""

    def __init__(self, documents: Documents, jobs: Jobs, request: Request, arn: str) -> None:
        config = request[CONFIG]
        self._documents = documents
        self._jobs = jobs
        self._name, self._arn = request[NAME], arn
        self._definition = request[DEFINITION]
        self._tags = request.get("Tags")
        self._metric = config["HyperParameterTuningJobObjective"]["MetricName"]
        self._limit = config["ResourceLimits"]["MaxNumberOfTrainingJobs"]
        self._parallel = config["ResourceLimits"]["MaxParallelTrainingJobs"]
        self._points = _points(SearchSpace(config["ParameterRanges"]), config.get("RandomSeed", 0))
        self._ended: SimpleQueue[Document] = SimpleQueue()
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._stopping = threading.Event()

    def run(self) -> None:
        """Runs to the end. Whatever happens is told in the document."""
        end(self._documents, self._name, self._search())

    def stop(self) -> None:
        """Lets no other training begin, and ends those that run."""

        def mark(job: Document) -> None:
            if job[STATUS] not in ENDED:
                job |= {STATUS: "Stopping", "LastModifiedTime": now()}

        with self._lock:
            self._stopping.set()
            running = list(self._running)
        self._documents.change(TUNING, self._name, mark)
        for name in running:
            self._jobs.stop(name)

    def _search(self) -> str:
        """Runs the training jobs; the reason if the tuning job fails."""
        reason, started, running, failed, has_model = "", 0, 0, 0, False
        while True:
            while not reason and started < self._limit and running < self._parallel:
                started += 1
                try:
                    if not self._start(started, next(self._points)):
                        break
                    running += 1
                except Exception as error:  # what a training job is refused for, or a fault of ours
                    kind = "ClientError" if isinstance(error, ServiceError) else "InternalError"
                    reason = f"{kind}: {error}"
            if not running:
                break
            job = self._ended.get()
            running -= 1
            if reached(job, self._metric) is not None:
                has_model = True
            elif job.get("TrainingJobStatus") != "Stopped":
                failed += 1
            if not has_model and failed in (MOST_FAILURES, self._limit):
                reason = reason or (
                    f"No training job succeeded after {failed} attempts; "
                    "their failure reasons tell why"
                )
        return reason

    def _start(self, number: int, point: dict[str, str]) -> bool:
        """Starts a training job, unless the tuning job is being stopped."""
        given = self._definition
        name = f"{self._name}-{number:03}-{secrets.token_hex(4)}"
        kept = {key: value for key, value in given.items() if key != "StaticHyperParameters"}
        hyperparameters = {
            _METRIC_GIVEN: self._metric,
            **(given.get("StaticHyperParameters") or {}),
            **point,
        }
        arguments = {**kept, "HyperParameters": hyperparameters, **present(Tags=self._tags)}
        with self._lock:
            if self._stopping.is_set():
                return False
            self._jobs.create(TRAINING, name, arguments)
            self._running.add(name)
        self._documents.change(TRAINING, name, lambda job: job.update(TuningJobArn=self._arn))
        noted = {"TrainingJobName": name, "TunedHyperParameters": point}
        self._documents.change(TUNING, self._name, lambda job: job["TrainingJobs"].append(noted))
        threading.Thread(target=self._run, args=(name,), name=name, daemon=True).start()
        return True

    def _run(self, name: str) -> None:
        job: Document = {}
        try:
            job = self._jobs.run(TRAINING, name)
        finally:
            with self._lock:
                self._running.discard(name)
            self._ended.put(job)


def _points(space: SearchSpace, seed: int) -> Iterator[dict[str, str]]:
    """Points without end; in a small space some come again, when all that differ are likely out."""
    random = Random(seed)  # noqa: S311
    seen: list[dict[str, str]] = []
    while True:
        point = space.draw(random)
        for _ in range(100):
            if point not in seen:
                break
            point = space.draw(random)
        seen.append(point)
        yield point


def end(documents: Documents, name: str, failure: str) -> None:
    """Notes that a tuning job has ended: failed, stopped, or well."""

    def change(job: Document) -> None:
        status = "Failed" if failure else "Completed"
        if job[STATUS] == "Stopping":
            status = "Stopped"
        job |= {STATUS: status, "HyperParameterTuningEndTime": now(), "LastModifiedTime": now()}
        job |= present(FailureReason=failure[:1024] or None)

    documents.change(TUNING, name, change)


def reached(job: Document, metric: str) -> float | None:
    """What a training job came to, if it ended well and told it."""
    if job.get("TrainingJobStatus") != "Completed":
        return None
    finals = {one["MetricName"]: one["Value"] for one in job.get("FinalMetricDataList") or []}
    return finals.get(metric)
