"""One broken record costs itself and no other."""

from __future__ import annotations

import csv
import io
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import records
from batch.records import csv_records, lines

NASTY = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"a", b' "x', b"\0", b"\xff"]),
    max_size=60,
).map(b"".join)


def raws(data: bytes) -> list[bytes]:
    return [record.raw for record in csv_records(lines(io.BytesIO(data))) if not record.fault]


def faults(data: bytes) -> list[int]:
    return [record.line for record in csv_records(lines(io.BytesIO(data))) if record.fault]


@given(NASTY)
def test_no_byte_is_lost_or_doubled(data: bytes) -> None:
    assert b"".join(record.raw for record in csv_records(lines(io.BytesIO(data)))) == data


@given(NASTY)
def test_every_record_begins_at_the_line_it_names(data: bytes) -> None:
    at = 0
    for record in csv_records(lines(io.BytesIO(data))):
        assert record.line == data[:at].count(b"\n") + 1
        at += len(record.raw)


@given(st.lists(st.lists(st.text('ab",\n\r', max_size=6), min_size=2, max_size=3), max_size=8))
def test_what_a_csv_writer_writes_is_cut_where_a_csv_reader_cuts_it(rows: list[list[str]]) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    data = file.getvalue().encode()
    assert faults(data) == []
    assert [next(csv.reader([raw.decode()])) for raw in raws(data)] == rows


@pytest.mark.parametrize(
    ("data", "bad"),
    [
        (b'1,a\n2,"b\n3,c\n4,d\n', [2]),  # never closed
        (b'1,a\n2,"b\n3,"c, d"\n4,d\n', [2]),  # closed by the next row's opening quote
        (b'1,a\n2,"b\n3,c\n4,"d\ne"\n5,f\n', [2]),  # a sound field over two lines follows
        (b'1,"a\n2,"b\n3,"c\n', [1, 2, 3]),
        (b'1,a\n2,b\n3,"', [3]),
    ],
)
def test_a_stray_quote_costs_its_own_line_only(data: bytes, bad: list[int]) -> None:
    assert faults(data) == bad
    starts = {record.line for record in csv_records(lines(io.BytesIO(data)))}
    assert len(starts) == data.rstrip().count(b"\n") + 1 - data.count(b"\ne")


def test_a_quote_inside_a_field_opens_nothing() -> None:
    assert raws(b'5" pipe,a\n6" pipe,b\n') == [b'5" pipe,a\n', b'6" pipe,b\n']


@pytest.mark.parametrize("ending", [b"", b"\n", b"rest\nnext\n"])
def test_a_line_over_the_limit_is_cut_and_the_next_is_read(
    monkeypatch: pytest.MonkeyPatch, ending: bytes
) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 10)
    found = list(lines(io.BytesIO(b"0123456789" + ending)))
    assert found[0].raw == b"0123456789"
    assert bool(found[0].fault) == (ending != b"")
    assert [line.raw for line in found[1:]] == ([b"next\n"] if b"next" in ending else [])


def test_a_quote_that_stays_open_too_long_gives_the_passed_rows_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 100)
    data = b'0,"a\n' + b"1,b\n" * 1000
    assert faults(data) == [1]
    assert raws(data) == [b"1,b\n"] * 1000


@pytest.mark.parametrize("line", [b'x","\n', b'"""\n', b'a,"b\n', b'"\n', b'"",x"\n'])
def test_no_pattern_of_quotes_takes_more_than_linear_time(line: bytes) -> None:
    def seconds(count: int) -> float:
        start = time.process_time()
        assert sum(1 for _ in csv_records(lines(io.BytesIO(line * count)))) > 0
        return time.process_time() - start

    seconds(1000)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.01)
