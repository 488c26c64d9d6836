"""The look at a file of labelled claims before it is uploaded."""

from __future__ import annotations

import csv
import gzip
import hashlib
import lzma
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdas.counting import count
from pipelines.data import labelled_file
from pipelines.data.labelled_file import examine, texts_of
from pipelines.errors import UserError

CSV = b'text,label\npump leaks,water\n"door, left\nopen",noise\n'
SECRET = "secretly"


def refused(path: Path) -> str:
    with pytest.raises(UserError) as caught:
        examine(path, "text", "label")
    (line,) = str(caught.value).splitlines()
    assert str(path) in line
    assert SECRET not in line
    return line


every_packing = pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gz", "xz"]
)
every_form = pytest.mark.parametrize(
    "content",
    [
        CSV,
        b"\xef\xbb\xbf" + CSV,
        CSV.replace(b"\n", b"\r\n"),
        CSV.replace(b"\n", b"\n\n"),
        b"id, label ,text\n1,fire,a\n2,fire,b",
        b"text,label\n" + b"x" * 900_000 + b",fire\nb,fire\n",
    ],
    ids=["plain", "bom", "crlf", "empty lines", "other columns", "a long text"],
)


@every_packing
@every_form
def test_the_texts_are_those_of_the_rows(
    tmp_path: Path, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "claims"
    path.write_bytes(pack(content))
    plain = content.decode("utf-8-sig")
    rows = csv.DictReader(StringIO(plain, newline=""), skipinitialspace=True)
    expected = [row.get("text") or row["text "] for row in rows]
    assert list(texts_of(path, "text")) == expected
    assert next(texts_of(path, "text")) == expected[0]  # and no more of it


@every_packing
@every_form
def test_rows_and_sum_are_those_that_the_function_counts(
    tmp_path: Path, content: bytes, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "claims"
    path.write_bytes(pack(content))
    found = examine(path, "text", "label")
    counted = count(BytesIO(pack(content)))
    assert (found.sha256, found.bytes, found.rows) == (
        counted.sha256,
        counted.bytes,
        counted.rows,
    )
    assert found.rows == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; expected a header"),
        (b"\n\n", "empty; expected a header"),
        (b"text,label\n", "a header but no rows"),
        (b"text,category\nsecretly,b\n", 'no column "label" in its first line; the settings'),
        (b"text;label\nsecretly;b\n", "separated by semicolons; expected commas"),
        (b"text\tlabel\nsecretly\tb\n", "separated by tabs; expected commas"),
        (b"secretly, really;,b\nx,y\n", 'no column "text" and no column "label"'),
        (b"secretly,fire\nb,fire\n", 'no column "text" and no column "label"'),
        (b"text,label\nsecretly \xff,b\n", "line 2: not UTF-8; expected CSV"),
        ("text,label\nsecretly,b\n".encode("utf-16"), "line 1: not UTF-8"),
        (b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xb5\x98", "not UTF-8"),
        (b'text,label\n"secretly,b\n', "line 2: not CSV"),
        (b"text,label\n" + b"secretly" * 200_000 + b",b\n", "line 2: not CSV"),
        (b"text,label\n" + b"secretly," * 600_000 + b"b\n", "a line of more than"),
        (gzip.compress(CSV)[:-9], "damaged or cut short"),
        (gzip.compress(CSV)[:-8] + b"\0" * 8, "damaged or cut short"),
        (lzma.compress(CSV)[:-9], "damaged or cut short"),
        (b"\x1f\x8bsecretly no gzip", "damaged or cut short"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_labelled_claims_is_refused_in_one_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "claims.csv"
    path.write_bytes(content)
    assert said in refused(path)


@every_packing
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("line", [1, 2, 3, 1_000, 20_000])
def test_the_line_that_is_not_utf_8_is_named(
    tmp_path: Path, pack: Callable[[bytes], bytes], end: bytes, line: int
) -> None:
    lines = [b"text,label", *[b"pump leaks,water"] * 25_000]
    lines[line - 1] = b"secretly \xff,water"
    path = tmp_path / "claims.csv"
    path.write_bytes(pack(end.join(lines)))
    assert f"line {line:,}: not UTF-8" in refused(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "there is no such file" in refused(tmp_path / "nowhere.csv")
    assert "a folder" in refused(tmp_path)


@every_packing
def test_a_decompression_bomb_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(labelled_file, "MAX_TEXT", 1 << 20)
    path = tmp_path / "claims.csv"
    path.write_bytes(pack(b"text,label\n" + b"a,fire\n" * 100_000))
    assert examine(path, "text", "label").rows == 100_000
    path.write_bytes(pack(b"text,label\n" + b"a,fire\n" * 200_000))
    assert "more than 1 MiB of text" in refused(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    start=st.sampled_from([b"", b"text,label\n", b"\x1f\x8b\x08\x00", b"\xfd7zXZ\x00", CSV]),
    rest=st.binary() | st.text(alphabet='a",\r\n ').map(str.encode),
)
def test_no_bytes_raise_anything_but_a_users_error(
    tmp_path: Path, start: bytes, rest: bytes
) -> None:
    path = tmp_path / "claims.csv"
    path.write_bytes(start + rest)
    try:
        found = examine(path, "text", "label")
    except UserError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found.sha256 == hashlib.sha256(start + rest).hexdigest()
        assert found.rows > 0
