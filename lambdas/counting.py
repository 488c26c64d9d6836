"""What a file of labelled claims holds: its sum, its bytes and its rows, read once as a stream.

The file is a stranger's: whatever it is, it is read with little memory and none of it is kept. What
is no CSV in UTF-8 (plain, gzip or xz), or more of it than any step would read, has no number of
rows. To judge it is for the pipeline's step Validate, which has the better words.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

# As `steps/table.py` has them: what is beyond is refused there.
MAX_TEXT = 1 << 30  # bytes, decompressed
MAX_CELL = 1_000_000  # characters
MAX_RECORD = 4 * MAX_CELL  # characters: what one row may take of the memory
XZ_MEMORY = 128 << 20  # bytes; xz -9, its strongest preset, needs 65 MiB
BLOCK = 1 << 20

GZIP, XZ = b"\x1f\x8b", b"\xfd7zXZ\x00"


class Body(Protocol):
    """A stream such as boto3 gives of an object."""

    def read(self, amount: int, /) -> bytes: ...


@dataclass(frozen=True)
class Counted:
    """A file as it lies there: `rows` are records without the header, None if it is no CSV."""

    sha256: str
    bytes: int
    rows: int | None


def count(body: Body) -> Counted:
    """Reads a file to its end. Raises what `body` raises, and nothing of its own."""
    watched = _Watched(body)
    rows = _rows(watched)
    while watched.read(BLOCK):  # the sum is of the whole file, also of one that is given up
        pass
    return Counted(watched.digest.hexdigest(), watched.size, rows)


class _NotCsvError(Exception):
    """More text, or a longer row, than a table of claims has."""


class _Watched(io.RawIOBase):
    """Sums up what is read. A failure of `body` goes through, whatever reads it."""

    def __init__(self, body: Body) -> None:
        self.digest = hashlib.sha256()
        self.size = 0
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._body.read(len(buffer))
        self.digest.update(block)
        self.size += len(block)
        buffer[: len(block)] = block
        return len(block)


class _Xz(io.RawIOBase):
    """What an xz stream holds. Unlike `lzma.LZMAFile` it asks for little memory: how much a stream
    needs is the stream's own choice, up to 4 GiB."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._stream = _xz_stream()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            given = b""
            if self._stream.eof:
                given = self._stream.unused_data or self._file.read(BLOCK)
                if not given.strip(b"\0"):  # the end, or padding before it
                    return 0
                self._stream = _xz_stream()
            elif self._stream.needs_input:
                given = self._file.read(BLOCK)
                if not given:
                    raise EOFError("the xz stream is cut short")
            found = self._stream.decompress(given, len(buffer))
            if found:
                buffer[: len(found)] = found
                return len(found)


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


class _Limited(io.RawIOBase):
    """Raises _NotCsvError after MAX_TEXT bytes, or at a NUL byte."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file
        self._room = MAX_TEXT

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read1(len(buffer))
        self._room -= len(block)
        if self._room < 0 or b"\0" in block:
            raise _NotCsvError
        buffer[: len(block)] = block
        return len(block)


def _rows(watched: _Watched) -> int | None:
    file = io.BufferedReader(watched, BLOCK)
    beginning = file.peek(len(XZ))
    content: io.BufferedIOBase = file
    if beginning.startswith(GZIP):
        content = gzip.GzipFile(fileobj=file)
    elif beginning.startswith(XZ):
        content = io.BufferedReader(_Xz(file), BLOCK)
    limited = io.BufferedReader(_Limited(content), BLOCK)
    text = io.TextIOWrapper(limited, "utf-8-sig", newline="")
    csv.field_size_limit(MAX_CELL)
    try:
        records = sum(1 for _ in _records(text))
    except (
        _NotCsvError,
        UnicodeDecodeError,
        csv.Error,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
    ):
        return None
    finally:
        # These would close what they read, which is not at its end yet.
        for layer in (text, limited):
            layer.detach()
        if content is not file:
            cast(Any, content).close()
        file.detach()
    return max(0, records - 1)


def _records(text: io.TextIOWrapper) -> Iterator[list[str]]:
    """The rows that hold something, each of at most MAX_RECORD characters."""
    room = MAX_RECORD

    def lines() -> Iterator[str]:
        nonlocal room
        while line := text.readline(MAX_RECORD):
            room -= len(line)
            if room <= 0:  # so that a part of a longer line is never taken for a row
                raise _NotCsvError
            yield line

    for record in csv.reader(lines(), strict=True):
        room = MAX_RECORD
        if record:
            yield record
