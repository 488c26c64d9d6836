"""Which delimiter a CSV has."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from batch.outputs import harmless, rejects_writer
from batch.passes import predict_table
from batch.tables import Table, open_table
from steps.errors import InputError
from tests.batch.classifiers import Brakes


def opened(data: bytes) -> Table:
    return open_table(io.BufferedReader(io.BytesIO(data)), "a.csv", "text")  # type: ignore[arg-type]


def predicted(data: bytes, folder: Path, neutralise: bool = False) -> bytes:
    with rejects_writer(folder / "rejects.csv", neutralise) as rejects:
        predict_table(opened(data), Brakes(), 1, folder, rejects, neutralise)
    return (folder / "predictions.csv").read_bytes()


@pytest.mark.parametrize(
    ("data", "delimiter", "columns"),
    [
        (b"id,text\n", ",", ("id", "text")),
        (b"id;text\n", ";", ("id", "text")),
        (b"id\ttext\n", "\t", ("id", "text")),
        (b"text\n", ",", ("text",)),
        (b'"id;x",text\n', ",", ("id;x", "text")),
        (b'"a,b";text\n', ";", ("a,b", "text")),
        (b"a,b;text\n", ";", ("a,b", "text")),
        (b'"a\nb";" text "\n', ";", ("a\nb", " text ")),
        (b"sep=;\nid;text\n", ";", ("id", "text")),
        (b"sep=|\r\nid|text\r\n", "|", ("id", "text")),
        (b"sep=,\ntext;text,text\n", ",", ("text;text", "text")),
    ],
)
def test_the_header_tells_the_delimiter(
    data: bytes, delimiter: str, columns: tuple[str, ...]
) -> None:
    table = opened(data)
    assert (table.dialect.delimiter, table.columns) == (delimiter, columns)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_output_has_the_delimiter_of_the_input(tmp_path: Path, delimiter: str) -> None:
    file = io.StringIO(newline="")
    rows = [["id", "text", "note"], ["1", "brakes", "a,b"], ["2", "x;y\tz", 'say "no"\nnow']]
    csv.writer(file, delimiter=delimiter).writerows(rows)
    written = predicted(file.getvalue().encode(), tmp_path).decode()
    read = list(csv.reader(io.StringIO(written, newline=""), delimiter=delimiter))
    assert [row[:3] for row in read] == rows
    assert [row[3] for row in read] == ["label", "brakes", "other"]


def test_the_line_that_excel_writes_is_kept_and_counted(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfsep=;\r\nid;text\r\n1;brakes\r\n2;\r\n"
    assert predicted(data, tmp_path) == (
        b"\xef\xbb\xbfsep=;\r\nid;text;label;confidence;review;model_version\r\n"
        b"1;brakes;brakes;0.9000;false;1\r\n"
    )
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1] == "4,the text is blank,2;"


@pytest.mark.parametrize("data", [b"sep=;\n", b"sep=;\nid,text\n", b"sep=x\n1\n"])
def test_a_separator_line_without_its_header_is_one_error(data: bytes) -> None:
    with pytest.raises(InputError, match=r"no header|no column 'text'"):
        opened(data)


def test_a_thousand_columns_pass_through(tmp_path: Path) -> None:
    names = [f"c{number}" for number in range(999)]
    row = ",".join(str(number) for number in range(999))
    data = f"{','.join(names)},text\n{row},brakes\n".encode()
    assert (
        predicted(data, tmp_path).splitlines()[1] == f"{row},brakes,brakes,0.9000,false,1".encode()
    )


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("@a", "'@a"),
        ("-cmd", "'-cmd"),
        ("+49 30 12", "'+49 30 12"),
        ("\tx", "'\tx"),
        ("＝x", "'＝x"),
        ("-12.50", "-12.50"),
        ("+3", "+3"),
        ("-1e5", "-1e5"),
        ("1-1", "1-1"),
        ("", ""),
    ],
)
def test_a_cell_that_a_spreadsheet_would_compute_gets_a_quote_and_a_number_does_not(
    cell: str, shown: str
) -> None:
    assert harmless(cell) == shown


def test_formulas_in_what_passes_through_are_neutralised_only_on_demand(tmp_path: Path) -> None:
    data = b'=id,text\n"=1,2",brakes\n\'5,"the ""x"""\n=3,\n'
    assert predicted(data, tmp_path).splitlines()[1].startswith(b'"=1,2",brakes,')
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1].endswith('"=3,"')
    written = predicted(data, tmp_path, neutralise=True).splitlines()
    assert written[0].startswith(b"'=id,text,")
    assert written[1].startswith(b'"\'=1,2",brakes,')
    assert written[2].startswith(b'\'5,"the ""x""",')  # a row without one stays as it was written
    assert (tmp_path / "rejects.csv").read_text().splitlines()[1].endswith('"\'=3,"')
