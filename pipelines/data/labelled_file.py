"""A file of labelled claims on this machine, looked at before it is uploaded.

The look is light: what stands in the cells is for the step Validate to judge.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import re
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.control import check_file
from pipelines.errors import UserError
from pipelines.xz import MAGIC as XZ

GZIP = b"\x1f\x8b"  # how such a file begins
# As in steps/table.py, which refuses what has more.
MAX_TEXT = 1 << 30  # characters, decompressed
MAX_CELL = 1_000_000  # characters
MAX_LINE = 4 * MAX_CELL
BLOCK = 1 << 20
_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class LocalFile:
    """What a file holds; `rows` are records without the header."""

    path: Path
    sha256: str
    bytes: int
    rows: int


def examine(path: Path, text_column: str, label_column: str) -> LocalFile:
    """Reads a file once.

    Raises
    ------
    UserError
        It is not there, cannot be decompressed, is no CSV in UTF-8, has not these columns, or no
        rows. The line names the file and quotes nothing of it.
    """
    check_file(path)
    with path.open("rb", buffering=0) as raw:
        summed = _Summed(raw)
        file = io.BufferedReader(summed, BLOCK)
        rows = _rows(path, file, (text_column, label_column))
        while file.read(BLOCK):  # what may follow the end of an archive belongs to the sum
            pass
    return LocalFile(path, summed.digest.hexdigest(), summed.size, rows)


class _Summed(io.RawIOBase):
    """Sums up what is read of a file."""

    def __init__(self, file: io.RawIOBase) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer) or 0
        self.digest.update(memoryview(buffer)[:count])
        self.size += count
        return count


def texts_of(path: Path, text_column: str) -> Iterator[str]:
    """The texts of a file, row by row; of a row that is too short an empty one.

    Raises
    ------
    UserError
        As `examine`.
    """
    with path.open("rb") as file, closing(_records(path, file, (text_column,))) as records:
        place = next(records).index(text_column)
        for record in records:
            yield record[place] if place < len(record) else ""


def _rows(path: Path, file: io.BufferedReader[Any], columns: tuple[str, ...]) -> int:
    """The number of rows below the header, which must name the columns."""
    rows = sum(1 for _ in _records(path, file, columns)) - 1
    if not rows:
        raise UserError(f"{path}: a header but no rows; expected labelled claims")
    return rows


def _records(
    path: Path, file: io.BufferedReader[Any], columns: tuple[str, ...]
) -> Generator[list[str], None, None]:
    """The header, which must name the columns, and the rows below it."""
    beginning = file.peek(len(XZ))
    content: Any = file
    if beginning.startswith(GZIP):
        content = gzip.GzipFile(fileobj=file)
    elif beginning.startswith(XZ):
        content = lzma.LZMAFile(file)  # noqa: SIM115 - holds nothing but `file`
    text = io.TextIOWrapper(content, "utf-8-sig", newline="")
    csv.field_size_limit(MAX_CELL)
    records = csv.reader(_lines(path, text), strict=True)
    try:
        header = [name.strip() for name in next(filter(None, records), [])]
        _check_header(path, header, columns)
        yield header
        yield from filter(None, records)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile):
        raise UserError(f"{path}: damaged or cut short, it cannot be decompressed") from None
    except UnicodeDecodeError as error:
        # It is raised for a block, which begins in the line after the last that was read.
        before = len(_LINE_END.findall(error.object[: error.start]))
        raise UserError(
            f"{path}, line {records.line_num + before + 1:,}: not UTF-8; expected CSV in UTF-8, "
            "plain, gzip or xz"
        ) from None
    except csv.Error as error:
        raise UserError(f"{path}, line {records.line_num:,}: not CSV: {error}") from None
    finally:
        text.detach()  # it would close `file`, which is not at its end yet


def _lines(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    """The lines, none of them endless and not too many."""
    room = MAX_TEXT
    while line := text.readline(MAX_LINE):
        room -= len(line)
        if room < 0:
            raise UserError(
                f"{path}: more than {MAX_TEXT >> 20:,} MiB of text, more than a training reads; "
                "take fewer rows"
            )
        if len(line) == MAX_LINE:
            raise UserError(
                f"{path}: a line of more than {MAX_LINE:,} characters; expected CSV with one claim "
                "in a row"
            )
        yield line


def _check_header(path: Path, header: list[str], columns: tuple[str, ...]) -> None:
    if not header:
        raise UserError(f"{path}: empty; expected a header and rows")
    missing = [f'"{name}"' for name in columns if name not in header]
    if missing and len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if mark in header[0]:
                raise UserError(f"{path}: separated by {name}; expected commas")
    if missing:
        raise UserError(
            f"{path}: no column {' and no column '.join(missing)} in its first line; the settings "
            "text_column and label_column name the columns"
        )
