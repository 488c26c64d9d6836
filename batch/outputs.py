"""Writes predictions beside the rows they belong to, and the rejects.

Every column of the input stays as it is and in its order; four follow: `label`, `confidence`
(four decimals), `review` (whether a person should look) and `model_version`. Where the input has
one of these names already, all four of ours are named `predicted_label` and so on (and once more,
if need be): in CSV for the whole file, in JSON Lines for each object by itself. An object is
extended as text, so numbers keep their digits and members their order.

A CSV is likely to be opened in a spreadsheet, which takes a cell that begins with `= + - @` for a
formula. A label comes from the training data, so such a label gets a `'` in front, in CSV alone.
What passes through is the client's own and is not changed.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol, cast

from batch.rows import BYTE_ORDER_MARK, Format, Reject, Row, Table

ADDED = ("label", "confidence", "review", "model_version")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Prediction(Protocol):
    """What the classifier says of one text."""

    @property
    def label(self) -> str: ...
    @property
    def confidence(self) -> float: ...
    @property
    def review(self) -> bool: ...


class PredictionsWriter(Protocol):
    """Writes predicted rows, in their order."""

    def write(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None: ...


def added_columns(taken: Collection[str]) -> tuple[str, ...]:
    """The names of our columns beside the input's."""
    names: tuple[str, ...] = ADDED
    while not set(names).isdisjoint(taken):
        names = tuple(f"predicted_{name}" for name in names)
    return names


def predictions_name(table: Table) -> str:
    """The file's name: format and compression are the input's."""
    return f"predictions{table.format.value}{'.gz' if table.gzipped else ''}"


@contextmanager
def predictions_writer(path: Path, table: Table, model_version: int) -> Iterator[PredictionsWriter]:
    """Opens `path` for predictions in the format of `table`."""
    with ExitStack() as stack:
        binary: IO[bytes] = stack.enter_context(path.open("wb"))
        if table.gzipped:  # neither name nor time inside: the same rows make the same file
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=binary, compresslevel=6, mtime=0)
            binary = cast(IO[bytes], stack.enter_context(packed))
        if table.byte_order_mark:
            binary.write(BYTE_ORDER_MARK)
        text = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline=""))
        if table.format is Format.CSV:
            yield _CsvPredictions(text, table.columns, model_version)
        else:
            yield _JsonPredictions(text, model_version)


class RejectsWriter:
    """Writes rejects as CSV: line number, reason, and the row as far as UTF-8 can hold it.

    A byte that it cannot hold, and NUL, is written as `\\xNN`.
    """

    def __init__(self, file: IO[str]) -> None:
        self._csv = csv.writer(file)
        self._csv.writerow(("line", "reason", "row"))

    def write(self, rejects: Sequence[Reject]) -> None:
        """Appends rejects."""
        self._csv.writerows((line, reason, _kept(raw)) for line, reason, raw in rejects)


@contextmanager
def rejects_writer(path: Path) -> Iterator[RejectsWriter]:
    """Opens `path` for rejects; without any it holds its header alone."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield RejectsWriter(file)


class _CsvPredictions:
    def __init__(self, file: IO[str], columns: Sequence[str], model_version: int) -> None:
        # CRLF, also because the csv module quotes a lone CR only if the line break contains one.
        self._csv = csv.writer(file, lineterminator="\r\n")
        self._csv.writerow((*columns, *added_columns(columns)))
        self._version = str(model_version)

    def write(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
        self._csv.writerows(
            (
                *row.source,
                _harmless(prediction.label),
                f"{prediction.confidence:.4f}",
                "true" if prediction.review else "false",
                self._version,
            )
            for row, prediction in zip(rows, predictions, strict=True)
        )


class _JsonPredictions:
    def __init__(self, file: IO[str], model_version: int) -> None:
        self._file = file
        self._version = model_version

    def write(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
        for row, prediction in zip(rows, predictions, strict=True):
            label, confidence, review, version = added_columns(row.columns)
            added = {
                label: prediction.label,
                confidence: round(float(prediction.confidence), 4),
                review: bool(prediction.review),
                version: self._version,
            }
            # `{"text": …` + `, "label": …}`: the row has a text, so it is not empty.
            (source,) = row.source
            members = json.dumps(added, ensure_ascii=False)[1:]
            self._file.write(f"{source[:-1].rstrip()}, {members}\n")


def _kept(raw: bytes) -> str:
    return raw.rstrip(b"\r\n").decode(errors="backslashreplace").replace("\0", "\\x00")


def _harmless(label: str) -> str:
    return f"'{label}" if label.startswith(FORMULA_STARTS) else label
