"""Which delimiter a CSV has, and what its header says.

The delimiter is the one with which the header has the text column: comma, semicolon or tab, in
this order. A first line `sep=;`, which Excel writes and reads, decides instead.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from batch.records import Record, csv_records
from batch.rows import CELL_LIMIT, RejectedError, check_readable, decoded
from steps.errors import InputError

DELIMITERS = (",", ";", "\t")
NAMES_SHOWN = 20

_SEPARATOR = re.compile(rb"sep=([,;|\t])\r?\n")
_NAME = re.compile(r"[^\W\d][\w.\-]{0,39}")  # what a message shows: one word, no number


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written; `separator_line` is `sep=;` where the file begins with that."""

    delimiter: str = ","
    separator_line: str = ""


PLAIN = Dialect()


@dataclass(frozen=True)
class Header:
    """The header as it is written, its columns, which of them holds the text, and where the rows
    begin."""

    dialect: Dialect
    source: str
    columns: tuple[str, ...]
    text_index: int
    line: int  # of the first row
    start: int  # its place in the stream, in bytes
    records: Iterator[Record]


def read_header(source: Iterator[Record], name: str, text_column: str) -> Header:
    """Reads the header from a CSV's lines and finds out the delimiter.

    Raises
    ------
    InputError: there is no header, it lacks the text column, or it names a column twice.
    """
    first = next(source, None)
    if first is None:
        raise InputError(
            f"{name}: the file is empty; expected CSV with a header and a column '{text_column}'"
        )
    check_readable(first, name)
    candidates: Sequence[str] = DELIMITERS
    separator_line = ""
    if found := _SEPARATOR.fullmatch(first.raw):
        candidates = (found[1].decode(),)
        separator_line = first.raw.decode().rstrip("\r\n")
        first = next(source, None)
        if first is None:
            raise InputError(
                f"{name}: no header; the line after '{separator_line}' names the columns"
            )
    seen = [first]

    def again() -> Iterator[Record]:
        """The lines from the header on: one that was seen is not read a second time."""
        yield from tuple(seen)
        for line in source:
            seen.append(line)
            yield line

    tried = [_tried(again(), delimiter) for delimiter in candidates]
    fitting = (place for place, one in enumerate(tried) if text_column in _stripped(one.columns))
    place = next(fitting, None)
    if place is None:
        raise _no_text_column(name, text_column, tried)
    dialect = Dialect(candidates[place], separator_line)
    columns = tried[place].columns
    names = _stripped(columns)  # as the training reads them
    twice = [column for column, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"{name}: columns that occur more than once: {named(twice)}")
    records = csv_records(chain(seen, source), dialect.delimiter)
    header = next(records)
    return Header(
        dialect,
        header.raw.decode().rstrip("\r\n"),
        columns,
        names.index(text_column),
        header.line + header.raw.count(b"\n"),
        header.start + len(header.raw),
        records,
    )


def fields(record: str, delimiter: str) -> list[str]:
    """The fields of one record. The limit of a cell is that of the process (`limit_cells`)."""
    try:
        return next(csv.reader((record,), delimiter=delimiter))
    except csv.Error as error:
        if "limit" in str(error):
            raise RejectedError(f"a cell is longer than {CELL_LIMIT:,} characters") from error
        raise RejectedError("a carriage return outside quotes") from error


def limit_cells() -> None:
    """Sets the limit of a cell in Python's csv module, which is one for the whole process."""
    csv.field_size_limit(CELL_LIMIT)


class _Tried(NamedTuple):
    """The header's columns with one delimiter, or why it cannot be read so."""

    columns: tuple[str, ...]
    fault: str = ""


def _tried(lines: Iterator[Record], delimiter: str) -> _Tried:
    try:
        return _Tried(tuple(fields(decoded(next(csv_records(lines, delimiter))), delimiter)))
    except RejectedError as rejected:
        return _Tried((), str(rejected))


def _stripped(columns: Sequence[str]) -> list[str]:
    return [column.strip() for column in columns]


def _no_text_column(name: str, text_column: str, tried: Sequence[_Tried]) -> InputError:
    """What is wrong with a header, told with the delimiter that makes the most columns of it."""
    columns = max((one.columns for one in tried), key=len)
    if tried[0].fault and len(columns) < 2:
        return InputError(f"{name}: the header cannot be read: {tried[0].fault}")
    if not any(_stripped(columns)):
        return InputError(f"{name}: no header; the first line has to name the columns")
    hint = "; is it JSON Lines? then name it .jsonl" if columns[0].startswith("{") else ""
    return InputError(
        f"{name}: no column '{text_column}'; the header has {named(columns)}: "
        f"rename the one with the text{hint}"
    )


def named(columns: Sequence[str]) -> str:
    """Names for a message; in a file without a header, what is not one word may be a claim."""
    shown = [
        repr(column) if _NAME.fullmatch(column) else f"({len(column)} characters)"
        for column in columns[:NAMES_SHOWN]
    ]
    more = len(columns) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
