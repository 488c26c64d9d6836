"""What can be set for a training, and its reading from SageMaker's texts.

What only one kind of model has is set in the file of that kind: see `steps.models`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from steps import class_weights, models
from steps.errors import InputError


def within(default: float, low: float, high: float) -> Any:
    """A field with a default and the range of what it may be, both ends included."""
    return field(default=default, metadata={"low": low, "high": high})


def one_of(default: str, *others: str) -> Any:
    """A field with a default and what else it may be."""
    return field(default=default, metadata={"choices": (default, *others)})


def words_or_weights(default: str, *others: str) -> Any:
    """A field with a default, what else it may be, and a JSON object of weights by label."""
    return field(
        default=default,
        metadata={"words": (default, *others), "largest": class_weights.LARGEST},
    )


def optional(default: str = "") -> Any:
    """A field for a text that may be empty."""
    return field(default=default, metadata={"empty": True})


@dataclass(frozen=True)
class Hyperparameters:
    """What every kind of model has.

    Raises InputError for a value of the wrong type or out of range.
    """

    OWN_LEARNING_RATE: ClassVar[float]  # what the kind does well with on most data
    OWN_EPOCHS: ClassVar[int] = 20
    LARGEST_BATCH: ClassVar[int] = 256  # rows, unless the user sets them

    kind: str = "ngram"  # of model
    text_column: str = "text"  # of the training file
    label_column: str = "label"  # of the training file
    epochs: int = within(0, 0, 1000)
    """At most: training ends earlier when validation says so. 0: the kind's own."""
    patience: int = within(1, 1, 1000)  # epochs that may be no better than the best before the end
    monitor: str = one_of("loss", "accuracy", "macro_f1")  # of the validation rows: what is better
    learning_rate: float = within(0.0, 0.0, 10.0)  # 0: the kind's own
    batch_size: int = within(0, 0, 65536)  # 0: by the number of rows
    class_weights: str = words_or_weights("none", "balanced")
    """How much a row counts by its label, such as {"fire": 2.5}."""
    seed: int = within(0, 0, 2**31 - 1)  # same data, same seed, same machine: same model
    validation_share: float = within(0.1, 0.0, 0.5)  # of the rows: judges epochs
    review_precision: float = within(0.93, 0.0, 1.0)
    """What is predicted with less confidence than yields this precision is for a person to see."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        class_weights.parse(self.class_weights)

    @property
    def most_epochs(self) -> int:
        return self.epochs or self.OWN_EPOCHS

    def as_dict(self) -> dict[str, Any]:
        """All of them, by name, with the epochs and the learning rate that are used."""
        used = self.learning_rate or self.OWN_LEARNING_RATE
        return dataclasses.asdict(self) | {"learning_rate": used, "epochs": self.most_epochs}


@dataclass(frozen=True)
class NetworkHyperparameters(Hyperparameters):
    """What every kind has whose network is more than one sum of weights."""

    float16: bool = False  # where it is safe; on a GPU only


# What the SageMaker SDK and tuning jobs put beside a user's own.
_NOT_OURS = ("sagemaker_", "_tuning_")
# Holds others as a JSON object: a pipeline has one parameter for all that it does not name itself.
TOGETHER = "hyperparameters"


def parse(texts: Mapping[str, str]) -> Hyperparameters:
    """The hyperparameters that SageMaker passes as texts, those left out at their defaults.

    The members of the JSON object `hyperparameters` are hyperparameters like the others.

    Raises InputError for a kind or name that does not exist (with the nearest that does, or the
    kinds that know it), a name given twice, a value of the wrong type and a value out of range.
    """
    given = _merged(
        {name: _unquoted(text) for name, text in texts.items() if not name.startswith(_NOT_OURS)}
    )
    kind = given.get("kind", "ngram")
    if kind not in models.KINDS:
        raise InputError(
            f"hyperparameter kind is {_cut(kind)}, expected one of: {', '.join(models.KINDS)}"
            + _meant(kind, models.KINDS)
        )
    fields = _fields(kind)
    for name in given.keys() - fields.keys():
        raise InputError(
            f"hyperparameter {_cut(name)} does not exist for kind {kind!r}{_instead(name, fields)}"
        )
    made: type[Hyperparameters] = models.module(kind).HYPERPARAMETERS
    return made(**{name: _value(fields[name], text) for name, text in given.items()})


def _merged(texts: Mapping[str, str]) -> dict[str, str]:
    """With each member of `hyperparameters` as if it were given by its own name."""
    found = {name: text for name, text in texts.items() if name != TOGETHER}
    for name, text in _members(texts.get(TOGETHER, "{}")).items():
        if name in found:
            raise InputError(
                f"hyperparameter {_cut(name)} is given by its own name and in {TOGETHER}: leave it "
                "out there (in a pipeline, a parameter of its own sets it)"
            )
        found[name] = text
    return found


def _members(text: str) -> dict[str, str]:
    """The members of a JSON object in SageMaker's form, all text."""
    try:
        members = json.loads(text, object_pairs_hook=_without_duplicates)
        is_object = isinstance(members, dict)
        texts = {name: _as_text(value) for name, value in members.items()} if is_object else {}
    except (ValueError, RecursionError):
        is_object = False
    if not is_object:
        raise InputError(
            f"hyperparameter {TOGETHER} is {_cut(text)}, expected a JSON object such as "
            '{"class_weights": "balanced", "patience": 2}'
        )
    for name, value in members.items():
        if value is None or isinstance(value, list):
            raise InputError(
                f"hyperparameter {_cut(name)} in {TOGETHER} is {_cut(texts[name])}, "
                "expected a text, a number, true, false or an object"
            )
    return texts


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{TOGETHER} holds {_cut(twice)} twice, expected each name once")
    return found


def _fields(kind: str) -> dict[str, dataclasses.Field[Any]]:
    return {item.name: item for item in dataclasses.fields(models.module(kind).HYPERPARAMETERS)}


def _unquoted(text: str) -> str:
    """The text of a JSON string: some versions of the SDK quote what was text already."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except json.JSONDecodeError:
            return text
    return text


def _instead(name: str, names: Collection[str]) -> str:
    """What to write for a name that a kind does not know."""
    knowing = [kind for kind in models.KINDS if name in _fields(kind)]
    if knowing:
        return f", only for: {', '.join(knowing)}; there are: {', '.join(names)}"
    if own := _meant(name, names):
        return own
    others = {each: kind for kind in reversed(models.KINDS) for each in _fields(kind)}
    if near := difflib.get_close_matches(name, others, n=1, cutoff=0.8):
        return f": did you mean {near[0]!r} of kind {others[near[0]]!r}?"
    return f"; there are: {', '.join(names)}"


def _cut(value: object) -> str:
    """A value as a message shows it: what is long was hardly meant so."""
    shown = repr(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"


def _meant(name: str, names: Collection[str]) -> str:
    found = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {found[0]!r}?" if found else ""


_LONGEST_SHOWN = 60  # characters of a value in a message
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_EXPECTED = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}


def _value(item: dataclasses.Field[Any], text: str) -> Any:
    """The text as a value of the field's type."""
    kind = str(item.type)  # the name of the type, thanks to the postponed annotations
    try:
        if kind == "bool":
            return _TRUTHS[text.strip().lower()]
        return {"int": int, "float": float, "str": str}[kind](text)
    except (ValueError, KeyError):
        raise InputError(
            f"hyperparameter {item.name} is {_cut(text)}, expected {_EXPECTED[kind]}"
        ) from None


def _check(item: dataclasses.Field[Any], value: Any) -> None:
    """Raises InputError unless the value is what the field may be."""
    kind = str(item.type)
    allowed = {"float": (int, float), "int": (int,), "str": (str,), "bool": (bool,)}[kind]
    if type(value) not in allowed:
        raise InputError(f"hyperparameter {item.name} is {_cut(value)}, expected {_EXPECTED[kind]}")
    if "low" in item.metadata:
        low, high = item.metadata["low"], item.metadata["high"]
        if not low <= value <= high or math.isnan(value):
            shown = _cut(value) if isinstance(value, int) else f"{value:g}"
            raise InputError(
                f"hyperparameter {item.name} is {shown}, expected between {low:g} and {high:g}"
            )
    choices = item.metadata.get("choices")
    if choices and value not in choices:
        raise InputError(
            f"hyperparameter {item.name} is {_cut(value)}, expected one of: {', '.join(choices)}"
            + _meant(value, choices)
        )
    if kind == "str" and not value.strip() and not item.metadata.get("empty"):
        raise InputError(f"hyperparameter {item.name} is empty, expected a name")
