"""Hashed n-grams of words, made from bytes in numpy without a Python object for a token.

A text becomes the set of the buckets that its features fall into: its words, its pairs of
neighbouring words, its pairs with one word between them, and once more, as features of their own,
the words and pairs among its last tokens (where people say what they conclude). In scripts without
blanks, whose characters are the words, three neighbours are a feature too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from steps.errors import InputError
from steps.tokens import Words, by_chunks

RECIPE = "unicode-ngrams-2"
"""The name of everything that decides which bucket a feature falls into. A model stores it; change
the name with any constant below, in `steps.tokens` or in `steps.unicode_text`, or stored models go
wrong silently."""

TAIL = 30  # tokens at the end of a text whose features count once more
MIN_BITS, MAX_BITS = 10, 24

_MIX_WORD = np.uint64(0xBF58476D1CE4E5B9)
_MIX_BUCKET = np.uint64(0x94D049BB133111EB)
_MIX_PAIR = np.uint64(0xD6E8FEB86659FD93)
_MIX_TAIL = np.uint64(0xA0761D6478BD642F)

_TAKEN = 1 << 22  # features, about: what is counted at a time

U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureSettings:
    """What a model needs to be told to see texts as it did in training."""

    bits: int  # the model has 2 ** bits buckets
    tail: int = TAIL
    recipe: str = RECIPE

    def __post_init__(self) -> None:
        if self.recipe != RECIPE:
            raise InputError(
                f"the model's features are {self.recipe!r}, this version makes {RECIPE!r}: "
                "use the version that trained the model, or train again"
            )
        if not MIN_BITS <= self.bits <= MAX_BITS or self.tail < 0:
            raise InputError(
                f"feature settings out of range: bits={self.bits} (expected {MIN_BITS} to "
                f"{MAX_BITS}), tail={self.tail} (expected 0 or more)"
            )


class Features(NamedTuple):
    """Sets of buckets, one for each row, as the index arrays of a CSR matrix."""

    buckets: npt.NDArray[np.int32]  # (features,), ascending within a row
    starts: I64  # (rows + 1,): row i owns buckets[starts[i]:starts[i + 1]]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.starts) - 1

    def rows(self, first: int, last: int) -> Features:
        """The rows from `first` to before `last`."""
        starts = self.starts[first : last + 1]
        return Features(self.buckets[starts[0] : starts[-1]], starts - starts[0])

    def take(self, rows: I64) -> tuple[Features, I64]:
        """The given rows in the given order, and where their features stood in `buckets`."""
        lengths = (self.starts[1:] - self.starts[:-1])[rows]
        starts = np.concatenate(([0], np.cumsum(lengths)))
        where = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], lengths)
        return Features(self.buckets[where], starts), where

    def counts(self, rows: I64, buckets: int) -> I64:
        """How many of the given rows have each bucket: (buckets,)."""
        made = np.zeros(buckets, np.int64)
        parts = 1 + len(rows) * len(self.buckets) // (max(1, len(self)) * _TAKEN)
        for some in np.array_split(rows, parts):
            made += np.bincount(self.take(some)[0].buckets, minlength=buckets)
        return made

    def only(self, known: I64, buckets: int) -> Features:
        """The features in the known of all buckets, by their places among the known, which
        ascend."""
        places = np.full(buckets, -1, np.int32)
        places[known] = np.arange(len(known))
        made = places[self.buckets]
        return Features(made, self.starts)._with(made >= 0)

    def narrowed(self, bits: int, to_bits: int) -> Features:
        """The features as settings with fewer bits make them: buckets are the leading bits of a
        hash, so neighbours fall together."""
        if bits == to_bits:
            return self
        buckets = self.buckets >> (bits - to_bits)
        first = np.ones(len(buckets), bool)
        first[1:] = buckets[1:] != buckets[:-1]
        inner = self.starts[:-1][self.starts[:-1] < len(buckets)]
        first[inner] = True
        return Features(buckets, self.starts)._with(first)

    def _with(self, kept: npt.NDArray[np.bool_]) -> Features:
        """The features that are to be kept."""
        # Numbers of four bytes where they will do: there may be hundreds of millions of them.
        size = np.int32 if len(kept) <= np.iinfo(np.int32).max else np.int64
        before = np.cumsum(kept, dtype=size)
        starts = np.zeros(len(self.starts), np.int64)
        inside = self.starts > 0
        starts[inside] = before[self.starts[inside] - 1]
        return Features(self.buckets[kept], starts)


class Ngrams(NamedTuple):
    """The n-grams of one form in a chunk's texts."""

    buckets: U32  # (n-grams,)
    rows: U32  # (n-grams,): which text has it
    begins: npt.NDArray[np.bool_] | None  # of which tokens it begins with; None: every one
    words: tuple[int, ...]  # the tokens that make it, counted from the one that it begins with

    @property
    def tokens(self) -> I64:
        """The tokens that make each n-gram: (n-grams, words)."""
        every = np.ones(len(self.buckets), bool) if self.begins is None else self.begins
        made: I64 = np.flatnonzero(every)[:, None] + np.array(self.words)
        return made


def features(texts: Sequence[str], settings: FeatureSettings, threads: int = 2) -> Features:
    """The features of each text. Any text will do; one without tokens has none."""
    parts = by_chunks(texts, lambda words: _chunk_features(words, settings), threads)
    none = np.zeros(0, np.int32)
    lengths = [np.zeros(1, np.int64), *(lengths for _, lengths in parts)]
    return Features(
        np.concatenate([none, *(buckets for buckets, _ in parts)]),
        np.cumsum(np.concatenate(lengths)),
    )


def ngrams(made: Words, settings: FeatureSettings) -> list[Ngrams]:
    """What the texts of a chunk have of each form of n-gram, duplicates among it."""
    words, ends = made.hashes, made.ends
    counts = np.diff(ends, prepend=0)
    row = np.repeat(np.arange(len(ends), dtype=np.uint32), counts)
    shift = np.uint64(64 - settings.bits)

    def bucket(hashes: U64) -> U32:
        hashes = hashes ^ (hashes >> np.uint64(32))
        hashes *= _MIX_BUCKET
        return (hashes >> shift).astype(np.uint32)

    pairs = words[:-1] * _MIX_PAIR + words[1:]
    skips = words[:-2] * _MIX_PAIR + words[2:] * _MIX_WORD
    paired = row[1:] == row[:-1]
    skipped = row[2:] == row[:-2]
    in_tail = np.repeat(ends, counts) - np.arange(len(words)) <= settings.tail
    pair_in_tail = in_tail[:-1] & paired
    parts = [
        Ngrams(bucket(words), row, None, (0,)),
        Ngrams(bucket(pairs)[paired], row[1:][paired], paired, (0, 1)),
        Ngrams(bucket(skips)[skipped], row[2:][skipped], skipped, (0, 2)),
        Ngrams(bucket(words[in_tail] * _MIX_TAIL), row[in_tail], in_tail, (0,)),
        Ngrams(
            bucket(pairs[pair_in_tail] * _MIX_TAIL),
            row[1:][pair_in_tail],
            pair_in_tail,
            (0, 1),
        ),
    ]
    apart = made.apart()
    if apart is not None:
        within = skipped & apart[:-2] & apart[1:-1] & apart[2:]
        triples = pairs[:-1] * _MIX_PAIR + words[2:]
        parts.append(Ngrams(bucket(triples[within]), row[2:][within], within, (0, 1, 2)))
    return parts


def _chunk_features(made: Words, settings: FeatureSettings) -> tuple[npt.NDArray[np.int32], I64]:
    """The buckets of a chunk's texts, and how many of them each text has."""
    parts = ngrams(made, settings)
    # A chunk has so few rows that its keys, row << bits | bucket, fit into 32 bits.
    bits = np.uint32(settings.bits)
    keys = np.concatenate([part.rows for part in parts]) << bits
    keys |= np.concatenate([part.buckets for part in parts])
    keys.sort()
    first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    keys = keys[first]
    buckets = (keys & np.uint32((1 << settings.bits) - 1)).astype(np.int32)
    return buckets, np.bincount(keys >> bits, minlength=len(made.ends))
