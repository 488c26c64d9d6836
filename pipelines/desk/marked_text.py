"""A text with its words marked by what they spoke for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipelines.explanation import Word

STRENGTHS = 3  # shades of a mark
_FAINT = 0.08  # of the strongest weight: below it a word is not marked


class Part(NamedTuple):
    """A piece of the text; `side` is "for", "against" or empty, `strength` from 1 to STRENGTHS."""

    text: str
    side: str = ""
    strength: int = 0


def marked(text: str, words: Iterable[Word]) -> list[Part]:
    """The whole text in its order, in parts. Spans that overlap or lie outside are left out."""
    known = list(words)
    largest = max((abs(one.weight) for one in known), default=0.0)
    parts, at = [], 0
    for one in sorted(known, key=lambda one: one.start):
        share = abs(one.weight) / largest if largest else 0.0
        if share < _FAINT or not at <= one.start < one.end <= len(text):
            continue
        strength = min(STRENGTHS, 1 + int(share * STRENGTHS))
        side = "for" if one.weight > 0 else "against"
        parts += [Part(text[at : one.start]), Part(text[one.start : one.end], side, strength)]
        at = one.end
    return [one for one in (*parts, Part(text[at:])) if one.text]
