"""The drift of one file is the share of rows that would have to change their label."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.drift import prediction_drift


def manifest(now: Any, then: Any) -> dict[str, Any]:
    predicted = sum(now.values()) if now else 1000
    reference = then and {"labels": then, "confidence_histogram": [1]}
    return {"predicted": predicted, "labels": now, "reference": reference}


@pytest.mark.parametrize(
    ("now", "then", "drift"),
    [
        ({"a": 100, "b": 100}, {"a": 5, "b": 5}, 0.0),
        ({"a": 200}, {"a": 5, "b": 5}, 0.5),
        ({"a": 200}, {"b": 5}, 1.0),
        ({"a": 150, "c": 50}, {"a": 75, "b": 25}, 0.25),
        ({"a": 199}, {"b": 5}, None),
        ({"a": 200}, None, None),
        ({"a": 200}, {}, None),
        ({"a": 200}, {"b": 0}, None),
        (None, {"b": 5}, None),
    ],
)
def test_drift(now: Any, then: Any, drift: float | None) -> None:
    assert prediction_drift(manifest(now, then)) == drift


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10**6), min_size=1)


@given(now=COUNTS, then=COUNTS)
def test_drift_is_a_share_that_knows_no_direction_and_no_scale(
    now: dict[str, int], then: dict[str, int]
) -> None:
    large = {label: 200 * count for label, count in now.items()}
    drift = prediction_drift(manifest(large, then))
    assert drift is not None
    assert 0 <= drift <= 1 + 1e-9
    more = {label: 200 * count for label, count in then.items()}
    assert prediction_drift(manifest(more, now)) == pytest.approx(drift)
    assert prediction_drift(manifest(more, then)) == pytest.approx(0)
