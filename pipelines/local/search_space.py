"""The space that a tuning job searches: its ranges, checked as SageMaker checks them, and points of
it drawn at random.

What the scaling types mean is in the Amazon SageMaker developer guide, "Define hyperparameter
ranges"; the limits are those of "Resource limits for automatic model tuning". `Auto` is `Linear`
here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from pipelines.local.aws_json import ServiceError, invalid
from pipelines.local.documents import Document

MOST_NAMES = 30

_KINDS = ("IntegerParameterRanges", "ContinuousParameterRanges", "CategoricalParameterRanges")


class SearchSpace:
    """What hyperparameters may be, by their names."""

    def __init__(self, ranges: Document) -> None:
        """
        Raises
        ------
        ServiceError
            A range is none, there is none, or there are too many.
        """
        if ranges.get("AutoParameters"):
            raise invalid("AutoParameters is not supported by the local cloud: give ranges")
        found = [(kind, one) for kind in _KINDS for one in ranges.get(kind) or []]
        names = [one["Name"] for _, one in found]
        if not names:
            raise invalid("At least one hyperparameter range is required")
        if len(names) > MOST_NAMES:
            raise ServiceError(
                "ResourceLimitExceeded",
                f"{len(names)} hyperparameters are to be searched, at most {MOST_NAMES} can be",
            )
        for name in names:
            if names.count(name) > 1:
                raise invalid(f"Hyperparameter {name} has more than one range")
        self._dimensions: dict[str, _Choice | _Interval] = {
            one["Name"]: _choice(one) if kind == _KINDS[2] else _interval(one, kind == _KINDS[0])
            for kind, one in found
        }

    @property
    def names(self) -> set[str]:
        return set(self._dimensions)

    def draw(self, random: Random) -> dict[str, str]:
        """A point, as the texts that a training job gets."""
        return {name: one.draw(random) for name, one in self._dimensions.items()}


@dataclass(frozen=True)
class _Choice:
    values: tuple[str, ...]

    def draw(self, random: Random) -> str:
        return random.choice(self.values)


@dataclass(frozen=True)
class _Interval:
    low: float
    high: float
    scaling: str
    is_whole: bool

    def draw(self, random: Random) -> str:
        if self.scaling == "Logarithmic":
            value = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        elif self.scaling == "ReverseLogarithmic":
            value = 1 - math.exp(random.uniform(math.log(1 - self.high), math.log(1 - self.low)))
        elif self.is_whole:
            return str(random.randint(int(self.low), int(self.high)))
        else:
            value = random.uniform(self.low, self.high)
        value = min(max(value, self.low), self.high)  # against rounding
        return str(round(value)) if self.is_whole else repr(value)


def _choice(given: Document) -> _Choice:
    values = tuple(given["Values"])
    if len(set(values)) < len(values):
        raise invalid(f"The values of hyperparameter {given['Name']} are not distinct")
    return _Choice(values)


def _interval(given: Document, is_whole: bool) -> _Interval:
    name, scaling = given["Name"], given.get("ScalingType", "Auto")
    low, high = (_number(name, given[end], is_whole) for end in ("MinValue", "MaxValue"))
    shown = f"hyperparameter {name}: MinValue {given['MinValue']}, MaxValue {given['MaxValue']}"
    if low >= high:
        raise invalid(f"The range of {shown}: expected MinValue below MaxValue")
    if scaling == "Logarithmic" and low <= 0:
        raise invalid(f"The range of {shown}: Logarithmic scaling needs values above 0")
    if scaling == "ReverseLogarithmic" and (is_whole or low < 0 or high >= 1):
        raise invalid(
            f"The range of {shown}: ReverseLogarithmic scaling needs a continuous range within "
            "0 <= x < 1"
        )
    return _Interval(low, high, scaling, is_whole)


def _number(name: str, text: str, is_whole: bool) -> float:
    try:
        value = float(int(text)) if is_whole else float(text)
        if not math.isfinite(value):
            raise ValueError
    except (ValueError, OverflowError):
        expected = "an integer" if is_whole else "a number"
        raise invalid(f"The range of hyperparameter {name}: {text!r} is not {expected}") from None
    return value
