"""Parquet: read and written in record batches, so that a row group of any size fits into memory.

Rows count from 1. What makes one a reject is shown as JSON.
"""

from __future__ import annotations

import json
import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from batch.dialects import named
from batch.objects import legible
from batch.rows import BLOCK_BYTES, BLOCK_ROWS, Block, Reject, RejectedError, Row, checked
from steps.errors import InputError

MEMORY = 2**29  # bytes that reading a block may take beside what the process has
_READ_BUFFER = 2**20  # bytes of a column that are held at a time
_GROUP_ROWS = 2**16  # of a row group that is written, at most
_GROUP_BYTES = 32 * 2**20
STATUS = Path("/proc/self/status")


class ParquetInput:
    """An opened file.

    Parquet is read from its end: the stream is copied into a temporary file first.

    Raises
    ------
    InputError: the file is damaged, or has no text column that is a string.
    """

    def __init__(self, stream: IO[bytes], name: str, text_column: str) -> None:
        self._name = name
        self._local = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as this object
        shutil.copyfileobj(stream, self._local, 2**20)
        with arrow_errors(name), _bounded(MEMORY):
            self._file = pq.ParquetFile(self._local, buffer_size=_READ_BUFFER, pre_buffer=False)
            self.schema: pa.Schema = self._file.schema_arrow
        self.columns = tuple(self.schema.names)
        self._text_index = self._found(text_column)

    def blocks(self) -> Iterator[Block]:
        """The rows of all row groups."""
        line = 1
        batches = self._file.iter_batches(self._batch_rows(), use_threads=False)
        while True:
            with arrow_errors(self._name), _bounded(MEMORY):
                if (batch := next(batches, None)) is None:
                    return
                block = _block(batch, self._text_index, line)
            yield block
            line += len(batch)

    def _found(self, text_column: str) -> int:
        names = [column.strip() for column in self.columns]
        if text_column not in names:
            raise InputError(
                f"{self._name}: no column '{text_column}'; the file has {named(self.columns)}: "
                "rename the one with the text"
            )
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise InputError(f"{self._name}: columns that occur more than once: {named(twice)}")
        index = names.index(text_column)
        kind = self.schema.field(index).type
        if not _is_text(kind):
            raise InputError(
                f"{self._name}: column '{text_column}' is of type {legible(str(kind)[:100])}; "
                "expected string"
            )
        return index

    def _batch_rows(self) -> int:
        """How many rows of the widest row group fit into a block."""
        groups = [
            self._file.metadata.row_group(number)
            for number in range(self._file.metadata.num_row_groups)
        ]
        widest = max(
            (group.total_byte_size // max(group.num_rows, 1) for group in groups), default=0
        )
        return max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(widest, 1)))


class ParquetOutput:
    """A file in writing: the rows of the input with four typed columns more."""

    def __init__(self, path: Path, schema: pa.Schema, names: Sequence[str], name: str) -> None:
        types = (pa.string(), pa.float64(), pa.bool_(), pa.int64())
        self._name = name
        self._schema = schema
        for column, kind in zip(names, types, strict=True):
            self._schema = self._schema.append(pa.field(column, kind))
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        with arrow_errors(name):
            self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, batch: pa.RecordBatch, added: Sequence[Sequence[object]]) -> None:
        """Appends the rows of `batch`, each with its value in the four added columns."""
        fields = list(self._schema)[-len(added) :]
        columns = [pa.array(each, field.type) for each, field in zip(added, fields, strict=True)]
        made = pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=self._schema)
        self._held.append(made)
        self._rows += len(made)
        self._bytes += made.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is held and the file's end."""
        self._flush()
        with arrow_errors(self._name):
            self._writer.close()

    def _flush(self) -> None:
        if self._held:
            with arrow_errors(self._name):
                self._writer.write_table(pa.Table.from_batches(self._held, self._schema))
        self._held, self._rows, self._bytes = [], 0, 0


@contextmanager
def arrow_errors(name: str) -> Iterator[None]:
    """Turns what Arrow says of a file into one InputError."""
    try:
        yield
    except MemoryError as error:  # Arrow's is one, too
        raise InputError(
            f"{name}: {BLOCK_ROWS:,} rows of the Parquet file need more than "
            f"{MEMORY // 2**20} MiB of memory; upload it as CSV or JSON Lines"
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = legible((str(error).strip() or type(error).__name__).splitlines()[0][:200])
        raise InputError(f"{name}: the Parquet file cannot be read: {reason}") from error


@contextmanager
def _bounded(extra: int) -> Iterator[None]:
    """Lets the process take so many bytes more and no others, where the system can tell (Linux).

    A few kilobytes of Parquet can hold a page, or a word that a million rows refer to, that
    inflates to more than the machine has; nothing in the file tells so beforehand.
    """
    if not STATUS.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmData"))
    limit = int(taken.split()[1]) * 1024 + extra
    most = before[1] if before[1] != resource.RLIM_INFINITY else limit
    resource.setrlimit(resource.RLIMIT_DATA, (min(limit, most), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _block(batch: pa.RecordBatch, text_index: int, line: int) -> Block:
    rows: list[Row] = []
    rejects: list[Reject] = []
    kept: list[int] = []
    for place, value in enumerate(_texts(batch.column(text_index))):
        try:
            if isinstance(value, RejectedError):
                raise value
            text = checked(value or "")
        except RejectedError as rejected:
            rejects.append(Reject(line + place, str(rejected), _as_json(batch, place)))
        else:
            kept.append(place)
            rows.append(Row(line + place, text, "", ()))
    return Block(rows, rejects, batch.take(pa.array(kept, pa.int64())) if rejects else batch)


def _texts(column: Any) -> list[str | RejectedError | None]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        return [_text(column, place) for place in range(len(column))]


def _text(column: Any, place: int) -> str | RejectedError | None:
    try:
        text: str | None = column[place].as_py()
    except UnicodeDecodeError:
        return RejectedError("the text is not UTF-8")
    return text


def _as_json(batch: pa.RecordBatch, place: int) -> bytes:
    values = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[place].as_py()
        except (ValueError, OverflowError, pa.ArrowException):
            values[name] = "(cannot be shown)"  # a date beyond Python's, or bytes that are no text
    return json.dumps(values, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )
