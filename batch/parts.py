"""The part of a file that one job of several reads.

A part is a range of bytes, and a record belongs to the part that its first byte lies in. The
boundaries between records form a chain (see `batch.records`), but where in the middle of a CSV the
chain runs nobody knows: a line break may be one inside quotes. So a part that is not the first goes
back, guesses that a line there begins a record, and runs on; a wrong guess falls in step with the
true chain after a few records, mostly. Where a part has begun and ended is told in its `Extent`:
the guess was right if the part before has ended there. If it was not, the part is read again from
there (`begin`).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batch.records import Record, lines, skip_line

LOOKBACK = 2**20  # bytes

Cut = Callable[[Iterator[Record]], Iterator[Record]]  # lines to records


@dataclass(frozen=True)
class Part:
    """The bytes from `first` to before `beyond` of a file of `size` bytes.

    `begin` is where the part before has ended, if that is known.
    """

    index: int
    first: int
    beyond: int
    size: int
    begin: int | None = None

    @classmethod
    def of(cls, index: int, count: int, size: int, begin: int | None = None) -> Part:
        """Part `index` of `count` equal ones."""
        return cls(index, size * index // count, size * (index + 1) // count, size, begin)

    @property
    def is_first(self) -> bool:
        return self.index == 0


WHOLE = Part(0, 0, sys.maxsize, sys.maxsize)


@dataclass
class Extent:
    """What a part really spans, complete when its last record was read.

    `begin` and `end` are boundaries between records, the first part beginning with the file.
    `lines` are those between them, as far as other records follow.
    """

    begin: int = 0
    end: int = 0
    lines: int = 0


def first_records(records: Iterator[Record], part: Part, extent: Extent) -> Iterator[Record]:
    """Of all records of a file those of its first part."""
    return _until(part, records, extent)


def later_records(
    stream: io.BufferedReader, part: Part, rows: int, cut: Cut, lookback: int, extent: Extent
) -> Iterator[Record]:
    """The records of a part that is not the first, lines counted from its own first line.

    `rows` is where the file's first record behind the header begins.
    """
    begin = part.begin
    if begin is None:
        begin = _boundary(stream, max(part.first, rows), rows, cut, lookback)
    extent.begin = extent.end = begin
    if begin < part.beyond:
        stream.seek(begin)
        yield from _until(part, cut(lines(stream, start=begin)), extent)


def _until(part: Part, records: Iterator[Record], extent: Extent) -> Iterator[Record]:
    """The records that begin before the part ends."""
    for record in records:
        if record.start >= part.beyond:
            extent.end, extent.lines = record.start, record.line - 1
            return
        yield record
    extent.end = part.size


def _boundary(stream: io.BufferedReader, first: int, rows: int, cut: Cut, lookback: int) -> int:
    """The first boundary not below `first`, on the chain of a line that begins up to `lookback`
    bytes before; the stream's end if there is none."""
    start = first - 1 - lookback
    if start < rows:
        stream.seek(rows)
        start = rows
    else:
        stream.seek(start)
        start += skip_line(stream)
    for record in cut(lines(stream, start=start)):
        if record.start >= first:
            return record.start
    return stream.tell()
