"""A classifier small enough to be run a thousand times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.errors import InputError

ARTIFACT = b"a model"


@dataclass(frozen=True)
class Said:
    label: str
    confidence: float
    review: bool


class Brakes:
    """Knows one word."""

    text_column = "text"
    info: Mapping[str, Any] = {"kind": "brakes", "labels": ["brakes", "other"]}

    def predict(self, texts: Iterable[str]) -> Iterator[Said]:
        for text in texts:
            known = "brakes" in text
            yield Said("brakes" if known else "other", 0.9 if known else 0.4, not known)


def load(archive: Path, folder: Path) -> Brakes:
    if archive.read_bytes() != ARTIFACT:
        raise InputError("the artifact's sums are wrong")
    assert list(folder.iterdir()) == []
    return Brakes()
