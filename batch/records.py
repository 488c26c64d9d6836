"""Cuts a byte stream into lines and CSV records, so that a broken record costs itself and no other.

A record ends at a line break outside quotes (RFC 4180, with LF as good as CRLF). A quote that is
opened and not closed would swallow every row up to the next quote, or to the end. Two signs give
it away:

- the quote that closes it, on a later line, is not followed by a delimiter or the line's end: it
  was meant as the opening quote of another field;
- none closes it within `RECORD_LIMIT`, or at all.

Then only the line that opened it is given up, and reading goes on with the next.

Where a record begins and what it is depends on nothing but the bytes from there on, so the records
of a stream form a chain: cutting that begins at any of them finds the same records from there.
The shares of a file rest on this (`batch.shares`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import IO, NamedTuple

RECORD_LIMIT = 16 * 2**20  # bytes; more is not held in memory

_UNCLOSED = "a quote is opened and never closed"


class Record(NamedTuple):
    """A line or a CSV record with its line break, and what is wrong with it, if anything is.

    `line` is the number of its first line and `start` where its first byte lies in the stream.
    Joined, the `raw` bytes of all records are the stream, but for what a line had beyond the limit.
    """

    line: int
    raw: bytes
    start: int = 0
    fault: str = ""


def lines(stream: IO[bytes], line: int = 1, start: int = 0) -> Iterator[Record]:
    """The lines of a stream that stands at byte `start`, in line number `line`.

    One longer than the limit is cut there and has a fault.
    """
    readline = stream.readline
    while raw := readline(RECORD_LIMIT):
        size = len(raw)
        if size == RECORD_LIMIT and not raw.endswith(b"\n") and (beyond := skip_line(stream)):
            fault = f"the line is longer than {RECORD_LIMIT:,} bytes; cut there"
            yield Record(line, raw, start, fault)
            size += beyond
        else:
            yield Record(line, raw, start)
        line += 1
        start += size


def skip_line(stream: IO[bytes]) -> int:
    """Reads to the end of the line; returns how many bytes that were."""
    skipped = 0
    while more := stream.readline(2**20):
        skipped += len(more)
        if more.endswith(b"\n"):
            break
    return skipped


def csv_records(source: Iterator[Record], delimiter: str = ",") -> Iterator[Record]:
    """The CSV records that lines make up.

    Takes time in proportion to the bytes, whatever they are: no line is looked at more than three
    times.
    """
    opening = delimiter.encode() + b'"'
    passed: deque[Record] = deque()  # read beyond `first`: lines at whose end a quote is open still
    size = 0  # of those, in bytes
    ahead: Record | None = None  # the line after those, if it was read
    seen: _State | None = None  # and what it does to an open quote, if that was looked at
    while True:
        if passed:
            first = passed.popleft()
            size -= len(first.raw)
        elif ahead:
            first, ahead, seen = ahead, None, None
        elif (following := next(source, None)) is not None:
            first = following
        else:
            return
        if (
            first.fault
            or b'"' not in first.raw
            or _scan(first.raw, opening, quoted=False) is _State.COMPLETE
        ):
            yield first
            continue
        # Lines that were passed before an earlier opened quote was given up leave this one open,
        # too: reading goes on behind them.
        while True:
            ahead = ahead or next(source, None)
            if not ahead or ahead.fault or len(first.raw) + size + len(ahead.raw) > RECORD_LIMIT:
                yield first._replace(fault=_UNCLOSED)
                break
            seen = seen or _scan(ahead.raw, opening, quoted=True)
            if seen is _State.BROKEN:
                yield first._replace(fault=_UNCLOSED)
                break
            if seen is _State.COMPLETE:
                raws = [first.raw, *(line.raw for line in passed), ahead.raw]
                yield first._replace(raw=b"".join(raws))
                passed.clear()
                size, ahead, seen = 0, None, None
                break
            passed.append(ahead)
            size += len(ahead.raw)
            ahead, seen = None, None


class _State(Enum):
    COMPLETE = auto()
    QUOTED = auto()  # inside a quoted field at the end of the line
    BROKEN = auto()  # the quote from an earlier line is closed where no field ends


def _scan(line: bytes, opening: bytes, quoted: bool) -> _State:
    """The state after `line`, which begins inside a quoted field or at the start of a record.

    As in Python's csv module, a quote opens a field only as its first character, and what follows a
    closing quote belongs to the field.
    """
    position = 0
    if quoted:
        position = _after_closing_quote(line, 0)
        if position == 0:
            return _State.QUOTED
        if line[position : position + 1] not in (opening[:1], b"\r", b"\n", b""):
            return _State.BROKEN
    elif line.startswith(b'"'):
        position = _after_closing_quote(line, 1)
        if position == 0:
            return _State.QUOTED
    while (position := line.find(opening, position)) >= 0:
        position = _after_closing_quote(line, position + 2)
        if position == 0:
            return _State.QUOTED
    return _State.COMPLETE


def _after_closing_quote(line: bytes, position: int) -> int:
    """One beyond the quote that closes the field `position` lies in; 0 if none does."""
    while (position := line.find(b'"', position)) >= 0:
        if line[position + 1 : position + 2] != b'"':
            return position + 1
        position += 2
    return 0
