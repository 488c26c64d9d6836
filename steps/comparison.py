"""Challenger and champion on the same rows: which is better, and what of it may be chance.

Both saw the same rows, so what tells is where they differ: the rows that only one of them gets
right. Pure functions of the true labels and of what each of both predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from steps.metrics import F64, I64, confusion_matrix, macro_f1

Z = 1.959963984540054  # of the standard normal distribution: 95 % lie within plus and minus this
NO_CHAMPION: dict[str, Any] = {
    "has_champion": False,
    "regression": 0.0,
    "regression_low": 0.0,
    "regression_high": 0.0,
    "p_value": 1.0,
    "only_challenger_right": 0,
    "only_champion_right": 0,
    "macro_f1": {"difference": 0.0, "low": 0.0, "high": 0.0},
    "classes": {},
}
"""What `comparison` says where there is nothing to compare with."""

_FEW = 25  # discordant rows: below, McNemar's test is exact
_RESAMPLES = 2_000
_ROOM = 1_000_000  # counts that are held at once


@dataclass(frozen=True)
class Estimate:
    """A difference and its 95 % interval."""

    difference: float
    low: float
    high: float


def comparison(
    targets: I64, challenger: I64, champion: I64, labels: Sequence[str], seed: int = 0
) -> dict[str, Any]:
    """`comparison` in `evaluation.json`.

    A regression is what the challenger loses of accuracy (negative: gains), the difference of the
    macro F1 what it gains. Both have 95 % intervals. The classes are those that have rows,
    with the recall of each model.

    Parameters
    ----------
    targets, challenger, champion
        The number of each row's true label, and of what each model took it for: (rows,), at least
        one.
    labels
        The labels of all three by their numbers.
    seed
        Of the resampling of the macro F1.
    """
    challenger_right, champion_right = challenger == targets, champion == targets
    gained = int((challenger_right & ~champion_right).sum())
    lost = int((champion_right & ~challenger_right).sum())
    regression = difference_of_paired_shares(lost, gained, len(targets))
    f1 = difference_of_macro_f1(targets, challenger, champion, len(labels), seed)
    support, now, before = (
        np.bincount(rows, minlength=len(labels)).tolist()
        for rows in (targets, targets[challenger_right], targets[champion_right])
    )
    return {
        "has_champion": True,
        "regression": regression.difference,
        "regression_low": regression.low,
        "regression_high": regression.high,
        "p_value": mcnemar(lost, gained),
        "only_challenger_right": gained,
        "only_champion_right": lost,
        "macro_f1": {"difference": f1.difference, "low": f1.low, "high": f1.high},
        "classes": {
            label: {
                "challenger": now[number] / support[number],
                "champion": before[number] / support[number],
                "support": support[number],
            }
            for number, label in enumerate(labels)
            if support[number]
        },
    }


def mcnemar(first: int, second: int) -> float:
    """The probability of discordant rows at least as one-sided as these, were both models equally
    good: `first` are right with one model only, `second` with the other only.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions or
    percentages". Few rows: the exact binomial test with probability one half, both sides (Agresti
    2013, "Categorical Data Analysis", section 11.1.4). More: chi-square of one degree of freedom
    with the correction for continuity of Edwards 1948.
    """
    rows = first + second
    if rows < _FEW:
        tail = sum(math.comb(rows, right) for right in range(min(first, second) + 1))
        return float(min(1.0, 2 * tail / 2**rows))
    chi_square = max(0, abs(first - second) - 1) ** 2 / rows
    return math.erfc(math.sqrt(chi_square / 2))


def difference_of_paired_shares(first: int, second: int, rows: int) -> Estimate:
    """(first - second) / rows with its score interval, where `first` rows have only the one
    property, and `second` only the other.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17, equations 8 to 10: the differences that a
    score test at 5 % does not refuse. It holds its 95 % for few rows too, and where no row differs
    it has a width, unlike the interval of the normal approximation.
    """
    found = (first - second) / rows

    def refused(difference: float) -> bool:
        """Whether the score of the difference, given the counts, is beyond the bound."""
        # The most likely share of `second` where the shares differ by so much: the larger root.
        b = -first - second + (2 * rows - first + second) * difference
        c = -second * difference * (1 - difference)
        share = (math.sqrt(max(0.0, b * b - 8 * rows * c)) - b) / (4 * rows)
        variance = rows * max(0.0, 2 * share + difference * (1 - difference))
        return (first - second - rows * difference) ** 2 > Z * Z * variance

    return Estimate(found, _bound(found, -1.0, refused), _bound(found, 1.0, refused))


def difference_of_macro_f1(
    targets: I64, challenger: I64, champion: I64, labels: int, seed: int
) -> Estimate:
    """The challenger's macro F1 less the champion's: (rows,) each -> the difference, and the
    percentile interval of the paired bootstrap.

    Efron & Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3: rows are drawn again
    with what both models said of them. Rows that agree in all three are one cell, and how often
    each cell is drawn is multinomial, so that it costs what the cells cost and not what the rows
    do.
    """
    joint = (targets * labels + challenger) * labels + champion
    cells, counts = np.unique(joint, return_counts=True)
    truth, before, now = cells // labels**2, cells % labels, cells // labels % labels
    random = np.random.default_rng(seed)
    at_once = max(1, _ROOM // max(len(cells), labels))
    found = []
    for done in range(0, _RESAMPLES, at_once):
        size = min(at_once, _RESAMPLES - done)
        drawn = random.multinomial(len(targets), counts / len(targets), size).T.copy()
        gain = _macro_f1s(drawn, truth, now, labels) - _macro_f1s(drawn, truth, before, labels)
        found.append(gain)
    low, high = np.percentile(np.concatenate(found), [2.5, 97.5]).tolist()
    champion_f1 = macro_f1(confusion_matrix(targets, champion, labels))
    difference = macro_f1(confusion_matrix(targets, challenger, labels)) - champion_f1
    # Of few rows the percentiles may both lie to one side of what was found.
    return Estimate(difference, min(low, difference), max(high, difference))


def _bound(inside: float, outside: float, refused: Callable[[float], bool]) -> float:
    """The last value that is not refused, from one that is not towards one that may be."""
    if not refused(outside):
        return outside
    for _ in range(50):  # halves what is between: exact but for rounding
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if refused(middle) else (middle, outside)
    return inside


def _macro_f1s(drawn: I64, truth: I64, taken: I64, labels: int) -> F64:
    """The macro F1 of each resample, as `metrics.macro_f1` has it: how often each cell was drawn
    (cells, resamples), the cells' true and predicted labels (cells,) -> (resamples,)."""
    same = truth == taken
    right = _by_label(drawn[same], truth[same], labels)
    marked = _by_label(drawn, truth, labels) + _by_label(drawn, taken, labels)
    f1 = np.divide(2 * right, marked, out=np.zeros(right.shape), where=marked > 0)
    made: F64 = f1.sum(axis=0) / (marked > 0).sum(axis=0)
    return made


def _by_label(drawn: I64, of: I64, labels: int) -> I64:
    """The draws of each label's cells: (cells, resamples), (cells,) -> (labels, resamples)."""
    made = np.zeros((labels, drawn.shape[1]), np.int64)
    if len(of):
        order = np.argsort(of, kind="stable")
        present, starts = np.unique(of[order], return_index=True)
        made[present] = np.add.reduceat(drawn[order], starts, axis=0)
    return made
