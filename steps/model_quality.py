"""The figures of a classifier in the form of SageMaker Model Monitor's model quality statistics.

The form is that of the Amazon SageMaker developer guide, "Model quality metrics": the registry's
pages show it beside a model version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.metrics import F32, I64, Scores


def statistics(
    scores: Scores, targets: I64, probabilities: F32, labels: Sequence[str]
) -> dict[str, Any]:
    """`statistics.json`: for two labels the binary metrics, the second label being the positive
    one, else the multiclass ones."""
    confusion = {
        label: dict(zip(labels, row, strict=True))
        for label, row in zip(labels, scores.confusion.tolist(), strict=True)
    }
    figures = _binary(scores, targets, probabilities) if len(labels) == 2 else _multiclass(scores)
    kind = "binary" if len(labels) == 2 else "multiclass"
    return {
        "version": 0.0,
        "dataset": {"item_count": scores.rows},
        f"{kind}_classification_metrics": {
            "confusion_matrix": confusion,
            **{
                name: {"value": value, "standard_deviation": "NaN"}
                for name, value in figures.items()
            },
        },
    }


def area_under_curve(positive: npt.NDArray[np.bool_], confidence: F32) -> float:
    """The area under the ROC curve: how often a positive row gets more than a negative one, ties
    counting half (Mann & Whitney 1947); 0.5 where one of both is missing."""
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return 0.5
    _, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    above = float(ranks[positive].sum()) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def _binary(scores: Scores, targets: I64, probabilities: F32) -> dict[str, float]:
    precision, recall = float(scores.precision[1]), float(scores.recall[1])
    true_negative_rate = float(scores.recall[0])
    return {
        "recall": recall,
        "precision": precision,
        "accuracy": scores.accuracy,
        "true_positive_rate": recall,
        "true_negative_rate": true_negative_rate,
        "false_positive_rate": 1 - true_negative_rate,
        "false_negative_rate": 1 - recall,
        "auc": area_under_curve(targets == 1, probabilities[:, 1]),
        "f0_5": _f(precision, recall, 0.5),
        "f1": _f(precision, recall, 1.0),
        "f2": _f(precision, recall, 2.0),
    }


def _multiclass(scores: Scores) -> dict[str, float]:
    weights = scores.support / scores.support.sum()

    def weighted_f(beta: float) -> float:
        pairs = zip(scores.precision.tolist(), scores.recall.tolist(), strict=True)
        each = [_f(precision, recall, beta) for precision, recall in pairs]
        return float(np.dot(each, weights))

    return {
        "accuracy": scores.accuracy,
        "weighted_recall": float(scores.recall @ weights),
        "weighted_precision": float(scores.precision @ weights),
        "weighted_f0_5": weighted_f(0.5),
        "weighted_f1": weighted_f(1.0),
        "weighted_f2": weighted_f(2.0),
    }


def _f(precision: float, recall: float, beta: float) -> float:
    """The F score in which recall weighs beta times as much as precision."""
    below = beta * beta * precision + recall
    return (1 + beta * beta) * precision * recall / below if below else 0.0
