"""The files that a job writes."""

from __future__ import annotations

import csv
import gzip
import io
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from batch.outputs import (
    added_columns,
    predictions_name,
    predictions_writer,
    rejects_writer,
)
from batch.rows import Reject
from batch.tables import open_table


@dataclass(frozen=True)
class Said:
    label: str = "brakes"
    confidence: float = 0.98765
    review: bool = False


def write(folder: Path, data: bytes, name: str, *said: Said) -> bytes:
    table = open_table(io.BufferedReader(io.BytesIO(data)), name, "text")  # type: ignore[arg-type]
    path = folder / predictions_name(table)
    with predictions_writer(path, table, model_version=3) as writer:
        for block in table.blocks:
            writer.write(block, said or [Said() for _ in block.rows])
    return path.read_bytes()


def test_our_columns_follow_those_of_the_input(tmp_path: Path) -> None:
    written = write(tmp_path, b'id,text,note\n1,a,"x, ""y"""\n', "a.csv", Said(review=True))
    assert written == (
        b"id,text,note,label,confidence,review,model_version\r\n"
        b'1,a,"x, ""y""",brakes,0.9877,true,3\r\n'
    )


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", " a ", "", "=1+1"])
def test_a_value_that_passes_through_is_read_back_the_same(tmp_path: Path, value: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("note", "text"), (value, "a")])
    written = write(tmp_path, file.getvalue().encode(), "a.csv").decode()
    assert list(csv.reader(io.StringIO(written, newline="")))[1][0] == value


@pytest.mark.parametrize(
    ("name", "mark"), [("a.csv", b"\xef\xbb\xbf"), ("a.csv", b""), ("a.jsonl", b"")]
)
@pytest.mark.parametrize("packed", [False, True])
def test_format_compression_and_byte_order_mark_are_those_of_the_input(
    tmp_path: Path, name: str, mark: bytes, packed: bool
) -> None:
    data = mark + (b"text\na\n" if name == "a.csv" else b'{"text": "a"}\n')
    table = open_table(
        io.BufferedReader(io.BytesIO(gzip.compress(data) if packed else data)),  # type: ignore[arg-type]
        name,
        "text",
    )
    assert predictions_name(table) == f"predictions.{name[2:]}{'.gz' if packed else ''}"
    written = write(tmp_path, gzip.compress(data) if packed else data, name)
    plain = gzip.decompress(written) if packed else written
    assert plain.startswith(mark + data.removeprefix(mark)[:4])
    assert plain.count(b"\xef\xbb\xbf") == bool(mark)


def test_the_same_rows_make_the_same_gzip_file(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    data = gzip.compress(b"text\na\n")
    first, second = (write(tmp_path / folder, data, "a.csv.gz") for folder in "12")
    assert first == second
    assert first[4:8] == bytes(4)  # no time inside


@pytest.mark.parametrize("taken", ["label", "confidence", "review", "model_version"])
def test_a_column_of_the_input_with_our_name_stays_and_ours_get_a_prefix(
    tmp_path: Path, taken: str
) -> None:
    written = write(tmp_path, f"{taken},text\nold,a\n".encode(), "a.csv").decode()
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row[taken] == "old"
    assert row["predicted_label"] == "brakes"
    assert list(row)[2:] == [
        f"predicted_{name}" for name in ("label", "confidence", "review", "model_version")
    ]


def test_our_own_output_can_be_predicted_again() -> None:
    names = [*added_columns([]), *added_columns(["label"])]
    assert added_columns(names)[0] == "predicted_predicted_label"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_label_is_no_formula_in_a_spreadsheet(tmp_path: Path, start: str) -> None:
    label = f"{start}cmd|' /C calc'!A0"
    written = write(tmp_path, b"text\na\n", "a.csv", Said(label=label)).decode()
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row["label"] == f"'{label}"
    lines = write(tmp_path, b'{"text": "a"}', "a.jsonl", Said(label=label)).decode()
    assert json.loads(lines)["label"] == label


def test_a_json_object_is_extended_and_otherwise_left_as_it_is(tmp_path: Path) -> None:
    data = b'{"n":1.10,"text":"a" }\n{"text": "b", "label": 1}\n'
    written = write(tmp_path, data, "a.jsonl", Said(), Said(review=True)).decode().splitlines()
    assert written == [
        '{"n":1.10,"text":"a", "label": "brakes", "confidence": 0.9877, "review": false, '
        '"model_version": 3}',
        '{"text": "b", "label": 1, "predicted_label": "brakes", "predicted_confidence": 0.9877, '
        '"predicted_review": true, "predicted_model_version": 3}',
    ]


def test_rows_and_predictions_that_do_not_match_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="shorter"):
        write(tmp_path, b"text\na\nb\n", "a.csv", Said())


def test_rejects_keep_the_row_as_far_as_utf8_can(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    with rejects_writer(path) as writer:
        writer.write([Reject(7, "not UTF-8", b'1,"a\xff\n,\0\xc3\xbc\r\n')])
    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert rows == [["line", "reason", "row"], ["7", "not UTF-8", '1,"a\\xff\n,\\x00ü']]
