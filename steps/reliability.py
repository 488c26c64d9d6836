"""What a person asks of a classifier's confidences: whether they hold, and where they mislead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from steps.metrics import F32, I64, confidence_bins

MOST_MISTAKES = 20


def reliability(targets: I64, probabilities: F32, bins: int = 15) -> list[dict[str, Any]]:
    """How often the rows of each bin of confidence are right: the bins of
    `metrics.calibration_error` that hold rows, lowest first.

    (rows,), (rows, labels) -> `low` and `high`, the edges of the bin (the upper one is in it);
    `rows`; `confidence` and `accuracy`, the means over its rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", figure 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == targets).astype(np.float64)
    number = confidence_bins(confidence, bins)
    rows = np.bincount(number, minlength=bins)
    sums = [np.bincount(number, weights=of, minlength=bins) for of in (confidence, right)]
    return [
        {
            "low": place / bins,
            "high": (place + 1) / bins,
            "rows": int(rows[place]),
            "confidence": float(sums[0][place] / rows[place]),
            "accuracy": float(sums[1][place] / rows[place]),
        }
        for place in np.flatnonzero(rows).tolist()
    ]


def mistakes(
    targets: I64, probabilities: F32, labels: Sequence[str], records: Sequence[int]
) -> list[dict[str, Any]]:
    """The wrong rows of which the classifier was surest, the surest first: (rows,), (rows, labels)
    -> `row`, its number among `records` (rows,), `label`, `predicted` and `confidence`."""
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != targets)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MOST_MISTAKES]
    return [
        {
            "row": records[row],
            "label": labels[targets[row]],
            "predicted": labels[predicted[row]],
            "confidence": float(confidence[row]),
        }
        for row in surest.tolist()
    ]
