"""Text in any script, rewritten so that its words are what lies between ASCII separators.

Characters are brought to one form (NFKC: composed accents, wide and narrow forms) and to small
letters; typographic marks become those of ASCII; other marks and symbols become blanks. Scripts
that put no blanks between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, …) and pictographs
have each character stand as a word of its own, so that pairs of words are pairs of characters.
"""

from __future__ import annotations

import re
import unicodedata

APART = "\x1f"  # stands before a character that is a word of its own

# Blocks of scripts without blanks, and of pictographs.
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
    (0x1A20, 0x1AAF),  # Tai Tham
    (0x2600, 0x27BF),  # symbols and dingbats
    (0x2E80, 0x31FF),  # radicals, kana, bopomofo
    (0x3400, 0x4DBF),  # CJK
    (0x4E00, 0xA4CF),  # CJK, Yi
    (0xA9E0, 0xA9FF),  # Myanmar
    (0xAA60, 0xAADF),  # Myanmar, Tai Viet
    (0xF900, 0xFAFF),  # CJK
    (0x1AFF0, 0x1B2FF),  # kana, Nüshu
    (0x1F300, 0x1FAFF),  # pictographs
    (0x20000, 0x3FFFF),  # CJK
)
_SAME = str.maketrans(
    {
        "‘": "'", "’": "'", "‛": "'", "′": "'", "ʼ": "'",
        "“": '"', "”": '"', "„": '"', "‟": '"', "«": '"', "»": '"', "「": '"', "」": '"',
        "–": "-", "—": "-", "―": "-", "‐": "-", "‑": "-", "−": "-",
        "。": ".", "、": ",", "،": ",", "؛": ";", "؟": "?", "।": ".", "۔": ".", "¿": "?", "¡": "!",
    }
)  # fmt: skip

_VANISHING = "\u00ad\u200c\u200d\u200e\u200f\u2060\ufeff"  # soft hyphens, joiners, directions

_BEYOND = re.compile(r"[^\x00-\x7f]+")
_SLICE = 512  # characters: normalising takes quadratic time where combining marks follow each other
_REMEMBERED = 1 << 16  # characters


def plain(text: str) -> str:
    """The text with each character over 127 part of a word, words parted by ASCII alone."""
    slices = (text[first : first + _SLICE] for first in range(0, len(text), _SLICE))
    text = "".join(unicodedata.normalize("NFKC", part) for part in slices)
    return _BEYOND.sub(_rewritten, text.lower())


def origins(text: str) -> list[tuple[int, int]]:
    """For each character of `plain(text)`, where in the text that which it was made of begins and
    ends."""
    lowered: list[tuple[str, tuple[int, int]]] = []
    for first in range(0, len(text), _SLICE):
        part = text[first : first + _SLICE]
        begins = [place for place, one in enumerate(part) if not (place and _joins(one))]
        for begin, end in zip(begins, [*begins[1:], len(part)], strict=True):
            made = unicodedata.normalize("NFKC", part[begin:end]).lower()
            lowered += [(one, (first + begin, first + end)) for one in made]
    found: list[tuple[int, int]] = []
    done = 0
    for run in _BEYOND.finditer("".join(one for one, _ in lowered)):
        found += [origin for _, origin in lowered[done : run.start()]]
        done = run.end()
        for one, origin in lowered[run.start() : done]:
            found += [origin] * len(_TABLE[ord(one)])
        if APART in run.group().translate(_TABLE):
            found.append(found[-1])  # the blank that ends it
    return found + [origin for _, origin in lowered[done:]]


def _joins(character: str) -> bool:
    """Whether normalising may join it with what stands before it: marks, and Hangul's vowels and
    final consonants."""
    if character.isascii():
        return False
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first)[0] == "M" or "\u1160" <= first <= "\u11ff"


def _rewritten(run: re.Match[str]) -> str:
    made = run.group().translate(_TABLE)
    # What follows a character that is a word of its own is another word.
    return made + " " if APART in made else made


class _Table(dict[int, str]):
    """What each character becomes, found out when it is first met."""

    def __missing__(self, code: int) -> str:
        made = _SAME[code] if code in _SAME else _found(chr(code))
        if len(self) < _REMEMBERED:
            self[code] = made
        return made


def _found(character: str) -> str:
    category = unicodedata.category(character)
    if character in _VANISHING:
        return ""
    if category[0] == "M":  # marks belong to what they stand on
        return character
    if category[0] in "LN" or category == "So":
        unspaced = any(first <= ord(character) <= last for first, last in _UNSPACED)
        return APART + character if unspaced else character if category != "So" else " "
    return " "


_TABLE = _Table()
