"""AWS Batch's jobs: submit, describe, list, cancel and terminate; array jobs and dependencies.

Queues, compute environments and job definitions are moto's. A job runs its image's command through
the engine, on as many cores of this machine as it asks for vCPUs. An array job is a parent, which
waits, and children, which run (AWS Batch user guide, "Array jobs" and "Job dependencies"). A job
that the local cloud died under is tried again, as if its host had been lost.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from pipelines.local.aws_json import Request, Response, present
from pipelines.local.batch_attempts import (
    HOST_LOST,
    Attempt,
    Attempts,
    described,
    may_retry,
)
from pipelines.local.batch_events import BatchEvents
from pipelines.local.batch_limits import vcpus
from pipelines.local.batch_records import (
    ENDED,
    WAITING,
    BatchRecords,
    client_error,
    index_of,
    is_array,
    milliseconds,
    parent_of,
)
from pipelines.local.batch_submission import new_job
from pipelines.local.cores import Cores
from pipelines.local.documents import Document, Documents
from pipelines.local.engines import Engine
from pipelines.local.logs import Logs
from pipelines.local.moto_services import BatchResources, EventBus

CLOSING_SECONDS = 3.0
STOPPING_SECONDS = 40.0  # more than the engine leaves a job between SIGTERM and SIGKILL


class BatchJobs:
    """Jobs of all queues."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        resources: BatchResources,
        bus: EventBus,
        logs: Logs,
        engine: Engine,
        folder: Path,
        environment_of: Callable[[str], dict[str, str]],
    ) -> None:
        self._arn_prefix = arn_prefix
        self._resources = resources
        self._events = BatchEvents(bus)
        self._records = BatchRecords(documents, self._events)
        self._attempts = Attempts(logs, engine, folder, environment_of)
        self._cores = Cores()
        self._stops: dict[str, threading.Event] = {}  # of jobs that wait for cores or run
        self._dependents: defaultdict[str, set[str]] = defaultdict(set)
        self._closing = False

    # The API.

    def submit_job(self, request: Request) -> Response:
        def is_known(identifier: str) -> bool:
            return self._records.find(identifier) is not None

        job = new_job(request, self._resources, self._arn_prefix, is_known)
        self._records.add(job)
        self._take_up(job)
        return {name: job[name] for name in ("jobArn", "jobName", "jobId")}

    def describe_jobs(self, request: Request) -> Response:
        return self._records.describe_jobs(request)

    def list_jobs(self, request: Request) -> Response:
        return self._records.list_jobs(request, self._queue_arn)

    def terminate_job(self, request: Request) -> Response:
        """Ends a job that waits or runs; of an array job, all children."""
        for identifier in self._meant(request["jobId"]):
            with self._records.lock:
                if self._end_waiting(identifier, request["reason"], "isTerminated"):
                    continue
                if self._records.get(identifier)["status"] not in ENDED:
                    self._records.change(identifier, isTerminated=True, ending=request["reason"])
                    self._stops[identifier].set()
        return {}

    def cancel_job(self, request: Request) -> Response:
        """Ends a job that waits, of an array job all children that do; what runs goes on."""
        for identifier in self._meant(request["jobId"]):
            self._end_waiting(identifier, request["reason"], "isCancelled")
        return {}

    # What the local cloud calls.

    def resume(self) -> None:
        """Takes up the jobs that a former process of the local cloud left."""
        self._attempts.clear()
        open_jobs = self._records.unfinished()
        for job in open_jobs:
            if is_array(job) and job["status"] == "PENDING" and self._is_free(job):
                self._records.begin_array(job["jobId"])
        for job in open_jobs:
            identifier = job["jobId"]
            if self._records.get(identifier)["status"] in ENDED:
                continue  # a child that was taken up together with its parent, and cancelled
            if job["status"] == "RUNNING":
                attempt = Attempt(None, HOST_LOST)
                stream = job["container"].get("logStreamName", "")
                told = described(attempt, job["startedAt"], milliseconds(), stream)
                self._ended(identifier, attempt, told)
            elif self._records.is_open_array(identifier):
                self._spread(job)
                self._settle(identifier)
            else:
                self._take_up(job)

    def close(self) -> None:
        """Ends what runs; it is taken up again at the next start."""
        self._cores.close()
        self._cores.join(CLOSING_SECONDS)  # most are about to end: their results are there already
        self._closing = True
        for stop in list(self._stops.values()):
            stop.set()
        self._cores.join(STOPPING_SECONDS)
        self._events.close()

    # From submission to the queue.

    def _take_up(self, job: Document) -> None:
        """Brings a job as far as it can go before it runs."""
        identifier = job["jobId"]
        with self._records.lock:
            if not self._is_free(job):
                for one in job["dependsOn"]:
                    self._dependents[one["jobId"]].add(identifier)
                self._records.change(identifier, status="PENDING")
                self._free(identifier)  # what it depends on may have ended a moment ago
            elif is_array(job):
                self._records.change(identifier, status="PENDING")
                self._spread(job)
            else:
                self._enqueue(job)

    def _is_free(self, job: Document) -> bool:
        return all(
            self._records.get(one["jobId"])["status"] == "SUCCEEDED" for one in job["dependsOn"]
        )

    def _free(self, identifier: str) -> None:
        """Lets a job that waits for others go on, or fail as one of them did."""
        with self._records.lock:
            job = self._records.get(identifier)
            if job["status"] != "PENDING" or self._records.is_open_array(identifier):
                return
            statuses = {self._records.get(one["jobId"])["status"] for one in job["dependsOn"]}
            if "FAILED" in statuses:
                self._finish(identifier, "FAILED", "Dependent Job failed")
            elif statuses == {"SUCCEEDED"}:
                self._take_up(job)

    def _spread(self, parent: Document) -> None:
        """Makes the children of an array job that are not there yet, and queues them."""
        identifier, size = parent["jobId"], parent["arrayProperties"]["size"]
        there = {index_of(child) for child in self._records.children(identifier)}
        if not self._records.is_open_array(identifier):
            self._records.begin_array(identifier)
        for index in range(size):
            if index in there:
                continue
            child = {
                **parent,
                "jobId": f"{identifier}:{index}",
                "jobArn": f"{parent['jobArn']}:{index}",
                "arrayProperties": {"index": index, "size": size},
                "status": "PENDING",
                "createdAt": milliseconds(),
                "dependsOn": [],
            }
            self._records.add(child)
            self._enqueue(child)

    def _enqueue(self, job: Document) -> None:
        identifier = job["jobId"]
        self._stops[identifier] = threading.Event()
        self._records.change(identifier, status="RUNNABLE")
        self._cores.lend(vcpus(job["container"]), lambda cores: self._run(identifier, cores))

    # From the queue to the end.

    def _run(self, identifier: str, cores: frozenset[int]) -> None:
        with self._records.lock:
            stop = self._stops.get(identifier)
            if stop is None or self._closing:  # ended while it waited, or left for later
                return
            job = self._records.change(identifier, status="STARTING")
        started, stream = milliseconds(), ""

        def is_running(name: str) -> None:
            nonlocal stream
            stream = name
            container = {**job["container"], "logStreamName": name}
            container.pop("exitCode", None)
            self._records.change(
                identifier, status="RUNNING", startedAt=started, container=container
            )

        try:
            attempt = self._attempts.run(job, cores, stop, is_running)
        except Exception as error:  # of the local cloud's own disk: it must not look running
            attempt = Attempt(None, f"CannotStartContainerError: {error!r}")
        if not self._closing:
            self._ended(identifier, attempt, described(attempt, started, milliseconds(), stream))

    def _ended(self, identifier: str, attempt: Attempt, told: Document) -> None:
        """Notes an attempt that has ended, and ends the job or queues it again."""
        with self._records.lock:
            job = self._records.get(identifier)
            job = self._records.change(
                identifier,
                attempts=[*job["attempts"], told],
                container={**job["container"], **present(exitCode=attempt.exit_code)},
            )
            if attempt.exit_code == 0:
                self._finish(identifier, "SUCCEEDED", attempt.reason)
            elif "ending" in job:
                self._finish(identifier, "FAILED", job["ending"])
            elif may_retry(job, attempt):
                self._enqueue(job)
            else:
                self._finish(identifier, "FAILED", attempt.reason)

    def _end_waiting(self, identifier: str, reason: str, how: str) -> bool:
        """Ends a job that has not begun; whether it was one. The parent of an array job ends with
        the last of its children."""
        with self._records.lock:
            if self._records.is_open_array(identifier):
                return True
            if self._records.get(identifier)["status"] not in WAITING:
                return False
            self._records.change(identifier, **{how: True})
            self._finish(identifier, "FAILED", reason)
            return True

    def _finish(self, identifier: str, status: str, reason: str | None = None) -> None:
        with self._records.lock:
            job = self._records.change(
                identifier, status=status, stoppedAt=milliseconds(), **present(statusReason=reason)
            )
            self._stops.pop(identifier, None)
            parent = parent_of(job)
            if parent is not None:
                self._settle(parent)
            for dependent in self._dependents.pop(identifier, set()):
                self._free(dependent)

    def _settle(self, parent: str) -> None:
        """Ends an array job when its last child has ended."""
        with self._records.lock:
            if not self._records.is_open_array(parent):
                return
            ended = self._records.ended_children(parent)
            if ended.total() < self._records.get(parent)["arrayProperties"]["size"]:
                return
            self._records.end_array(parent)
            if ended["FAILED"]:
                self._finish(parent, "FAILED", "Array Child Job failed")
            else:
                self._finish(parent, "SUCCEEDED")

    def _meant(self, identifier: str) -> list[str]:
        """The job, or the children of an array job and then itself."""
        job = self._records.find(identifier)
        if job is None:
            raise client_error(f"Job {identifier} not found")
        children = self._records.children(identifier) if is_array(job) else []
        return [*(child["jobId"] for child in children), identifier]

    def _queue_arn(self, name: str) -> str:
        queue = self._resources.queue(name)
        if queue is None:
            raise client_error(f"Job queue {name} does not exist")
        return str(queue["jobQueueArn"])
