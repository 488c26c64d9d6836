"""The sample data: synthetic warranty claims, the same for the same seed."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.data import sample_grammar as grammar
from pipelines.data.sample_grammar import CATEGORIES, Category
from pipelines.errors import UserError

TRAINING_ROWS = 6_000
TEST_ROWS = 2_000
NEW_ROWS = 200

_LABEL_NOISE = 0.03  # of the labels are those of another category, in both sets
_VAGUE = 0.05  # of the claims do not say what has happened, only which part it is about
_ASIDE = 0.2  # of the claims mention a second fault, of another category


@dataclass(frozen=True)
class SamplePaths:
    """The three files that `write_sample` writes."""

    train: Path
    test: Path
    new_claims: Path


def write_sample(folder: Path, seed: int = 7) -> SamplePaths:
    """Writes `train.csv` and `test.csv` (claim_id, text, label) and `new_claims.csv` (claim_id,
    received, text), the last with some rows such as claims teams send them: blank, torn, in another
    encoding.

    Raises UserError where another file of one of these names is there already.
    """
    claims = _Claims(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = SamplePaths(folder / "train.csv", folder / "test.csv", folder / "new_claims.csv")
    contents = {}
    for path, rows in ((paths.train, TRAINING_ROWS), (paths.test, TEST_ROWS)):
        labelled = [claims.labelled() for _ in range(rows)]
        contents[path] = _csv(("claim_id", "text", "label"), labelled)
    contents[paths.new_claims] = _new_claims(claims)
    for path, content in contents.items():
        if path.exists() and path.read_bytes() != content:
            raise UserError(f"{path} is there already, and is another file: name another folder")
    for path, content in contents.items():
        path.write_bytes(content)
    return paths


class _Claims:
    """An endless, seeded supply of claims."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - sample data, no secret
        self._shares = [category.share for category in CATEGORIES]
        self._number = 40_000

    def labelled(self) -> tuple[str, str, str]:
        category = self._category()
        text = self.text(category)
        noisy = self._random.random() < _LABEL_NOISE
        label = self._another(category).label if noisy else category.label
        return self.number(), text, label

    def new(self) -> tuple[str, str, str]:
        received = f"2024-{self._random.randint(1, 12):02}-{self._random.randint(1, 28):02}"
        return self.number(), received, self.text(self._category())

    def number(self) -> str:
        self._number += self._random.randint(1, 9)
        return f"WC-{self._number:06}"

    def text(self, category: Category) -> str:
        pick = self._random.choice
        chance = self._random.random
        part, product = pick(category.parts), pick(grammar.PRODUCTS)
        vague = chance() < _VAGUE
        fault = pick(grammar.VAGUE if vague else category.faults)
        sentences = [pick(grammar.OPENINGS).format(fault=fault, product=product, when=self._when())]
        if not vague and chance() < 0.55:
            sentences.append(pick(category.effects))
        if chance() < _ASIDE:
            other = self._another(category)
            aside = pick(other.faults).replace("{part}", pick(other.parts))
            sentences.append(pick(grammar.ASIDES).format(fault=aside))
        if chance() < 0.3:
            # Half of the error codes are another category's: they hint, they do not tell.
            codes = category.codes if chance() < 0.5 else self._category().codes
            sentences.append(f"{pick(('error', 'code', 'fault memory:', 'shows'))} {pick(codes)}")
        if chance() < 0.7:
            sentences.append(pick(grammar.REMARKS))
        filled = [
            sentence.replace("{part}", part)
            .replace("{product}", product)
            .replace("{number}", str(self._random.randint(2, 90)))
            .replace("{code}", self._part_number())
            for sentence in sentences
        ]
        return self._as_typed(filled)

    def _category(self) -> Category:
        return self._random.choices(CATEGORIES, self._shares)[0]

    def _another(self, category: Category) -> Category:
        return self._random.choice([other for other in CATEGORIES if other is not category])

    def _when(self) -> str:
        return self._random.choice(grammar.TIMES)

    def _part_number(self) -> str:
        letters = "".join(self._random.choices("ABCDEFGHKLMNPRSTX", k=2))
        return f"{self._random.randint(1000, 9999)}-{letters}{self._random.randint(10, 99)}"

    def _as_typed(self, sentences: Sequence[str]) -> str:
        """In somebody's hand: abbreviations, slips, a habit for capitals and full stops."""
        chance = self._random.random
        careless = chance() * 0.08  # of the words have a slip
        hurried = chance() < 0.35
        words = [sentence.split(" ") for sentence in sentences]
        words = [
            [
                grammar.ABBREVIATIONS.get(word, word)
                if hurried
                else self._slip(word)
                if chance() < careless
                else word
                for word in sentence
            ]
            for sentence in words
        ]
        habit = chance()
        typed = [" ".join(sentence) for sentence in words]
        if habit < 0.6:
            return " ".join(sentence[:1].upper() + sentence[1:] + "." for sentence in typed)
        if habit < 0.7:
            return ". ".join(typed).upper()
        return self._random.choice((", ", " - ", "; ", ". ", "\n")).join(typed).lower()

    def _slip(self, word: str) -> str:
        if len(word) < 4:
            return word
        at = self._random.randrange(1, len(word) - 1)
        return self._random.choice(
            (
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            )
        )


def _new_claims(claims: _Claims) -> bytes:
    rows = [_line(claims.new()) for _ in range(NEW_ROWS)]
    broken = {
        17: _line((claims.number(), "2024-03-02", "")),
        43: f"{claims.number()},2024-03-09,door jammed, handle broke off, no power\n".encode(),
        71: f"{claims.number()},2024-04-11,Geräusch im Lüfter - loud fan noise\n".encode("latin-1"),
        98: f"{claims.number()}\n".encode(),
        124: _line((claims.number(), "2024-05-20", "   ")),
        156: _line((claims.number(), "2024-06-30", "?")),
    }
    for at, line in broken.items():
        rows[at] = line
    return _line(("claim_id", "received", "text")) + b"".join(rows)


def _line(cells: Sequence[str]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerow(cells)
    return file.getvalue().encode("utf-8")


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    return b"".join(map(_line, (header, *rows)))
