"""Training and processing jobs: what SageMaker does around a container, and their descriptions.

The contract is the one of the Amazon SageMaker developer guide ("How Amazon SageMaker provides
training information", "How Amazon SageMaker processes training output", "Create a processing
container"): channels and inputs are downloaded, the configuration is written, the container runs,
outputs are uploaded, and what it leaves in `output/failure` or `output/message` becomes the reason.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    present,
    service_model,
)
from pipelines.local.documents import Document, Documents
from pipelines.local.logs import Logs
from pipelines.local.objects import Mirror, Objects
from pipelines.local.process_engine import Ended, ProcessEngine, Task

TRAINING, PROCESSING = "training-jobs", "processing-jobs"
ENDED = ("Completed", "Failed", "Stopped")
_LOG_GROUP = {TRAINING: "/aws/sagemaker/TrainingJobs", PROCESSING: "/aws/sagemaker/ProcessingJobs"}
_NAME = {TRAINING: "TrainingJobName", PROCESSING: "ProcessingJobName"}
_ARN = {TRAINING: "TrainingJobArn", PROCESSING: "ProcessingJobArn"}
_STATUS = {TRAINING: "TrainingJobStatus", PROCESSING: "ProcessingJobStatus"}
_CREATE = {TRAINING: "CreateTrainingJob", PROCESSING: "CreateProcessingJob"}
_ML = "/opt/ml"


@dataclass(frozen=True)
class Assumed:
    """What acts as a role: the variables of a process, and access to S3."""

    environment: dict[str, str]
    objects: Objects


# A role's ARN → what acts as it; ServiceError where SageMaker cannot.
Assume = Callable[[str], Assumed]


class Jobs:
    """Runs jobs, and answers the API's questions about them."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        logs: Logs,
        engine: ProcessEngine,
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
            stream = f"{name}/algo-1-{int(started)}"
            with contextlib.closing(self._logs.open(_LOG_GROUP[kind], stream)) as log:
                run = self._run_training if kind == TRAINING else self._run_processing
                status, reason, more = run(job, root, log.write, self._assume(job["RoleArn"]))
        except (UserError, ServiceError, ClientError, Boto3Error) as error:
            status, reason, more = "Failed", f"ClientError: {error}", {}
        except Exception as error:  # a fault of the local cloud itself, or of its disk
            status, reason, more = "Failed", f"InternalServerError: {error!r}", {}
        shutil.rmtree(self._folder / name, ignore_errors=True)
        self._stops.pop(name, None)
        return self._end(kind, name, started, status, reason, more)

    def stop(self, name: str) -> None:
        """Tells a running job to end: SIGTERM, and SIGKILL when the time of grace is over."""
        if name in self._stops:
            self._stops[name].set()

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

    # The two kinds.

    def _run_training(
        self, job: Document, root: Path, log: Callable[[str], None], role: Assumed
    ) -> tuple[str, str, Document]:
        name = job["TrainingJobName"]
        if int(job["ResourceConfig"].get("InstanceCount", 1)) != 1:
            raise UserError(
                "the local cloud trains on one instance; start with an instance count of 1"
            )
        channels = job.get("InputDataConfig") or []
        for channel in channels:
            source = channel["DataSource"]["S3DataSource"]
            _fetch(role.objects, source["S3Uri"], root / "input" / "data" / channel["ChannelName"])
        config = root / "input" / "config"
        _write_json(config / "hyperparameters.json", job.get("HyperParameters") or {})
        _write_json(config / "inputdataconfig.json", _channel_config(channels))
        _write_json(config / "resourceconfig.json", _resource_config(job["ResourceConfig"]))
        finals: dict[str, float] = {}
        specification = job["AlgorithmSpecification"]
        metrics = {
            one["Name"]: re.compile(one["Regex"])
            for one in specification.get("MetricDefinitions") or []
        }

        def note(line: str) -> None:
            log(line)
            for metric, regex in metrics.items():
                found = regex.search(line)
                with contextlib.suppress(ValueError, IndexError):  # what it found is no number
                    finals.update({metric: float(found.group(1))} if found else {})

        checkpoints = _mirror_checkpoints(role.objects, job, root)
        with checkpoints:
            ended = self._run(
                specification.get("TrainingImage", ""),
                job,
                root,
                note,
                role,
                arguments=specification.get("ContainerArguments") or ["train"],
                entrypoint=specification.get("ContainerEntrypoint"),
                more={"TRAINING_JOB_NAME": name, "TRAINING_JOB_ARN": job["TrainingJobArn"]},
            )
        more: Document = {
            "FinalMetricDataList": [
                {"MetricName": metric, "Value": value, "Timestamp": now()}
                for metric, value in finals.items()
            ]
        }
        status, reason = _outcome(ended, root / "output" / "failure")
        if ended.exit_code == 0:
            archive = root / "model.tar.gz"
            _pack(root / "model", archive)
            role.objects.upload(archive, job["ModelArtifacts"]["S3ModelArtifacts"])
            if any((root / "output" / "data").iterdir()):
                _pack(root / "output" / "data", root / "output.tar.gz")
                uri = job["ModelArtifacts"]["S3ModelArtifacts"].rpartition("/")[0]
                role.objects.upload(root / "output.tar.gz", f"{uri}/output.tar.gz")
        return status, reason, more

    def _run_processing(
        self, job: Document, root: Path, log: Callable[[str], None], role: Assumed
    ) -> tuple[str, str, Document]:
        for one in job.get("ProcessingInputs") or []:
            source = one["S3Input"]
            _fetch(role.objects, source["S3Uri"], _below(root, source["LocalPath"]))
        cluster = job["ProcessingResources"]["ClusterConfig"]
        _write_json(root / "config" / "processingjobconfig.json", job)
        _write_json(root / "config" / "resourceconfig.json", _resource_config(cluster))
        outputs = [
            (one["S3Output"], _below(root, one["S3Output"]["LocalPath"]))
            for one in (job.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        ]
        mirrors = []
        for output, folder in outputs:
            folder.mkdir(parents=True, exist_ok=True)
            if output.get("S3UploadMode") == "Continuous":
                mirrors.append(Mirror(role.objects, folder, output["S3Uri"]))
        specification = job["AppSpecification"]
        try:
            ended = self._run(
                specification["ImageUri"],
                job,
                root,
                log,
                role,
                arguments=specification.get("ContainerArguments") or [],
                entrypoint=specification.get("ContainerEntrypoint"),
                more={},
            )
        finally:
            for mirror in mirrors:
                mirror.close()
        status, reason = _outcome(ended, root / "output" / "message")
        if ended.exit_code == 0:
            for output, folder in outputs:
                if output.get("S3UploadMode") != "Continuous":
                    role.objects.upload_folder(folder, output["S3Uri"])
        message = _read_text(root / "output" / "message")
        return status, reason, present(ExitMessage=message or None)

    def _run(
        self,
        image: str,
        job: Document,
        root: Path,
        log: Callable[[str], None],
        role: Assumed,
        *,
        arguments: list[str],
        entrypoint: list[str] | None,
        more: dict[str, str],
    ) -> Ended:
        name = job.get("TrainingJobName") or job["ProcessingJobName"]
        limit = (job.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", 86_400)
        task = Task(
            image=image,
            arguments=[str(argument) for argument in arguments],
            entrypoint=entrypoint,
            environment={
                **role.environment,
                **{key: str(value) for key, value in (job.get("Environment") or {}).items()},
                **more,
                "SAGEMAKER_BASE_DIR": str(root),
            },
            folder=root,
            timeout=float(limit),
        )
        return self._engine.run(task, log, self._stops[name])


def _fetch(objects: Objects, uri: str, folder: Path) -> None:
    try:
        found = objects.download(uri, folder)
    except ClientError as error:  # no such bucket, or no permission
        raise UserError(f"{uri}: {error.response['Error']['Message']}") from error
    if not found:
        raise UserError(f"No S3 objects found under S3 URL {uri} given in input data source")


def _mirror_checkpoints(objects: Objects, job: Document, root: Path) -> Mirror:
    config = job.get("CheckpointConfig") or {}
    if not config:
        return Mirror(objects, root, None)
    folder = _below(root, config.get("LocalPath", "/opt/ml/checkpoints"))
    folder.mkdir(parents=True, exist_ok=True)
    objects.download(config["S3Uri"], folder)
    return Mirror(objects, folder, config["S3Uri"])


def _outcome(ended: Ended, left: Path) -> tuple[str, str]:
    """Status and failure reason, worded as SageMaker words them."""
    if ended.stopped:
        return "Stopped", ""
    if ended.timed_out:
        return "Failed", "ClientError: The job ran longer than its MaxRuntimeInSeconds"
    if ended.exit_code == 0:
        return "Completed", ""
    text = _read_text(left)
    if ended.exit_code == 137 and not text:
        text = "the container was killed, most likely because it needed more memory than there was"
    return "Failed", f"AlgorithmError: {text or 'see the job log'}, exit code: {ended.exit_code}"


def _below(root: Path, local_path: str) -> Path:
    """The folder of this machine that stands for a path of the container."""
    parts = Path(local_path).parts
    if not local_path.startswith(f"{_ML}/") or ".." in parts:
        raise UserError(f"LocalPath {local_path}: the local cloud maps paths below {_ML} only")
    return root.joinpath(*Path(local_path).relative_to(_ML).parts)


def _resource_config(cluster: Document) -> Document:
    return {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_instance_type": cluster.get("InstanceType"),
        "network_interface_name": "lo",
    }


def _channel_config(channels: list[Document]) -> Document:
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        for channel in channels
    }


def _pack(folder: Path, archive: Path) -> None:
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), "utf-8")


def _read_text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace").strip() if path.exists() else ""
