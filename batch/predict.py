"""The prediction job: one upload in; predictions, rejects and, last, the manifest out.

Everything comes through the environment (`JobSettings`). Exit codes, for the retry strategy of
the job definition: 0 the upload is settled, 2 the input or the model cannot be used (trying again
is useless; the manifest says why), 143 stopped by SIGTERM (a spot instance was taken away), 1
anything else.
"""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import boto3

from batch import manifest, objects
from batch.manifest import Manifest
from batch.outputs import Prediction, predictions_name, predictions_writer, rejects_writer
from batch.rows import Reject, Row, Table, open_table
from steps.container import Stopped
from steps.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient

BLOCK_ROWS = 2048
BLOCK_BYTES = 4 * 2**20
REJECTS = "rejects.csv"


class Predicts(Protocol):
    """What the job needs of a classifier."""

    @property
    def text_column(self) -> str: ...

    def predict(self, texts: Iterable[str]) -> Iterator[Prediction]: ...


Loader = Callable[[Path, Path], Predicts]  # of a model.tar.gz, into an empty folder


@dataclass(frozen=True)
class JobSettings:
    """The job's settings, each from the environment variable of the same name.

    Of `input_version` and `input_etag` one may be missing; with both missing, what lies there now
    is predicted. `results_prefix` ends with a slash. Without a `text_column` it is the one that the
    model was trained on.
    """

    input_bucket: str
    input_key: str
    model_package_arn: str
    results_bucket: str
    results_prefix: str
    upload_id: str = ""
    input_version: str = ""
    input_etag: str = ""
    text_column: str = ""
    claimflow_code_version: str = "unknown"
    aws_batch_job_id: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> JobSettings:
        """Raises InputError with the names of all variables that are missing."""
        names = [field.name for field in fields(cls)]
        given = {name: value for name in names if (value := environment.get(name.upper()))}
        missing = [name.upper() for name in names[:5] if name not in given]
        if missing:
            raise InputError(f"the job's environment lacks {', '.join(missing)}")
        return cls(**given)


@dataclass
class Counts:
    """Rows so far."""

    predicted: int = 0
    rejected: int = 0
    for_review: int = 0


@dataclass(frozen=True)
class ModelPackage:
    """The pinned model, as the registry describes it now."""

    version: int
    approval_status: str
    artifact_uri: str


def main(_argv: Sequence[str] | None = None) -> int:
    """The job's entry point; returns its exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        settings = JobSettings.from_environment()
        return predict_upload(
            settings, boto3.client("s3"), boto3.client("sagemaker"), load_classifier
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        return 143
    except Exception:  # a fault of ours or of the network: Batch tries again
        traceback.print_exc()
        return 1


def predict_upload(
    settings: JobSettings, s3: S3Client, sagemaker: SageMakerClient, load: Loader
) -> int:
    """Predicts one upload unless it is settled; returns the exit code, 0 or 2."""
    start = time.monotonic()
    place = (settings.results_bucket, settings.results_prefix)
    if (settled := manifest.read(s3, *place)) is not None:
        return _already(settled["outcome"])

    package = ModelPackage(0, "unknown", "")
    counts = Counts()
    predictions, sha256, reason = "", "", ""
    with tempfile.TemporaryDirectory(prefix="predict-") as temporary:
        folder = Path(temporary)
        try:
            package = _described(sagemaker, settings.model_package_arn)
            model = folder / "model.tar.gz"
            objects.download(s3, package.artifact_uri, model)
            sha256 = _sha256(model)
            (folder / "model").mkdir()
            classifier = load(model, folder / "model")
            table = _opened(settings, s3, settings.text_column or classifier.text_column)
            predictions = predictions_name(table)
            _predict(table, classifier, package.version, folder, counts)
        except InputError as error:
            predictions, counts, reason = "", Counts(), str(error)
        else:
            if (settled := manifest.read(s3, *place)) is not None:
                return _already(settled["outcome"])  # another job was faster
            for name in (predictions, REJECTS):
                s3.upload_file(str(folder / name), place[0], place[1] + name)

    written = manifest.write(
        s3,
        *place,
        Manifest(
            outcome="failed" if reason else "succeeded",
            reason=reason,
            upload_id=settings.upload_id,
            bucket=settings.input_bucket,
            key=settings.input_key,
            version=settings.input_version,
            etag=settings.input_etag,
            model_package_arn=settings.model_package_arn,
            model_package_version=package.version,
            approval_status=package.approval_status,
            artifact_sha256=sha256,
            rows_in=counts.predicted + counts.rejected,
            predicted=counts.predicted,
            rejected=counts.rejected,
            for_review=counts.for_review,
            predictions=place[1] + predictions if predictions else "",
            rejects=place[1] + REJECTS if predictions else "",
            seconds=round(time.monotonic() - start, 3),
            code_version=settings.claimflow_code_version,
            job_id=settings.aws_batch_job_id,
        ),
    )
    if not written:
        print("another job settled this upload first; nothing was changed")
    if reason:
        print(f"error: {reason}", file=sys.stderr)
        return 2
    print(
        f"predicted {counts.predicted:,} rows with version {package.version} "
        f"({counts.for_review:,} for review), rejected {counts.rejected:,}"
    )
    return 0


def load_classifier(archive: Path, folder: Path) -> Predicts:
    """Unpacks an artifact into `folder`, checks it and loads it."""
    from steps import artifact  # MXNet takes seconds: only once there is something to predict
    from steps.classifier import Classifier

    artifact.unpack(archive, folder)
    return Classifier.load(folder)


def _opened(settings: JobSettings, s3: S3Client, text_column: str) -> Table:
    source = objects.InputObject(
        s3,
        settings.input_bucket,
        settings.input_key,
        settings.input_version,
        settings.input_etag,
    )
    name = f"s3://{settings.input_bucket}/{settings.input_key}"
    return open_table(source.buffered(), name, text_column)


def _predict(
    table: Table, classifier: Predicts, version: int, folder: Path, counts: Counts
) -> None:
    """Predicts the rows of `table` into two files in `folder`, and counts them."""
    with (
        predictions_writer(folder / predictions_name(table), table, version) as predicted,
        rejects_writer(folder / REJECTS) as rejected,
    ):
        for rows, rejects in _blocks(table.rows):
            made = list(classifier.predict([row.text for row in rows]))
            predicted.write(rows, made)
            rejected.write(rejects)
            counts.predicted += len(rows)
            counts.rejected += len(rejects)
            counts.for_review += sum(prediction.review for prediction in made)


def _blocks(rows: Iterator[Row | Reject]) -> Iterator[tuple[list[Row], list[Reject]]]:
    """Blocks of rows to be predicted together, bounded in bytes for the sake of memory."""
    good: list[Row] = []
    bad: list[Reject] = []
    size = 0
    for row in rows:
        if isinstance(row, Row):
            good.append(row)
            size += row.size
        else:
            bad.append(row)
            size += len(row.raw)
        if len(good) + len(bad) >= BLOCK_ROWS or size >= BLOCK_BYTES:
            yield good, bad
            good, bad, size = [], [], 0
    if good or bad:
        yield good, bad


def _described(sagemaker: SageMakerClient, arn: str) -> ModelPackage:
    try:
        found = sagemaker.describe_model_package(ModelPackageName=arn)
    except sagemaker.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in {"ValidationException", "ResourceNotFound"}:
            raise InputError(f"model package {arn} is not in the registry any more") from error
        raise
    containers = found.get("InferenceSpecification", {}).get("Containers", [])
    if not containers or "ModelDataUrl" not in containers[0]:
        raise InputError(f"model package {arn} names no model artifact in its first container")
    return ModelPackage(
        found.get("ModelPackageVersion", 0),
        found.get("ModelApprovalStatus", "unknown"),
        containers[0]["ModelDataUrl"],
    )


def _already(outcome: str) -> int:
    print(f"this upload is settled: {outcome}; nothing was changed")
    return 0 if outcome == "succeeded" else 2


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise Stopped
