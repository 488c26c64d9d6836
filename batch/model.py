"""The model that a job was given: its package in the registry, its artifact, its classifier."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from batch import objects
from batch.outputs import Prediction
from steps.errors import InputError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient


class Predicts(Protocol):
    """What the job needs of a classifier."""

    @property
    def text_column(self) -> str: ...
    @property
    def info(self) -> Mapping[str, Any]: ...

    def predict(self, texts: Iterable[str]) -> Iterator[Prediction]: ...


Loader = Callable[[Path, Path], Predicts]  # of a model.tar.gz, into an empty folder


@dataclass(frozen=True)
class ModelPackage:
    """The pinned model, as the registry describes it now."""

    version: int = 0
    approval_status: str = "unknown"
    artifact_uri: str = ""
    statistics_uri: str = ""


class PinnedModel:
    """A model package; its fields say nothing before it was loaded."""

    def __init__(
        self, s3: S3Client, sagemaker: SageMakerClient, arn: str, load: Loader, folder: Path
    ) -> None:
        self.package = ModelPackage()
        self.sha256 = ""
        self.info: Mapping[str, Any] = {}
        self._s3, self._sagemaker, self._arn = s3, sagemaker, arn
        self._load, self._folder = load, folder
        self._classifier: Predicts | None = None

    def load(self) -> Predicts:
        """Fetches the model, once.

        Raises InputError for a package that is gone, and an artifact that cannot be used.
        """
        if self._classifier is None:
            self.package = _described(self._sagemaker, self._arn)
            archive = self._folder / "model.tar.gz"
            objects.download(self._s3, self.package.artifact_uri, archive)
            self.sha256 = sha256_of(archive)
            unpacked = self._folder / "model"
            unpacked.mkdir()
            self._classifier = self._load(archive, unpacked)
            self.info = self._classifier.info
        return self._classifier

    def quality(self) -> dict[str, float]:
        """The model's figures on its test set, by name; empty where nobody can tell."""
        if not self.package.statistics_uri:
            return {}
        try:
            return _figures(objects.read_json(self._s3, self.package.statistics_uri))
        except (BotoCoreError, ClientError, InputError, ValueError, RecursionError):
            return {}


def load_classifier(archive: Path, folder: Path) -> Predicts:
    """Unpacks an artifact into `folder`, checks it and loads it."""
    from steps import artifact  # MXNet takes seconds: only once there is something to predict
    from steps.classifier import Classifier

    artifact.unpack(archive, folder)
    return Classifier.load(folder)


def sha256_of(path: Path) -> str:
    """The sum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()


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
    quality = found.get("ModelMetrics", {}).get("ModelQuality", {})
    return ModelPackage(
        found.get("ModelPackageVersion", 0),
        found.get("ModelApprovalStatus", "unknown"),
        containers[0]["ModelDataUrl"],
        quality.get("Statistics", {}).get("S3Uri", ""),
    )


def _figures(statistics: Any) -> dict[str, float]:
    """The figures in a document of SageMaker's model quality form."""
    if not isinstance(statistics, dict):
        return {}
    figures: dict[str, float] = {}
    for group, found in statistics.items():
        if not group.endswith("_classification_metrics") or not isinstance(found, dict):
            continue
        for name, figure in found.items():
            value = figure.get("value") if isinstance(figure, dict) else None
            if isinstance(value, int | float) and math.isfinite(value):
                figures[name] = float(value)
    return figures
