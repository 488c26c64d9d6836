from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steps import table as table_module
from steps.errors import InputError
from steps.table import Table, fingerprints, read_table, read_tables, sort_labels, write_table

SIMPLE = b'id,text,label\n1,pump leaks,water\n2,"door, left",noise\n'
EXPECTED = Table(["pump leaks", "door, left"], ["water", "noise"])
SECRET = "reactor secretly overheated"


def write(folder: Path, content: bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def message(path: Path, text: str = "text", label: str = "label") -> str:
    with pytest.raises(InputError) as caught:
        read_table(path, text, label)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
@pytest.mark.parametrize("name", ["train.csv", "no-suffix", "lying.csv.gz"])
def test_compression_is_told_by_the_content_not_by_the_name(
    tmp_path: Path, pack: Callable[[bytes], bytes], name: str
) -> None:
    assert read_table(write(tmp_path, pack(SIMPLE), name), "text", "label") == EXPECTED


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SIMPLE,
        SIMPLE.replace(b"\n", b"\r\n"),
        SIMPLE.replace(b"\n", b"\r"),
        SIMPLE.replace(b"\n", b"\n\n"),
        SIMPLE.removesuffix(b"\n"),
        SIMPLE.replace(b"water", b"  water "),
        SIMPLE.replace(b"id,text,label", b"id, text ,label"),
    ],
    ids=["bom", "crlf", "cr", "empty lines", "no last newline", "blanks", "blanks in header"],
)
def test_what_spreadsheets_do_to_csv_is_understood(tmp_path: Path, content: bytes) -> None:
    assert read_table(write(tmp_path, content), "text", "label") == EXPECTED


def test_several_members_of_a_gzip_file_are_one_table(tmp_path: Path) -> None:
    content = gzip.compress(SIMPLE[:20]) + gzip.compress(SIMPLE[20:])
    assert read_table(write(tmp_path, content), "text", "label") == EXPECTED


def test_a_folder_is_its_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    write(tmp_path, b"text,label\nthird,c\n", "part-2.csv")
    write(tmp_path, gzip.compress(b"text,label\nfirst,a\nsecond,b\n"), "part-1.csv.gz")
    write(tmp_path, b"\x00", ".hidden")
    expected = Table(["first", "second", "third"], ["a", "b", "c"])
    assert read_table(tmp_path, "text", "label") == expected


def test_a_part_without_rows_is_no_fault_of_the_others(tmp_path: Path) -> None:
    write(tmp_path, b"text,label\n", "a.csv")
    write(tmp_path, b"text,label\nfirst,a\n", "b.csv")
    assert len(read_table(tmp_path, "text", "label")) == 1


def test_blank_cells_are_kept_for_the_validation_and_left_out_of_training(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, b"text,label\na,1\n ,1\nb,\nc,0\n"), "text", "label")
    assert table == Table(["a", " ", "b", "c"], ["1", "1", "", "0"])
    assert table.complete() == Table(["a", "c"], ["1", "0"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "train.csv is empty"),
        (b"\n\n", "train.csv is empty"),
        (b"text,label\n", "train.csv has a header but no rows"),
        (b"id;text;label\n1;a;b\n", "separated by semicolons or tabs: save it separated by commas"),
        (b"pump leaks,004930\nmore,fire\n", "its first line has (a text), (a text); the"),
        (b"words,label\na,b\n", 'no column "text": its first line has "words", "label"; the'),
        (b"words,class\na,b\n", 'no column "text" and no column "label"'),
        (b"text,label,text\na,b,c\n", 'more than one column of the same name: "text"'),
        (b"text,label\na,b\nx,y,z\n", "line 3: 3 fields, expected 2"),
        (b"text,label\na,b\nx\n", "line 3: 1 fields, expected 2"),
        (b'text,label\n"a\nb",c\nx\n', "line 4: 1 fields, expected 2"),
        (b"text,label\na,b\nx\xff,y\n", "line 3: not UTF-8 at byte offset 16"),
        (b"text,label\na,b\n\x00,y\n", "line 3: a NUL byte at offset 15"),
        (b'text,label\na,b\n"open,c\nd,e\n', "line 3: a quote that opens"),
        (b'text,label\na,b\n"a"b,c\n', "line 3: a cell goes on after its closing quote"),
        (b"text,label\na," + b"x" * 10_000_000 + b"\n", "line 2: the row that starts here has a"),
        (b"PK\x03\x04rest", "a zip archive or an Excel workbook"),
        ("text,label\na,b\n".encode("utf-16"), "UTF-16 text"),
        (bytes(range(256)), "a NUL byte"),
        (gzip.compress(SIMPLE)[:-9], "damaged or cut short"),
        (lzma.compress(SIMPLE)[:-9], "damaged or cut short"),
        (gzip.compress(SIMPLE)[:-8] + b"\0" * 8, "damaged or cut short"),
        (b"\x1f\x8bnot gzip at all", "damaged or cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_refused_in_one_line_with_its_place(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    line = message(write(tmp_path, content))
    assert expected in line
    assert "train.csv" in line


def test_wrong_columns_name_the_settings(tmp_path: Path) -> None:
    line = message(write(tmp_path, SIMPLE), "review", "sentiment")
    assert "text_column and label_column" in line
    assert '"review" and "sentiment"' in line


@pytest.mark.parametrize(
    "content",
    [
        f"{SECRET} again,fire\nmore,fire\n",
        f"text,label\n{SECRET},fire,1\n",
        f'text,label\n"{SECRET}" x,fire\n',
        f'text,label\n"{SECRET},fire\n',
        f"text,label\n{SECRET}\0,fire\n",
    ],
    ids=["no header", "fields", "quote", "open quote", "nul"],
)
def test_no_message_quotes_a_claim(tmp_path: Path, content: str) -> None:
    assert "secretly" not in message(write(tmp_path, content.encode()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert message(tmp_path / "nowhere.csv").startswith("nowhere.csv does not exist")


def test_an_empty_channel_is_named(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    assert message(tmp_path / "train").startswith("train is empty")


def test_a_folder_in_a_channel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nested").mkdir()
    assert "nested" in message(tmp_path)


def test_parts_are_read_by_the_names_of_their_columns(tmp_path: Path) -> None:
    write(tmp_path, b"text,label\nfirst,a\n", "1.csv")
    write(tmp_path, b"who,label,when,text\nx,b,y,second\n", "2.csv")
    assert read_tables(tmp_path, "text", "label") == [
        Table(["first"], ["a"]),
        Table(["second"], ["b"]),
    ]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (b"text,category\na,b\n", '2.csv has no column "label": its first line has "text", "cate'),
        (b"", "2.csv is empty"),
        (b"text,text,label\na,b,c\n", "2.csv has more than one column of the same name"),
        (b"id,text,label\n1,a,b\n2,a\n", "2.csv, line 3: 2 fields, expected 3"),
    ],
)
def test_a_part_without_the_columns_is_named(tmp_path: Path, second: bytes, expected: str) -> None:
    write(tmp_path, b"text,label\na,b\n", "1.csv")
    write(tmp_path, second, "2.csv")
    assert expected in message(tmp_path)


def test_one_column_cannot_be_text_and_label(tmp_path: Path) -> None:
    assert "two columns" in message(write(tmp_path, SIMPLE), "text", "text")


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"])
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(table_module, "MAX_BYTES", 3 << 20)
    row = b"x" * 99 + b",1\n"
    content = pack(b"text,label\n" + row * 20_000)
    write(tmp_path, content, "a.csv")
    assert len(read_table(tmp_path, "text", "label")) == 20_000
    write(tmp_path, content, "b.csv")
    assert message(tmp_path).startswith("b.csv is too large: more than 3 MiB")


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["1", "0", "1"], ["0", "1"]),
        (["10", "9", "-1", "2.5"], ["-1", "2.5", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["1.0", "1", "01"], ["01", "1", "1.0"]),
        (["nan", "2", "10"], ["10", "2", "nan"]),
        ([], []),
    ],
)
def test_labels_are_sorted_as_numbers_only_if_all_are(
    labels: list[str], expected: list[str]
) -> None:
    assert sort_labels(labels) == expected


def test_a_fingerprint_is_the_sum_of_the_file_as_it_lies_there(tmp_path: Path) -> None:
    packed = gzip.compress(SIMPLE)
    write(tmp_path, packed, "a.csv.gz")
    assert fingerprints(tmp_path) == {"a.csv.gz": hashlib.sha256(packed).hexdigest()}


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1),
    pack=st.sampled_from([bytes, gzip.compress, lzma.compress]),
    terminator=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_whatever_a_csv_writer_wrote_is_read_back(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    pack: Callable[[bytes], bytes],
    terminator: str,
    quoting: Literal[0, 1],
) -> None:
    file = io.StringIO(newline="")
    # A writer that ends lines with \n alone does not quote a lone \r: not what RFC 4180 allows.
    if terminator == "\n":
        quoting = csv.QUOTE_ALL
    writer = csv.writer(file, lineterminator=terminator, quoting=quoting)
    writer.writerows([("text", "other", "label"), *rows])
    path = write(tmp_path, pack(file.getvalue().encode("utf-8")))
    expected = Table([row[0] for row in rows], [row[2].strip() for row in rows])
    assert read_table(path, "text", "label") == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS.map(str.strip)), min_size=1),
    columns=st.tuples(CELLS, CELLS)
    .map(lambda names: tuple(name.strip() for name in names))
    .filter(lambda names: names[0] != names[1] and not names[0].startswith("\ufeff")),
)
def test_a_written_table_is_read_back_and_has_one_spelling(
    tmp_path: Path, rows: list[tuple[str, str]], columns: tuple[str, str]
) -> None:
    table = Table([text for text, _ in rows], [label for _, label in rows])
    paths = [tmp_path / "1.csv", tmp_path / "2.csv"]
    write_table(paths[0], table, *columns)
    assert read_table(paths[0], *columns) == table
    write_table(paths[1], read_table(paths[0], *columns), *columns)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"text,label\n", b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00", b"\xef\xbb\xbf", SIMPLE]
    ),
    rest=st.binary() | st.text(alphabet='a",\r\n ').map(str.encode),
)
def test_no_bytes_raise_anything_but_an_input_error(
    tmp_path: Path, start: bytes, rest: bytes
) -> None:
    path = write(tmp_path, start + rest)
    try:
        table = read_table(path, "text", "label")
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert len(table.texts) == len(table.labels) > 0
