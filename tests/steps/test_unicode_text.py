from __future__ import annotations

import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.tokens import Words, by_chunks
from steps.unicode_text import origins, plain

ANY_TEXT = st.text(st.characters(codec=None), max_size=200)


def words(text: str) -> list[str]:
    """The tokens of a text as they are spelt."""

    def spelt(made: Words) -> list[str]:
        return [made.spelling(token) for token in range(len(made.hashes))]

    return [word for part in by_chunks([text], spelt) for word in part]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Die Tür klemmt!", ["die", "tür", "klemmt", "!"]),
        ("Насос ТЕЧЁТ снова", ["насос", "течёт", "снова"]),
        ("ΑΝΤΛΙΑ", ["αντλια"]),
        ("مضخة، تسرب؟", ["مضخة", ",", "تسرب", "?"]),
        ("पंप में रिसाव है।", ["पंप", "में", "रिसाव", "है", "."]),
        ("펌프가 새요", ["펌프가", "새요"]),
        ("水漏れ。", ["水", "漏", "れ", "."]),
        ("ポンプABC12が故障！", ["ポ", "ン", "プ", "abc12", "が", "故", "障", "!"]),
        ("ﾎﾟﾝﾌﾟ", ["ポ", "ン", "プ"]),
        ("ปั๊มรั่ว", ["ปั๊", "ม", "รั่", "ว"]),
        ("水泵漏水 x2", ["水", "泵", "漏", "水", "x2"]),
        ("ok 👍🏽😀", ["ok", "👍", "😀"]),
        ("“don’t” – ‘no’", ['"', "don't", '"', "-", "'no'"]),
        ("５０％　ＯＦＦ", ["50", "%", "off"]),
        ("caf\u00e9 cafe\u0301", ["café", "café"]),
        ("soft\u00adware می\u200cخواهم", ["software", "میخواهم"]),
        ("a\u00a0b\u3000c\u2028d", ["a", "b", "c", "d"]),
        ("™ ⟶ ∑ \ufffd \ud800", ["tm"]),
    ],
)
def test_words_are_found_in_every_script(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@given(ANY_TEXT)
def test_any_text_is_brought_to_letters_and_ascii(text: str) -> None:
    made = plain(text)
    made.encode()  # no half of a surrogate pair is left
    assert all(ord(one) < 128 or unicodedata.category(one)[0] in "LMNS" for one in made)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_ascii_stays_but_for_capitals(text: str) -> None:
    assert plain(text) == text.lower()


@pytest.mark.parametrize("hostile", ["\u0301\u0323", "\ufdfa", "\u1100", "\U0001f468\u200d", "漏"])
def test_a_megabyte_of_anything_is_read_in_seconds(hostile: str) -> None:
    began = time.process_time()
    plain(hostile * (1_000_000 // len(hostile.encode())))
    assert time.process_time() - began < 10


@given(ANY_TEXT)
def test_each_character_of_the_plain_text_has_an_origin(text: str) -> None:
    found = origins(text)
    assert len(found) == len(plain(text))
    assert all(0 <= begin < end <= len(text) for begin, end in found)
    assert found == sorted(found)


def test_characters_that_normalising_joins_have_one_origin() -> None:
    for code in range(sys.maxunicode + 1):
        apart = unicodedata.normalize("NFD", chr(code))
        if len(unicodedata.normalize("NFC", apart)) == 1 < len(apart):
            assert set(origins(apart)) == {(0, len(apart))}, hex(code)
