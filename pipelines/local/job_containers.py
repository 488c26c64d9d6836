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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from pipelines.errors import UserError
from pipelines.local.aws_json import now, present
from pipelines.local.documents import Document
from pipelines.local.engines import Ended, Engine
from pipelines.local.job_instances import (
    ML,
    Instance,
    instances_of,
    named,
    resource_config,
    run_instances,
)
from pipelines.local.objects import Mirror, Objects

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
    root: Path  # stands for /opt/ml, on the first instance
    log: Callable[[str], None]  # of the first instance
    role: Assumed
    engine: Engine
    stop: threading.Event
    # What notes the log of another instance; None: what notes that of the first, behind its name.
    log_of: Callable[[str], Callable[[str], None]] | None = None


def run_training(run: Run) -> Outcome:
    """Runs the containers of a training job, one for each instance.

    Every instance gets all data. The first that fails ends the others, and its reason is the job's.
    What all leave in their model folders becomes one archive.

    Raises
    ------
    UserError, ServiceError, ClientError, Boto3Error
        What it needs is not there, or may not be read or written.
    """
    job, role = run.job, run.role
    instances = instances_of(run, job["ResourceConfig"])
    _lay_out_training(run, instances)
    specification = job["AlgorithmSpecification"]
    metrics = _Metrics(specification.get("MetricDefinitions") or [])
    with contextlib.ExitStack() as mirrors:
        for one in instances:
            mirrors.enter_context(_mirror_checkpoints(role.objects, job, one.root))
        failed, ended = run_instances(
            run,
            [replace(one, log=partial(metrics.note, one.log)) for one in instances],
            specification.get("TrainingImage", ""),
            arguments=specification.get("ContainerArguments") or ["train"],
            entrypoint=specification.get("ContainerEntrypoint"),
            more={
                "TRAINING_JOB_NAME": job["TrainingJobName"],
                "TRAINING_JOB_ARN": job["TrainingJobArn"],
            },
        )
    status, reason = _outcome(ended, failed.root / "output" / "failure", named(failed, instances))
    if ended.exit_code == 0:
        _upload_training(run, instances)
    return status, reason, {"FinalMetricDataList": metrics.finals()}


def run_processing(run: Run) -> Outcome:
    """Runs the containers of a processing job, one for each instance, which all get all inputs; it
    raises what `run_training` raises."""
    job, role = run.job, run.role
    cluster = job["ProcessingResources"]["ClusterConfig"]
    instances = instances_of(run, cluster)
    outputs = []
    for one in instances:
        for given in job.get("ProcessingInputs") or []:
            source = given["S3Input"]
            _fetch(role.objects, source["S3Uri"], _below(one.root, source["LocalPath"]))
        config = one.root / "config"
        _write_json(config / "processingjobconfig.json", job)
        _write_json(config / "resourceconfig.json", resource_config(cluster, one, instances))
        outputs += [
            (output["S3Output"], _below(one.root, output["S3Output"]["LocalPath"]))
            for output in (job.get("ProcessingOutputConfig") or {}).get("Outputs") or []
        ]
    mirrors = []
    for output, folder in outputs:
        folder.mkdir(parents=True, exist_ok=True)
        if output.get("S3UploadMode") == "Continuous":
            mirrors.append(Mirror(role.objects, folder, output["S3Uri"]))
    specification = job["AppSpecification"]
    try:
        failed, ended = run_instances(
            run,
            instances,
            specification["ImageUri"],
            arguments=specification.get("ContainerArguments") or [],
            entrypoint=specification.get("ContainerEntrypoint"),
            more={},
        )
    finally:
        for mirror in mirrors:
            mirror.close()
    left = failed.root / "output" / "message"
    status, reason = _outcome(ended, left, named(failed, instances))
    if ended.exit_code == 0:
        for output, folder in outputs:
            if output.get("S3UploadMode") != "Continuous":
                role.objects.upload_folder(folder, output["S3Uri"])
    return status, reason, present(ExitMessage=_read_text(left) or None)


def pack(folders: list[Path], archive: Path) -> None:
    """Packs what lies in the folders; of two things with the same name, that of the first."""
    found: dict[str, Path] = {}
    for folder in folders:
        found = {path.name: path for path in folder.iterdir()} | found
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name, path in sorted(found.items()):
            tar.add(path, arcname=name)


class _Metrics:
    """The values that the lines of a training tell last."""

    def __init__(self, definitions: list[Document]) -> None:
        self._patterns = {one["Name"]: re.compile(one["Regex"]) for one in definitions}
        self._values: dict[str, float] = {}

    def note(self, log: Callable[[str], None], line: str) -> None:
        log(line)
        for metric, pattern in self._patterns.items():
            found = pattern.search(line)
            with contextlib.suppress(ValueError, IndexError):  # what it found is no number
                self._values.update({metric: float(found.group(1))} if found else {})

    def finals(self) -> list[Document]:
        return [
            {"MetricName": metric, "Value": value, "Timestamp": now()}
            for metric, value in self._values.items()
        ]


def _lay_out_training(run: Run, instances: list[Instance]) -> None:
    """What the containers find: the data, and the files that tell of it and of each other."""
    job, channels = run.job, run.job.get("InputDataConfig") or []
    for one in instances:
        for channel in channels:
            source, folder = channel["DataSource"]["S3DataSource"], one.root / "input" / "data"
            _fetch(run.role.objects, source["S3Uri"], folder / channel["ChannelName"])
        config = one.root / "input" / "config"
        _write_json(config / "hyperparameters.json", job.get("HyperParameters") or {})
        _write_json(config / "inputdataconfig.json", _channel_config(channels))
        _write_json(
            config / "resourceconfig.json", resource_config(job["ResourceConfig"], one, instances)
        )


def _upload_training(run: Run, instances: list[Instance]) -> None:
    """What the containers left: the model, and other data where there is some."""
    uri = run.job["ModelArtifacts"]["S3ModelArtifacts"]
    archive = run.root / "model.tar.gz"
    pack([one.root / "model" for one in instances], archive)
    run.role.objects.upload(archive, uri)
    data = [one.root / "output" / "data" for one in instances]
    if any(any(folder.iterdir()) for folder in data):
        pack(data, run.root / "output.tar.gz")
        run.role.objects.upload(
            run.root / "output.tar.gz", f"{uri.rpartition('/')[0]}/output.tar.gz"
        )


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


def _outcome(ended: Ended, left: Path, host: str) -> tuple[str, str]:
    """Status and failure reason, worded as SageMaker words them, with the host before its own."""
    if ended.stopped:
        return "Stopped", ""
    if ended.timed_out:
        return "Failed", "ClientError: The job ran longer than its MaxRuntimeInSeconds"
    if ended.exit_code == 0:
        return "Completed", ""
    text = _read_text(left) or ended.kill or "see the job log"
    return "Failed", f"AlgorithmError: {host}{text}, exit code: {ended.exit_code}"


def _below(root: Path, local_path: str) -> Path:
    """The folder of this machine that stands for a path of the container."""
    parts = Path(local_path).parts
    if not local_path.startswith(f"{ML}/") or ".." in parts:
        raise UserError(f"LocalPath {local_path}: the local cloud maps paths below {ML} only")
    return root.joinpath(*Path(local_path).relative_to(ML).parts)


def _channel_config(channels: list[Document]) -> Document:
    return {
        channel["ChannelName"]: {
            "TrainingInputMode": channel.get("InputMode", "File"),
            "S3DistributionType": "FullyReplicated",
            "RecordWrapperType": "None",
        }
        for channel in channels
    }


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document), "utf-8")


def _read_text(path: Path) -> str:
    return path.read_text("utf-8", errors="replace").strip() if path.exists() else ""
