"""Where a model version comes from: execution, jobs, images, data, reports, tracked run.

Nothing is kept for this: it is looked up where it lies, from what the registry's metadata name.
What has gone since, or may not be read, is told as missing, and never stops the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.aws import Aws, split_uri
from pipelines.control import Control
from pipelines.data import versions
from pipelines.data.versions import Manifest
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.registry.decisions import Decision
    from pipelines.registry.models import ModelVersion

Document = dict[str, Any]

EXECUTION_TAG = "claimflow.execution"  # of the run in MLflow: `steps/tracking_worker.py`
_NOWHERE = ("", "none", "unknown")
_JOBS = {
    "TrainingJob": ("describe_training_job", "TrainingJobName"),
    "ProcessingJob": ("describe_processing_job", "ProcessingJobName"),
}


@dataclass(frozen=True)
class Step:
    """A step of the execution, with its job's address and description where it had a job.

    Attributes
    ----------
    cached_from: the execution that the job ran in, if it was not this one.
    answer: what the function of a Lambda step gave back.
    """

    name: str
    status: str
    job_arn: str = ""
    cached_from: str = ""
    job: Document = field(default_factory=dict)
    answer: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> str:
        parts = (self.job.get("AppSpecification"), self.job.get("AlgorithmSpecification"))
        found: Document = next(filter(None, parts), {})
        return str(found.get("ImageUri") or found.get("TrainingImage") or "")

    def output(self, name: str) -> str:
        """The address of an output of a processing job; empty if it has none of that name."""
        outputs = self.job.get("ProcessingOutputConfig", {}).get("Outputs", [])
        found = (one["S3Output"]["S3Uri"] for one in outputs if one["OutputName"] == name)
        return str(next(found, ""))

    def document(self) -> Document:
        """For `--json`."""
        told = {
            "name": self.name,
            "status": self.status,
            "image": self.image,
            "job": self.job_arn,
            "cached_from": self.cached_from,
        }
        return {name: value for name, value in told.items() if value}


@dataclass
class Lineage:
    """All that is known of where a version comes from; empty is what is not known.

    Attributes
    ----------
    execution: `DescribePipelineExecution`.
    parameters: of the execution.
    manifest_uri, manifest: the immutable version of the data.
    evaluation_uri, evaluation: `evaluation.json`.
    validation_uri, validation: the folder of the report on the data, and `validation.json` in it.
    decision: the record that the version's approval comes from; who looks for it sets it.
    tracking: `address`, `experiment` and `tag` of the run, where runs are tracked.
    missing: what could not be found, a sentence each.
    """

    model: ModelVersion
    execution_arn: str = ""
    execution: Document = field(default_factory=dict)
    parameters: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    manifest_uri: str = ""
    manifest: Manifest | None = None
    evaluation_uri: str = ""
    evaluation: Document = field(default_factory=dict)
    validation_uri: str = ""
    validation: Document = field(default_factory=dict)
    decision: Decision | None = None
    tracking: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def step(self, name: str) -> Step | None:
        """A step by its name; of one that was retried the last attempt."""
        return next((one for one in reversed(self.steps) if one.name == name), None)

    def noted(self, name: str) -> str:
        """What was noted of the version when it was registered; empty if it was not."""
        value = (self.model.metadata or {}).get(name, "")
        return "" if value in _NOWHERE else value

    @property
    def image(self) -> str:
        """The image that trained."""
        train = self.step("Train")
        return self.noted("image") or (train.image if train else "")


class Lineages:
    """The lineage of one deployment's model versions."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._sagemaker = aws.client("sagemaker")
        self._s3 = aws.client("s3")

    def of(self, model: ModelVersion) -> Lineage:
        """What can be found, the rest as `missing`."""
        found = Lineage(model)
        self._add_execution(found)
        self._add_data(found)
        self._add_reports(found)
        self._add_tracking(found)
        return found

    def evaluation(self, model: ModelVersion) -> Document:
        """The evaluation of a version alone; empty where it cannot be found."""
        found = Lineage(model)
        if model.statistics:
            self._add_evaluation(found, model.statistics.rpartition("/")[0])
        return found.evaluation

    def _add_execution(self, found: Lineage) -> None:
        arn = found.execution_arn = found.noted("execution")
        if not arn:
            found.missing.append("the registry does not say which execution made this version")
            return
        with self._or_missing(found, f"the execution {arn}"):
            found.execution = self._sagemaker.describe_pipeline_execution(PipelineExecutionArn=arn)
            found.execution.pop("ResponseMetadata", None)
        if not found.execution:
            return
        with self._or_missing(found, "the parameters of the execution"):
            found.parameters = Control(self._aws).parameters(arn)
        with self._or_missing(found, "the steps of the execution"):
            pages = self._sagemaker.get_paginator("list_pipeline_execution_steps")
            for page in pages.paginate(PipelineExecutionArn=arn, SortOrder="Ascending"):
                for step in page["PipelineExecutionSteps"]:
                    found.steps.append(self._step(found, step))

    def _step(self, found: Lineage, step: Mapping[str, Any]) -> Step:
        name, status = step["StepName"], step["StepStatus"]
        metadata = step.get("Metadata", {})
        kind = next((one for one in _JOBS if metadata.get(one, {}).get("Arn")), None)
        if kind is None:
            answer = metadata.get("Lambda", {}).get("OutputParameters", [])
            return Step(name, status, answer={one["Name"]: str(one["Value"]) for one in answer})
        arn = metadata[kind]["Arn"]
        describe, parameter = _JOBS[kind]
        job: Document = {}
        with self._or_missing(found, f"the job of {name}, {arn}"):
            job = getattr(self._sagemaker, describe)(**{parameter: arn.rpartition("/")[2]})
        cached_from = step.get("CacheHitResult", {}).get("SourcePipelineExecutionArn", "")
        return Step(name, status, arn, cached_from, job)

    def _add_data(self, found: Lineage) -> None:
        found.manifest_uri = found.noted("data_manifest")
        if not found.manifest_uri:
            found.missing.append(
                "there is no data manifest: the execution was given files, not a data version"
            )
            return
        with self._or_missing(found, f"the data manifest {found.manifest_uri}"):
            body = self._read(found.manifest_uri)
            found.manifest = versions.parsed(body, found.manifest_uri)

    def _add_reports(self, found: Lineage) -> None:
        statistics = found.model.statistics
        validate, evaluate = found.step("Validate"), found.step("Evaluate")
        if validate:
            found.validation_uri = validate.output("validation")
        if found.validation_uri:
            found.validation = self._validation(f"{found.validation_uri}/validation.json")
        else:
            found.missing.append("where the report on the data lies is not known")
        folder = statistics.rpartition("/")[0] or (
            evaluate.output("evaluation") if evaluate else ""
        )
        if not folder:
            found.missing.append("where the evaluation lies is not known")
            return
        self._add_evaluation(found, folder)

    def _add_evaluation(self, found: Lineage, folder: str) -> None:
        found.evaluation_uri = f"{folder}/evaluation.json"
        with self._or_missing(found, f"the evaluation {found.evaluation_uri}"):
            found.evaluation = _evaluation(self._read(found.evaluation_uri))

    def _add_tracking(self, found: Lineage) -> None:
        address = found.parameters.get("MlflowTrackingUri", "")
        if not found.execution_arn or address in _NOWHERE:
            return
        execution = found.execution_arn.rpartition("/")[2]
        train = found.step("Train")
        environment = train.job.get("Environment", {}) if train else {}
        found.tracking = {
            "address": address,
            "experiment": environment.get(
                "MLFLOW_EXPERIMENT_NAME", self._aws.settings.pipeline_name
            ),
            "tag": f"{EXECUTION_TAG} = {execution}",
        }

    def _validation(self, uri: str) -> Document:
        """The report on the data; empty where it cannot be read, since it only explains."""
        from botocore.exceptions import ClientError

        try:
            document = json.loads(self._read(uri))
        except (ClientError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _read(self, uri: str) -> bytes:
        bucket, key = split_uri(uri)
        body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        return body

    @contextmanager
    def _or_missing(self, found: Lineage, what: str) -> Iterator[None]:
        """Notes what cannot be found, read or understood, and goes on."""
        from botocore.exceptions import ClientError, ParamValidationError

        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            found.missing.append(f"{what} cannot be read ({code})")
        except UserError as error:
            found.missing.append(str(error))
        except ParamValidationError:
            found.missing.append(f"{what} is no such thing")


def _evaluation(body: bytes) -> Document:
    """`evaluation.json`; a figure in it that is no number is None.

    Raises
    ------
    UserError
        It is damaged: something that every evaluation tells is not there.
    """
    try:
        document: Document = json.loads(body, parse_constant=lambda _name: None)
        challenger = document["challenger"]
        tuple(float(challenger[name]) for name in ("rows", "accuracy"))
        for one in challenger["classes"].values():
            tuple(float(one[name]) for name in ("precision", "recall", "f1", "support"))
        tuple(document["comparison"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError("the evaluation is damaged: its figures are not known") from None
    return document
