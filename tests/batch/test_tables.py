"""Reading what people upload: every row is a row or a reject, or the whole file is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch import records
from batch.rows import CELL_LIMIT, Reject, Row
from batch.tables import Format, Table, open_table
from steps.errors import InputError

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
BITS = [b'{"text"', b':"a"', b"}", b"text", b",", b"\n", b'"', b"\r\n", b"\xff", b"\0", b"x", b"["]
BITS += [b"PK\x03\x04", b"\xef\xbb\xbf", b"\x1f\x8b\x08\x00", b" ", b"\\ud800"]


def opened(data: bytes, name: str = "a.csv") -> Table:
    return open_table(io.BufferedReader(io.BytesIO(data)), name, "text")  # type: ignore[arg-type]


def split(data: bytes, name: str = "a.csv") -> tuple[list[Row], list[Reject]]:
    blocks = list(opened(data, name).blocks)
    rejects = [reject for block in blocks for reject in block.rejects]
    return [row for block in blocks for row in block.rows], rejects


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_csv_is_read_with_and_without_mark_gzip_and_crlf(
    mark: bytes, pack: Callable[[bytes], bytes], end: bytes
) -> None:
    data = mark + end.join([b"id,text", b'1,"one, ""two"""', b'2,"three', b'four"', b""])
    table = opened(pack(data))
    assert (table.columns, table.byte_order_mark) == (("id", "text"), mark != b"")
    assert table.gzipped == (pack is gzip.compress)
    rows = [row for block in table.blocks for row in block.rows]
    assert [row.line for row in rows] == [2, 3]
    assert [row.text for row in rows] == ['one, "two"', "three" + end.decode() + "four"]
    assert rows[0].source == '1,"one, ""two"""'


@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS)), st.sampled_from(["\n", "\r\n"]))
def test_whatever_a_csv_writer_writes_comes_through_untouched(
    written: list[tuple[str, str, str]], end: str
) -> None:
    file = io.StringIO(newline="")
    # QUOTE_ALL, because a writer that ends lines in LF leaves a lone CR without quotes.
    writer = csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("id", "text", "note"), *written])
    rows, rejects = split(file.getvalue().encode())
    assert len(rows) + len(rejects) == len(written)
    assert [tuple(next(csv.reader([row.source]))) for row in rows] == [
        each for each in written if each[1].strip()
    ]
    assert {reject.reason for reject in rejects} <= {"the text is blank"}


@given(st.lists(st.sampled_from(BITS), max_size=40).map(b"".join) | st.binary(max_size=200))
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
@pytest.mark.parametrize("start", [b"", b"text,id\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_any_bytes_are_rows_and_rejects_or_one_input_error(
    name: str, start: bytes, pack: Callable[[bytes], bytes], data: bytes
) -> None:
    try:
        rows, rejects = split(pack(start + data), name)
    except InputError as error:
        assert "\n" not in str(error)
        return
    for row in rows:
        assert row.text.strip()
        if name == "a.csv":
            assert len(next(csv.reader([row.source]))) == len(row.columns)
        row.text.encode()
    plain = (start + data).removeprefix(b"\xef\xbb\xbf")
    lines = records.lines(io.BytesIO(plain))
    cut = records.csv_records(lines) if name == "a.csv" else lines
    found = [each for each in cut if each.raw.strip(b" \t\r\n")]
    header = name == "a.csv"
    assert len(rows) + len(rejects) >= len(found) - header  # none is lost
    places = [each.line for each in (*rows, *rejects)]
    assert len(set(places)) == len(places)  # none is doubled


@given(st.binary(min_size=1, max_size=300))
def test_a_damaged_gzip_stream_is_one_input_error(tail: bytes) -> None:
    with pytest.raises(InputError):
        split(gzip.compress(b"id,text\n1,a\n")[:10] + tail)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1", "1 fields, the header has 2"),
        (b"1,a,b", "3 fields, the header has 2"),
        (b"1,", "the text is blank"),
        (b'1," \t "', "the text is blank"),
        (b"1,a\xffb", "not UTF-8 at byte 4 of the row; save as UTF-8"),
        (b"1,a\0b", "a NUL byte"),
        (b"1,a\rb", "a carriage return outside quotes"),
        (b'1,"a', "a quote is opened and never closed"),
        (b"1," + b"x" * (CELL_LIMIT + 1), f"a cell is longer than {CELL_LIMIT:,} characters"),
    ],
)
def test_a_bad_csv_row_is_rejected_and_its_neighbours_are_not(line: bytes, reason: str) -> None:
    rows, rejects = split(b"id,text\n0,before\n" + line + b"\n2,after\n")
    assert [row.text for row in rows] == ["before", "after"]
    assert rejects == [Reject(3, reason, line + b"\n")]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "a"', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"text": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'["text"]', "not a JSON object"),
        (b'{"id": 1}', "no member 'text'"),
        (b'{"text": 7}', "'text' is not a string"),
        (b'{"text": null}', "'text' is not a string"),
        (b'{"text": " "}', "the text is blank"),
        (b'{"text": "\\ud800"}', "half of a surrogate pair in the text"),
        (b'{"text": "a\\u0000"}', "a NUL character in the text"),
        (b'{"text": "\xff"}', "not UTF-8 at byte 11 of the row; save as UTF-8"),
    ],
)
def test_a_bad_json_line_is_rejected_and_its_neighbours_are_not(line: bytes, reason: str) -> None:
    good = b'{"id": 1, "text": "good"}\n'
    rows, rejects = split(good + line + b"\n\n" + good, "a.jsonl")
    assert [row.line for row in rows] == [1, 4]
    if line.startswith(b'{"text": 99') and rejects[0].reason == "'text' is not a string":
        return  # Python 3.10 before its limit on digits
    assert rejects == [Reject(2, reason, line + b"\n")]


def _packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # the same in every process that collects the tests


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a.csv"), "id,text\n1,a\n")
    return file.getvalue()


GOOD = b"id,text\n" + b"1,some text that is long enough\n" * 500


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "a.csv", "a.csv: the file is empty; expected CSV with a header and a column 'text'"),
        (b"\xef\xbb\xbf", "a.csv", "the file is empty"),
        (b"", "a.jsonl", "the file is empty; expected JSON Lines"),
        (_packed(b""), "a.csv.gz", "the file is empty"),
        (b"\nid,text\n1,a\n", "a.csv", "no header"),
        (
            b"id,claim\n1,a\n",
            "a.csv",
            r"no column 'text'; .* 'id', 'claim'",
        ),
        (b"id;claim\n1;a\n", "a.csv", r"the header has 'id', 'claim'"),
        (b"id\tclaim\n1\ta\n", "a.csv", r"the header has 'id', 'claim'"),
        (b"pump leaks,0049 30\n", "a.csv", r"the header has \(10 characters\), \(7 characters\)"),
        (b'{"text": "a"}\n', "a.csv", "is it JSON Lines"),
        (b"text,id,text,id\n", "a.csv", "more than once: 'text', 'id'"),
        (b"text,i\0d\n", "a.csv", "a binary file"),
        (b"text,\xff\n", "a.csv", "the header cannot be read: not UTF-8 at byte 6"),
        (b'text,"id\n', "a.csv", "the header cannot be read: a quote is opened"),
        (b"id,text\r1,a\r", "a.csv", "the header cannot be read: a carriage return"),
        (_zip(), "a.csv", "a zip archive or an Excel workbook"),
        (_packed(_packed(GOOD)), "a.csv", "compressed twice"),
        ("id,text\n".encode("utf-16"), "a.csv", "UTF-16; save it as UTF-8"),
        (_packed(GOOD)[:60], "a.csv", "ends early"),
        (_packed(GOOD)[:-4], "a.csv", "ends early"),
        (_packed(GOOD)[:-8] + b"12345678", "a.csv", "damaged"),
        (b'[{"text": "a"}]', "a.jsonl", "a JSON array; expected JSON Lines"),
    ],
)
def test_a_file_that_cannot_be_read_at_all_says_why(data: bytes, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        split(data, name)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_header_does_not_leak_its_claims_into_the_error() -> None:
    claim = "my neighbour Mr Miller broke the window of my blue car"
    with pytest.raises(InputError) as caught:
        split(f"1,{claim}\n".encode())
    assert "Miller" not in str(caught.value)


def test_a_header_without_rows_is_a_file_with_no_rows() -> None:
    assert split(b"id,text\n") == ([], [])


def test_a_line_of_50_mb_is_rejected_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RECORD_LIMIT", 1000)
    rows, rejects = split(b"id,text\n1," + b"x" * 50_000 + b"\n2,after\n")
    assert [row.line for row in rows] == [3]
    assert len(rejects[0].raw) == 1000
    assert "longer than 1,000 bytes" in rejects[0].reason


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jsonl", Format.JSON_LINES),
        ("A.NDJSON.GZ", Format.JSON_LINES),
        ("a.csv", Format.CSV),
        ("a.jsonl.csv.gz", Format.CSV),
        ("claims", Format.CSV),
    ],
)
def test_the_name_tells_the_format(name: str, form: Format) -> None:
    assert Format.of(name) is form


def test_json_members_pass_through_as_they_are_written() -> None:
    line = '{"n":1.10, "text" : "a", "big": 123456789012345678901234.50, "n": 2}'
    rows, _ = split(f"  {line} \r\n".encode(), "a.jsonl")
    assert rows[0].source == line
    assert json.loads(line).keys() == set(rows[0].columns)
