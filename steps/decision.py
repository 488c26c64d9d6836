"""From scores to decisions: calibrated probabilities, and the threshold for review."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

ALWAYS_REVIEW = 1.01
"""The threshold when no confidence is good enough: above all of them."""

_TEMPERATURES = (0.01, 100.0)
_MOST_NOISE = 0.9
_ROWS = 20_000  # that calibration looks at, at most


@dataclass(frozen=True)
class Calibration:
    """Probabilities are (1 - noise) * softmax(scores / temperature) + noise / labels.

    The temperature is that of Guo et al. 2017, "On Calibration of Modern Neural Networks". The
    noise is the share of rows whose label follows from nothing: without it, a few rows with a wrong
    label make the temperature doubt all others.
    """

    temperature: float = 1.0
    noise: float = 0.0

    def logits(self, scores: F32) -> F64:
        """What the softmax makes probabilities of: (rows, labels).

        Scores of one column are those of the second of two labels, against zero for the first.
        """
        return _logits(scores, self.temperature)

    def probabilities(self, scores: F32) -> F32:
        """The probability of each label: (rows, labels)."""
        made = _softmax(scores, self.temperature)
        return (made * (1 - self.noise) + self.noise / made.shape[1]).astype(np.float32)


def calibrate(scores: F32, targets: I64) -> Calibration:
    """The calibration with the lowest log loss on rows that were not learnt from.

    The noise is at least one row in all that there are and two more, after the rule of succession:
    a few rows that are all right do not make the model sure of everything.
    """
    every = math.ceil(len(targets) / _ROWS) or 1
    scores, targets = scores[::every], targets[::every]
    if not len(targets):
        return Calibration()
    low, high = np.log(_TEMPERATURES)
    best = (math.inf, Calibration())
    for steps in (40, 20):
        for temperature in np.exp(np.linspace(low, high, steps + 1)).tolist():
            made = _softmax(scores, temperature)
            loss, noise = _noise(made[np.arange(len(targets)), targets], made.shape[1])
            best = min(best, (loss, Calibration(temperature, noise)), key=lambda item: item[0])
        around, step = math.log(best[1].temperature), (high - low) / steps
        low, high = around - step, around + step
    return best[1]


def review_threshold(probabilities: F32, targets: I64, precision: float) -> float:
    """The smallest confidence such that of the rows with at least that much, the given share is
    right; `ALWAYS_REVIEW` if there is none."""
    confidence = probabilities.max(axis=1, initial=0)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    right = np.cumsum((probabilities.argmax(axis=1) == targets)[order])
    reached = right >= precision * np.arange(1, len(order) + 1)
    reached[:-1] &= ranked[1:] != ranked[:-1]  # rows of equal confidence stand or fall together
    if not reached.any():
        return ALWAYS_REVIEW
    return float(ranked[np.flatnonzero(reached)[-1]])


def _logits(scores: F32, temperature: float) -> F64:
    logits = scores.astype(np.float64) / temperature
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return logits


def _softmax(scores: F32, temperature: float) -> F64:
    logits = _logits(scores, temperature)
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    return logits


def _noise(given: F64, labels: int) -> tuple[float, float]:
    """The lowest log loss, and the noise that reaches it, when the true labels were `given` these
    probabilities. The loss is convex in the noise: its slope is bisected."""
    gain = 1 / labels - given
    low, high = 1 / (len(given) + 2), _MOST_NOISE
    for _ in range(25):
        middle = (low + high) / 2
        rising = float((gain / (given + middle * gain)).sum()) < 0
        low, high = (low, middle) if rising else (middle, high)
    return float(-np.log(given + low * gain).mean()), low
