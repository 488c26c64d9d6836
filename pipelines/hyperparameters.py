"""The pipeline's parameter `Hyperparameters`: what a training is told that has no parameter of its
own, as a JSON object from names to values.

What there is, and what it may be, `hyperparameters.json` holds: `make docs` writes it from the
steps, which have the last word.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pipelines.errors import UserError

Document = dict[str, Any]

PARAMETER = "Hyperparameters"
NAME = "hyperparameters"  # of the hyperparameter that carries it to the training
EXAMPLE = """-p 'Hyperparameters={"class_weights": "balanced"}'"""
_SETTINGS = {"kind": "model_kind", "text_column": "text_column", "label_column": "label_column"}
_LONGEST_SHOWN = 60  # characters of a value in a message
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_READERS: dict[str, Any] = {
    "int": int,
    "float": float,
    "bool": lambda text: _TRUTHS[text.strip().lower()],
}
_EXPECTED = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def read(text: str, where: str = f"Parameter {PARAMETER}") -> Document:
    """The object's members, by name.

    Raises
    ------
    UserError
        It is no JSON object, not in one line, or holds a name twice, a list or null.
    """
    try:
        found = json.loads(text, object_pairs_hook=_without_duplicates)
        as_text(found).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{where} is {_cut(text)}, expected a JSON object, in a shell: {EXAMPLE}")
    if text.splitlines() != [text]:  # SageMaker's pattern for a hyperparameter
        raise UserError(f"{where} has several lines, expected one")
    for name, value in found.items():
        if value is None or isinstance(value, list):
            raise UserError(
                f"{_beginning(where, name, value)}, expected a text, a number, true, false or an "
                "object"
            )
    return found


def as_text(value: Any) -> str:
    """A member as its training gets it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def check(
    text: str, kind: str, named: Mapping[str, str], where: str = f"Parameter {PARAMETER}"
) -> None:
    """Raises UserError for what a training of this kind would not take, in one line.

    Parameters
    ----------
    named
        The hyperparameters that something else sets, and what does.
    where
        What holds the text.
    """
    known = _known().get(kind)
    for name, value in read(text, where).items():
        if name in named:
            raise UserError(f"{_beginning(where, name, value)}: give it as {named[name]}")
        if known is None:
            continue  # a kind that is new here: its training judges
        if name not in known:
            raise UserError(
                f"{where}: {_cut(name)} does not exist for the kind {kind}"
                + _instead(name, known, named)
            )
        if expected := _expected(known[name], value):
            raise UserError(f"{_beginning(where, name, value)}, expected {expected}")


def check_setting(given: Mapping[str, Any], kind: str) -> None:
    """Raises UserError for what the settings say and a training of this kind would not take."""
    named = {name: f"the setting {setting}" for name, setting in _SETTINGS.items()}
    check(json.dumps(given, ensure_ascii=False), kind, named, where="setting hyperparameters")


def checked_kind(kind: str) -> str:
    """The kind of model, if there is such a one. Raises ValueError."""
    if kind not in _known():
        raise ValueError(f"expected one of: {', '.join(_known())}")
    return kind


@cache
def _known() -> dict[str, dict[str, Document]]:
    """By kind of model and name: what a hyperparameter may be."""
    found: dict[str, dict[str, Document]] = json.loads(
        Path(__file__).with_suffix(".json").read_text("utf-8")
    )
    return found


def _expected(one: Document, value: Any) -> str:
    """What is expected instead of a value; empty where it fits."""
    text = as_text(value)
    if words := one.get("words"):
        if text in words or _are_weights(text, one["largest"]):
            return ""
        return f'{", ".join(words)} or weights such as {{"fire": 2.5}}, up to {one["largest"]:g}'
    if choices := one.get("choices"):
        return "" if text in choices else f"one of: {', '.join(choices)}"
    if one["type"] == "str":
        return "" if text.strip() or one.get("empty") else "a name"
    try:
        number = _READERS[one["type"]](text)
    except (ValueError, KeyError):
        return _EXPECTED[one["type"]]
    if "low" in one and not one["low"] <= number <= one["high"]:  # nor is it so for "nan"
        return f"between {one['low']:g} and {one['high']:g}"
    return ""


def _are_weights(text: str, largest: float) -> bool:
    try:
        weights = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(weights, dict) and all(
        type(weight) in (int, float) and 0 < weight <= largest for weight in weights.values()
    )


def _without_duplicates(pairs: list[tuple[str, Any]]) -> Document:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"Parameter {PARAMETER} holds {_cut(twice)} twice, expected each name once")
    return found


def _instead(name: str, known: Collection[str], named: Collection[str]) -> str:
    """What to write for a name that a kind does not know."""
    knowing = [kind for kind, theirs in _known().items() if name in theirs]
    if knowing:
        return f", only for: {', '.join(knowing)}"
    near = difflib.get_close_matches(name, known, 1)
    if near:
        return f": did you mean {near[0]}?"
    return f"; there are: {', '.join(one for one in known if one not in named)}"


def _beginning(where: str, name: str, value: Any) -> str:
    return f"{where}: {_cut(name)} is {_cut(value)}"


def _cut(value: Any) -> str:
    """A value as a message shows it."""
    shown = repr(value) if isinstance(value, str) else json.dumps(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
