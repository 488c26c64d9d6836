"""What is done with the pipeline: upsert, start, follow, stop. On AWS and locally alike."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import subprocess
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.images import ROOT, addresses
from pipelines.settings import Settings
from pipelines.start_parameters import check_parameters

ENDED = ("Succeeded", "Failed", "Stopped")
# A cached step is found by the address of its data, which must therefore change with the content.
DATA_FOLDER = "datasets"


@dataclass(frozen=True)
class StepStatus:
    """One step of an execution."""

    name: str
    type: str
    status: str
    started: datetime | None = None
    ended: datetime | None = None
    is_cached: bool = False
    reason: str = ""

    @property
    def seconds(self) -> float | None:
        if self.started is None:
            return None
        ended = self.ended or datetime.now(self.started.tzinfo)
        return (ended - self.started).total_seconds()


@dataclass(frozen=True)
class ExecutionStatus:
    """How far an execution is, and what it says about itself."""

    arn: str
    status: str
    reason: str
    steps: list[StepStatus] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)  # bars, in words

    @property
    def sentence(self) -> str:
        """How it is, and where it failed the reason in the step's own words."""
        for step in self.steps:
            if step.status == "Failed":
                return f"{self.status} at {step.name}: {_own_words(step.reason)}"
        return f"{self.status}: {self.reason}" if self.reason else self.status

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    @property
    def is_rejected(self) -> bool:
        """Whether it ended because the model missed a bar, and not because something broke."""
        return any(step.name == "ModelRejected" for step in self.steps)


class Control:
    """The pipeline of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._sagemaker = aws.client("sagemaker")

    @property
    def settings(self) -> Settings:
        return self._aws.settings

    def upsert(self) -> str:
        """Stores today's definition; returns "created", "updated" or "unchanged"."""
        images = addresses(self.settings, self._aws.client("ecr"))
        text = build_definition(self.settings, images)
        name, role = self.settings.pipeline_name, self.settings.role_arn("pipeline")
        try:
            existing = self._sagemaker.describe_pipeline(PipelineName=name)
        except self._sagemaker.exceptions.ResourceNotFound:
            self._sagemaker.create_pipeline(
                PipelineName=name,
                PipelineDefinition=text,
                RoleArn=role,
                ClientRequestToken=str(uuid.uuid4()),
                Tags=[{"Key": key, "Value": value} for key, value in self.settings.tags.items()],
            )
            return "created"
        if json.loads(existing["PipelineDefinition"]) == json.loads(text):
            return "unchanged"
        self._sagemaker.update_pipeline(PipelineName=name, PipelineDefinition=text, RoleArn=role)
        return "updated"

    def upload_data(self, path: Path) -> str:
        """Puts a file of labelled claims on S3, under a digest of its content; its address."""
        check_file(path)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        bucket = self.settings.bucket("data")
        name = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)  # the registry's metadata takes no more
        key = f"{DATA_FOLDER}/{digest.hexdigest()[:16]}/{name}"
        self._aws.client("s3").upload_file(str(path), bucket, key)
        return f"s3://{bucket}/{key}"

    def start(self, parameters: Mapping[str, str]) -> str:
        """Starts an execution and returns its ARN.

        Raises
        ------
        UserError
            There is no pipeline, or it has no such parameter, or it does not take the value.
        """
        definition = self._definition()
        check_parameters(definition, parameters)
        known = {one["Name"]: one for one in definition["Parameters"]}
        for name in ("TrainData", "TestData"):
            self._check_data(name, parameters.get(name) or known[name]["DefaultValue"])
        given = {"CodeVersion": code_version(), **parameters}
        started = self._sagemaker.start_pipeline_execution(
            PipelineName=self.settings.pipeline_name,
            PipelineParameters=[{"Name": name, "Value": value} for name, value in given.items()],
            ClientRequestToken=str(uuid.uuid4()),
        )
        return str(started["PipelineExecutionArn"])

    def _check_data(self, parameter: str, uri: str) -> None:
        """Whether something lies at an address: a job that finds out costs minutes on AWS."""
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        s3 = self._aws.client("s3")
        try:
            found = s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)["KeyCount"]
        except s3.exceptions.NoSuchBucket:
            found = 0
        if not found:
            option = {"TrainData": "--train", "TestData": "--test"}[parameter]
            raise UserError(f"{parameter}: there is nothing at {uri}; give a file with {option}")

    def stop(self, execution: str) -> None:
        self._sagemaker.stop_pipeline_execution(
            PipelineExecutionArn=execution, ClientRequestToken=str(uuid.uuid4())
        )

    def status(self, execution: str) -> ExecutionStatus:
        described = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=execution)
        status = ExecutionStatus(
            arn=execution,
            status=described["PipelineExecutionStatus"],
            reason=described.get("FailureReason", ""),
            steps=self.steps(execution),
        )
        if not status.is_rejected:
            return status
        return ExecutionStatus(
            status.arn, status.status, status.reason, status.steps, self._missed_bars(execution)
        )

    def steps(self, execution: str) -> list[StepStatus]:
        """The steps that have started, first to last."""
        pages = self._sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=execution, SortOrder="Ascending"
        )
        return [
            StepStatus(
                name=step["StepName"],
                type=_step_type(step),
                status=step["StepStatus"],
                started=step.get("StartTime"),
                ended=step.get("EndTime"),
                is_cached="CacheHitResult" in step,
                reason=step.get("FailureReason", ""),
            )
            for page in pages
            for step in page["PipelineExecutionSteps"]
        ]

    def follow(self, execution: str) -> Iterator[ExecutionStatus]:
        """The status again and again, until the execution has ended (that status included): twice a
        second at first, then ever more slowly, because a training may take hours."""
        pause = 0.5
        while True:
            status = self.status(execution)
            yield status
            if status.has_ended:
                return
            time.sleep(pause)
            pause = min(pause * 1.02, 10.0)

    def executions(self, limit: int = 20) -> list[dict[str, Any]]:
        """The latest executions, newest first."""
        self._definition()  # which says so where there is no pipeline
        found = self._sagemaker.list_pipeline_executions(
            PipelineName=self.settings.pipeline_name, MaxResults=limit, SortOrder="Descending"
        )
        summaries: list[dict[str, Any]] = found["PipelineExecutionSummaries"]
        return summaries

    def resolve(self, execution: str | None) -> str:
        """The ARN of an execution given by ARN or id, or (None) of the latest."""
        if execution and execution.startswith("arn:"):
            return execution
        for summary in self.executions(100):
            arn: str = summary["PipelineExecutionArn"]
            if execution is None or arn.endswith(f"/{execution}"):
                return arn
        if execution is None:
            raise UserError("There is no execution yet; start one with `claimflow pipeline start`")
        raise UserError(f"There is no execution {execution}; see `claimflow pipeline list`")

    def output(self, execution: str, step: str) -> str | None:
        """Where a processing step left its output (a cached one in an earlier run); None where it
        has not run, or not as far as its job."""
        for one in self._step_documents(execution):
            job = one.get("Metadata", {}).get("ProcessingJob", {}).get("Arn")
            if one["StepName"] == step and job:
                described = self._sagemaker.describe_processing_job(
                    ProcessingJobName=job.rpartition("/")[2]
                )
                outputs = described["ProcessingOutputConfig"]["Outputs"]
                return str(outputs[0]["S3Output"]["S3Uri"])
        return None

    def evaluation(self, execution: str) -> dict[str, Any] | None:
        """What Evaluate wrote, or None where it has not run well."""
        uri = self.output(execution, "Evaluate")
        if uri is None:
            return None
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        s3 = self._aws.client("s3")
        try:
            body = s3.get_object(Bucket=bucket, Key=f"{key}/evaluation.json")["Body"]
        except s3.exceptions.NoSuchKey:
            return None
        document: dict[str, Any] = json.loads(body.read())
        return document

    def registered(self, execution: str) -> str | None:
        """The ARN of the model package that an execution registered, if it did."""
        for step in self._step_documents(execution):
            arn = step.get("Metadata", {}).get("RegisterModel", {}).get("Arn")
            if arn:
                return str(arn)
        return None

    def _step_documents(self, execution: str) -> list[dict[str, Any]]:
        pages = self._sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=execution
        )
        return [step for page in pages for step in page["PipelineExecutionSteps"]]

    def _definition(self) -> dict[str, Any]:
        """The one that is stored, and that a start runs."""
        name = self.settings.pipeline_name
        try:
            described = self._sagemaker.describe_pipeline(PipelineName=name)
        except self._sagemaker.exceptions.ResourceNotFound:
            raise UserError(
                f"There is no pipeline {name} yet; create it with `claimflow pipeline upsert`"
            ) from None
        document: dict[str, Any] = json.loads(described["PipelineDefinition"])
        return document

    def _missed_bars(self, execution: str) -> list[str]:
        evaluation = self.evaluation(execution)
        if evaluation is None:
            return []
        listed = self._sagemaker.list_pipeline_parameters_for_execution(
            PipelineExecutionArn=execution, MaxResults=50
        )
        values = {one["Name"]: one["Value"] for one in listed["PipelineParameters"]}
        accuracy, least = evaluation["challenger"]["accuracy"], float(values["MinAccuracy"])
        lost, most = evaluation["comparison"]["regression"], float(values["AllowedRegression"])
        missed = []
        if accuracy < least:
            missed.append(
                f"accuracy {accuracy:.4f} is below MinAccuracy {least} by {least - accuracy:.4f}"
            )
        if lost > most:
            missed.append(
                f"it loses {lost:.4f} of accuracy against the champion, "
                f"AllowedRegression is {most}: {lost - most:.4f} too much"
            )
        return missed


def check_file(path: Path) -> None:
    """Raises UserError where there is no file to upload."""
    if path.is_dir():
        raise UserError(f"{path}: this is a folder; expected a file")
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")


def build_definition(settings: Settings, images: Mapping[str, str] | None = None) -> str:
    """Today's definition as JSON, without network and credentials.

    `images` are the images' addresses by target; without them they are named by tag.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)  # the SDK tells at length what it leaves out
        try:
            from pipelines.definition import definition

            return definition(settings, images or addresses(settings))
        finally:
            logging.disable(before)


def code_version() -> str:
    """The commit of this code, `-dirty` where it has been changed; "unknown" outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return described.stdout.strip()


def _own_words(reason: str) -> str:
    """A failure reason without what SageMaker puts around it."""
    reason = re.sub(r"^(AlgorithmError|ClientError): ", "", reason)
    return re.sub(r", exit code: 1$", "", reason)


def _step_type(step: dict[str, Any]) -> str:
    """The API tells a step's type by the member that its metadata has."""
    return next(iter(step.get("Metadata", {})), "")
