"""The words of texts as hashes, made from bytes in numpy without a Python object for a token.

A word is a run of letters, digits and apostrophes; some punctuation marks are tokens of their own;
everything else separates. Texts that are not all ASCII are rewritten first (`steps.unicode_text`),
until every byte over 127 belongs to a word. A word's hash is polynomial, so that one cumulative sum
over a block of text yields the hashes of all its words (Karp & Rabin 1987).

Stored models depend on every constant here: a change of one is a change of `features.RECIPE` and of
the recipes in `steps.inputs`.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from steps.unicode_text import APART, plain

PUNCTUATION = '!?.,:;()"-/*$%&'
CHUNK_ROWS = 256  # texts of a chunk, at most: what `steps.features` has room for in a key

_BASE = 0x9E3779B97F4A7C15
_MIX_WORD = np.uint64(0xBF58476D1CE4E5B9)
_MIX_VALUE = 0x94D049BB133111EB
_APART = ord(APART)
_WINDOW = 1 << 18  # bytes hashed at once: what the tables of powers cover
_CHUNK_BYTES = 1 << 16  # of several texts: enough that two threads seldom wait for each other

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Made = TypeVar("Made")


class Words(NamedTuple):
    """The tokens of a chunk's texts in their order."""

    hashes: U64  # (tokens,)
    ends: I64  # (texts,): text i owns the tokens before ends[i], from ends[i - 1] on
    text: U8  # the texts as bytes
    starts: I64  # (tokens,): where in `text` each token starts
    stops: I64  # (tokens,): and where it has ended

    def spelling(self, token: int) -> str:
        """The token with its ASCII letters in lower case."""
        spelt = self.text[self.starts[token] : self.stops[token]].tobytes()
        return spelt.lower().decode("utf-8", "replace")

    def apart(self) -> npt.NDArray[np.bool_] | None:
        """Which tokens are characters of a script without blanks: (tokens,), None if none is."""
        if not (self.text == _APART).any():
            return None
        made: npt.NDArray[np.bool_] = self.text[self.starts - 1] == _APART
        return made


def by_chunks(texts: Sequence[str], work: Callable[[Words], Made], threads: int = 2) -> list[Made]:
    """What `work` makes of the words of each chunk: up to `CHUNK_ROWS` neighbouring texts."""

    def made(chunk: list[bytes]) -> Made:
        return work(_words(chunk))

    chunks = list(_chunks(texts))
    if threads > 1 and len(chunks) > 1:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(made, chunks))
    return [made(chunk) for chunk in chunks]


def _chunks(texts: Sequence[str]) -> Iterator[list[bytes]]:
    """The texts as bytes, as many together as share a key and are worth a thread's turn."""
    chunk: list[bytes] = []
    size = 0
    for text in texts:
        # ASCII letters are lowered by the table of values.
        encoded = (text if text.isascii() else plain(text)).encode()
        if chunk and (len(chunk) == CHUNK_ROWS or size + len(encoded) + 1 > _CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(encoded)
        size += len(encoded) + 1
    if chunk:
        yield chunk


def _words(chunk: list[bytes]) -> Words:
    text = np.frombuffer(b" ".join(chunk) + b" ", np.uint8)
    row_ends = np.cumsum(np.fromiter(map(len, chunk), np.int64, len(chunk)) + 1)
    if len(text) <= _WINDOW:
        hashes, starts, stops = _window_words(text)
        return Words(hashes, np.searchsorted(starts, row_ends), text, starts, stops)
    # One text that is longer than a window: cut it between tokens, or anywhere in a giant word.
    parts = []
    first = 0
    while first < len(text):
        window = text[first : first + _WINDOW]
        if first + _WINDOW < len(text):
            gaps = np.flatnonzero(_KIND[window] != _WORD)
            window = window[: gaps[-1] + 1] if len(gaps) else window
        hashes, starts, stops = _window_words(window)
        parts.append((hashes, starts + first, stops + first))
        first += len(window)
    hashes, starts, stops = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Words(hashes, np.array([len(hashes)]), text, starts, stops)


def _window_words(text: U8) -> tuple[U64, I64, I64]:
    """The hashes of the tokens of at most `_WINDOW` bytes, and where they start and stop."""
    kind = _KIND[text]
    word = kind == _WORD
    mark = kind == _MARK
    first = word.copy()
    first[1:] &= ~word[:-1]
    first |= mark
    last = word  # from here on: the word's last byte
    last[:-1] &= ~word[1:].copy()
    last |= mark
    starts, ends = np.flatnonzero(first), np.flatnonzero(last)
    sums = _VALUE[text]
    sums *= _POWERS[: len(text)]
    np.cumsum(sums, out=sums)
    hashes = sums[ends]
    before = sums[starts - 1]
    if len(starts) and starts[0] == 0:
        before[0] = 0
    hashes -= before
    hashes *= _INVERSES[starts]
    hashes ^= hashes >> np.uint64(32)
    hashes *= _MIX_WORD
    hashes ^= hashes >> np.uint64(29)
    return hashes, starts, ends + 1


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
    mixed = (mixed ^ mixed >> 27) * _MIX_VALUE & mask
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
