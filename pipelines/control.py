"""What is done with the pipeline: upsert, start, follow, stop, retry. On AWS and locally alike."""

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
from pathlib import Path
from typing import Any

from pipelines.aws import Aws, split_uri
from pipelines.bars import judged
from pipelines.errors import NotThereError, UserError
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.images import ROOT, addresses
from pipelines.settings import Settings
from pipelines.start_parameters import check_parameters
from pipelines.transfers import Progress, untold, upload

# A cached step is found by the address of its data, which must therefore change with the content.
DATA_FOLDER = "datasets"


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

    def upload_data(self, path: Path, progress: Progress = untold) -> str:
        """Puts a file of labelled claims on S3, under a digest of its content; its address."""
        check_file(path)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        bucket = self.settings.bucket("data")
        name = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)  # the registry's metadata takes no more
        key = f"{DATA_FOLDER}/{digest.hexdigest()[:16]}/{name}"
        upload(self._aws.client("s3"), path, bucket, key, progress)
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
        bucket, prefix = split_uri(uri)
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

    def retry(self, execution: str) -> None:
        """Goes on with an execution that failed or was stopped, under its ARN: what succeeded is
        kept, the rest runs with the definition and the parameters that it was started with.

        Raises
        ------
        UserError
            It did not fail, or its model missed a bar and would miss it again.
        """
        found = self.status(execution)
        if found.is_rejected:
            raise UserError(
                f"Execution {found.id}: the model missed a bar, and a retry would judge the same "
                "model by the same bars; start again with other data or other parameters"
            )
        if found.status not in ("Failed", "Stopped"):
            raise UserError(
                f"Execution {found.id} is {found.status}: only one that failed or was stopped can "
                "be retried; `claimflow pipeline start` begins another"
            )
        self._sagemaker.retry_pipeline_execution(
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
        return [StepStatus.of(step) for page in pages for step in page["PipelineExecutionSteps"]]

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
        raise NotThereError(f"There is no execution {execution}; see `claimflow pipeline list`")

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
        bucket, key = split_uri(uri)
        s3 = self._aws.client("s3")
        try:
            body = s3.get_object(Bucket=bucket, Key=f"{key}/evaluation.json")["Body"]
        except s3.exceptions.NoSuchKey:
            return None
        document: dict[str, Any] = json.loads(body.read())
        return document

    def check(self, parameters: Mapping[str, str]) -> None:
        """Raises UserError where the stored pipeline does not take these values."""
        check_parameters(self._definition(), parameters)

    def parameters(self, execution: str) -> dict[str, str]:
        """What an execution runs with: what it was given, else what its definition has. (AWS does
        not say whether it lists a parameter that was left at its default.)"""
        described = self._sagemaker.describe_pipeline_definition_for_execution(
            PipelineExecutionArn=execution
        )
        known = json.loads(described["PipelineDefinition"]).get("Parameters", [])
        pages = self._sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
            PipelineExecutionArn=execution
        )
        return {
            **{one["Name"]: str(one["DefaultValue"]) for one in known if "DefaultValue" in one},
            **{one["Name"]: one["Value"] for page in pages for one in page["PipelineParameters"]},
        }

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
        bars = judged(evaluation, self.parameters(execution))
        return [bar.sentence for bar in bars if not bar.passed]


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
        before, level = logging.root.manager.disable, logging.root.level
        logging.disable(logging.WARNING)  # the SDK tells at length what it leaves out
        try:
            from pipelines.definition import definition

            return definition(settings, images or addresses(settings))
        finally:
            logging.disable(before)
            logging.root.setLevel(level)  # the SDK lets every library talk


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
