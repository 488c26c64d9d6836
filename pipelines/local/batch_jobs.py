"""AWS Batch's jobs: submit, describe, list, cancel and terminate; attempts, time-outs and retry
strategies.

Queues, compute environments and job definitions are moto's. A job runs its image's command through
the engine; retries follow `retryStrategy` with `evaluateOnExit` (AWS Batch user guide, "Automated
job retries"). A job that the local cloud died under is tried again, as if its host had been lost.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pipelines.errors import UserError
from pipelines.local.aws_json import Request, Response, ServiceError, page, present
from pipelines.local.documents import Document, Documents
from pipelines.local.logs import Logs
from pipelines.local.process_engine import Ended, ProcessEngine, Task

JOBS = "batch-jobs"
LOG_GROUP = "/aws/batch/job"
ENDED = ("SUCCEEDED", "FAILED")
TIMED_OUT = "Job attempt duration exceeded timeout"  # such a job is never tried again
HOST_LOST = "Host EC2 (local cloud) terminated."
CLOSING_SECONDS = 3.0
DEFAULT_TIMEOUT = 86_400.0


class BatchJobs:
    """Jobs of all queues."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        client: Any,
        logs: Logs,
        engine: ProcessEngine,
        folder: Path,
        environment: dict[str, str],
        slots: int,
    ) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._client = client
        self._logs = logs
        self._engine = engine
        self._folder = folder.resolve()
        self._environment = environment
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="batch")
        self._stops: dict[str, threading.Event] = {}
        self._lock = threading.Lock()
        self._closing = False

    def submit_job(self, request: Request) -> Response:
        name = request["jobName"]
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", name):
            raise _client_error(f"Job name {name} should match valid pattern")
        for unknown in ("arrayProperties", "dependsOn", "nodeOverrides", "eksPropertiesOverride"):
            if request.get(unknown):
                raise _client_error(f"{unknown} is not known to the local cloud")
        queue = self._queue(request["jobQueue"])
        definition = self._definition(request["jobDefinition"])
        overrides = request.get("containerOverrides") or {}
        container = definition["containerProperties"]
        variables = {one["name"]: one["value"] for one in container.get("environment") or []}
        variables |= {one["name"]: one["value"] for one in overrides.get("environment") or []}
        parameters = {**(definition.get("parameters") or {}), **(request.get("parameters") or {})}
        identifier = str(uuid.uuid4())
        job = present(
            jobArn=f"{self._arn_prefix}:job/{identifier}",
            jobName=name,
            jobId=identifier,
            jobQueue=queue["jobQueueArn"],
            jobDefinition=definition["jobDefinitionArn"],
            status="SUBMITTED",
            attempts=[],
            createdAt=_milliseconds(),
            dependsOn=[],
            parameters=parameters,
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
        self._documents.put(JOBS, identifier, job)
        self._enqueue(identifier)
        return {"jobArn": job["jobArn"], "jobName": name, "jobId": identifier}

    def describe_jobs(self, request: Request) -> Response:
        jobs = [self._documents.get(JOBS, identifier) for identifier in request["jobs"]]
        return {"jobs": [job for job in jobs if job is not None]}

    def list_jobs(self, request: Request) -> Response:
        """Jobs of a queue: those that run, or of one status, or those that a filter names, of
        whatever status."""
        if "jobQueue" not in request:
            raise _client_error("jobQueue is needed")
        queue = self._queue(request["jobQueue"])["jobQueueArn"]
        filters = {one["name"]: one["values"] for one in request.get("filters") or []}
        status = None if filters else request.get("jobStatus", "RUNNING")
        jobs = [
            job
            for job in self._documents.all(JOBS)
            if job["jobQueue"] == queue
            and status in (None, job["status"])
            and all(_passes(job, name, values) for name, values in filters.items())
        ]
        jobs.sort(key=lambda job: job["createdAt"], reverse=True)
        names = (
            "jobArn",
            "jobId",
            "jobName",
            "createdAt",
            "status",
            "statusReason",
            "startedAt",
            "stoppedAt",
            "jobDefinition",
        )
        summaries = [{name: job[name] for name in names if name in job} for job in jobs]
        for summary, job in zip(summaries, jobs, strict=True):
            if "exitCode" in job["container"]:
                summary["container"] = {"exitCode": job["container"]["exitCode"]}
        token = {"NextToken": request.get("nextToken"), "MaxResults": request.get("maxResults")}
        shown, more = page(summaries, token)
        return {"jobSummaryList": shown, **present(nextToken=more.get("NextToken"))}

    def terminate_job(self, request: Request) -> Response:
        """Ends a job that waits or runs."""
        job = self._known(request["jobId"])
        if job["status"] not in ENDED:
            self._end_waiting(job["jobId"], request["reason"])
            self._change(job["jobId"], terminating=request["reason"])
            stop = self._stops.get(job["jobId"])
            if stop:
                stop.set()
        return {}

    def cancel_job(self, request: Request) -> Response:
        """Ends a job that waits; one that runs goes on, as on AWS."""
        self._end_waiting(self._known(request["jobId"])["jobId"], request["reason"])
        return {}

    def resume(self) -> None:
        """Takes up the jobs that a former process of the local cloud left."""
        for job in sorted(self._documents.all(JOBS), key=lambda one: one["createdAt"]):
            if job["status"] in ENDED:
                continue
            attempts = job["attempts"]
            if job["status"] == "RUNNING":
                attempts = [
                    *attempts,
                    {"container": {"reason": HOST_LOST}, "statusReason": HOST_LOST},
                ]
                self._change(job["jobId"], attempts=attempts)
            if "terminating" in job:
                self._finish(job["jobId"], "FAILED", job["terminating"])
            elif not self._may_retry({**job, "attempts": attempts}, None, HOST_LOST) and attempts:
                self._finish(job["jobId"], "FAILED", HOST_LOST)
            else:
                self._enqueue(job["jobId"])

    def close(self) -> None:
        """Ends what runs; it is taken up again at the next start."""
        deadline = time.monotonic() + CLOSING_SECONDS
        while self._stops and time.monotonic() < deadline:
            time.sleep(0.05)  # most jobs are about to end: their results are there already
        self._closing = True
        for stop in list(self._stops.values()):
            stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _enqueue(self, identifier: str) -> None:
        self._stops[identifier] = threading.Event()
        self._change(identifier, status="RUNNABLE")
        self._pool.submit(self._run, identifier)

    def _end_waiting(self, identifier: str, reason: str) -> None:
        with self._lock:
            if self._job(identifier)["status"] == "RUNNABLE":
                self._finish(identifier, "FAILED", reason)

    def _run(self, identifier: str) -> None:
        with self._lock:
            stop = self._stops.get(identifier)
            if stop is None or self._closing:  # terminated while it waited, or left for later
                return
            self._change(identifier, status="STARTING")
        while True:
            try:
                code, reason = self._attempt(identifier, stop)
            except Exception as error:  # of the local cloud's own disk: it must not look running
                self._finish(identifier, "FAILED", f"CannotStartContainerError: {error!r}")
                return
            if self._closing:
                return
            job = self._job(identifier)
            if code == 0:
                self._finish(identifier, "SUCCEEDED", "Essential container in task exited")
                return
            if stop.is_set() or not self._may_retry(job, code, reason):
                self._finish(identifier, "FAILED", job.get("terminating") or reason)
                return

    def _attempt(self, identifier: str, stop: threading.Event) -> tuple[int | None, str]:
        """One attempt: its exit code (None where nothing ran) and the reason of its status."""
        job = self._job(identifier)
        definition = job["jobDefinition"].rpartition("/")[2].partition(":")[0]
        log = self._logs.open(LOG_GROUP, f"{definition}/default/{uuid.uuid4().hex}")
        started = _milliseconds()
        container = {**job["container"], "logStreamName": log.stream}
        container.pop("exitCode", None)
        self._change(identifier, status="RUNNING", startedAt=started, container=container)
        folder = self._folder / identifier
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier attempt left
        folder.mkdir(parents=True)
        code: int | None
        try:
            ended = self._engine.run(self._task(job, folder), log.write, stop)
            code, reason = ended.exit_code, _reason(ended)
        except UserError as error:
            code, reason = None, f"CannotPullContainerError: {error}"
        except Exception as error:  # a fault of the local cloud itself, or of its disk
            code, reason = None, f"CannotStartContainerError: {error!r}"
        finally:
            log.close()
        if self._closing:
            return code, reason
        attempt_container = present(logStreamName=log.stream, exitCode=code)
        attempt = {
            "container": attempt_container,
            "startedAt": started,
            "stoppedAt": _milliseconds(),
            "statusReason": reason,
        }
        self._change(
            identifier,
            attempts=[*job["attempts"], attempt],
            container={**container, **present(exitCode=code)},
        )
        return code, reason

    def _task(self, job: Document, folder: Path) -> Task:
        container = job["container"]
        seconds = (job.get("timeout") or {}).get("attemptDurationSeconds", DEFAULT_TIMEOUT)
        variables = {one["name"]: one["value"] for one in container["environment"]}
        return Task(
            image=container["image"],
            arguments=[_substitute(word, job["parameters"]) for word in container["command"]],
            entrypoint=None,
            environment={
                **self._environment,
                **variables,
                "AWS_BATCH_JOB_ID": job["jobId"],
                "AWS_BATCH_JOB_ATTEMPT": str(len(job["attempts"]) + 1),
                "TMPDIR": str(folder),
            },
            folder=folder,
            timeout=float(seconds),
        )

    def _may_retry(self, job: Document, code: int | None, reason: str) -> bool:
        strategy = job.get("retryStrategy") or {}
        if len(job["attempts"]) >= int(strategy.get("attempts") or 1) or reason == TIMED_OUT:
            return False
        for rule in strategy.get("evaluateOnExit") or []:
            exit_code = "" if code is None else str(code)
            given = {"onExitCode": exit_code, "onStatusReason": reason, "onReason": reason}
            if all(
                bool(text) and fnmatch.fnmatchcase(text, rule[name])
                for name, text in given.items()
                if name in rule
            ):
                return bool(rule["action"].upper() == "RETRY")
        return True

    def _finish(self, identifier: str, status: str, reason: str) -> None:
        self._change(identifier, status=status, statusReason=reason, stoppedAt=_milliseconds())
        self._stops.pop(identifier, None)
        shutil.rmtree(self._folder / identifier, ignore_errors=True)

    def _known(self, identifier: str) -> Document:
        job = self._documents.get(JOBS, identifier)
        if job is None:
            raise _client_error(f"Job {identifier} not found")
        return job

    def _job(self, identifier: str) -> Document:
        job = self._documents.get(JOBS, identifier)
        assert job is not None
        return job

    def _change(self, identifier: str, **changes: Any) -> None:
        self._documents.change(JOBS, identifier, lambda job: job.update(changes))

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


def _substitute(word: str, parameters: dict[str, str]) -> str:
    return parameters.get(word.removeprefix("Ref::"), word) if word.startswith("Ref::") else word


def _reason(ended: Ended) -> str:
    if ended.timed_out:
        return TIMED_OUT
    if ended.exit_code == 137 and not ended.stopped:
        return "OutOfMemoryError: Container killed due to memory usage"
    return "Essential container in task exited"


def _milliseconds() -> int:
    return int(time.time() * 1000)
