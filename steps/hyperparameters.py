"""What can be set for a training, and its reading from SageMaker's texts.

What only one kind of model has is set in the file of that kind: see `steps.models`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from steps import models
from steps.errors import InputError


def within(default: float, low: float, high: float) -> Any:
    """A field with a default and the range of what it may be, both ends included."""
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True)
class Hyperparameters:
    """What every kind of model has."""

    OWN_LEARNING_RATE: ClassVar[float]  # what the kind does well with on most data
    LARGEST_BATCH: ClassVar[int] = 256  # rows, unless the user sets them

    kind: str = "ngram"
    text_column: str = "text"
    label_column: str = "label"
    epochs: int = within(20, 1, 1000)  # at most: training ends earlier when validation says so
    patience: int = within(1, 1, 1000)  # epochs without a better validation loss before the end
    learning_rate: float = within(0.0, 0.0, 10.0)  # 0: the kind's own
    batch_size: int = within(0, 0, 65536)  # 0: by the number of rows
    seed: int = within(0, 0, 2**31 - 1)
    validation_share: float = within(0.1, 0.0, 0.5)
    review_precision: float = within(0.93, 0.0, 1.0)
    """What is predicted with less confidence than yields this precision is for a person to see."""

    def as_dict(self) -> dict[str, Any]:
        """All of them, by name, with the learning rate that is used."""
        used = self.learning_rate or self.OWN_LEARNING_RATE
        return dataclasses.asdict(self) | {"learning_rate": used}


# What the SageMaker SDK and tuning jobs put beside a user's own.
_NOT_OURS = ("sagemaker_", "_tuning_")


def parse(texts: Mapping[str, str]) -> Hyperparameters:
    """The hyperparameters that SageMaker passes as texts, those left out at their defaults.

    Raises InputError for a kind or name that does not exist (with the nearest that does), a value
    of the wrong type and a value out of range.
    """
    given = {
        name: _unquoted(text) for name, text in texts.items() if not name.startswith(_NOT_OURS)
    }
    kind = given.get("kind", "ngram")
    if kind not in models.KINDS:
        raise InputError(
            f"hyperparameter kind is {kind!r}, expected one of: {', '.join(models.KINDS)}"
        )
    made: type[Hyperparameters] = models.module(kind).HYPERPARAMETERS
    fields = {item.name: item for item in dataclasses.fields(made)}
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in fields:
            raise InputError(
                f"hyperparameter {name!r} does not exist for kind {kind!r}{_nearest(name, fields)}"
            )
        values[name] = _value(fields[name], text)
    return made(**values)


def _unquoted(text: str) -> str:
    """The text of a JSON string: some versions of the SDK quote what was text already."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text
    return text


def _nearest(name: str, names: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    if found:
        return f": did you mean {found[0]!r}?"
    return f"; there are: {', '.join(names)}"


def _value(item: dataclasses.Field[Any], text: str) -> Any:
    """The text as a value of the field's type, within its range."""
    kind = str(item.type)  # the name of the type, thanks to the postponed annotations
    if kind == "str":
        if not text.strip():
            raise InputError(f"hyperparameter {item.name} is empty, expected a name")
        return text
    low, high = item.metadata["low"], item.metadata["high"]
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        expected = "a whole number" if kind == "int" else "a number"
        raise InputError(f"hyperparameter {item.name} is {text!r}, expected {expected}") from None
    if not low <= value <= high or math.isnan(value):
        raise InputError(
            f"hyperparameter {item.name} is {text}, expected between {low:g} and {high:g}"
        )
    return value
