"""Cuts a byte stream into lines and CSV records, so that a broken record costs itself and no other.

A record ends at a line break outside quotes (RFC 4180, with LF as good as CRLF). A quote that is
opened and not closed would swallow every row up to the next quote, or to the end. Two signs give
it away:

- the quote that closes it, on a later line, is not followed by a comma or the line's end: it was
  meant as the opening quote of another field;
- none closes it within `RECORD_LIMIT`, or at all.

Then only the line that opened it is given up, and reading goes on with the next. The lines that
were passed over hold no other opened quote (it would have been the first sign), so each of them
is a record of its own: no line is looked at more than three times, whatever the file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import Enum, auto
from typing import IO, NamedTuple

RECORD_LIMIT = 16 * 2**20  # bytes; more is not held in memory


class Record(NamedTuple):
    """A line or a CSV record with its line break, and what is wrong with it, if anything is.

    `line` is the number of its first line, from 1. Joined, the `raw` bytes of all records are the
    stream, but for what a line had beyond the limit.
    """

    line: int
    raw: bytes
    fault: str = ""


def lines(stream: IO[bytes]) -> Iterator[Record]:
    """The lines of a stream; one longer than the limit is cut there and has a fault."""
    number = 0
    while raw := stream.readline(RECORD_LIMIT):
        number += 1
        if len(raw) == RECORD_LIMIT and not raw.endswith(b"\n"):
            beyond = False
            while more := stream.readline(2**20):
                beyond = True
                if more.endswith(b"\n"):
                    break
            if beyond:
                yield Record(
                    number, raw, f"the line is longer than {RECORD_LIMIT:,} bytes; cut there"
                )
                continue
        yield Record(number, raw)


def csv_records(stream: IO[bytes]) -> Iterator[Record]:
    """The CSV records of a stream."""
    source = lines(stream)
    again: deque[Record] = deque()
    alone = 0  # how many of the lines in `again` are records of their own
    while first := again.popleft() if again else next(source, None):
        single, alone = alone > 0, max(alone - 1, 0)
        if (
            first.fault
            or b'"' not in first.raw
            or _scan(first.raw, quoted=False) is _State.COMPLETE
        ):
            yield first
            continue
        held, fault = [first], "a quote is opened and never closed"
        size = len(first.raw)
        while not single and (following := again.popleft() if again else next(source, None)):
            held.append(following)
            size += len(following.raw)
            if following.fault or size > RECORD_LIMIT:
                break
            state = _scan(following.raw, quoted=True)
            if state is _State.COMPLETE:
                fault = ""
            if state is not _State.QUOTED:
                break
        if fault:
            yield first._replace(fault=fault)
            again.extend(held[1:])
            alone = len(held) - 2 if len(held) > 1 else alone
        else:
            yield Record(first.line, b"".join(line.raw for line in held))


class _State(Enum):
    COMPLETE = auto()
    QUOTED = auto()  # inside a quoted field at the end of the line
    BROKEN = auto()  # the quote from an earlier line is closed where no field ends


def _scan(line: bytes, quoted: bool) -> _State:
    """The state after `line`, which begins inside a quoted field or at the start of a record.

    As in Python's csv module, a quote opens a field only as its first character, and what follows a
    closing quote belongs to the field.
    """
    position = 0
    if quoted:
        position = _after_closing_quote(line, 0)
        if position == 0:
            return _State.QUOTED
        if line[position : position + 1] not in (b",", b"\r", b"\n", b""):
            return _State.BROKEN
    elif line.startswith(b'"'):
        position = _after_closing_quote(line, 1)
        if position == 0:
            return _State.QUOTED
    while (position := line.find(b',"', position)) >= 0:
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
