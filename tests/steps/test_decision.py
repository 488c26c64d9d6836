from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.decision import ALWAYS_REVIEW, Calibration, calibrate, review_threshold
from steps.metrics import calibration_error, log_loss


def scored(rows: int, labels: int, noise: float, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """Scores, and labels drawn from their softmax at a temperature of 1 / sharpness."""
    random = np.random.default_rng(0)
    scores = random.normal(size=(rows, 1 if labels == 2 else labels)).astype(np.float32)
    made = Calibration(1 / sharpness, noise).probabilities(scores)
    targets = (random.random((rows, 1)) > made.cumsum(axis=1)).sum(axis=1)
    return scores, np.minimum(targets, labels - 1)


@pytest.mark.parametrize("labels", [2, 5])
@pytest.mark.parametrize("noise", [0.02, 0.3])
@pytest.mark.parametrize("sharpness", [0.5, 4.0])
def test_calibration_finds_the_temperature_and_noise_of_the_data(
    labels: int, noise: float, sharpness: float
) -> None:
    scores, targets = scored(20_000, labels, noise, sharpness)
    found = calibrate(scores, targets)
    true = Calibration(1 / sharpness, noise)
    reached = log_loss(targets, found.probabilities(scores))
    assert reached <= log_loss(targets, true.probabilities(scores)) + 1e-4
    assert calibration_error(targets, found.probabilities(scores)) < 0.02


def test_calibration_changes_no_decision() -> None:
    scores, targets = scored(500, 4, 0.1, 2.0)
    made = calibrate(scores, targets).probabilities(scores)
    assert np.array_equal(made.argmax(axis=1), scores.argmax(axis=1))


def test_few_rows_that_are_all_right_do_not_make_it_sure() -> None:
    scores = np.array([[5.0], [-5.0], [4.0]], np.float32)
    made = calibrate(scores, np.array([1, 0, 1])).probabilities(scores)
    assert 0.5 < made.max() < 0.95


def test_without_rows_nothing_is_changed() -> None:
    assert calibrate(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)) == Calibration()


@settings(deadline=None)
@given(st.integers(1, 6), st.floats(0.01, 100), st.floats(0, 0.9), st.data())
def test_probabilities_are_such(
    columns: int, temperature: float, noise: float, data: st.DataObject
) -> None:
    number = st.floats(-1e4, 1e4, width=32)
    rows = st.lists(st.lists(number, min_size=columns, max_size=columns), min_size=1, max_size=5)
    made = Calibration(temperature, noise).probabilities(np.array(data.draw(rows), np.float32))
    assert made.shape[1] == max(2, columns)
    assert ((made >= 0) & (made <= 1)).all()
    assert np.allclose(made.sum(axis=1), 1, atol=1e-5)


def two_labels(confidences: list[float]) -> np.ndarray:
    return np.array([[1 - c, c] for c in confidences], np.float32)


@pytest.mark.parametrize(
    ("right", "precision", "expected"),
    [
        ([1, 1, 1, 0], 1.0, 0.7),
        ([1, 1, 1, 0], 0.75, 0.6),
        ([1, 0, 1, 1], 0.75, 0.6),  # the smallest that reaches it, though a larger one does not
        ([0, 1, 1, 1], 0.9, ALWAYS_REVIEW),
        ([0, 0, 0, 0], 0.0, 0.6),
    ],
)
def test_threshold_is_the_smallest_confidence_that_reaches_the_precision(
    right: list[int], precision: float, expected: float
) -> None:
    made = two_labels([0.9, 0.8, 0.7, 0.6])
    assert review_threshold(made, np.array(right), precision) == pytest.approx(expected)


def test_rows_of_equal_confidence_stand_or_fall_together() -> None:
    made = two_labels([0.9, 0.8, 0.8, 0.8])
    assert review_threshold(made, np.array([1, 1, 0, 0]), 1.0) == pytest.approx(0.9)
    assert review_threshold(made[1:], np.array([1, 0, 0]), 1.0) == ALWAYS_REVIEW


def test_without_rows_all_is_reviewed() -> None:
    assert review_threshold(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), 0.9) > 1
