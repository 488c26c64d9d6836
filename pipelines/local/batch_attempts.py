"""One attempt at an AWS Batch job: its container, its log, and whether there is another after it.

AWS Batch user guide, "Automated job retries" and "Job environment variables".
"""

from __future__ import annotations

import fnmatch
import shutil
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError
from pipelines.local.aws_json import present
from pipelines.local.batch_limits import limits_of, mounts_of
from pipelines.local.documents import Document
from pipelines.local.engines import ContainerError, Ended, Engine, Task
from pipelines.local.logs import Logs

LOG_GROUP = "/aws/batch/job"  # where the job definition names none
TIMED_OUT = "Job attempt duration exceeded timeout"  # such a job is never tried again
HOST_LOST = "Host EC2 (local cloud) terminated."
DEFAULT_TIMEOUT = 86_400.0  # seconds


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended: without an exit code where nothing ran."""

    exit_code: int | None
    reason: str


class Attempts:
    """Runs attempts in folders of their own."""

    def __init__(
        self,
        logs: Logs,
        engine: Engine,
        folder: Path,
        environment_of: Callable[[str], dict[str, str]],
    ) -> None:
        self._logs = logs
        self._engine = engine
        self._folder = folder.resolve()
        self._environment_of = environment_of

    def run(
        self,
        job: Document,
        cores: frozenset[int],
        stop: threading.Event,
        started: Callable[[str], None],
    ) -> Attempt:
        """Runs a job once; `started` hears the name of its log stream as soon as that is there."""
        definition = job["jobDefinition"].rpartition("/")[2].partition(":")[0]
        options = (job["container"].get("logConfiguration") or {}).get("options") or {}
        prefix = options.get("awslogs-stream-prefix", definition)
        log = self._logs.open(
            options.get("awslogs-group", LOG_GROUP), f"{prefix}/default/{uuid.uuid4().hex}"
        )
        folder = self._folder / job["jobId"].replace(":", "-")
        started(log.stream)
        try:
            folder.mkdir(parents=True)
            ended = self._engine.run(self._task(job, cores, folder), log.write, stop)
            return Attempt(ended.exit_code, _reason(ended))
        except UserError as error:
            return Attempt(None, f"CannotPullContainerError: {error}")
        except ContainerError as error:
            return Attempt(None, f"CannotStartContainerError: {error}")
        except Exception as error:  # a fault of the local cloud itself, or of its disk
            return Attempt(None, f"CannotStartContainerError: {error!r}")
        finally:
            log.close()
            shutil.rmtree(folder, ignore_errors=True)

    def clear(self) -> None:
        """Removes the folders of attempts that a former process of the local cloud left."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _task(self, job: Document, cores: frozenset[int], folder: Path) -> Task:
        container = job["container"]
        seconds = (job.get("timeout") or {}).get("attemptDurationSeconds", DEFAULT_TIMEOUT)
        array = job.get("arrayProperties") or {}
        of_array = {
            "AWS_BATCH_JOB_ARRAY_INDEX": array.get("index"),
            "AWS_BATCH_JOB_ARRAY_SIZE": array.get("size"),
        }
        return Task(
            image=container["image"],
            arguments=[_substitute(word, job["parameters"]) for word in container["command"]],
            entrypoint=None,
            environment={
                "OMP_NUM_THREADS": str(len(cores)),
                **self._environment_of(container.get("jobRoleArn", "")),
                **{one["name"]: one["value"] for one in container["environment"]},
                **{name: str(value) for name, value in of_array.items() if value is not None},
                "AWS_BATCH_JOB_ID": job["jobId"],
                "AWS_BATCH_JOB_ATTEMPT": str(len(job["attempts"]) + 1),
                "AWS_BATCH_JQ_NAME": job["jobQueue"].rpartition("/")[2],
            },
            folder=folder,
            timeout=float(seconds),
            mounts=mounts_of(container, folder),
            limits=limits_of(container, cores),
        )


def may_retry(job: Document, attempt: Attempt) -> bool:
    """Whether a job whose newest attempt failed is tried again."""
    strategy = job.get("retryStrategy") or {}
    if len(job["attempts"]) >= int(strategy.get("attempts") or 1) or attempt.reason == TIMED_OUT:
        return False
    code = "" if attempt.exit_code is None else str(attempt.exit_code)
    given = {"onExitCode": code, "onStatusReason": attempt.reason, "onReason": attempt.reason}
    for rule in strategy.get("evaluateOnExit") or []:
        if all(
            bool(text) and fnmatch.fnmatchcase(text, rule[name])
            for name, text in given.items()
            if name in rule
        ):
            return bool(rule["action"].upper() == "RETRY")
    return True


def described(attempt: Attempt, started: int, stopped: int, stream: str) -> Document:
    """An attempt as DescribeJobs shows it; times in milliseconds since 1970."""
    return {
        "container": present(logStreamName=stream, exitCode=attempt.exit_code),
        "startedAt": started,
        "stoppedAt": stopped,
        "statusReason": attempt.reason,
    }


def _substitute(word: str, parameters: dict[str, str]) -> str:
    return parameters.get(word.removeprefix("Ref::"), word) if word.startswith("Ref::") else word


def _reason(ended: Ended) -> str:
    if ended.timed_out:
        return TIMED_OUT
    if ended.kill:
        return f"OutOfMemoryError: Container killed due to memory usage: {ended.kill}"
    return "Essential container in task exited"
