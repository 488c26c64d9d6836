"""Reads a file of claims row by row, tolerantly: what cannot be predicted is a reject, never lost.

CSV: RFC 4180, comma, UTF-8 with or without a byte order mark, LF or CRLF. A line with nothing on
it is no row. JSON Lines: one object a line. Both plain or gzip, told by the first bytes. Memory
does not grow with the file.

What makes the whole file unreadable is an `InputError`, also when it shows only later (a gzip
stream that ends early): then nothing of the file counts as predicted.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import NamedTuple, cast

from batch.records import Record, csv_records, lines
from steps.errors import InputError

CELL_LIMIT = 1_000_000  # characters, as in training
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP = b"\x1f\x8b"
NAMES_SHOWN = 20
NAME = re.compile(r"[^\W\d][\w.\-]{0,39}")  # what a message shows: one word, no number


class Format(Enum):
    """A file's format; the value is its suffix."""

    CSV = ".csv"
    JSON_LINES = ".jsonl"

    @classmethod
    def of(cls, name: str) -> Format:
        """By the suffix, but for `.gz`: `.jsonl` and `.ndjson`; everything else is CSV."""
        plain = name.lower().removesuffix(".gz")
        return cls.JSON_LINES if plain.endswith((".jsonl", ".ndjson")) else cls.CSV


class Row(NamedTuple):
    """A row that can be predicted.

    `source` passes through untouched: the fields in the order of `columns` (CSV), or the object
    as it is written, alone (JSON Lines). `line` counts from 1 and includes the header; `size` is
    in bytes.
    """

    line: int
    text: str
    source: list[str]
    columns: Sequence[str]
    size: int


class Reject(NamedTuple):
    """A row that cannot be predicted, and why; `raw` is the row as it lies in the file."""

    line: int
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Table:
    """An opened file: `columns` is empty for JSON Lines, `rows` can be read once."""

    format: Format
    gzipped: bool
    byte_order_mark: bool
    columns: tuple[str, ...]
    rows: Iterator[Row | Reject]


def open_table(stream: io.BufferedReader, name: str, text_column: str) -> Table:
    """Opens the file `name`; `text_column` is the column, or the object's member, to be predicted.

    Sets the limit of a cell in Python's csv module, which is one for the whole process.

    Raises
    ------
    InputError: the file as a whole is not what it should be; reading its rows may raise it, too.
    """
    csv.field_size_limit(CELL_LIMIT)
    form = Format.of(name)
    gzipped = stream.peek(2)[:2] == GZIP
    if gzipped:
        stream = io.BufferedReader(cast(io.RawIOBase, gzip.GzipFile(fileobj=stream)), 2**20)
    with _gzip_errors(name):
        marked = stream.peek(3)[:3] == BYTE_ORDER_MARK
        if marked:
            stream.read(3)
        records = csv_records(stream) if form is Format.CSV else lines(stream)
        first = next(records, None)
    if first is None:
        raise InputError(f"{name}: the file is empty; expected {_expected(form, text_column)}")
    _check_readable(first, name)
    if form is Format.JSON_LINES:
        if first.raw.lstrip().startswith(b"["):
            raise InputError(f"{name}: a JSON array; expected JSON Lines, one object a line")
        columns: tuple[str, ...] = ()
        rows = _json_rows(chain([first], records), text_column)
    else:
        columns, text_index = _header(first, name, text_column)
        rows = _csv_rows(records, columns, text_index)
    return Table(form, gzipped, marked, columns, _guarded(rows, name))


def _csv_rows(
    records: Iterator[Record], columns: tuple[str, ...], text_index: int
) -> Iterator[Row | Reject]:
    for line, raw, fault in records:
        if not raw.rstrip(b"\r\n"):
            continue
        try:
            fields = _fields(_decoded(raw, fault))
            if len(fields) != len(columns):
                raise _RejectedError(f"{len(fields)} fields, the header has {len(columns)}")
            text = _checked(fields[text_index])
        except _RejectedError as rejected:
            yield Reject(line, str(rejected), raw)
        else:
            yield Row(line, text, fields, columns, len(raw))


def _json_rows(records: Iterator[Record], text_member: str) -> Iterator[Row | Reject]:
    for line, raw, fault in records:
        if not raw.strip(b" \t\r\n"):
            continue
        try:
            source = _decoded(raw, fault).strip(" \t\r\n")
            found = _object(source)
            if text_member not in found:
                raise _RejectedError(f"no member '{text_member}' (setting TEXT_COLUMN)")
            text = found[text_member]
            if not isinstance(text, str):
                raise _RejectedError(f"'{text_member}' is not a string")
            text = _checked(text)
        except _RejectedError as rejected:
            yield Reject(line, str(rejected), raw)
        else:
            yield Row(line, text, [source], tuple(found), len(raw))


class _RejectedError(Exception):
    """Why a row is rejected. The words say nothing of what stands in it."""


def _decoded(raw: bytes, fault: str) -> str:
    if fault:
        raise _RejectedError(fault)
    if b"\0" in raw:
        raise _RejectedError("a NUL byte")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise _RejectedError(f"not UTF-8 at byte {error.start + 1} of the row") from error


def _fields(record: str) -> list[str]:
    try:
        return next(csv.reader((record,)))
    except csv.Error as error:
        if "limit" in str(error):
            raise _RejectedError(f"a cell is longer than {CELL_LIMIT:,} characters") from error
        raise _RejectedError("a carriage return outside quotes") from error


def _object(source: str) -> dict[str, object]:
    try:
        found = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise _RejectedError("not valid JSON") from error
    if not isinstance(found, dict):
        raise _RejectedError("not a JSON object")
    return found


def _checked(text: str) -> str:
    if not text.strip():
        raise _RejectedError("the text is blank")
    if len(text) > CELL_LIMIT:
        raise _RejectedError(f"a cell is longer than {CELL_LIMIT:,} characters")
    if "\0" in text:
        raise _RejectedError("a NUL character in the text")
    try:
        text.encode()  # JSON can write half of a surrogate pair, which no encoding holds
    except UnicodeEncodeError as error:
        raise _RejectedError("half of a surrogate pair in the text") from error
    return text


def _check_readable(first: Record, name: str) -> None:
    """Raises InputError for what is no text, judged by the file's first line."""
    head = first.raw[:4]
    if head.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{name}: a zip archive or an Excel workbook; upload the CSV itself, plain or as .gz"
        )
    if head.startswith(GZIP):
        raise InputError(f"{name}: compressed twice; compress it once")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: the text is UTF-16; save it as UTF-8")
    if b"\0" in first.raw:
        raise InputError(f"{name}: a binary file; expected CSV or JSON Lines in UTF-8")


def _header(first: Record, name: str, text_column: str) -> tuple[tuple[str, ...], int]:
    """The columns as they are written, and which of them holds the text."""
    try:
        columns = _fields(_decoded(first.raw, first.fault))
    except _RejectedError as rejected:
        raise InputError(f"{name}: the header cannot be read: {rejected}") from rejected
    if not any(column.strip() for column in columns):
        raise InputError(f"{name}: no header; the first line has to name the columns")
    names = [column.strip() for column in columns]  # as the training reads them
    if text_column not in names:
        hint = "; is it JSON Lines? then name it .jsonl" if columns[0].startswith("{") else ""
        if len(columns) == 1 and (";" in columns[0] or "\t" in columns[0]):
            hint = "; it is separated by semicolons or tabs: save it separated by commas"
        raise InputError(
            f"{name}: no column '{text_column}' (setting TEXT_COLUMN); "
            f"the header has {_named(columns)}{hint}"
        )
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{name}: columns that occur more than once: {_named(twice)}")
    return tuple(columns), names.index(text_column)


def _named(columns: Sequence[str]) -> str:
    """Names for a message; in a file without a header, what is not one word may be a claim."""
    shown = [
        repr(column) if NAME.fullmatch(column) else f"({len(column)} characters)"
        for column in columns[:NAMES_SHOWN]
    ]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _expected(form: Format, text_column: str) -> str:
    if form is Format.CSV:
        return f"CSV with a header and a column '{text_column}'"
    return f"JSON Lines, each an object with a member '{text_column}'"


@contextmanager
def _gzip_errors(name: str) -> Iterator[None]:
    """Turns what goes wrong in a gzip stream into one InputError."""
    try:
        yield
    except EOFError as error:
        raise InputError(f"{name}: the gzip stream ends early; upload the whole file") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{name}: the gzip stream is damaged; upload the file again") from error


def _guarded(rows: Iterator[Row | Reject], name: str) -> Iterator[Row | Reject]:
    with _gzip_errors(name):
        yield from rows
