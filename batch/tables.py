"""Opens a file of claims, whatever it is: CSV, JSON Lines or Parquet, plain or gzip.

CSV: RFC 4180, separated by comma, semicolon or tab, UTF-8 with or without a byte order mark, LF or
CRLF. JSON Lines: one object a line. Gzip and Parquet are told by the first bytes, the others by the
name. Memory does not grow with the file.

What makes the whole file unreadable is an `InputError`, also when it shows only later (a gzip
stream that ends early): then nothing of the file counts as predicted.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from itertools import chain
from typing import Any, cast

from batch.csv_rows import csv_blocks
from batch.dialects import PLAIN, Dialect, limit_cells, read_header
from batch.json_lines import check_first, json_blocks
from batch.parts import LOOKBACK, WHOLE, Extent, Part, first_records, later_records
from batch.records import csv_records, lines
from batch.rows import Block
from steps.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
_PAGE = b"\x15"  # what follows in a Parquet file, and never in a text


class Format(Enum):
    """A file's format; the value is its suffix."""

    CSV = ".csv"
    JSON_LINES = ".jsonl"
    PARQUET = ".parquet"

    @classmethod
    def of(cls, name: str) -> Format:
        """By the suffix, but for `.gz`: `.jsonl` and `.ndjson`, `.parquet`; all else is CSV."""
        plain = name.lower().removesuffix(".gz")
        if plain.endswith((".jsonl", ".ndjson")):
            return cls.JSON_LINES
        return cls.PARQUET if name.lower().endswith(".parquet") else cls.CSV


@dataclass(frozen=True)
class Table:
    """An opened file, or a part of it; `blocks` can be read once.

    Attributes
    ----------
    columns: empty for JSON Lines.
    header: of CSV, as it is written.
    schema: of Parquet, the Arrow schema.
    part, extent: which part of the file the blocks are, and what it spans once they were read.
    """

    name: str
    format: Format
    blocks: Iterator[Block]
    columns: tuple[str, ...] = ()
    header: str = ""
    dialect: Dialect = PLAIN
    gzipped: bool = False
    byte_order_mark: bool = False
    schema: Any = None
    part: Part = WHOLE
    extent: Extent = field(default_factory=Extent)


def open_table(stream: io.BufferedReader, name: str, text_column: str, part: Part = WHOLE) -> Table:
    """Opens the file `name`; `text_column` is the column, or the object's member, to be predicted.

    Only plain CSV and JSON Lines have parts: of anything else the first part is all, and the others
    are empty. Sets the limit of a cell in Python's csv module, which is one for the whole process.

    Raises
    ------
    InputError: the file as a whole is not what it should be; reading its rows may raise it, too.
    """
    limit_cells()
    head = stream.peek(5)
    if head.startswith(PARQUET + _PAGE) or Format.of(name) is Format.PARQUET:
        return _parquet(stream, name, text_column, part)
    if not head.startswith(GZIP):
        return _text(stream, name, text_column, part)
    if not part.is_first:
        return _empty(name, part)
    unpacked: io.BufferedReader = io.BufferedReader(
        cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), 2**20
    )
    with _gzip_errors(name):
        table = _text(unpacked, name, text_column, WHOLE)
    return replace(
        table,
        gzipped=True,
        blocks=_guarded(table.blocks, name),
        part=part,
        extent=Extent(0, part.size),
    )


def _text(stream: io.BufferedReader, name: str, text_column: str, part: Part) -> Table:
    """A file of lines."""
    form = Format.of(name)
    marked = stream.peek(3)[:3] == BYTE_ORDER_MARK
    start = len(stream.read(3)) if marked else 0
    extent = Extent()
    source = lines(stream, start=start)
    if form is Format.JSON_LINES:
        first = check_first(next(source, None), name, text_column)
        records = (
            first_records(chain([first], source), part, extent)
            if part.is_first
            else later_records(stream, part, start, iter, 0, extent)
        )
        return Table(
            name,
            form,
            json_blocks(records, text_column),
            byte_order_mark=marked,
            part=part,
            extent=extent,
        )
    header = read_header(source, name, text_column)
    cut = partial(csv_records, delimiter=header.dialect.delimiter)
    records = (
        first_records(header.records, part, extent)
        if part.is_first
        else later_records(stream, part, header.start, cut, LOOKBACK, extent)
    )
    return Table(
        name,
        form,
        csv_blocks(records, header),
        header.columns,
        header.source,
        header.dialect,
        byte_order_mark=marked,
        part=part,
        extent=extent,
    )


def _parquet(stream: io.BufferedReader, name: str, text_column: str, part: Part) -> Table:
    if not part.is_first:
        return _empty(name, part)
    if not stream.peek(1):
        raise InputError(
            f"{name}: the file is empty; expected Parquet with a column '{text_column}'"
        )
    from batch.parquet import ParquetInput  # Arrow takes a moment: only for those who need it

    opened = ParquetInput(stream, name, text_column)
    return Table(
        name,
        Format.PARQUET,
        opened.blocks(),
        opened.columns,
        schema=opened.schema,
        part=part,
        extent=Extent(0, part.size),
    )


def _empty(name: str, part: Part) -> Table:
    """A later part of a file that cannot be cut: as JSON Lines, because there nothing is an empty
    file."""
    return Table(name, Format.JSON_LINES, iter(()), part=part, extent=Extent(part.size, part.size))


@contextmanager
def _gzip_errors(name: str) -> Iterator[None]:
    """Turns what goes wrong in a gzip stream into one InputError."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"{name}: the gzip stream ends early; upload the whole file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name}: the gzip stream is damaged; upload the file again") from error


def _guarded(blocks: Iterator[Block], name: str) -> Iterator[Block]:
    with _gzip_errors(name):
        yield from blocks
