"""Hashed n-grams of words, made from bytes in numpy without a Python object for a token.

A text becomes the set of the buckets that its features fall into: its words, its pairs of
neighbouring words, its pairs with one word between them, and once more, as features of their own,
the words and pairs among its last tokens (where people say what they conclude).

A word is a run of ASCII letters, digits, apostrophes and bytes over 127; some punctuation marks are
tokens of their own; every other byte separates. A word's hash is polynomial, so that one cumulative
sum over a block of text yields the hashes of all its words (Karp & Rabin 1987).
"""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from steps.errors import InputError

RECIPE = "bytes-ngrams-1"
"""The name of everything in this file that decides which bucket a feature falls into. A model
stores it; change the name with any of the constants below, or stored models go wrong silently."""

PUNCTUATION = '!?.,:;()"-/*$%&'
TAIL = 30  # tokens at the end of a text whose features count once more
MIN_BITS, MAX_BITS = 10, 24

_BASE = 0x9E3779B97F4A7C15
_MIX_WORD = np.uint64(0xBF58476D1CE4E5B9)
_MIX_BUCKET = np.uint64(0x94D049BB133111EB)
_MIX_PAIR = np.uint64(0xD6E8FEB86659FD93)
_MIX_TAIL = np.uint64(0xA0761D6478BD642F)

_ROWS = 64  # rows of a chunk: its keys, row << bits | bucket, must fit into 32 bits
_WINDOW = 1 << 18  # bytes hashed at once: what the tables of powers cover

U8 = npt.NDArray[np.uint8]
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

    def narrowed(self, bits: int, to_bits: int) -> Features:
        """The features as settings with fewer bits make them: buckets are the leading bits of a
        hash, so neighbours fall together."""
        buckets = self.buckets >> (bits - to_bits)
        first = np.ones(len(buckets), bool)
        first[1:] = buckets[1:] != buckets[:-1]
        inner = self.starts[:-1][self.starts[:-1] < len(buckets)]
        first[inner] = True
        kept = np.concatenate(([0], np.cumsum(first)))
        return Features(buckets[first], kept[self.starts])


def features(texts: Sequence[str], settings: FeatureSettings, threads: int = 2) -> Features:
    """The features of each text. Any text will do; one without tokens has none."""
    chunks = _chunks(texts)
    if threads > 1 and len(texts) > _ROWS:
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(lambda chunk: _chunk_features(chunk, settings), chunks))
    else:
        parts = [_chunk_features(chunk, settings) for chunk in chunks]
    none = np.zeros(0, np.int32)
    lengths = [np.zeros(1, np.int64), *(lengths for _, lengths in parts)]
    return Features(
        np.concatenate([none, *(buckets for buckets, _ in parts)]),
        np.cumsum(np.concatenate(lengths)),
    )


def _chunks(texts: Sequence[str]) -> Iterator[list[bytes]]:
    """The texts as lower-case bytes, as many together as share a window and a key."""
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        # Bytes of ASCII are lowered by the table of values; only other alphabets need it here.
        encoded = (text if text.isascii() else text.lower()).encode("utf-8", "surrogatepass")
        if chunk and (len(chunk) == _ROWS or size + len(encoded) + 1 > _WINDOW):
            yield chunk
            chunk, size = [], 0
        chunk.append(encoded)
        size += len(encoded) + 1
    if chunk:
        yield chunk


def _chunk_features(
    chunk: list[bytes], settings: FeatureSettings
) -> tuple[npt.NDArray[np.int32], I64]:
    """The buckets of up to `_ROWS` texts, and how many of them each text has."""
    words, ends = _words(chunk)
    counts = np.diff(ends, prepend=0)
    row = np.repeat(np.arange(len(chunk), dtype=np.uint32), counts)
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
    made = (
        (bucket(words), row),
        (bucket(pairs)[paired], row[1:][paired]),
        (bucket(skips)[skipped], row[2:][skipped]),
        (bucket(words[in_tail] * _MIX_TAIL), row[in_tail]),
        (bucket(pairs[pair_in_tail] * _MIX_TAIL), row[1:][pair_in_tail]),
    )
    bits = np.uint32(settings.bits)
    keys = np.concatenate([of_row for _, of_row in made]) << bits
    keys |= np.concatenate([buckets for buckets, _ in made])
    keys.sort()
    first = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    keys = keys[first]
    buckets = (keys & np.uint32((1 << settings.bits) - 1)).astype(np.int32)
    return buckets, np.bincount(keys >> bits, minlength=len(chunk))


def _words(chunk: list[bytes]) -> tuple[U64, I64]:
    """The hashes of all tokens of a chunk, and where those of each text end."""
    text = np.frombuffer(b" ".join(chunk) + b" ", np.uint8)
    row_ends = np.cumsum(np.fromiter(map(len, chunk), np.int64, len(chunk)) + 1)
    if len(text) <= _WINDOW:
        hashes, starts = _window_words(text)
        return hashes, np.searchsorted(starts, row_ends)
    # One text that is longer than a window: cut it between tokens, or anywhere in a giant word.
    parts = []
    first = 0
    while first < len(text):
        window = text[first : first + _WINDOW]
        if first + _WINDOW < len(text):
            gaps = np.flatnonzero(_KIND[window] != _WORD)
            window = window[: gaps[-1] + 1] if len(gaps) else window
        parts.append(_window_words(window)[0])
        first += len(window)
    hashes = np.concatenate(parts)
    return hashes, np.array([len(hashes)])


def _window_words(text: U8) -> tuple[U64, I64]:
    """The hashes of the tokens of at most `_WINDOW` bytes, and the positions where they start."""
    kind = _KIND[text]
    word = kind == _WORD
    mark = kind == _MARK
    first = word.copy()
    first[1:] &= ~word[:-1]
    first |= mark
    last = word  # from here on: the word's last byte
    last[:-1] &= ~word[1:].copy()
    last |= mark
    starts = np.flatnonzero(first)
    sums = _VALUE[text]
    sums *= _POWERS[: len(text)]
    np.cumsum(sums, out=sums)
    hashes = sums[last]
    before = sums[starts - 1]
    if len(starts) and starts[0] == 0:
        before[0] = 0
    hashes -= before
    hashes *= _INVERSES[starts]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX_WORD
    hashes ^= hashes >> np.uint64(29)
    return hashes, starts


_WORD, _MARK = 1, 2


def _byte_tables() -> tuple[U8, U64]:
    """For each byte: what it is, and its value in a hash (equal for both cases of a letter)."""
    letters = string.ascii_letters + string.digits + "'"
    kinds = np.zeros(256, np.uint8)
    kinds[[ord(c) for c in letters]] = _WORD
    kinds[128:] = _WORD
    kinds[[ord(c) for c in PUNCTUATION]] = _MARK
    values = np.zeros(256, np.uint64)
    for byte in np.flatnonzero(kinds):
        values[byte] = _splitmix(ord(chr(byte).lower()) if byte < 128 else int(byte))
    return kinds, values


def _splitmix(number: int) -> int:
    """A well-mixed 64-bit number (Steele, Lea & Flood 2014)."""
    mask = (1 << 64) - 1
    mixed = (number + 1) * _BASE & mask
    mixed = (mixed ^ mixed >> 30) * int(_MIX_WORD) & mask
    mixed = (mixed ^ mixed >> 27) * int(_MIX_BUCKET) & mask
    return mixed ^ mixed >> 31


def _powers(base: int) -> U64:
    """base ** 0, base ** 1, … modulo 2 ** 64, by doubling."""
    powers = np.ones(_WINDOW, np.uint64)
    known = 1
    while known < _WINDOW:
        powers[known : 2 * known] = powers[:known] * np.uint64(pow(base, known, 1 << 64))
        known *= 2
    return powers


_KIND, _VALUE = _byte_tables()
_POWERS = _powers(_BASE)
_INVERSES = _powers(pow(_BASE, -1, 1 << 64))
