"""What SageMaker does around a container: its inputs, its configuration, its outputs, its end.

The contract is the one of the Amazon SageMaker developer guide ("How Amazon SageMaker provides
training information", "How Amazon SageMaker processes training output", "Create a processing
container"): channels and inputs are downloaded, the configuration is written, the container runs,
outputs are uploaded, and what it leaves in `output/failure` or `output/message` becomes the reason.
"""

from __future__ import annotations

import contextlib
import json
import re
import tarfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from pipelines.errors import UserError
from pipelines.local.aws_json import now, present
from pipelines.local.documents import Document
from pipelines.local.objects import Mirror, Objects
from pipelines.local.process_engine import Ended, ProcessEngine, Task

_ML = "/opt/ml"

Outcome = tuple[str, str, Document]  # status, failure reason, what else the description gains


@dataclass(frozen=True)
class Assumed:
    """What acts as a role: the variables of a process, and access to S3."""

    environment: dict[str, str]
    objects: Objects


@dataclass(frozen=True)
class Run:
    """One job that is about to run."""

    job: Document
    root: Path  # stands for /opt/ml
    log: Callable[[str], None]
    role: Assumed
    engine: ProcessEngine
    stop: threading.Event


def run_training(run: Run) -> Outcome:
    """Runs the container of a training job.

    Raises
    ------
    UserError, ServiceError, ClientError, Boto3Error
        What it needs is not there, or may not be read or written.
    """
    job, root, log, role = run.job, run.root, run.log, run.role
    name = job["TrainingJobName"]
    if int(job["ResourceConfig"].get("InstanceCount", 1)) != 1:
        raise UserError("the local cloud trains on one instance; start with an instance count of 1")
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
        ended = _run(
            run,
            specification.get("TrainingImage", ""),
            note,
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


def run_processing(run: Run) -> Outcome:
    """Runs the container of a processing job; it raises what `run_training` raises."""
    job, root, log, role = run.job, run.root, run.log, run.role
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
        ended = _run(
            run,
            specification["ImageUri"],
            log,
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
    run: Run,
    image: str,
    log: Callable[[str], None],
    *,
    arguments: list[str],
    entrypoint: list[str] | None,
    more: dict[str, str],
) -> Ended:
    job = run.job
    limit = (job.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", 86_400)
    task = Task(
        image=image,
        arguments=[str(argument) for argument in arguments],
        entrypoint=entrypoint,
        environment={
            **run.role.environment,
            **{key: str(value) for key, value in (job.get("Environment") or {}).items()},
            **more,
            "SAGEMAKER_BASE_DIR": str(run.root),
        },
        folder=run.root,
        timeout=float(limit),
    )
    return run.engine.run(task, log, run.stop)


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
