"""Given word vectors: the text files that GluonNLP's `TokenEmbedding.from_file` reads.

GloVe, fastText and word2vec are published so: a line for each word, the word and its numbers with
blanks between, perhaps a first line with the two sizes. (Its `.npz` files hold pickles and are not
read.) Only the vectors of wanted words are held.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from steps.errors import InputError

F32 = npt.NDArray[np.float32]

CHANNEL = "vectors"
_LONGEST_LINE = 1 << 20  # bytes
_LARGEST = 4096  # numbers of a vector


def find(given: str, channel: Callable[[str], Path]) -> Path:
    """The file that the hyperparameter names or, if it is empty, the one file in the channel.

    Raises InputError if there is none.
    """
    if given:
        if not Path(given).is_file():
            raise InputError(f"hyperparameter vectors_file names no file: {given!r}")
        return Path(given)
    folder = channel(CHANNEL)
    files = [path for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    if len(files) != 1:
        raise InputError(
            f"the channel {CHANNEL!r} holds {len(files)} files, expected one with word vectors as "
            "text (GloVe, fastText .vec), or its path in the hyperparameter vectors_file"
        )
    return files[0]


def read(path: Path, words: Collection[str]) -> dict[str, F32]:
    """The vectors of those of the (lower-case) words that the file has, all of one length.

    A word that the file spells in capitals only has that vector. Raises InputError for a file that
    holds no vectors, naming the line.
    """
    wanted = set(words)
    exact: dict[str, F32] = {}
    lowered: dict[str, F32] = {}
    size = 0
    for number, line in _lines(path):
        fields = line.split(" ")
        if not size:
            if number == 1 and len(fields) == 2 and all(field.isdigit() for field in fields):
                continue  # the two sizes
            size = len(fields) - 1
            if not 0 < size <= _LARGEST:
                raise _unreadable(path, number, "a word and its numbers, with blanks between")
        if len(fields) <= size:
            raise _unreadable(path, number, f"a word and {size} numbers")
        word = " ".join(fields[:-size])
        into, key = (exact, word) if word in wanted else (lowered, word.lower())
        if key not in wanted or key in into:
            continue
        try:
            vector = np.array(fields[-size:], np.float32)
        except ValueError:
            vector = np.full(size, np.nan, np.float32)
        if not np.isfinite(vector).all():
            raise _unreadable(path, number, f"a word and {size} numbers")
        into[key] = vector
    if not size:
        raise InputError(f"{path.name} is empty, expected word vectors")
    return lowered | exact


def matrix(words: list[str], known: dict[str, F32], seed: int) -> F32:
    """A row for each word: its vector, or random numbers that spread as the known vectors do:
    (words, dimensions)."""
    size = len(next(iter(known.values())))
    spread = math.sqrt(3 * float(np.var(np.stack(list(known.values())))))
    made = np.random.default_rng(seed).uniform(-spread, spread, (len(words), size))
    for place, word in enumerate(words):
        if word in known:
            made[place] = known[word]
    return made.astype(np.float32)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines and their numbers from 1; those that are no UTF-8 are no words of ours."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_LONGEST_LINE):
                number += 1
                if b"\0" in line or len(line) == _LONGEST_LINE:
                    raise _unreadable(path, number, "text")
                yield number, line.decode("utf-8", "replace").strip()
    except OSError as error:
        raise InputError(f"{path.name} cannot be read: {error.strerror}") from error


def _unreadable(path: Path, number: int, expected: str) -> InputError:
    return InputError(
        f"line {number} of {path.name} is no word vector: expected {expected}, as in the text "
        "files of GloVe and fastText"
    )
