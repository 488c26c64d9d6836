"""Texts as the pieces of words that BERT knows by number: GluonNLP's tokeniser, its data ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gluonnlp.data.fast_bert_tokenizer import BasicTokenizer, WordpieceTokenizer

from steps.artifact import VOCABULARY
from steps.errors import InputError
from steps.network import PaddedRows

UNKNOWN, PADDING, BEGIN, END = "[UNK]", "[PAD]", "[CLS]", "[SEP]"

_CHARACTERS = 50  # of a text that are looked at, for each piece that there is room for
_LONGEST = 200  # characters of a word; a longer one is unknown
_CELLS = 1 << 13  # attention takes memory
_CACHE = 1 << 18  # words


class PieceVocabulary:
    """Pieces and their numbers."""

    def __init__(self, pieces: Sequence[object], name: str = VOCABULARY) -> None:
        """Raises InputError, with the file's name, for pieces that are no vocabulary of BERT's."""
        self.numbers = {piece: number for number, piece in enumerate(pieces)}
        sound = len(self.numbers) == len(pieces) and all(isinstance(one, str) for one in pieces)
        if not sound or not {UNKNOWN, PADDING, BEGIN, END} <= self.numbers.keys():
            raise InputError(
                f"{name} is no vocabulary of BERT: expected distinct pieces, {UNKNOWN}, {PADDING}, "
                f"{BEGIN} and {END} among them"
            )
        self.text = json.dumps({"idx_to_token": list(pieces)}, ensure_ascii=False)

    @classmethod
    def read(cls, path: Path) -> PieceVocabulary:
        """The vocabulary in a file: ours or GluonNLP's (JSON), or Google's (a piece a line)."""
        try:
            text = path.read_text("utf-8")
            if not text.lstrip().startswith("{"):
                return cls(text.replace("\r\n", "\n").rstrip("\n").split("\n"), path.name)
            pieces = json.loads(text)["idx_to_token"]
        except FileNotFoundError:
            raise InputError(f"the model lacks {path.name!r}: train again") from None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(f"{path.name} cannot be read as a vocabulary") from None
        return cls(pieces if isinstance(pieces, list) else [], path.name)

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class WordPieces:
    """The first pieces of a text, between the two that begin and end it."""

    RECIPE: ClassVar[str] = "word-pieces-1"
    SHORTEST: ClassVar[int] = 3
    vocabulary: PieceVocabulary
    length: int  # pieces, the two among them
    lower: bool  # letters are made small, and lose their accents
    _known: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, folder: Path, length: int, lower: int) -> WordPieces:
        """Those of a stored model."""
        return cls(PieceVocabulary.read(folder / VOCABULARY), length, bool(lower))

    @property
    def width(self) -> int:
        return len(self.vocabulary)

    @property
    def padding(self) -> int:
        """The number that pads."""
        return self.vocabulary.numbers[PADDING]

    def described(self) -> dict[str, Any]:
        return {"recipe": self.RECIPE, "length": self.length, "lower": int(self.lower)}

    def rows(self, texts: Sequence[str]) -> PaddedRows:
        made = [self._pieces(text) for text in texts]
        starts = np.cumsum([0, *map(len, made)]).astype(np.int64)
        numbers = np.fromiter((one for row in made for one in row), np.int32, int(starts[-1]))
        return PaddedRows(numbers, starts, 0, self.padding, _CELLS)

    def _pieces(self, text: str) -> list[int]:
        words = BasicTokenizer(self.lower)
        pieces = WordpieceTokenizer(self.vocabulary.numbers, UNKNOWN, _LONGEST)
        made = [self.vocabulary.numbers[BEGIN]]
        for word in words.tokenize(text[: self.length * _CHARACTERS]):
            if word not in self._known:
                if len(self._known) >= _CACHE:
                    self._known.clear()
                found = pieces.tokenize(word)
                self._known[word] = [self.vocabulary.numbers[piece] for piece in found]
            made += self._known[word]
            if len(made) >= self.length:
                break
        return [*made[: self.length - 1], self.vocabulary.numbers[END]]
