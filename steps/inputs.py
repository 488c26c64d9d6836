"""How texts become the arrays that each kind's network sees, in training and prediction alike.

A model stores this as plain data: the field "features" of `model.json`, and for some its
vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from steps.artifact import INFO
from steps.errors import InputError
from steps.features import MAX_BITS, Features, FeatureSettings, features
from steps.network import F32, I32, I64, PaddedRows, Rows, SparseRows
from steps.tokens import Words, by_chunks
from steps.vocabulary import UNKNOWN, Vocabulary

MAX_LENGTH = 10_000
MAX_MARGIN = 99

_MIX_PAIR = np.uint64(0xD6E8FEB86659FD93)
_MIX_BUCKET = np.uint64(0x94D049BB133111EB)


class Spelled(Protocol):
    """A vocabulary of some form."""

    @property
    def text(self) -> str:
        """What a model stores of it."""


class Inputs(Protocol):
    """What makes arrays of texts."""

    @property
    def width(self) -> int:
        """How many features there are: the first dimension of the weights that take them."""

    @property
    def vocabulary(self) -> Spelled | None: ...

    def described(self) -> dict[str, Any]:
        """What a model's description stores of it."""

    def rows(self, texts: Sequence[str]) -> Rows:
        """The texts as arrays. Any text will do."""


@dataclass(frozen=True)
class NgramSets:
    """The sets of hashed n-grams of `steps.features`."""

    settings: FeatureSettings
    vocabulary: None = None

    @property
    def width(self) -> int:
        return 1 << self.settings.bits

    def described(self) -> dict[str, Any]:
        return dataclasses.asdict(self.settings)

    def rows(self, texts: Sequence[str]) -> SparseRows:
        sets = features(texts, self.settings)
        return SparseRows(sets, np.ones(len(sets.buckets), np.float32), self.width)


@dataclass(frozen=True)
class WordBags:
    """Words of a vocabulary and hashed pairs of neighbouring words, after fastText (Joulin et al.
    2016, "Bag of Tricks for Efficient Text Classification"): each with its share of all that its
    text has."""

    RECIPE: ClassVar[str] = "unicode-bags-2"
    vocabulary: Vocabulary
    bits: int  # pairs fall into 2 ** bits buckets; their numbers follow those of the words

    @property
    def width(self) -> int:
        return len(self.vocabulary) + (1 << self.bits)

    def described(self) -> dict[str, Any]:
        return {"recipe": self.RECIPE, "bits": self.bits}

    def rows(self, texts: Sequence[str]) -> SparseRows:
        parts = by_chunks(texts, self._chunk)
        lengths = [np.zeros(1, np.int64), *(lengths for _, _, lengths in parts)]
        sets = Features(
            np.concatenate([np.zeros(0, np.int32), *(numbers for numbers, _, _ in parts)]),
            np.cumsum(np.concatenate(lengths)),
        )
        shares = np.concatenate([np.zeros(0, np.float32), *(shares for _, shares, _ in parts)])
        return SparseRows(sets, shares, self.width)

    def _chunk(self, words: Words) -> tuple[I32, F32, I64]:
        """The features of a chunk's texts, their shares, and how many of them each text has."""
        texts = len(words.ends)
        row = np.repeat(np.arange(texts, dtype=np.int64), np.diff(words.ends, prepend=0))
        numbers = self.vocabulary.numbers(words.hashes)
        known = numbers != UNKNOWN
        hashes = words.hashes[:-1] * _MIX_PAIR + words.hashes[1:]
        hashes ^= hashes >> np.uint64(32)
        hashes *= _MIX_BUCKET
        buckets = (hashes >> np.uint64(64 - self.bits)).astype(np.int64) + len(self.vocabulary)
        paired = row[1:] == row[:-1]
        keys = np.concatenate(
            [row[known] << 32 | numbers[known], (row[1:] << 32 | buckets)[paired]]
        )
        keys, counts = np.unique(keys, return_counts=True)
        row = keys >> 32
        totals = np.bincount(row, weights=counts, minlength=texts)
        shares = (counts / totals[row]).astype(np.float32)
        return (keys & 0xFFFFFFFF).astype(np.int32), shares, np.bincount(row, minlength=texts)


@dataclass(frozen=True)
class WordSequences:
    """The first words of a text by their numbers in a vocabulary, in their order."""

    RECIPE: ClassVar[str] = "unicode-words-2"
    vocabulary: Vocabulary
    length: int  # words of a text that are looked at, at most
    margin: int  # columns of padding after the longest text: the network's widest window less one

    @property
    def width(self) -> int:
        return len(self.vocabulary)

    def described(self) -> dict[str, Any]:
        return {"recipe": self.RECIPE, "length": self.length, "margin": self.margin}

    def rows(self, texts: Sequence[str]) -> PaddedRows:
        parts = by_chunks(texts, self._chunk)
        lengths = [np.zeros(1, np.int64), *(lengths for _, lengths in parts)]
        numbers = [np.zeros(0, np.int32), *(numbers for numbers, _ in parts)]
        starts = np.cumsum(np.concatenate(lengths))
        return PaddedRows(np.concatenate(numbers), starts, self.margin)

    def _chunk(self, words: Words) -> tuple[I32, I64]:
        counts = np.diff(words.ends, prepend=0)
        place = np.arange(len(words.hashes)) - np.repeat(words.ends - counts, counts)
        kept = words.hashes[place < self.length]
        return self.vocabulary.numbers(kept), np.minimum(counts, self.length)


def read(kind: str, described: Any, folder: Path) -> Inputs:
    """The inputs of a stored model of a kind, as it was described.

    Raises InputError for a kind or recipe of another version, and for what is malformed.
    """
    if kind not in _READERS:
        raise InputError(
            f"the model is of kind {kind!r}, which this version does not know: "
            "use the version that trained it"
        )
    try:
        return _READERS[kind](described, folder)
    except (KeyError, TypeError):
        raise InputError(f"{INFO} of the model is malformed: train again") from None


def _ngram_sets(described: Mapping[str, Any], folder: Path) -> NgramSets:  # noqa: ARG001
    return NgramSets(FeatureSettings(**described))


def _word_bags(described: Mapping[str, Any], folder: Path) -> WordBags:
    check_recipe(described, WordBags.RECIPE)
    bits = setting(described, "bits", 1, MAX_BITS)
    return WordBags(Vocabulary.read(folder), bits)


def _word_sequences(described: Mapping[str, Any], folder: Path) -> WordSequences:
    check_recipe(described, WordSequences.RECIPE)
    length = setting(described, "length", 1, MAX_LENGTH)
    margin = setting(described, "margin", 0, MAX_MARGIN)
    return WordSequences(Vocabulary.read(folder), length, margin)


def _word_pieces(described: Mapping[str, Any], folder: Path) -> Inputs:
    from steps.word_pieces import WordPieces  # here, because it takes GluonNLP's seconds

    check_recipe(described, WordPieces.RECIPE)
    length = setting(described, "length", WordPieces.SHORTEST, MAX_LENGTH)
    lower = setting(described, "lower", 0, 1)
    return WordPieces.read(folder, length, lower)


def check_recipe(described: Mapping[str, Any], recipe: str) -> None:
    """Raises InputError unless the recipe is this version's."""
    if described["recipe"] != recipe:
        raise InputError(
            f"the model's features are {described['recipe']!r}, this version makes {recipe!r}: "
            "use the version that trained the model, or train again"
        )


def setting(described: Mapping[str, Any], name: str, low: int, high: int) -> int:
    """A whole number within its range."""
    value = described[name]
    if type(value) is not int:
        raise TypeError(name)
    if not low <= value <= high:
        raise InputError(
            f"feature settings out of range: {name}={value} (expected {low} to {high})"
        )
    return value


_READERS: dict[str, Callable[[Mapping[str, Any], Path], Inputs]] = {
    "ngram": _ngram_sets,
    "bert": _word_pieces,
    "cnn": _word_sequences,
    "fasttext": _word_bags,
    "lstm": _word_sequences,
    "textcnn": _word_sequences,
}
