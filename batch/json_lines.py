"""The rows of JSON Lines: one object a line, UTF-8. A line with nothing on it is no row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from batch.records import Record
from batch.rows import Block, Reject, RejectedError, Row, blocks, check_readable, checked, decoded
from steps.errors import InputError

_SPACE = " \t\r\n"


def check_first(first: Record | None, name: str, text_member: str) -> Record:
    """The first line; raises InputError if the file as a whole is not what it should be."""
    if first is None:
        raise InputError(
            f"{name}: the file is empty; "
            f"expected JSON Lines, each an object with a member '{text_member}'"
        )
    check_readable(first, name)
    if first.raw.lstrip().startswith(b"["):
        raise InputError(f"{name}: a JSON array; expected JSON Lines, one object a line")
    return first


def json_blocks(records: Iterable[Record], text_member: str) -> Iterator[Block]:
    """The objects of a file."""
    for block in blocks(records):
        rows: list[Row] = []
        rejects: list[Reject] = []
        for record in block:
            if not record.raw.strip(_SPACE.encode()):
                continue
            try:
                rows.append(_row(record, text_member))
            except RejectedError as rejected:
                rejects.append(Reject(record.line, str(rejected), record.raw))
        yield Block(rows, rejects)


def _row(record: Record, text_member: str) -> Row:
    source = decoded(record).strip(_SPACE)
    try:
        found = json.loads(source)
    except (ValueError, RecursionError) as error:
        raise RejectedError("not valid JSON") from error
    if not isinstance(found, dict):
        raise RejectedError("not a JSON object")
    if text_member not in found:
        raise RejectedError(f"no member '{text_member}'")
    text = found[text_member]
    if not isinstance(text, str):
        raise RejectedError(f"'{text_member}' is not a string")
    return Row(record.line, checked(text), source, tuple(found))
