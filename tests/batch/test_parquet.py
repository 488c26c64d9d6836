"""Uploads in Parquet."""

from __future__ import annotations

import io
import json
import resource
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch import parquet
from batch.outputs import predictions_name, rejects_writer
from batch.passes import predict_table
from batch.tables import Table, open_table
from batch.tally import Tally
from steps.errors import InputError
from tests.batch.classifiers import Brakes

TEXTS = ["the brakes", None, "a dent", " ", "brakes again"]


def packed(table: pa.Table, **settings: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **settings)
    return file.getvalue()


def opened(data: bytes, name: str = "a.parquet") -> Table:
    return open_table(io.BufferedReader(io.BytesIO(data)), name, "text")  # type: ignore[arg-type]


def predicted(data: bytes, folder: Path) -> tuple[pa.Table, Tally]:
    with rejects_writer(folder / "rejects.csv") as rejects:
        table = opened(data)
        tally = predict_table(table, Brakes(), 7, folder, rejects)
    return pq.read_table(folder / predictions_name(table)), tally


def test_rows_keep_their_columns_and_types_and_get_four_typed_ones(tmp_path: Path) -> None:
    columns = {
        "id": pa.array([1, 2, 3, 4, 5], pa.int16()),
        "text": TEXTS,
        "price": pa.array([Decimal("1.10")] * 5, pa.decimal128(9, 2)),
        "tags": [["a"], [], None, ["b"], ["c", "d"]],
        "kind": pa.array(["x", "y", "x", "x", "y"]).dictionary_encode(),
    }
    given = pa.table(columns)
    made, tally = predicted(packed(given), tmp_path)
    assert made.select(given.column_names) == given.take([0, 2, 4])
    assert made.schema.names[5:] == ["label", "confidence", "review", "model_version"]
    types = [pa.string(), pa.float64(), pa.bool_(), pa.int64()]
    assert [field.type for field in made.schema][5:] == types
    assert made.column("label").to_pylist() == ["brakes", "other", "brakes"]
    assert made.column("model_version").to_pylist() == [7, 7, 7]
    assert (tally.predicted, tally.rejected) == (3, 2)


def test_a_reject_has_its_row_number_and_the_row_as_json(tmp_path: Path) -> None:
    rows = pa.table({"id": [1, 2], "text": ["a", None], "when": pa.array([0, 1], pa.date32())})
    predicted(packed(rows), tmp_path)
    header, line = (tmp_path / "rejects.csv").read_text().splitlines()
    assert header == "line,reason,row"
    number, reason, row = line.split(",", 2)
    assert (number, reason) == ("2", "the text is blank")
    assert json.loads(row[1:-1].replace('""', '"')) == {"id": 2, "text": None, "when": "1970-01-02"}


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_every_kind_of_string_is_a_text(tmp_path: Path, kind: pa.DataType) -> None:
    column = pa.array(["brakes", "b"]).cast(kind)
    made, _ = predicted(packed(pa.table({"text": column})), tmp_path)
    assert made.column("label").to_pylist() == ["brakes", "other"]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        (pa.array([{"a": "b"}]), "struct<a: string>"),
        (pa.array([["a"]]), "list<"),
        (pa.array([1]), "int64"),
        (pa.array([b"a"]), "binary"),
    ],
)
def test_a_text_column_that_is_no_string_is_one_error_with_its_type(
    column: pa.Array, kind: str
) -> None:
    with pytest.raises(InputError, match=f"'text' is of type {kind}.*expected string"):
        opened(packed(pa.table({"text": column})))


def test_a_missing_text_column_names_those_found() -> None:
    with pytest.raises(InputError, match=r"no column 'text'; the file has 'id', 'claim'"):
        opened(packed(pa.table({"id": [1], "claim": ["a"]})))


def test_parquet_is_known_by_its_content_under_any_name(tmp_path: Path) -> None:
    table = opened(packed(pa.table({"text": ["a"]})), "claims.csv")
    assert predictions_name(table) == "predictions.parquet"


GOOD = packed(pa.table({"text": ["some text"] * 100, "id": list(range(100))}))


@pytest.mark.parametrize(
    "data", [GOOD[:-1], GOOD[:50], b"PAR1", b"id,text\n1,a\n", GOOD[:4] + bytes(40) + GOOD[44:]]
)
def test_a_damaged_file_is_one_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read") as caught:
        predicted(data, tmp_path)
    assert "\n" not in str(caught.value)


def test_an_empty_file_is_one_error() -> None:
    with pytest.raises(InputError, match="the file is empty"):
        opened(b"")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(4, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_rows_all_of_which_are_counted(
    tmp_path: Path, place: int, byte: int
) -> None:
    data = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    try:
        made, tally = predicted(data, tmp_path)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert made.num_rows == tally.predicted


def test_a_file_that_inflates_beyond_memory_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "MEMORY", 2**26)
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 2048), pa.array(["a" * 900_000]))
    plain = pa.schema([pa.field("text", pa.string())])
    data = packed(pa.table({"text": words}), compression="zstd", store_schema=False)
    assert len(data) < 20_000
    assert pq.read_schema(io.BytesIO(data)) == plain
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(InputError, match="need more than 64 MiB of memory") as caught:
        predicted(data, tmp_path)
    assert "\n" not in str(caught.value)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_type_with_hostile_names_is_told_in_one_line() -> None:
    column = pa.array([{"a\n\x1b[31m": "b"}])
    with pytest.raises(InputError) as caught:
        opened(packed(pa.table({"text": column})))
    assert str(caught.value).isprintable()


def test_a_file_without_rows_has_a_result_without_rows(tmp_path: Path) -> None:
    made, tally = predicted(packed(pa.table({"text": pa.array([], pa.string())})), tmp_path)
    assert (made.num_rows, tally.predicted) == (0, 0)
    assert "label" in made.schema.names


def test_the_row_groups_of_the_output_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 4096)
    predicted(packed(pa.table({"text": ["brakes"] * 10_000})), tmp_path)
    written = pq.ParquetFile(tmp_path / "predictions.parquet").metadata
    groups = [written.row_group(n).num_rows for n in range(written.num_row_groups)]
    assert groups == [4096, 4096, 1808]


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    peaks = []
    for rows in (4_000, 40_000):
        texts = [f"{number} " + "brakes " * 300 for number in range(rows)]
        data = packed(pa.table({"text": texts}), row_group_size=rows, use_dictionary=False)
        table = opened(data)
        before = peak = pa.total_allocated_bytes()
        for block in table.blocks:
            peak = max(peak, pa.total_allocated_bytes())
            assert len(block.rows) < 4_000
        peaks.append(peak - before)
    assert peaks[1] < 2 * peaks[0] + 2**20
    assert peaks[1] < 40_000 * 2100 / 4
