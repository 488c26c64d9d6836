"""However a file is cut into parts, together they are the file in one piece."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch import assembly, tables
from batch.outputs import predictions_name
from batch.parts import WHOLE, Part
from batch.passes import predict_table
from batch.rows import Reject
from batch.shares import Share, ShareRejectsWriter
from batch.tables import open_table
from steps.errors import InputError
from tests.batch.classifiers import Brakes

CSV = '''id,text,note
1,the brakes squeal,a

2,"two
lines, one of them ""quoted""",b
3,"a quote that is opened,c
4,the brakes,"x"
5,"closed"not,"d
,"",
"",brakes,"
6,"ü, é
",e
7,"",f
8,one,two,three
"9","the ""brakes"",
,"", ",g
\xff,x,y
10,last,"never closed
11,but rows follow,h
12,x,"i"
'''.encode("latin-1")

JSON_LINES = b"""{"text": "brakes"}
{"text": "a
}

{"text": "\xc3\xbc", "n": 1.10}
["text"]
{"text": ""}
{"text": "the last"}"""


@dataclass
class Predicted:
    """What became of a file."""

    predictions: bytes
    rejects: list[Reject]
    tally: dict[str, Any]
    repaired: int = 0


def predicted(data: bytes, name: str, part: Part, folder: Path) -> tuple[Share, bytes]:
    """A share, and its predictions; the rejects lie in the folder."""
    with (folder / f"rejects-{part.index}").open("w") as file:
        table = open_table(io.BufferedReader(io.BytesIO(data)), name, "text", part)  # type: ignore[arg-type]
        tally = predict_table(table, Brakes(), 1, folder, ShareRejectsWriter(file))
    path = folder / predictions_name(table)
    made = path.read_bytes()
    extent = table.extent
    return Share(
        part.index,
        extent.begin,
        extent.end,
        extent.lines,
        path.name,
        "",
        len(made),
        0.0,
        tally.to_json(),
    ), made


def in_parts(data: bytes, name: str, cuts: Sequence[int], folder: Path) -> Predicted:
    """The file cut at these bytes, its parts predicted each for itself and then assembled."""
    edges = [0, *cuts, len(data)]
    parts = [Part(n, *edges[n : n + 2], len(data)) for n in range(len(edges) - 1)]
    made: dict[int, bytes] = {}
    repaired = 0

    def share(part: Part) -> Share:
        found, made[part.index] = predicted(data, name, part, folder)
        return found

    def repair(index: int, begin: int) -> Share:
        nonlocal repaired
        repaired += 1
        part = parts[index]
        return share(Part(index, part.first, part.beyond, part.size, begin))

    chain = assembly.chained([share(part) for part in parts], repair)
    rejects = [
        Reject(line + before, reason, row.encode())
        for one, before in zip(chain, assembly.lines_before(chain), strict=True)
        for line, reason, row in map(
            json.loads, (folder / f"rejects-{one.index}").read_text().splitlines()
        )
    ]
    whole = b"".join(made[one.index] for one in chain)
    return Predicted(whole, rejects, assembly.merged(chain).to_json(), repaired)


def same(one: Predicted, other: Predicted) -> bool:
    return (one.predictions, one.rejects, one.tally) == (
        other.predictions,
        other.rejects,
        other.tally,
    )


def delimited(data: bytes, delimiter: bytes, end: bytes, first: bytes) -> bytes:
    return first + data.replace(b",", delimiter).replace(b"\n", end)


@pytest.mark.parametrize(
    ("delimiter", "end", "first", "lookback"),
    [
        (b",", b"\n", b"", 9),
        (b";", b"\r\n", b"sep=;\r\n", 0),
        (b"\t", b"\n", b"\xef\xbb\xbf", 0),
        (b",", b"\r\n", b"\xef\xbb\xbf", 2**20),
    ],
)
def test_a_csv_cut_at_any_byte_gives_the_same_results(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    delimiter: bytes,
    end: bytes,
    first: bytes,
    lookback: int,
) -> None:
    monkeypatch.setattr(tables, "LOOKBACK", lookback)
    data = delimited(CSV, delimiter, end, first)
    whole = in_parts(data, "a.csv", [], tmp_path)
    assert whole.tally["predicted"] > 5 and whole.tally["rejected"] > 5
    repaired = 0
    for cut in range(len(data) + 1):
        made = in_parts(data, "a.csv", [cut], tmp_path)
        assert same(made, whole), cut
        repaired += made.repaired
    assert (repaired > 0) == (lookback < len(data))  # wrong guesses happen, and are mended


@pytest.mark.parametrize("cuts", [(1, 2), (60, 61), (100, 101), (60, 200), (150, 151), (90, 230)])
def test_a_csv_cut_twice_gives_the_same_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuts: tuple[int, int]
) -> None:
    monkeypatch.setattr(tables, "LOOKBACK", 3)
    assert same(in_parts(CSV, "a.csv", cuts, tmp_path), in_parts(CSV, "a.csv", [], tmp_path))


def test_json_lines_cut_at_any_byte_give_the_same_results_and_need_no_repair(
    tmp_path: Path,
) -> None:
    whole = in_parts(JSON_LINES, "a.jsonl", [], tmp_path)
    assert (whole.tally["predicted"], whole.tally["rejected"]) == (3, 4)
    for cut in range(len(JSON_LINES) + 1):
        made = in_parts(JSON_LINES, "a.jsonl", [cut], tmp_path)
        assert same(made, whole), cut
        assert made.repaired == 0


BITS = [b'"', b'""', b",", b'",', b',"', b"\n", b"\r\n", b"a", b"text", b"\xff", b"\n1,x\n"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(
    st.lists(st.sampled_from(BITS), max_size=60).map(b"".join),
    st.lists(st.integers(0, 130), max_size=3),
    st.integers(0, 40),
    st.sampled_from(["a.csv", "a.jsonl"]),
)
def test_any_bytes_cut_anywhere_give_the_same_results(
    tmp_path: Path, rows: bytes, cuts: list[int], lookback: int, name: str
) -> None:
    data = (b"id,text\n" if name == "a.csv" else b'{"text": "a"}\n') + rows
    cuts = sorted(min(cut, len(data)) for cut in cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "LOOKBACK", lookback)
        made = in_parts(data, name, cuts, tmp_path)
    assert same(made, in_parts(data, name, [], tmp_path))


def test_a_file_of_one_piece_is_what_its_only_part_is(tmp_path: Path) -> None:
    share, made = predicted(CSV, "a.csv", WHOLE, tmp_path)
    assert made == in_parts(CSV, "a.csv", [], tmp_path).predictions
    assert share.begin == 0


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_every_part_comes_to_the_same_verdict_on_a_file_that_cannot_be_read(name: str) -> None:
    data = b"[no header\n" * 9
    for index in range(3):
        with pytest.raises(InputError):
            open_table(
                io.BufferedReader(io.BytesIO(data)),  # type: ignore[arg-type]
                name,
                "text",
                Part.of(index, 3, len(data)),
            )


def test_parts_cover_the_file_without_gap() -> None:
    for size in range(20):
        for count in range(1, 6):
            parts = [Part.of(index, count, size) for index in range(count)]
            assert [part.first for part in parts[1:]] == [part.beyond for part in parts[:-1]]
            assert (parts[0].first, parts[-1].beyond) == (0, size)
