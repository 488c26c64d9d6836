"""Training and processing jobs: the API's operations, and what is noted of each job."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from boto3.exceptions import Boto3Error
from botocore.exceptions import ClientError

from pipelines.errors import UserError
from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    check_request,
    in_period,
    invalid,
    now,
    page,
    service_model,
)
from pipelines.local.documents import Document, Documents
from pipelines.local.engines import ContainerError, Engine
from pipelines.local.job_containers import Assumed, Run, run_processing, run_training
from pipelines.local.logs import Logs

TRAINING, PROCESSING = "training-jobs", "processing-jobs"
ENDED = ("Completed", "Failed", "Stopped")
_LOG_GROUP = {TRAINING: "/aws/sagemaker/TrainingJobs", PROCESSING: "/aws/sagemaker/ProcessingJobs"}
_NAME = {TRAINING: "TrainingJobName", PROCESSING: "ProcessingJobName"}
_ARN = {TRAINING: "TrainingJobArn", PROCESSING: "ProcessingJobArn"}
_STATUS = {TRAINING: "TrainingJobStatus", PROCESSING: "ProcessingJobStatus"}
_CREATE = {TRAINING: "CreateTrainingJob", PROCESSING: "CreateProcessingJob"}


# A role's ARN → what acts as it; ServiceError where SageMaker cannot.
Assume = Callable[[str], Assumed]


class Jobs:
    """Runs jobs, and answers the API's questions about them."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        logs: Logs,
        engine: Engine,
        folder: Path,
        assume: Assume,
    ) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._logs = logs
        self._engine = engine
        self._folder = folder.resolve()
        self._assume = assume
        self._stops: dict[str, threading.Event] = {}

    # What the executor, and create_…_job, call.

    def create(self, kind: str, name: str, arguments: Request) -> Document:
        """Notes a job, so that it can be described from now on."""
        check_request(
            service_model("sagemaker").operation_model(_CREATE[kind]),
            {_NAME[kind]: name, **arguments},
        )
        if self._documents.get(kind, name):
            raise invalid(f"{_NAME[kind]} {name} already exists")
        self._assume(arguments["RoleArn"])
        arn = f"{self._arn_prefix}:{kind.removesuffix('s')}/{name}"
        job = {
            **arguments,
            _NAME[kind]: name,
            _ARN[kind]: arn,
            _STATUS[kind]: "InProgress",
            "CreationTime": now(),
            "LastModifiedTime": now(),
        }
        if kind == TRAINING:
            path = arguments["OutputDataConfig"]["S3OutputPath"].rstrip("/")
            job["ModelArtifacts"] = {"S3ModelArtifacts": f"{path}/{name}/output/model.tar.gz"}
            job["SecondaryStatus"] = "Starting"
        self._documents.put(kind, name, job)
        self._stops[name] = threading.Event()
        return job

    def run(self, kind: str, name: str) -> Document:
        """Runs a noted job to its end; its description. Never raises for what the job does."""
        job = self._documents.get(kind, name)
        assert job is not None
        root = self._folder / name / "ml"
        started = now()
        try:
            for part in ("input/config", "input/data", "output/data", "model", "config"):
                (root / part).mkdir(parents=True)
            with contextlib.ExitStack() as logs:

                def log_of(host: str) -> Callable[[str], None]:
                    stream = self._logs.open(_LOG_GROUP[kind], f"{name}/{host}-{int(started)}")
                    return logs.enter_context(contextlib.closing(stream)).write

                role = self._assume(job["RoleArn"])
                log, stop = log_of("algo-1"), self._stops[name]
                run = Run(job, root, log, role, self._engine, stop, log_of)
                ended = run_training(run) if kind == TRAINING else run_processing(run)
            status, reason, more = ended
        except (UserError, ServiceError, ClientError, Boto3Error) as error:
            status, reason, more = "Failed", f"ClientError: {error}", {}
        except ContainerError as error:
            status, reason, more = "Failed", f"InternalServerError: {error}", {}
        except Exception as error:  # a fault of the local cloud itself, or of its disk
            status, reason, more = "Failed", f"InternalServerError: {error!r}", {}
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._stops.pop(name, None)
        return self._end(kind, name, started, status, reason, more)

    def stop(self, name: str) -> None:
        """Tells a running job to end: SIGTERM, and SIGKILL when the time of grace is over."""
        stop = self._stops.get(name)  # one that ends at this moment is gone
        if stop is not None:
            stop.set()

    def tags(self, arn: str) -> dict[str, str] | None:
        """The tags of a job by its ARN; None for what is no job."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        job = self._documents.get(f"{kind}s", name) if f"{kind}s" in _NAME else None
        return None if job is None else {one["Key"]: one["Value"] for one in job.get("Tags") or []}

    def fail_interrupted(self, reason: str) -> None:
        """Ends the jobs that a former process of the local cloud left running."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for kind in (TRAINING, PROCESSING):
            for job in self._documents.all(kind):
                if job[_STATUS[kind]] not in ENDED:
                    name = job[_NAME[kind]]
                    self._end(kind, name, job["CreationTime"], "Failed", reason, {})

    # The API.

    def describe_training_job(self, request: Request) -> Response:
        return self._describe(TRAINING, request["TrainingJobName"])

    def describe_processing_job(self, request: Request) -> Response:
        return self._describe(PROCESSING, request["ProcessingJobName"])

    def list_training_jobs(self, request: Request) -> Response:
        shown, token = self._list(TRAINING, request)
        return {"TrainingJobSummaries": shown, **token}

    def list_processing_jobs(self, request: Request) -> Response:
        shown, token = self._list(PROCESSING, request)
        return {"ProcessingJobSummaries": shown, **token}

    def create_training_job(self, request: Request) -> Response:
        return self._start(TRAINING, request)

    def create_processing_job(self, request: Request) -> Response:
        return self._start(PROCESSING, request)

    def stop_training_job(self, request: Request) -> Response:
        self.stop(self._describe(TRAINING, request["TrainingJobName"])["TrainingJobName"])
        return {}

    def stop_processing_job(self, request: Request) -> Response:
        self.stop(self._describe(PROCESSING, request["ProcessingJobName"])["ProcessingJobName"])
        return {}

    def _start(self, kind: str, request: Request) -> Response:
        arguments = dict(request)
        name = arguments.pop(_NAME[kind])
        job = self.create(kind, name, arguments)
        threading.Thread(target=self.run, args=(kind, name), daemon=True).start()
        return {_ARN[kind]: job[_ARN[kind]]}

    def _describe(self, kind: str, name: str) -> Document:
        job = self._documents.get(kind, name)
        if job is None:
            raise invalid("Requested resource not found.")
        job.pop("Tags", None)
        return job

    def _list(self, kind: str, request: Request) -> tuple[list[Document], dict[str, str]]:
        wanted = request.get("StatusEquals")
        names = (_NAME[kind], _ARN[kind], _STATUS[kind], "CreationTime", "LastModifiedTime")
        jobs = [
            {name: job[name] for name in names}
            for job in self._documents.all(kind)
            if wanted in (None, job[_STATUS[kind]])
            and request.get("NameContains", "") in job[_NAME[kind]]
        ]
        jobs.sort(
            key=lambda job: job["CreationTime"], reverse=request.get("SortOrder") != "Ascending"
        )
        return page(in_period(jobs, request), request)

    def _end(
        self, kind: str, name: str, started: float, status: str, reason: str, more: Document
    ) -> Document:
        times = ("TrainingStartTime", "TrainingEndTime")
        if kind == PROCESSING:
            times = ("ProcessingStartTime", "ProcessingEndTime")

        def change(job: Document) -> None:
            job |= {_STATUS[kind]: status, "LastModifiedTime": now(), **more}
            job |= {times[0]: started, times[1]: now()}
            if reason:
                job["FailureReason"] = reason[:1024]
            if kind == TRAINING:
                job["SecondaryStatus"] = status

        return self._documents.change(kind, name, change)
