"""A vocabulary: that of GluonNLP, stored as its JSON, its words looked up by their hash alone."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from steps.artifact import VOCABULARY
from steps.errors import InputError
from steps.tokens import U64, Words, by_chunks

UNKNOWN, PADDING = 0, 1

_SPECIAL = ["<unk>", "<pad>"]  # at these numbers; no word is spelt so
_LONGEST = 100  # bytes of a word


class Vocabulary:
    """Words and their numbers, from the JSON of a `gluonnlp.Vocab`."""

    def __init__(self, text: str) -> None:
        """Raises InputError for a text that is no vocabulary of ours."""
        self.text = text
        try:
            words = json.loads(text)["idx_to_token"]
            sound = words[:2] == _SPECIAL and all(isinstance(word, str) for word in words)
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise InputError(f"{VOCABULARY} of the model is malformed: train again")
        made = by_chunks(words[2:], lambda chunk: (chunk.hashes, np.diff(chunk.ends, prepend=0)))
        if any((counts != 1).any() for _, counts in made):
            raise InputError(f"{VOCABULARY} of the model holds what is no word: train again")
        hashes = np.concatenate([np.zeros(0, np.uint64), *(hashes for hashes, _ in made)])
        order = np.argsort(hashes, kind="stable")
        # A last entry that equals no hash but itself, so that each place to look at exists.
        self._hashes = np.append(hashes[order], np.uint64(2**64 - 1))
        self._numbers = np.append(order + len(_SPECIAL), UNKNOWN).astype(np.int32)

    @classmethod
    def read(cls, folder: Path) -> Vocabulary:
        """The vocabulary of a stored model."""
        try:
            return cls((folder / VOCABULARY).read_text("utf-8"))
        except FileNotFoundError:
            raise InputError(f"the model lacks {VOCABULARY!r}: train again") from None
        except UnicodeDecodeError:
            raise InputError(f"{VOCABULARY} of the model is malformed: train again") from None

    def __len__(self) -> int:
        """The number of words, the two special ones among them."""
        return len(self._hashes) - 1 + len(_SPECIAL)

    def numbers(self, hashes: U64) -> npt.NDArray[np.int32]:
        """The number of each word, `UNKNOWN` for those that are not in the vocabulary."""
        places = np.searchsorted(self._hashes, hashes)
        found: npt.NDArray[np.int32] = self._numbers[places]
        found[self._hashes[places] != hashes] = UNKNOWN
        return found


def build(texts: Sequence[str], size: int, least: int) -> Vocabulary:
    """The vocabulary of the `size` most frequent words that the texts hold `least` times or more.

    Words of more than 100 bytes are none that anyone would read, and stay unknown; so do the few
    that would not be one word if they were a text of their own.
    """
    import gluonnlp  # here, because prediction has no need of it

    hashes = [np.zeros(0, np.uint64), *by_chunks(texts, lambda words: words.hashes)]
    distinct, counts = np.unique(np.concatenate(hashes), return_counts=True)
    wanted = counts >= least
    counter: dict[str, int] = {}

    def spell(words: Words) -> None:
        places, tokens = np.unique(np.searchsorted(distinct, words.hashes), return_index=True)
        new = wanted[places] & ((words.stops - words.starts)[tokens] <= _LONGEST)
        for place, token in zip(places[new].tolist(), tokens[new].tolist(), strict=True):
            counter[words.spelling(token)] = int(counts[place])
        wanted[places] = False

    by_chunks(texts, spell, threads=1)
    for word in _unfaithful(counter):
        del counter[word]
    made = gluonnlp.Vocab(counter, max_size=size, bos_token=None, eos_token=None)
    return Vocabulary(made.to_json())


def _unfaithful(words: Iterable[str]) -> list[str]:
    """The words that are not one word again when they are read."""
    given = list(words)
    counts = by_chunks(given, lambda chunk: np.diff(chunk.ends, prepend=0))
    wrong = np.flatnonzero(np.concatenate([np.zeros(0, np.int64), *counts]) != 1)
    return [given[place] for place in wrong.tolist()]
