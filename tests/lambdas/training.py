"""What the tests of retraining share: a pipeline's definition, a bucket of labelled files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from lambdas import layout
from lambdas.datasets import Datasets
from lambdas.executions import Executions
from lambdas.retrain import Retrainer
from lambdas.settings import RetrainSettings
from tests.lambdas.fakes import Call, FakePipeline, FakeS3, FakeSns, at_once

DATA, PIPELINE = "data", "claims"
QUIET = timedelta(seconds=300)
SETTINGS = RetrainSettings(PIPELINE, DATA, int(QUIET.total_seconds()), "topic", "dead", 3)
REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/claimflow"


def definition(image: str = "one", min_accuracy: float = 0.8, **more: Any) -> dict[str, Any]:
    """A definition with the steps and the parameters that matter here."""
    parameters: dict[str, tuple[str, Any]] = {
        "TrainData": ("String", "s3://data/train.csv"),
        "TestData": ("String", "s3://data/test.csv"),
        "MinAccuracy": ("Float", min_accuracy),
        "Epochs": ("Integer", 20),
        "CodeVersion": ("String", "unknown"),
        "Cause": ("String", "manual"),
        "DataManifest": ("String", "none"),
    }
    address = f"{REGISTRY}/gluon-cpu:{image}"
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {"InferenceSpecification": {"Containers": [{"Image": address}]}},
    }
    return {
        "Version": "2020-12-01",
        "Parameters": [
            {"Name": name, "Type": kind, "DefaultValue": default}
            for name, (kind, default) in parameters.items()
        ],
        "Steps": [
            {
                "Name": "Train",
                "Type": "Training",
                "Arguments": {
                    "AlgorithmSpecification": {"TrainingImage": address},
                    "Environment": {"CLAIMFLOW_CODE_VERSION": image},
                    "ResourceConfig": {"InstanceType": "ml.m5.large"},
                },
                **more,
            },
            {
                "Name": "ModelGate",
                "Type": "Condition",
                "Arguments": {
                    "Conditions": [],
                    "IfSteps": [register],
                    "ElseSteps": [{"Name": "ModelRejected", "Type": "Fail", "Arguments": {}}],
                },
            },
        ],
    }


def table(rows: int, text: str = "water") -> bytes:
    """A labelled file."""
    return b"text,label\n" + f"{text},a\n".encode() * rows


@dataclass
class Training:
    """A data bucket, a pipeline and a topic in memory, and the function's parts around them."""

    time: datetime = datetime(2026, 1, 1, tzinfo=timezone.utc)
    call: Call = at_once

    def __post_init__(self) -> None:
        self.s3 = FakeS3(self.now, self._request)
        self.sagemaker = FakePipeline(self.now, self._request, definition())
        self.sns = FakeSns(self._request)

    def now(self) -> datetime:
        return self.time

    def datasets(self) -> Datasets:
        """As a new process has them."""
        return Datasets(self.s3, DATA, self.now)  # type: ignore[arg-type]

    def retrainer(self) -> Retrainer:
        """As a new process has it."""
        executions = Executions(self.sagemaker, PIPELINE)  # type: ignore[arg-type]
        return Retrainer(SETTINGS, self.datasets(), executions, self.sns, self.now)

    def put(self, name: str, body: bytes) -> None:
        """Adds a labelled file; later ones are later."""
        self.time += timedelta(seconds=1)
        self.quietly(lambda: self.s3.put_object(Bucket=DATA, Key=f"labelled/{name}", Body=body))

    def put_both(self) -> None:
        """Something to train and something to test with."""
        self.put("train/a.csv", table(3))
        self.put("test/t.csv", table(2))

    def remove(self, name: str) -> None:
        self.quietly(lambda: self.s3.delete_object(Bucket=DATA, Key=f"labelled/{name}"))

    def end(self, arn: str, status: str = "Succeeded", *steps: str) -> None:
        self.sagemaker.executions[arn].update(Status=status, Steps=list(steps))

    def stored(self, prefix: str = "versions/") -> list[str]:
        return sorted(key for key in self.s3.buckets.get(DATA, {}) if key.startswith(prefix))

    def document(self, key: str) -> Any:
        found = self.s3.newest(DATA, key)
        assert found is not None
        return json.loads(found.body)

    def versions(self) -> list[str]:
        """The data versions that are complete."""
        return [key.split("/")[1] for key in self.stored() if key.endswith("/" + layout.MANIFEST)]

    def check_version(self, version: str) -> None:
        """Whether a version holds what its manifest says, and nothing else."""
        manifest = self.document(f"versions/{version}/manifest.json")
        files = [(name, one) for name in ("train", "test") for one in manifest[name]]
        content = json.dumps([[name, one["sha256"]] for name, one in files])
        assert version == manifest["version"] == hashlib.sha256(content.encode()).hexdigest()[:16]
        for _, one in files:
            copy = self.s3.newest(DATA, one["copy"])
            assert copy is not None
            assert hashlib.sha256(copy.body).hexdigest() == one["sha256"]
            assert len(copy.body) == one["bytes"]
        folders = (f"versions/{version}/train/", f"versions/{version}/test/")
        lie_there = [key for key in self.stored() if key.startswith(folders)]
        assert lie_there == sorted(one["copy"] for _, one in files)

    def quietly(self, effect: Callable[[], Any]) -> Any:
        """What others do: nothing happens to their requests."""
        call, self.call = self.call, at_once
        try:
            return effect()
        finally:
            self.call = call

    def _request(self, name: str, effect: Callable[[], Any]) -> Any:
        return self.call(name, effect)
