"""The jobs of AWS Batch as documents: changed and announced, described and listed."""

from __future__ import annotations

import fnmatch
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pipelines.local.aws_json import Request, Response, ServiceError, page, present
from pipelines.local.batch_events import BatchEvents
from pipelines.local.documents import Document, Documents

JOBS = "batch-jobs"
ENDED = ("SUCCEEDED", "FAILED")
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
STATUSES = (*WAITING, "STARTING", "RUNNING", *ENDED)
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


class BatchRecords:
    """Jobs of all queues; `lock` is held around a look at a status and the change that follows."""

    def __init__(self, documents: Documents, events: BatchEvents) -> None:
        self.lock = threading.RLock()
        self._documents = documents
        self._events = events
        self._arrays: dict[str, Counter[str]] = {}  # parent → how many children have a status

    def add(self, job: Document) -> None:
        with self.lock:
            self._documents.put(JOBS, job["jobId"], job)
            counts = self._arrays.get(parent_of(job) or "")
            if counts is not None:
                counts[job["status"]] += 1

    def find(self, identifier: str) -> Document | None:
        return self._documents.get(JOBS, identifier)

    def get(self, identifier: str) -> Document:
        """A job that is known to be there."""
        job = self.find(identifier)
        assert job is not None
        return job

    def change(self, identifier: str, **changes: Any) -> Document:
        """Changes a job; a new status is counted and announced."""
        with self.lock:
            before = ""

            def change(job: Document) -> None:
                nonlocal before
                before = job["status"]
                job.update(changes)

            job = self._documents.change(JOBS, identifier, change)
            if job["status"] != before:
                counts = self._arrays.get(parent_of(job) or "")
                if counts is not None:
                    counts[before] -= 1
                    counts[job["status"]] += 1
                self._events.announce(self._shown(job))
            return job

    def unfinished(self) -> list[Document]:
        """The jobs that have not ended, in the order in which they were made."""
        jobs = self._documents.find(JOBS, lambda job: job["status"] not in ENDED)
        return sorted(jobs, key=lambda job: (job["createdAt"], _order(job)))

    # Arrays.

    def children(self, parent: str) -> list[Document]:
        return self._documents.find(JOBS, lambda job: parent_of(job) == parent)

    def begin_array(self, parent: str) -> None:
        """Counts from now on what becomes of an array job's children."""
        self._arrays[parent] = Counter(child["status"] for child in self.children(parent))

    def is_open_array(self, identifier: str) -> bool:
        """Whether this is an array job that has begun, and has not ended."""
        return identifier in self._arrays

    def ended_children(self, parent: str) -> Counter[str]:
        """How many children of an open array have ended, by status."""
        return Counter({status: self._arrays[parent][status] for status in ENDED})

    def end_array(self, parent: str) -> None:
        """Keeps the counts as the array job's last word."""
        properties = self.get(parent)["arrayProperties"]
        counts = _counted(self._arrays[parent])
        self.change(parent, arrayProperties={**properties, "statusSummary": counts})
        del self._arrays[parent]

    # The API.

    def describe_jobs(self, request: Request) -> Response:
        jobs = [self.find(identifier) for identifier in request["jobs"]]
        return {"jobs": [self._shown(job) for job in jobs if job is not None]}

    def list_jobs(self, request: Request, queue_arn: Callable[[str], str]) -> Response:
        """The jobs of a queue, or the children of an array job: those that run, or of one status;
        of a queue also those that a filter names, of whatever status."""
        parent, filters = request.get("arrayJobId"), {}
        if ("jobQueue" in request) == (parent is not None):
            raise client_error("one of jobQueue and arrayJobId is needed")
        queue = ""
        if parent is None:
            queue = queue_arn(request["jobQueue"])
            filters = {one["name"]: one["values"] for one in request.get("filters") or []}
        status = None if filters else request.get("jobStatus", "RUNNING")

        def is_wanted(job: Document) -> bool:
            return (
                parent_of(job) == parent
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

    def _shown(self, job: Document) -> Document:
        """A job as DescribeJobs shows it."""
        shown = {name: value for name, value in job.items() if name != "ending"}
        if is_array(job):
            counts = self._arrays.get(job["jobId"], Counter())
            shown["arrayProperties"] = {"statusSummary": _counted(counts), **job["arrayProperties"]}
        elif parent_of(job) is not None:
            shown["arrayProperties"] = {"statusSummary": {}, "index": index_of(job)}
        return shown


def is_array(job: Document) -> bool:
    """Whether a job is the parent of an array."""
    return "size" in (job.get("arrayProperties") or {}) and index_of(job) is None


def index_of(job: Document) -> int | None:
    """The index of an array job's child."""
    index: int | None = (job.get("arrayProperties") or {}).get("index")
    return index


def parent_of(job: Document) -> str | None:
    """The id of the array job that a child belongs to."""
    return None if index_of(job) is None else str(job["jobId"].partition(":")[0])


def client_error(message: str) -> ServiceError:
    return ServiceError("ClientException", message)


def milliseconds() -> int:
    """Now, as Batch counts time: since 1970."""
    return int(time.time() * 1000)


def _order(job: Document) -> int:
    """Among jobs of one moment: a parent before its children, and these by index."""
    index = index_of(job)
    return -1 if index is None else index


def _counted(counts: Counter[str]) -> dict[str, int]:
    return {status: counts[status] for status in STATUSES}


def _summary(job: Document) -> Document:
    """A job as ListJobs shows it."""
    exit_code = job["container"].get("exitCode")
    return {
        **{name: job[name] for name in _SUMMARY if name in job},
        **present(container=None if exit_code is None else {"exitCode": exit_code}),
    }


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
    raise client_error(f"Unknown filter {name}")
