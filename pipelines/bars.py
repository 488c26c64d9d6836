"""The bars that a model must reach to be registered, and how far it is from each.

The step ModelGate decides by these very figures (pipelines/definition.py); here they are words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The parameter that sets a bar: the figure of the challenger, in words and in evaluation.json.
_AT_LEAST = {
    "MinAccuracy": ("accuracy", "accuracy"),
    "MinMacroF1": ("macro F1", "macro_f1"),
    "MinClassRecall": ("recall of the worst class", "worst_class_recall"),
}
_AT_MOST = {"MaxCalibrationError": ("calibration error", "calibration_error")}
_REGRESSION = "AllowedRegression"


@dataclass(frozen=True)
class Bar:
    """A bar, and what the model reached."""

    name: str  # of the parameter that sets it
    reached: float
    bar: float
    passed: bool
    sentence: str


def judged(evaluation: Mapping[str, Any], parameters: Mapping[str, str]) -> list[Bar]:
    """Every bar that the execution's parameters set, in the order of the gate's conditions:
    `evaluation` is what Evaluate wrote.

    An execution of an older version of the pipeline has fewer bars, and its comparison no interval.
    """
    bars = []
    for name, (words, figure) in {**_AT_LEAST, **_AT_MOST}.items():
        if name in parameters:
            reached, bar = evaluation["challenger"][figure], float(parameters[name])
            passed = reached >= bar if name in _AT_LEAST else reached <= bar
            bars.append(Bar(name, reached, bar, passed, _absolute(name, words, reached, bar)))
    if _REGRESSION in parameters:
        bars.append(_regression(evaluation["comparison"], float(parameters[_REGRESSION])))
    return bars


def _absolute(name: str, words: str, reached: float, bar: float) -> str:
    gap = abs(reached - bar)
    if reached == bar:
        return f"{words} {_shown(reached)} is just {name}"
    side = "above" if reached > bar else "below"
    return f"{words} {_shown(reached, gap)} is {side} {name} {bar} by {_shown(gap, gap)}"


def _regression(comparison: Mapping[str, Any], bar: float) -> Bar:
    lost = comparison["regression"]
    low, high = (comparison.get(f"regression_{end}", lost) for end in ("low", "high"))
    passed = low <= bar
    if not comparison["has_champion"]:
        return Bar(_REGRESSION, low, bar, passed, "there is no champion to compare with")
    gap = low - bar
    if lost < 0:
        change, ends = f"gains {_shown(-lost)}", (-high, -low)
    else:
        change, ends = f"loses {_shown(lost)}", (low, high)
    sentence = (
        f"it {change} of accuracy against the champion (between {_shown(ends[0])} and "
        f"{_shown(ends[1])} with 95 % confidence), {_REGRESSION} is {bar}"
    )
    if not passed:
        sentence += f": even the lower bound is {_shown(gap, gap)} too much"
    elif lost > bar:
        sentence += (
            ": that more than that is lost may be chance"
            if low > 0
            else ": that it loses at all may be chance"
        )
    return Bar(_REGRESSION, low, bar, passed, sentence)


def _shown(figure: float, gap: float = 1.0) -> str:
    """With four digits, or with those that show a smaller gap."""
    digits = 4 if gap >= 0.0001 else 8
    return f"{round(figure, digits) + 0.0:.{digits}f}"  # no minus before a zero
