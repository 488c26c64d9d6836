"""Why a model gives a text its label: which words spoke for the label, and which against it.

What is explained is one number, the logit: that of the label less the mean of the others'. With two
labels it is the log-odds of the label. It is what the softmax sees, temperature included, before
the noise of `steps.decision` is allowed for.

The kind `ngram` is linear in its features, so that the logit is their sum, exactly: each feature's
part goes to the words that form it, in equal shares. A bucket that a text fills more than once, by
a word that it repeats or by a collision of hashes, counts once, and all who fill it share it. What
remains is the bias.

Of any other kind, each word is left out once, and its weight is what the logit loses. These weights
need not sum to anything; what remains is whatever is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from steps.classifier import Classifier
from steps.decision import F64
from steps.features import Ngrams, ngrams
from steps.inputs import NgramSets
from steps.network import Rows, SparseRows
from steps.tokens import I64, U64, Words, by_chunks
from steps.unicode_text import origins

MOST_LEFT_OUT = 128
"""Texts are predicted so many times at most, each without a part of it. Where a text has more
words, several neighbours are left out together, equally many each time."""
MOST_CHARACTERS = 1 << 24  # of all these texts together; but each is at least cut in eight
MOST_PHRASES = 30

_MIX_PHRASE = np.uint64(0x9E3779B97F4A7C15)


class Word(NamedTuple):
    """A word, or several neighbours, in the text."""

    start: int
    end: int  # in characters
    weight: float  # above 0: it spoke for the label


class Phrase(NamedTuple):
    """Several words that are one feature."""

    text: str
    weight: float


@dataclass(frozen=True)
class Explanation:
    """The logit is the sum of the words' weights and the rest."""

    label: str
    confidence: float
    needs_review: bool
    probabilities: dict[str, float]
    is_exact: bool  # whether the weights follow from the model's own
    logit: float
    rest: float
    words: list[Word]  # in the order of the text; none overlap
    phrases: list[Phrase]  # the strongest first; their weights are part of their words'


def explain(classifier: Classifier, text: str) -> Explanation:
    """The label that the model gives the text, and why. Any text will do."""
    probabilities = classifier.probabilities([text])
    (prediction,) = classifier.decide(probabilities)
    toward = np.full(len(classifier.labels), -1 / (len(classifier.labels) - 1))
    toward[classifier.labels.index(prediction.label)] = 1
    rows = classifier.inputs.rows([text])
    logit = float(classifier.logits(rows)[0] @ toward)
    phrases: list[Phrase] = []
    is_exact = isinstance(classifier.inputs, NgramSets)
    if is_exact:
        words, phrases, rest = _by_features(classifier, text, rows, toward)
    else:
        words = _by_leaving_out(classifier, text, toward, logit)
        rest = logit - sum(word.weight for word in words)
    return Explanation(
        label=prediction.label,
        confidence=prediction.confidence,
        needs_review=prediction.review,
        probabilities=dict(zip(classifier.labels, probabilities[0].tolist(), strict=True)),
        is_exact=is_exact,
        logit=logit,
        rest=rest,
        words=words,
        phrases=phrases,
    )


def spans(text: str, words: Words) -> I64:
    """Where in the text its tokens begin and end, in characters: (tokens, 2)."""
    places = np.stack([words.starts, words.stops], axis=1)
    if text.isascii():
        return places
    found = np.array([*origins(text), (len(text), len(text))], np.int64)
    # Of each character of the plain text, where it begins in bytes: none but a first byte is 10…
    begins = np.flatnonzero((words.text & 0xC0) != 0x80)
    first, last = np.searchsorted(begins, places[:, 0]), np.searchsorted(begins, places[:, 1]) - 1
    return np.stack([found[first, 0], found[last, 1]], axis=1)


def _by_features(
    classifier: Classifier, text: str, rows: Rows, toward: F64
) -> tuple[list[Word], list[Phrase], float]:
    assert isinstance(classifier.inputs, NgramSets) and isinstance(rows, SparseRows)
    settings = classifier.inputs.settings
    bias = float(classifier.logits(classifier.inputs.rows([""]))[0] @ toward)
    # What each feature adds: the network is linear.
    parts = classifier.logits(rows.apart()) @ toward - bias
    ((words, forms),) = by_chunks([text], lambda made: (made, ngrams(made, settings)))
    where = [np.searchsorted(rows.sets.buckets, form.buckets) for form in forms]
    fillers = np.bincount(np.concatenate(where), minlength=len(parts))
    shares = [(parts / fillers)[places] for places in where]
    weights = np.zeros(len(words.hashes))
    for form, share in zip(forms, shares, strict=True):
        for token in form.tokens.T:
            weights += np.bincount(token, share / len(form.words), len(weights))
    places = spans(text, words)
    return _words(places, weights), _phrases(text, places, words, forms, shares), bias


def _by_leaving_out(classifier: Classifier, text: str, toward: F64, logit: float) -> list[Word]:
    (words,) = by_chunks([text], lambda made: made)
    whole = _words(spans(text, words), np.zeros(len(words.hashes)))
    most = min(MOST_LEFT_OUT, max(8, MOST_CHARACTERS // (len(text) + 1)))
    together = -(-len(whole) // most) or 1
    parts = [whole[first : first + together] for first in range(0, len(whole), together)]
    places = [(part[0].start, part[-1].end) for part in parts]
    # A blank in its place: what stands on either side does not become one word.
    rows = classifier.inputs.rows([f"{text[:start]} {text[end:]}" for start, end in places])
    left = (classifier.logits(rows) @ toward).tolist()
    return [Word(*place, logit - of) for place, of in zip(places, left, strict=True)]


def _words(places: I64, weights: F64) -> list[Word]:
    """The tokens' places and weights; tokens that share a character (a ligature is several letters)
    are one word."""
    if not len(places):
        return []
    ends = np.maximum.accumulate(places[:, 1])
    first = np.flatnonzero(np.append(True, places[1:, 0] >= ends[:-1]))
    last = np.append(first[1:], len(places)) - 1
    summed = np.add.reduceat(weights, first)
    return [
        Word(*made)
        for made in zip(
            places[first, 0].tolist(), ends[last].tolist(), summed.tolist(), strict=True
        )
    ]


def _phrases(
    text: str, places: I64, words: Words, forms: Sequence[Ngrams], shares: Sequence[F64]
) -> list[Phrase]:
    several = [
        (form, share) for form, share in zip(forms, shares, strict=True) if len(form.words) > 1
    ]
    keys = np.concatenate([_keys(words, form) for form, _ in several])
    weights = np.concatenate([share for _, share in several])
    _, examples, same = np.unique(keys, return_index=True, return_inverse=True)
    summed = np.bincount(same, weights=weights, minlength=len(examples))
    strongest = np.argsort(-np.abs(summed), kind="stable")[:MOST_PHRASES]
    starts = np.cumsum([0, *(len(form.buckets) for form, _ in several)])
    made = []
    for place in strongest[summed[strongest] != 0].tolist():
        number = int(np.searchsorted(starts, examples[place], side="right")) - 1
        tokens = several[number][0].tokens[examples[place] - starts[number]]
        made.append(Phrase(_spelt(text, places, tokens), float(summed[place])))
    return made


def _keys(words: Words, form: Ngrams) -> U64:
    """A number for each n-gram, the same for the same words in the same form."""
    made = np.full(len(form.buckets), form.words[-1], np.uint64)
    for token in form.tokens.T:
        made = (made ^ words.hashes[token]) * _MIX_PHRASE
        made ^= made >> np.uint64(29)
    return made


def _spelt(text: str, places: I64, tokens: I64) -> str:
    """The words of a phrase as the text has them, with … for those between."""
    made, before, end = "", int(tokens[0]), int(places[tokens[0], 0])
    for token in tokens.tolist():
        # Tokens that share a character are written once.
        start = max(int(places[token, 0]), end)
        gap = " … " if token > before + 1 else " " if start > end else ""
        end = max(int(places[token, 1]), end)
        made += gap + text[start:end]
        before = token
    return made
