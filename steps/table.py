"""Labelled tables: what the steps read from the training and test channels.

The reader judges the form of a file and refuses what is not a table. What stands in its cells
(blank texts, missing labels, duplicates) is for the validation to judge: such rows are kept, and
training and evaluation work with `Table.complete()`, so a validation that only warns of them is
harmless.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import math
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from steps.errors import InputError

MAX_BYTES = 1 << 30  # of one channel, decompressed: a decompression bomb stops here
MAX_CELL = 1_000_000  # characters: longer than any claim, but not than what follows an open quote


@dataclass(frozen=True)
class Table:
    """Texts with their labels, row by row: texts as written, labels without outer blanks."""

    texts: list[str]
    labels: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def complete(self) -> Table:
        """The rows that have both a text and a label: what can be learned from or measured on."""
        rows = [
            (text, label)
            for text, label in zip(self.texts, self.labels, strict=True)
            if label and text.strip()
        ]
        return Table([text for text, _ in rows], [label for _, label in rows])


def read_table(folder_or_file: Path, text_column: str, label_column: str) -> Table:
    """The labelled table in a CSV file, or that of all files of a folder one after the other.

    Raises
    ------
    InputError
        As `read_tables` does.
    """
    return joined(read_tables(folder_or_file, text_column, label_column))


def read_tables(folder_or_file: Path, text_column: str, label_column: str) -> list[Table]:
    """The labelled table of each CSV file (RFC 4180, UTF-8, BOM allowed; plain, gzip or xz), in the
    order of the files' names. Besides the two columns each may have others of its own.

    Raises
    ------
    InputError
        When a file is missing, empty, damaged or not such a table, when all together are too large,
        or when none has a row. The message names file and line and never quotes a cell.
    """
    if text_column == label_column:
        raise InputError(
            f'text_column and label_column both name "{text_column}": expected two columns'
        )
    tables = []
    room = MAX_BYTES
    files = data_files(folder_or_file)
    for path in files:
        content = _content(path, room)
        room -= len(content)
        rows = _rows(path, content)
        header = [name.strip() for name in next(rows, [])]
        _check_header(path, header, text_column, label_column)
        text_at, label_at = header.index(text_column), header.index(label_column)
        table = Table([], [])
        for row in rows:
            table.texts.append(row[text_at])
            table.labels.append(row[label_at].strip())
        tables.append(table)
    if not any(map(len, tables)):
        raise InputError(f"{_name(files[0])} has a header but no rows: expected labelled claims")
    return tables


def joined(tables: Sequence[Table]) -> Table:
    """The rows of all tables, one table after the other."""
    return Table(
        list(chain.from_iterable(table.texts for table in tables)),
        list(chain.from_iterable(table.labels for table in tables)),
    )


def write_table(path: Path, table: Table, text_column: str, label_column: str) -> None:
    """Writes a table as `read_table` reads it: the same rows make the same bytes."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")  # of RFC 4180; quotes a lone \r or \n, too
        writer.writerow((text_column, label_column))
        writer.writerows(zip(table.texts, table.labels, strict=True))


def sort_labels(labels: Iterable[str]) -> list[str]:
    """The distinct labels: in numerical order if all are numbers, else in alphabetical order."""
    distinct = sorted(set(labels))
    try:
        numbers = {label: float(label) for label in distinct}
    except ValueError:
        return distinct
    if not all(math.isfinite(number) for number in numbers.values()):
        return distinct
    return sorted(distinct, key=lambda label: numbers[label])


def data_files(folder_or_file: Path) -> list[Path]:
    """The files of a channel in the order of their names; hidden files are ignored."""
    try:
        if folder_or_file.is_file():
            return [folder_or_file]
        if not folder_or_file.is_dir():
            raise InputError(f"{_name(folder_or_file)} does not exist: expected a CSV file")
        files = sorted(path for path in folder_or_file.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{_name(folder_or_file)} cannot be read: {error.strerror}") from error
    if not files:
        raise InputError(f"{_name(folder_or_file)} is empty: expected at least one CSV file in it")
    for path in files:
        if not path.is_file():
            raise InputError(
                f"{_name(path)} in {_name(folder_or_file)} is not a file: expected CSV files only"
            )
    return files


def fingerprints(folder_or_file: Path) -> dict[str, str]:
    """The SHA-256 of each file of a channel, as it lies there, by file name."""
    sums = {}
    for path in data_files(folder_or_file):
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        sums[path.name] = digest.hexdigest()
    return sums


# What a file may be instead; none of these beginnings can be UTF-8 text.
_WORD = re.compile(r"[^\W\d][\w.\-]{0,29}")  # a column's name that a message may show
_FOREIGN = {
    b"PK\x03\x04": "a zip archive or an Excel workbook",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard",
}


def _content(path: Path, room: int) -> bytes:
    """A file's bytes, decompressed, at most `room` of them, without a BOM."""
    content = io.BytesIO()
    try:
        with path.open("rb") as raw:
            magic = raw.read(6)
            raw.seek(0)
            for beginning, what in _FOREIGN.items():
                if magic.startswith(beginning):
                    raise InputError(
                        f"{_name(path)} is {what}: expected CSV in UTF-8, plain, gzip or xz"
                    )
            stream: io.BufferedIOBase = raw
            if magic.startswith(b"\x1f\x8b"):
                stream = gzip.GzipFile(fileobj=raw)
            elif magic == b"\xfd7zXZ\x00":
                stream = lzma.LZMAFile(raw)  # noqa: SIM115 - holds nothing but `raw`
            while chunk := stream.read(1 << 20):
                content.write(chunk)
                if content.tell() > room:
                    raise InputError(
                        f"{_name(path)} is too large: more than {MAX_BYTES >> 20} MiB of text, "
                        "counted without compression, in one channel"
                    )
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, MemoryError) as error:
        raise InputError(
            f"{_name(path)} is damaged or cut short: it cannot be decompressed; upload it again"
        ) from error
    except OSError as error:
        raise InputError(f"{_name(path)} cannot be read: {error.strerror}") from error
    return content.getvalue().removeprefix(b"\xef\xbb\xbf")


def _rows(path: Path, content: bytes) -> Iterator[list[str]]:
    """The rows, header first, all of one width; lines with nothing in them are skipped."""
    nul = content.find(b"\0")
    if nul >= 0:
        raise InputError(
            f"{_name(path)}, line {_line_of(content, nul)}: a NUL byte at offset {nul}; "
            "expected CSV in UTF-8, not binary data"
        )
    csv.field_size_limit(MAX_CELL)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="")
    reader = csv.reader(text, strict=True)
    width, line = 0, 1
    try:
        for row in reader:
            if row:
                width = width or len(row)
                if len(row) != width:
                    raise InputError(
                        f"{_name(path)}, line {line}: {len(row)} fields, expected {width} "
                        "as in the header; a text that holds commas or quotes must be quoted"
                    )
                yield row
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{_name(path)}, line {line}: {_fault(str(error))}") from error
    except UnicodeDecodeError as error:
        offset = _first_bad_byte(content)
        raise InputError(
            f"{_name(path)}, line {_line_of(content, offset)}: not UTF-8 at byte offset {offset}; "
            "save the file as UTF-8"
        ) from error


def _fault(error: str) -> str:
    """What the csv module means, for the row that starts in the line already named."""
    if "field limit" in error:
        return (
            f"the row that starts here has a cell of more than {MAX_CELL:,} characters; "
            "shorten it, or close a quote that was left open"
        )
    if "unexpected end" in error:
        return "a quote that opens in the row that starts here is never closed"
    if "expected after" in error:
        return "a cell goes on after its closing quote; double the quotes inside a quoted cell"
    return f"not CSV ({error})"


def _check_header(path: Path, header: list[str], text_column: str, label_column: str) -> None:
    if not header:
        raise InputError(f"{_name(path)} is empty: expected a header and rows")
    missing = [f'"{column}"' for column in (text_column, label_column) if column not in header]
    if missing and len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise InputError(
            f"{_name(path)} is separated by semicolons or tabs: save it separated by commas"
        )
    if missing:
        raise InputError(
            f"{_name(path)} has no column {' and no column '.join(missing)}: its first line has "
            f"{_shown(header)}; the settings text_column and label_column name the columns "
            "(or the pipeline parameters TextColumn and LabelColumn, or TEXT= and LABEL= of make), "
            f'here "{text_column}" and "{label_column}"'
        )
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice:
        raise InputError(
            f"{_name(path)} has more than one column of the same name: {_shown(twice)}; "
            "expected each column once"
        )


def _shown(names: Sequence[str]) -> str:
    """Column names for a message. Where the header is missing they are a claim's cells: what is
    not one word like a name is not quoted."""
    shown = [f'"{name}"' if _WORD.fullmatch(name) else "(a text)" for name in names[:12]]
    rest = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return ", ".join(shown) + rest


def _name(path: Path) -> str:
    """A file's or channel's name on one line."""
    return path.name if path.name.isprintable() else ascii(path.name)


def _first_bad_byte(content: bytes) -> int:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    raise AssertionError("only called for bytes that are not UTF-8")


def _line_of(content: bytes, offset: int) -> int:
    return len((content[:offset] + b".").splitlines())
