"""A labelled file is counted as the steps would read it, and harms nobody whatever it is."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import tracemalloc
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import counting
from lambdas.counting import Counted, count

FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
}
TWO = b"text,label\nwater,a\nfire,b\n"


def rows(content: bytes) -> int | None:
    return count(io.BytesIO(content)).rows


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (TWO, 2),
        (TWO.rstrip(b"\n"), 2),
        (TWO.replace(b"\n", b"\r\n"), 2),
        (b"\xef\xbb\xbf" + TWO, 2),
        (b"text,label\n\nwater,a\n\n", 1),
        (b'text,label\n"two\nlines, ""quoted""",a\n', 1),
        (b"text,label\n", 0),
        (b"", 0),
        (b"text,label\nWasserschaden \xc3\xa4,a\n", 1),
        (b"text,label\n\xe4,a\n", None),
        (b"text,label\nwater\0,a\n", None),
        (b'text,label\n"water"x,a\n', None),
        (b'text,label\n"never closed,a\n', None),
        (b"PK\x03\x04\x14\0\x06\0\x08\0\0\0", None),
    ],
)
def test_rows_are_records_without_the_header_and_null_for_what_is_no_csv(
    form: str, content: bytes, expected: int | None
) -> None:
    stored = FORMS[form](content)
    assert count(io.BytesIO(stored)) == Counted(
        hashlib.sha256(stored).hexdigest(), len(stored), expected
    )


@given(
    table=st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2),
        min_size=1,
    ),
    form=st.sampled_from(sorted(FORMS)),
)
def test_any_table_has_the_rows_that_it_was_written_with(table: list[list[str]], form: str) -> None:
    written = io.StringIO()
    csv.writer(written).writerows(table)
    assert rows(FORMS[form](written.getvalue().encode())) == len(table) - 1


@given(
    form=st.sampled_from(sorted(FORMS)),
    cut=st.integers(0, 200),
    noise=st.binary(max_size=20),
    place=st.integers(0, 200),
)
def test_whatever_a_file_is_its_bytes_are_summed_up_and_nothing_is_raised(
    form: str, cut: int, noise: bytes, place: int
) -> None:
    stored = FORMS[form](TWO * 5)
    stored = stored[:place] + noise + stored[place : len(stored) - cut]
    counted = count(io.BytesIO(stored))
    assert (counted.sha256, counted.bytes) == (hashlib.sha256(stored).hexdigest(), len(stored))


@pytest.mark.parametrize("form", ["gzip", "xz"])
def test_streams_one_after_the_other_are_one_file_and_a_cut_one_is_none(form: str) -> None:
    pack = FORMS[form]
    assert rows(pack(TWO) + pack(b"storm,a\n")) == 3
    assert rows(pack(TWO)[:-5]) is None
    assert rows(pack(TWO) + b"rest") is None


def test_padding_after_an_xz_stream_is_no_fault() -> None:
    assert rows(lzma.compress(TWO) + b"\0" * 8) == 2


@pytest.mark.parametrize("form", FORMS)
def test_a_bomb_is_given_up_at_the_limit(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MAX_TEXT", 100_000)
    assert rows(FORMS[form](b"a,b\n" * 25_000)) == 24_999
    assert rows(FORMS[form](b"a,b\n" * 25_001)) is None


def test_an_xz_stream_that_asks_for_much_memory_is_not_obeyed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stored = lzma.compress(TWO, preset=6)
    assert rows(stored) == 2
    monkeypatch.setattr(counting, "XZ_MEMORY", 1 << 20)
    assert rows(stored) is None


@pytest.mark.parametrize(
    "content",
    [b"x" * 30_000_000, b'"' + b"x\n" * 15_000_000, b'"\n",' * 6_000_000, b"a,b\n" * 5_000_000],
    ids=["one line", "open quote", "one row", "many rows"],
)
def test_memory_does_not_grow_with_the_file(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "MAX_TEXT", 2_000_000)
    monkeypatch.setattr(counting, "MAX_RECORD", 100_000)
    monkeypatch.setattr(counting, "BLOCK", 1 << 16)
    tracemalloc.start()
    count(io.BytesIO(content))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_a_row_of_more_than_a_row_may_have_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MAX_RECORD", 1000)
    assert rows(b"a,b\n" + b"x," * 400 + b"\n") == 1
    assert rows(b"a,b\n" + b"x," * 600 + b"\n") is None
    assert rows(b"," * 5000) is None, "a part of a line is no row"


def test_a_connection_that_breaks_is_not_taken_for_a_bad_file() -> None:
    class Breaks:
        def __init__(self) -> None:
            self.rest = io.BytesIO(TWO)

        def read(self, amount: int, /) -> bytes:
            block = self.rest.read(min(amount, 10))
            if not block:
                raise ConnectionError("reset")
            return block

    with pytest.raises(ConnectionError):
        count(Breaks())
