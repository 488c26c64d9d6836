"""Rows and rejects, and what makes a reject of a row: what cannot be predicted is never lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from batch.records import Record
from steps.errors import InputError

CELL_LIMIT = 1_000_000  # characters, as in training
BLOCK_ROWS = 2048
BLOCK_BYTES = 4 * 2**20

BLANK = "the text is blank"


class Row(NamedTuple):
    """A row that can be predicted.

    `source` passes through untouched: the record as it is written, without its line break; nothing
    for Parquet, whose rows pass through together. `columns` are the file's or, of JSON Lines, the
    object's. `line` counts from 1 and includes the header.
    """

    line: int
    text: str
    source: str
    columns: Sequence[str]


class Reject(NamedTuple):
    """A row that cannot be predicted, and why; `raw` is the row as it lies in the file."""

    line: int
    reason: str
    raw: bytes


@dataclass(frozen=True)
class Block:
    """Neighbouring rows that are predicted together; of Parquet, also the Arrow record batch of
    those that can be."""

    rows: list[Row]
    rejects: list[Reject]
    batch: Any = None


class RejectedError(Exception):
    """Why a row is rejected. The words say nothing of what stands in it."""


def blocks(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in blocks, bounded in bytes for the sake of memory."""
    block: list[Record] = []
    size = 0
    for record in records:
        block.append(record)
        size += len(record.raw)
        if len(block) >= BLOCK_ROWS or size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def decoded(record: Record) -> str:
    """The record as text."""
    if record.fault:
        raise RejectedError(record.fault)
    if b"\0" in record.raw:
        raise RejectedError("a NUL byte")
    try:
        return record.raw.decode()
    except UnicodeDecodeError as error:
        raise RejectedError(
            f"not UTF-8 at byte {error.start + 1} of the row; save as UTF-8"
        ) from error


def checked(text: str) -> str:
    """A text that can be predicted."""
    if not text or text.isspace():
        raise RejectedError(BLANK)
    if len(text) > CELL_LIMIT:
        raise RejectedError(f"a cell is longer than {CELL_LIMIT:,} characters")
    if "\0" in text:
        raise RejectedError("a NUL character in the text")
    try:
        text.encode()  # JSON can write half of a surrogate pair, which no encoding holds
    except UnicodeEncodeError as error:
        raise RejectedError("half of a surrogate pair in the text") from error
    return text


def check_readable(first: Record, name: str, gzip_magic: bytes = b"\x1f\x8b") -> None:
    """Raises InputError for what is no text, judged by the file's first line."""
    head = first.raw[:4]
    if head.startswith(b"PK\x03\x04"):
        raise InputError(
            f"{name}: a zip archive or an Excel workbook; "
            "save the sheet as CSV UTF-8 and upload that"
        )
    if head.startswith(gzip_magic):
        raise InputError(f"{name}: compressed twice; compress it once")
    if head == b"PAR1":
        raise InputError(f"{name}: Parquet inside gzip; upload the Parquet file itself")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{name}: the text is UTF-16; save it as UTF-8")
    if b"\0" in first.raw:
        raise InputError(f"{name}: a binary file; expected CSV, JSON Lines (UTF-8) or Parquet")
