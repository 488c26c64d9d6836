"""An explanation of one prediction: the label, and which words spoke for and against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Word:
    """A word as the text has it, or several neighbours where each alone would have been too many.

    Weights are in units of the logit: above 0 it spoke for the label, below 0 against it.
    """

    text: str
    start: int
    end: int  # the word is text[start:end] of the text that was explained
    weight: float


@dataclass(frozen=True)
class Phrase:
    """Several words that count together, with … for words that do not; its weight is part of the
    weights of its words."""

    text: str
    weight: float


@dataclass(frozen=True)
class Explanation:
    """What a model says of a text, and why.

    The logit is that of the label less the mean of the others' (with two labels: the log-odds). It
    is the sum of the words' weights and of the rest, which belongs to no word. If exact, that is
    how the model came to it, and the rest is what it assumes of any text; if not, a weight tells
    what the logit lost when the word was left out.
    """

    label: str
    confidence: float
    needs_review: bool
    probabilities: dict[str, float]
    is_exact: bool
    logit: float
    rest: float
    words: tuple[Word, ...]  # in the order of the text; none overlap
    phrases: tuple[Phrase, ...]  # the strongest first; none if not exact


def explained(text: str, document: Mapping[str, Any]) -> Explanation:
    """The explanation of a text that the image's command `explain` has answered."""
    words = (Word(text[start:end], start, end, weight) for start, end, weight in document["words"])
    phrases = (Phrase(*phrase) for phrase in document["phrases"])
    return Explanation(**{**document, "words": tuple(words), "phrases": tuple(phrases)})
