"""AWS Batch's jobs: submit, describe, list, cancel and terminate; array jobs and dependencies.

Queues, compute environments and job definitions are moto's. A job runs its image's command through
the engine, on as many cores of this machine as it asks for vCPUs. An array job is a parent, which
waits, and children, which run (AWS Batch user guide, "Array jobs" and "Job dependencies"). A job
that the local cloud died under is tried again, as if its host had been lost.
"""

from __future__ import annotations

import fnmatch
import re
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.local.aws_json import Request, Response, ServiceError, page, present
from pipelines.local.batch_attempts import (
    HOST_LOST,
    Attempt,
    Attempts,
    described,
    may_retry,
    vcpus,
)
from pipelines.local.batch_events import BatchEvents
from pipelines.local.cores import Cores
from pipelines.local.documents import Document, Documents
from pipelines.local.logs import Logs
from pipelines.local.process_engine import ProcessEngine

JOBS = "batch-jobs"
ENDED = ("SUCCEEDED", "FAILED")
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
STATUSES = (*WAITING, "STARTING", "RUNNING", *ENDED)
ARRAY_SIZES = range(2, 10_001)
MOST_DEPENDENCIES = 20
CLOSING_SECONDS = 3.0
_SUMMARY = (
    "jobArn",
    "jobId",
    "jobName",
    "createdAt",
    "status",
    "statusReason",
    "startedAt",
    "stoppedAt",
    "jobDefinition",
    "arrayProperties",
)


class BatchJobs:
    """Jobs of all queues."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        client: Callable[[str], Any],
        logs: Logs,
        engine: ProcessEngine,
        folder: Path,
        environment_of: Callable[[str], dict[str, str]],
    ) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._client = client("batch")
        self._events = BatchEvents(client("events"))
        self._attempts = Attempts(logs, engine, folder, environment_of)
        self._cores = Cores()
        self._lock = threading.RLock()  # around a look at a status and the change that follows
        self._stops: dict[str, threading.Event] = {}  # of jobs that wait for cores or run
        self._arrays: dict[str, Counter[str]] = {}  # parent → how many children have a status
        self._dependents: defaultdict[str, set[str]] = defaultdict(set)
        self._closing = False

    # The API.

    def submit_job(self, request: Request) -> Response:
        name = request["jobName"]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", name):
            raise _client_error(f"Job name {name} should match valid pattern")
        for unknown in ("nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride"):
            if request.get(unknown):
                raise _client_error(f"{unknown} is not known to the local cloud")
        size = (request.get("arrayProperties") or {}).get("size")
        if size is not None and size not in ARRAY_SIZES:
            raise _client_error(
                f"Array size {size} must be between {ARRAY_SIZES[0]} and {ARRAY_SIZES[-1]}"
            )
        depends_on = self._dependencies(request.get("dependsOn") or [])
        queue = self._queue(request["jobQueue"])
        definition = self._definition(request["jobDefinition"])
        identifier = str(uuid.uuid4())
        job = {
            **_described_container(request, definition),
            "jobArn": f"{self._arn_prefix}:job/{identifier}",
            "jobName": name,
            "jobId": identifier,
            "jobQueue": queue["jobQueueArn"],
            "jobDefinition": definition["jobDefinitionArn"],
            "status": "SUBMITTED",
            "attempts": [],
            "createdAt": _milliseconds(),
            "dependsOn": depends_on,
            **present(arrayProperties={"size": size} if size else None),
        }
        self._documents.put(JOBS, identifier, job)
        self._take_up(job)
        return {"jobArn": job["jobArn"], "jobName": name, "jobId": identifier}

    def describe_jobs(self, request: Request) -> Response:
        jobs = [self._documents.get(JOBS, identifier) for identifier in request["jobs"]]
        return {"jobs": [self._shown(job) for job in jobs if job is not None]}

    def list_jobs(self, request: Request) -> Response:
        """The jobs of a queue, or the children of an array job: those that run, or of one status;
        of a queue also those that a filter names, of whatever status."""
        parent, filters = request.get("arrayJobId"), {}
        if ("jobQueue" in request) == (parent is not None):
            raise _client_error("one of jobQueue and arrayJobId is needed")
        queue = ""
        if parent is None:
            queue = self._queue(request["jobQueue"])["jobQueueArn"]
            filters = {one["name"]: one["values"] for one in request.get("filters") or []}
        status = None if filters else request.get("jobStatus", "RUNNING")

        def is_wanted(job: Document) -> bool:
            return (
                _parent(job) == parent
                and queue in ("", job["jobQueue"])
                and status in (None, job["status"])
                and all(_passes(job, name, values) for name, values in filters.items())
            )

        jobs = self._documents.find(JOBS, is_wanted)
        jobs.sort(key=lambda job: job["createdAt"], reverse=True)
        token = {"NextToken": request.get("nextToken"), "MaxResults": request.get("maxResults")}
        shown, more = page(jobs, token)
        return {
            "jobSummaryList": [_summary(self._shown(job)) for job in shown],
            **present(nextToken=more.get("NextToken")),
        }

    def terminate_job(self, request: Request) -> Response:
        """Ends a job that waits or runs; of an array job, all children."""
        for identifier in self._meant(request["jobId"]):
            with self._lock:
                if self._end_waiting(identifier, request["reason"], "isTerminated"):
                    continue
                if self._job(identifier)["status"] not in ENDED:
                    self._change(identifier, isTerminated=True, ending=request["reason"])
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
        open_jobs = self._documents.find(JOBS, lambda job: job["status"] not in ENDED)
        open_jobs.sort(key=lambda job: (job["createdAt"], _order(job)))
        for job in open_jobs:
            if _is_array(job) and job["status"] == "PENDING" and self._is_free(job):
                self._arrays[job["jobId"]] = Counter(
                    child["status"] for child in self._children(job["jobId"])
                )
        for job in open_jobs:
            identifier = job["jobId"]
            if self._job(identifier)["status"] in ENDED:
                continue  # a child that was taken up together with its parent, and cancelled
            if job["status"] == "RUNNING":
                attempt = Attempt(None, HOST_LOST)
                stream = job["container"].get("logStreamName", "")
                told = described(attempt, job["startedAt"], _milliseconds(), stream)
                self._ended(identifier, attempt, told)
            elif identifier in self._arrays:
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
        self._cores.join()
        self._events.close()

    # From submission to the queue.

    def _take_up(self, job: Document) -> None:
        """Brings a job as far as it can go before it runs."""
        identifier = job["jobId"]
        with self._lock:
            if not self._is_free(job):
                for one in job["dependsOn"]:
                    self._dependents[one["jobId"]].add(identifier)
                self._change(identifier, status="PENDING")
                self._free(identifier)  # what it depends on may have ended a moment ago
            elif _is_array(job):
                self._change(identifier, status="PENDING")
                self._spread(job)
            else:
                self._enqueue(job)

    def _is_free(self, job: Document) -> bool:
        return all(self._job(one["jobId"])["status"] == "SUCCEEDED" for one in job["dependsOn"])

    def _free(self, identifier: str) -> None:
        """Lets a job that waits for others go on, or fail as one of them did."""
        with self._lock:
            job = self._job(identifier)
            if job["status"] != "PENDING" or identifier in self._arrays:
                return
            statuses = {self._job(one["jobId"])["status"] for one in job["dependsOn"]}
            if "FAILED" in statuses:
                self._finish(identifier, "FAILED", "Dependent Job failed")
            elif statuses == {"SUCCEEDED"}:
                self._take_up(job)

    def _spread(self, parent: Document) -> None:
        """Makes the children of an array job that are not there yet, and queues them."""
        identifier, size = parent["jobId"], parent["arrayProperties"]["size"]
        there = {_index(child) for child in self._children(identifier)}
        self._arrays.setdefault(identifier, Counter())
        for index in range(size):
            if index in there:
                continue
            child = {
                **parent,
                "jobId": f"{identifier}:{index}",
                "jobArn": f"{parent['jobArn']}:{index}",
                "arrayProperties": {"index": index, "size": size},
                "status": "PENDING",
                "createdAt": _milliseconds(),
                "dependsOn": [],
            }
            self._documents.put(JOBS, child["jobId"], child)
            self._arrays[identifier]["PENDING"] += 1
            self._enqueue(child)

    def _enqueue(self, job: Document) -> None:
        identifier = job["jobId"]
        self._stops[identifier] = threading.Event()
        self._change(identifier, status="RUNNABLE")
        self._cores.lend(vcpus(job["container"]), lambda cores: self._run(identifier, cores))

    # From the queue to the end.

    def _run(self, identifier: str, cores: frozenset[int]) -> None:
        with self._lock:
            stop = self._stops.get(identifier)
            if stop is None or self._closing:  # ended while it waited, or left for later
                return
            job = self._change(identifier, status="STARTING")
        started, stream = _milliseconds(), ""

        def is_running(name: str) -> None:
            nonlocal stream
            stream = name
            container = {**job["container"], "logStreamName": name}
            container.pop("exitCode", None)
            self._change(identifier, status="RUNNING", startedAt=started, container=container)

        try:
            attempt = self._attempts.run(job, cores, stop, is_running)
        except Exception as error:  # of the local cloud's own disk: it must not look running
            attempt = Attempt(None, f"CannotStartContainerError: {error!r}")
        if not self._closing:
            self._ended(identifier, attempt, described(attempt, started, _milliseconds(), stream))

    def _ended(self, identifier: str, attempt: Attempt, told: Document) -> None:
        """Notes an attempt that has ended, and ends the job or queues it again."""
        with self._lock:
            job = self._job(identifier)
            job = self._change(
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
        with self._lock:
            if identifier in self._arrays:
                return True
            if self._job(identifier)["status"] not in WAITING:
                return False
            self._change(identifier, **{how: True})
            self._finish(identifier, "FAILED", reason)
            return True

    def _finish(self, identifier: str, status: str, reason: str | None = None) -> None:
        with self._lock:
            job = self._change(
                identifier, status=status, stoppedAt=_milliseconds(), **present(statusReason=reason)
            )
            self._stops.pop(identifier, None)
            parent = _parent(job)
            if parent is not None:
                self._settle(parent)
            for dependent in self._dependents.pop(identifier, set()):
                self._free(dependent)

    def _settle(self, parent: str) -> None:
        """Ends an array job when its last child has ended."""
        counts, properties = self._arrays[parent], self._job(parent)["arrayProperties"]
        if sum(counts[status] for status in ENDED) < properties["size"]:
            return
        self._change(parent, arrayProperties={**properties, "statusSummary": _counted(counts)})
        if counts["FAILED"]:
            self._finish(parent, "FAILED", "Array Child Job failed")
        else:
            self._finish(parent, "SUCCEEDED")
        del self._arrays[parent]

    # Documents.

    def _meant(self, identifier: str) -> list[str]:
        """The job, or the children of an array job and then itself."""
        job = self._documents.get(JOBS, identifier)
        if job is None:
            raise _client_error(f"Job {identifier} not found")
        children = self._children(identifier) if _is_array(job) else []
        return [*(child["jobId"] for child in children), identifier]

    def _children(self, parent: str) -> list[Document]:
        return self._documents.find(JOBS, lambda job: _parent(job) == parent)

    def _job(self, identifier: str) -> Document:
        job = self._documents.get(JOBS, identifier)
        assert job is not None
        return job

    def _change(self, identifier: str, **changes: Any) -> Document:
        """Changes a job; a new status is counted and announced."""
        with self._lock:
            before = ""

            def change(job: Document) -> None:
                nonlocal before
                before = job["status"]
                job.update(changes)

            job = self._documents.change(JOBS, identifier, change)
            if job["status"] != before:
                counts = self._arrays.get(_parent(job) or "")
                if counts is not None:
                    counts[before] -= 1
                    counts[job["status"]] += 1
                self._events.announce(self._shown(job))
            return job

    def _shown(self, job: Document) -> Document:
        """A job as DescribeJobs shows it."""
        shown = {name: value for name, value in job.items() if name != "ending"}
        if _is_array(job):
            counts = self._arrays.get(job["jobId"], Counter())
            shown["arrayProperties"] = {"statusSummary": _counted(counts), **job["arrayProperties"]}
        elif _parent(job) is not None:
            shown["arrayProperties"] = {"statusSummary": {}, "index": _index(job)}
        return shown

    def _dependencies(self, given: list[Document]) -> list[Document]:
        if len(given) > MOST_DEPENDENCIES:
            raise _client_error(f"a job can depend on at most {MOST_DEPENDENCIES} jobs")
        for one in given:
            if "type" in one:
                raise _client_error(
                    f"dependsOn of type {one['type']} is not known to the local cloud"
                )
            if "jobId" not in one or self._documents.get(JOBS, one["jobId"]) is None:
                raise _client_error(f"Job {one.get('jobId')} in dependsOn not found")
        return given

    def _queue(self, name: str) -> Document:
        return _one(
            self._client.describe_job_queues(jobQueues=[name])["jobQueues"], f"Job queue {name}"
        )

    def _definition(self, name: str) -> Document:
        """By ARN or `name:revision`, or the newest active revision of a name."""
        short, _, revision = name.rpartition("/")[2].partition(":")
        found = self._client.describe_job_definitions(jobDefinitionName=short, status="ACTIVE")
        definitions = [
            one for one in found["jobDefinitions"] if revision in ("", str(one["revision"]))
        ]
        return _one(sorted(definitions, key=lambda one: -one["revision"]), f"Job definition {name}")


def _described_container(request: Request, definition: Document) -> Document:
    """What a job takes from its definition and from what overrides it."""
    overrides = request.get("containerOverrides") or {}
    container = definition["containerProperties"]
    variables = {one["name"]: one["value"] for one in container.get("environment") or []}
    variables |= {one["name"]: one["value"] for one in overrides.get("environment") or []}
    return present(
        parameters={**(definition.get("parameters") or {}), **(request.get("parameters") or {})},
        retryStrategy=request.get("retryStrategy") or definition.get("retryStrategy"),
        timeout=request.get("timeout") or definition.get("timeout"),
        tags={**(definition.get("tags") or {}), **(request.get("tags") or {})},
        platformCapabilities=definition.get("platformCapabilities") or ["EC2"],
        container={
            **container,
            "command": overrides.get("command") or container.get("command") or [],
            "environment": [{"name": key, "value": value} for key, value in variables.items()],
            "resourceRequirements": overrides.get("resourceRequirements")
            or container.get("resourceRequirements")
            or [],
        },
    )


def _summary(job: Document) -> Document:
    """A job as ListJobs shows it."""
    exit_code = job["container"].get("exitCode")
    return {
        **{name: job[name] for name in _SUMMARY if name in job},
        **present(container=None if exit_code is None else {"exitCode": exit_code}),
    }


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES}


def _is_array(job: Document) -> bool:
    """Whether a job is the parent of an array."""
    return "size" in (job.get("arrayProperties") or {}) and _index(job) is None


def _index(job: Document) -> int | None:
    """The index of an array job's child."""
    index: int | None = (job.get("arrayProperties") or {}).get("index")
    return index


def _order(job: Document) -> int:
    """Among jobs of one moment: a parent before its children, and these by index."""
    index = _index(job)
    return -1 if index is None else index


def _parent(job: Document) -> str | None:
    """The id of the array job that a child belongs to."""
    return None if _index(job) is None else str(job["jobId"].partition(":")[0])


def _one(found: list[Document], what: str) -> Document:
    if not found:
        raise _client_error(f"{what} does not exist")
    return found[0]


def _client_error(message: str) -> ServiceError:
    return ServiceError("ClientException", message)


def _passes(job: Document, name: str, values: list[str]) -> bool:
    if name == "JOB_NAME":
        return any(fnmatch.fnmatchcase(job["jobName"].lower(), value.lower()) for value in values)
    if name == "JOB_DEFINITION":
        given = job["jobDefinition"].rpartition("/")[2]
        return any(fnmatch.fnmatchcase(given.rpartition(":")[0], value) for value in values)
    if name == "BEFORE_CREATED_AT":
        return bool(job["createdAt"] < int(values[0]))
    if name == "AFTER_CREATED_AT":
        return bool(job["createdAt"] > int(values[0]))
    raise _client_error(f"Unknown filter {name}")


def _milliseconds() -> int:
    return int(time.time() * 1000)
