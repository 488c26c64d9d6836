"""How good a classifier is: pure functions of the true labels and the predicted probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SMALLEST = 1e-7  # a probability of 0 for what is true would make the log loss infinite


@dataclass(frozen=True)
class Scores:
    """The figures of one classifier on one set of rows; per-label arrays follow the labels."""

    rows: int
    accuracy: float
    macro_f1: float  # mean over the labels that occur, in truth or in predictions
    weighted_f1: float  # weighted by support
    log_loss: float
    calibration_error: float
    worst_class_recall: float  # of the labels that have rows
    precision: F64
    recall: F64
    f1: F64
    support: I64
    confusion: I64  # [true, predicted]


def score(targets: I64, probabilities: F32, known: npt.NDArray[np.bool_] | None = None) -> Scores:
    """All figures for rows of known labels.

    Parameters
    ----------
    targets
        The number of each row's label: (rows,), at least one.
    probabilities
        What the classifier says: (rows, labels).
    known
        Which labels the classifier knows at all: (labels,). The others have no meaningful
        probability, so their rows count as errors and stay out of log loss and calibration.
    """
    labels = probabilities.shape[1]
    confusion = confusion_matrix(targets, probabilities.argmax(axis=1), labels)
    right = np.diag(confusion).astype(np.float64)
    support = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    precision = _ratio(right, predicted)
    recall = _ratio(right, support)
    f1 = _ratio(2 * right, support + predicted)
    judged = np.ones(len(targets), bool) if known is None else known[targets]
    return Scores(
        rows=len(targets),
        accuracy=float(right.sum() / len(targets)),
        macro_f1=macro_f1(confusion),
        weighted_f1=float((f1 * support).sum() / support.sum()),
        log_loss=log_loss(targets[judged], probabilities[judged]),
        calibration_error=calibration_error(targets[judged], probabilities[judged]),
        worst_class_recall=float(recall[support > 0].min()),
        precision=precision,
        recall=recall,
        f1=f1,
        support=support,
        confusion=confusion,
    )


def confusion_matrix(targets: I64, predicted: I64, labels: int) -> I64:
    """How often rows of each label (first axis) were taken for each label: (labels, labels)."""
    pairs = np.bincount(targets * labels + predicted, minlength=labels * labels)
    return pairs.reshape(labels, labels).astype(np.int64)


def macro_f1(confusion: I64) -> float:
    """The mean F1 of the labels that occur, in truth or in predictions: [true, predicted] -> it."""
    marked = confusion.sum(axis=1) + confusion.sum(axis=0)
    f1 = _ratio(2 * np.diag(confusion).astype(np.float64), marked)
    return float(f1[marked > 0].mean())


def log_loss(targets: I64, probabilities: F32) -> float:
    """The mean of -log of the probability that the true label was given; 0 without rows."""
    if not len(targets):
        return 0.0
    given = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(np.clip(given, _SMALLEST, 1)).mean())


def calibration_error(targets: I64, probabilities: F32, bins: int = 15) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, averaged over
    equally wide bins of confidence weighted by their rows; 0 without rows.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", equation 3.
    """
    if not len(targets):
        return 0.0
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == targets
    number = confidence_bins(confidence, bins)
    surplus = np.bincount(number, weights=confidence - right, minlength=bins)
    return float(np.abs(surplus).sum() / len(targets))


def confidence_bins(confidence: F64, bins: int) -> I64:
    """The bin that each confidence falls into, of so many equal ones of [0, 1]: (rows,) -> (rows,).
    A bin holds its upper edge, not its lower one; the first holds 0, too."""
    number: I64 = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    return number


def _ratio(numerator: F64, denominator: I64) -> F64:
    """The quotient, 0 where there is nothing to divide by."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator > 0)
