"""A model version as a retraining makes it, for the tests of card and trace."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

from pipelines.data.versions import Manifest, PinnedFile
from pipelines.registry.lineage import Lineage, Step
from pipelines.registry.models import ModelVersion

EXECUTION = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/t-test/execution/abcdefghijkl"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/t/gluon-cpu@sha256:" + "0" * 64


def _file(key: str, rows: int | None) -> PinnedFile:
    return PinnedFile(
        key=f"labelled/{key}",
        version_id="v1",
        etag="e",
        sha256=hashlib.sha256(key.encode()).hexdigest(),
        bytes=9,
        rows=rows,
        added_at="2026-11-20T12:00:00+00:00",
        copy=f"versions/0123456789abcdef/{key}",
    )


MANIFEST = Manifest(
    version="0123456789abcdef",
    made_at="2026-11-22T12:00:00+00:00",
    train=(_file("train/old claims.csv", 1000), _file("train/new.csv", 200)),
    test=(_file("test/test.csv", 400), _file("test/notes.txt", None)),
)


def measured(accuracy: float, labels: dict[str, tuple[float, int]]) -> dict[str, Any]:
    """The report of one model in `evaluation.json`; `labels` have recall and rows."""
    return {
        "rows": sum(rows for _, rows in labels.values()),
        "accuracy": accuracy,
        "macro_f1": accuracy - 0.01,
        "weighted_f1": accuracy,
        "log_loss": 0.3,
        "calibration_error": 0.02,
        "worst_class_recall": min(recall for recall, _ in labels.values()),
        "classes": {
            label: {"precision": 0.9, "recall": recall, "f1": 0.9, "support": rows}
            for label, (recall, rows) in labels.items()
        },
        "model": {
            "kind": "ngram",
            "versions": {"code": "abc123", "mxnet": "1.9.1"},
            "training_data": {
                "sha256": "f" * 64,
                "rows": 1200,
                "training_rows": 1080,
                "validation_rows": 120,
                "labels": {label: 12 + 100 * place for place, label in enumerate(labels)},
            },
        },
    }


def evaluation(labels: dict[str, tuple[float, int]], champion: bool = True) -> dict[str, Any]:
    document: dict[str, Any] = {"challenger": measured(0.93, labels), "champion": None}
    document["comparison"] = {"has_champion": False, "regression": 0.0}
    if champion:
        document["champion"] = measured(0.91, labels)
        document["comparison"] = {
            "has_champion": True,
            "regression": -0.02,
            "regression_low": -0.03,
            "regression_high": -0.01,
            "p_value": 0.0123,
            "only_challenger_right": 20,
            "only_champion_right": 12,
            "macro_f1": {"difference": 0.021, "low": 0.011, "high": 0.031},
            "classes": {
                label: {"challenger": recall, "champion": 0.5, "support": rows}
                for label, (recall, rows) in labels.items()
            },
        }
    return document


def statistics(labels: list[str]) -> dict[str, Any]:
    confusion = {label: dict.fromkeys(labels, 3) for label in labels}
    return {"multiclass_classification_metrics": {"confusion_matrix": confusion}}


def lineage(labels: dict[str, tuple[float, int]] | None = None, **more: Any) -> Lineage:
    """Everything known; `more` replaces parts."""
    labels = labels or {"fire": (0.95, 300), "water": (0.71, 100)}
    model = ModelVersion(
        version=3,
        arn="arn:aws:sagemaker:us-east-1:123456789012:model-package/t-test/3",
        approval="Approved",
        created=datetime(2026, 11, 22, 12, tzinfo=timezone.utc),
        artifact="s3://models/runs/abcdefghijkl/model/model.tar.gz",
        reason="better on water damage",
        metadata={
            "execution": EXECUTION,
            "code_version": "abc123",
            "cause": "data",
            "data_manifest": "s3://data/versions/0123456789abcdef/manifest.json",
            "train_data": "s3://data/versions/0123456789abcdef/train/",
            "test_data": "s3://data/versions/0123456789abcdef/test/",
            "image": IMAGE,
        },
        metrics=statistics(list(labels)),
    )
    train = {
        "HyperParameters": {"kind": "ngram", "epochs": "20", "empty": ""},
        "AlgorithmSpecification": {"TrainingImage": IMAGE},
        "FinalMetricDataList": [
            {"MetricName": "validation:accuracy", "Value": 0.94},
            {"MetricName": "train:loss", "Value": float("nan")},
        ],
    }
    parts: dict[str, Any] = {
        "execution_arn": EXECUTION,
        "steps": [
            Step("Train", "Succeeded", "arn:aws:sagemaker:us-east-1:1:training-job/t", "", train),
            Step("Evaluate", "Succeeded", "arn:aws:sagemaker:us-east-1:1:processing-job/e"),
        ],
        "manifest_uri": "s3://data/versions/0123456789abcdef/manifest.json",
        "manifest": MANIFEST,
        "evaluation_uri": "s3://models/runs/abcdefghijkl/evaluation/evaluation.json",
        "evaluation": evaluation(labels),
        "validation_uri": "s3://models/runs/abcdefghijkl/validation",
    }
    return Lineage(model, **{**parts, **more})
