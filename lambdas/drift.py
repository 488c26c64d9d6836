"""How far the predictions of a file are from the labels of the training, as a metric.

An alarm wants one number of each file, at once. What it means for the claims of a month, and
whether it is more than chance, `claimflow drift` tells (`pipelines/drift.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

FEWEST_ROWS = 200  # of fewer, chance alone moves the shares too far


def prediction_drift(manifest: Mapping[str, Any]) -> float | None:
    """The total variation distance between the shares of the predicted labels and those of the
    training set: the share of rows whose label would have to be another one, 0 to 1.

    None where there are too few rows, or nothing to compare with.
    """
    now = manifest.get("labels")
    then = (manifest.get("reference") or {}).get("labels")
    if not now or not then or int(manifest["predicted"]) < FEWEST_ROWS:
        return None
    rows_now, rows_then = sum(now.values()), sum(then.values())
    if not rows_now or not rows_then:
        return None
    return 0.5 * math.fsum(
        abs(now.get(label, 0) / rows_now - then.get(label, 0) / rows_then)
        for label in {*now, *then}
    )
