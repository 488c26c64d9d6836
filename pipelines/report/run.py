"""What is known of an execution: read where it lies, what cannot be read told as missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from pipelines.aws import Aws, split_uri
from pipelines.bars import Bar, judged
from pipelines.control import Control
from pipelines.diagnosis import Diagnosis, diagnose
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus
from pipelines.logs import Logs
from pipelines.registry.lineage import Lineage, Lineages
from pipelines.registry.models import Models, ModelVersion
from pipelines.report.flow import Flow
from pipelines.report.texts import texts_at
from pipelines.training_log import epochs

MOST_BYTES = 64 << 20  # of a document that is read
UNREGISTERED = 0  # the number of the version that an execution without a model stands for
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Bin:
    """Rows of about the same confidence: their mean confidence, and how many of them are right."""

    confidence: float
    accuracy: float
    rows: int


@dataclass(frozen=True)
class Mistake:
    """A wrong row of the test set, by its number."""

    row: int
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class Check:
    """One check of the data."""

    name: str
    dataset: str
    passed: bool
    blocks: bool
    sentence: str


@dataclass
class Run:
    """An execution. Empty is what is not known.

    Attributes
    ----------
    lineage: execution, jobs, data and evaluation, as those of a model version.
    epochs: the figures of each epoch, by its number.
    confusion: rows of each label (outer) that were taken for each label (inner).
    data_docs: the address of the pages on the data, where the validation came so far.
    reliability, mistakes: None where the evaluation does not tell them.
    texts: of the mistakes' rows, by their numbers; only where somebody has asked for them.
    diagnosis: of one that did not succeed.
    missing: what could not be found, a sentence each.
    """

    status: ExecutionStatus
    lineage: Lineage
    made_at: datetime
    flow: Flow = field(default_factory=Flow)
    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    reliability: list[Bin] | None = None
    mistakes: list[Mistake] | None = None
    texts: dict[int, str] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    merged: dict[str, int] = field(default_factory=dict)
    data_docs: str = ""
    diagnosis: Diagnosis | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def version(self) -> int | None:
        """The model version that was registered, if one was."""
        return self.lineage.model.version or None

    @property
    def is_evaluated(self) -> bool:
        return bool(self.lineage.evaluation)


class Runs:
    """The executions of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._control = Control(aws)
        self._sagemaker = aws.client("sagemaker")
        self._s3 = aws.client("s3")

    def of(self, execution: str, with_texts: bool = False) -> Run:
        """What is known of an execution (its ARN), whatever became of it; the texts of the rows
        that the model got wrong only if they are asked for."""
        status = self._control.status(execution)
        run = Run(status, Lineages(self._aws).of(self._version(status)), datetime.now(timezone.utc))
        run.missing = run.lineage.missing
        if not self._has_run(status, "Evaluate"):  # then nobody expects its file
            run.missing = [one for one in run.missing if "the evaluation" not in one]
        run.flow = self._or(run, "the definition of the execution", self._flow, Flow(), execution)
        run.epochs = self._or(run, "the log of Train", self._epochs, {}, status)
        self._add_validation(run)
        self._add_evaluation(run)
        if with_texts and run.mistakes:
            run.texts = self._or(run, "the test set", self._texts, {}, run)
        if status.status in ("Failed", "Stopped"):
            run.diagnosis = self._or(run, "the cause", lambda: diagnose(self._aws, execution), None)
        return run

    def _version(self, status: ExecutionStatus) -> ModelVersion:
        """The one that was registered; else one that is not: an execution without a model is looked
        up like a version of which the registry knows no more than where it comes from."""
        registered = self._control.registered(status.arn)
        if registered:
            try:
                return Models(self._aws).read(registered)
            except ClientError:
                pass  # deleted since
        given = self._control.parameters(status.arn)
        names = {"train_data": "TrainData", "test_data": "TestData", "cause": "Cause"}
        names |= {"code_version": "CodeVersion", "data_manifest": "DataManifest"}
        metadata = {
            name: given[parameter] for name, parameter in names.items() if parameter in given
        }
        return ModelVersion(
            version=UNREGISTERED,
            arn="",
            approval="not registered",
            created=status.began or datetime.now(timezone.utc),
            metadata=metadata | {"execution": status.arn},
        )

    def _flow(self, execution: str) -> Flow:
        described = self._sagemaker.describe_pipeline_definition_for_execution(
            PipelineExecutionArn=execution
        )
        return Flow.of(json.loads(described["PipelineDefinition"]))

    def _epochs(self, status: ExecutionStatus) -> dict[int, dict[str, float]]:
        logs = Logs(self._aws)
        train = [step for step in status.steps if step.name == "Train"]
        return epochs(event.message for event in logs.read(logs.of_steps(train, status.id)))

    def _add_validation(self, run: Run) -> None:
        uri = run.lineage.validation_uri
        if not uri:
            return

        report = run.lineage.validation

        def read() -> None:
            run.checks = [
                Check(
                    str(one["name"]),
                    str(one["dataset"]),
                    one["passed"] is True,
                    one["severity"] == "critical",
                    str(one["sentence"]),
                )
                for one in report["checks"]
            ]
            run.merged = {str(one): int(count) for one, count in (report["merged"] or {}).items()}

        if report:
            self._or(run, "the report on the data", read, None)
        else:
            run.missing.append("the report on the data cannot be read")
        docs = f"{uri}/data_docs/index.html"
        bucket, key = split_uri(docs)
        try:
            self._s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            return
        run.data_docs = docs

    def _add_evaluation(self, run: Run) -> None:
        found = run.lineage.evaluation
        if not found:
            return

        def judge() -> list[Bar]:
            return judged(found, run.lineage.parameters)

        def bins() -> list[Bin] | None:
            told = found.get("reliability")
            return told and [
                Bin(_share(one["confidence"]), _share(one["accuracy"]), _rows(one["rows"]))
                for one in told
            ]

        def mistakes() -> list[Mistake] | None:
            told = found.get("mistakes")
            return told and [
                Mistake(
                    _rows(one["row"]),
                    str(one["label"]),
                    str(one["predicted"]),
                    _share(one["confidence"]),
                )
                for one in told
            ]

        run.bars = self._or(run, "how far it is from the bars", judge, [])
        run.reliability = self._or(run, "the calibration", bins, None)
        run.mistakes = self._or(run, "the mistakes", mistakes, None)
        folder = run.lineage.evaluation_uri.rpartition("/")[0]
        run.confusion = self._or(
            run,
            "the confusion matrix",
            lambda: _confusion(self._json(f"{folder}/statistics.json")),
            {},
        )

    def _texts(self, run: Run) -> dict[int, str]:
        rows = {one.row for one in run.mistakes or []}
        where = run.lineage.noted("test_data")
        if not where:
            raise UserError("where the test set lies is not known, and so no text of it")
        return texts_at(self._s3, where, run.lineage.parameters["TextColumn"], rows)

    def _json(self, uri: str) -> Any:
        bucket, key = split_uri(uri)
        answer = self._s3.get_object(Bucket=bucket, Key=key)
        if answer["ContentLength"] > MOST_BYTES:
            raise UserError(f"{uri} is too large to show")
        return json.loads(answer["Body"].read(), parse_constant=lambda _name: None)

    def _has_run(self, status: ExecutionStatus, name: str) -> bool:
        return any(step.name == name and step.status == "Succeeded" for step in status.steps)

    def _or(
        self, run: Run, what: str, read: Callable[..., _Read], otherwise: _Read, *given: Any
    ) -> _Read:
        """What is read, or something else where it cannot be: the rest does not depend on it."""
        try:
            return read(*given)
        except ClientError as error:
            run.missing.append(f"{what} cannot be read ({error.response['Error']['Code']})")
        except UserError as error:
            run.missing.append(str(error))
        except (KeyError, TypeError, ValueError, AttributeError):
            run.missing.append(f"{what} is damaged or of another version")
        return otherwise


def _share(value: Any) -> float:
    share = float(value)
    if not 0 <= share <= 1:
        raise ValueError
    return share


def _rows(value: Any) -> int:
    rows = int(value)
    if rows < 1:
        raise ValueError
    return rows


def _confusion(statistics: Any) -> dict[str, dict[str, int]]:
    groups = [one for one in statistics.values() if isinstance(one, dict)]
    matrix = next(one["confusion_matrix"] for one in groups if "confusion_matrix" in one)
    return {
        label: {other: int(row.get(other, 0)) for other in matrix} for label, row in matrix.items()
    }
