"""Writes predictions beside the rows they belong to, and the rejects.

Every column of the input stays as it is and in its order; four follow: `label`, `confidence`
(four decimals), `review` (whether a person should look) and `model_version`. Where the input has
one of these names already, all four of ours are named `predicted_label` and so on (and once more,
if need be): in CSV and Parquet for the whole file, in JSON Lines for each object by itself. An
object is extended as text, so numbers keep their digits and members their order.

A CSV is likely to be opened in a spreadsheet, which takes a cell that begins with `= + - @` for a
formula. A label comes from the training data, so such a label gets a `'` in front, in CSV alone.
What passes through is the client's own and is not changed, unless the job is told to neutralise it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

from batch.dialects import fields
from batch.rows import Block, Reject
from batch.tables import BYTE_ORDER_MARK, Format, Table

ADDED = ("label", "confidence", "review", "model_version")
# OWASP, "CSV Injection": also the full-width forms, which some spreadsheets take for the others.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*([eE][+-]?\d+)?")

_LINE_END = "\r\n"
# Decoding with `backslashreplace` gives the same and takes a second for a megabyte of such bytes.
_UNHELD = {0: r"\x00"} | {0xDC00 + byte: rf"\x{byte:02x}" for byte in range(0x80, 0x100)}


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

    def write(self, block: Block, predictions: Sequence[Prediction]) -> None: ...


def added_columns(taken: Collection[str]) -> tuple[str, ...]:
    """The names of our columns beside the input's."""
    names: tuple[str, ...] = ADDED
    while not set(names).isdisjoint(taken):
        names = tuple(f"predicted_{name}" for name in names)
    return names


def harmless(cell: str) -> str:
    """The cell with a `'` in front if a spreadsheet would take it for a formula. A number may begin
    with a sign."""
    if cell.startswith(FORMULA_STARTS) and not NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell


def predictions_name(table: Table) -> str:
    """The file's name: format and compression are the input's."""
    return f"predictions{table.format.value}{'.gz' if table.gzipped else ''}"


@contextmanager
def predictions_writer(
    path: Path, table: Table, model_version: int, neutralise: bool = False
) -> Iterator[PredictionsWriter]:
    """Opens `path` for predictions in the format of `table`, without what stands above the rows
    unless it is the first part.

    With `neutralise`, no cell of a CSV is left to be a formula.
    """
    with ExitStack() as stack:
        if table.format is Format.PARQUET:
            yield stack.enter_context(_parquet_predictions(path, table, model_version))
            return
        binary: IO[bytes] = stack.enter_context(path.open("wb"))
        if table.gzipped:  # neither name nor time inside: the same rows make the same file
            packed = gzip.GzipFile(filename="", mode="wb", fileobj=binary, compresslevel=6, mtime=0)
            binary = cast(IO[bytes], stack.enter_context(packed))
        if table.byte_order_mark and table.part.is_first:
            binary.write(BYTE_ORDER_MARK)
        text = stack.enter_context(io.TextIOWrapper(binary, encoding="utf-8", newline=""))
        if table.format is Format.CSV:
            yield _CsvPredictions(text, table, model_version, neutralise)
        else:
            yield _JsonPredictions(text, model_version)


class RejectsWriter:
    """Writes rejects as CSV: line number, reason, and the row as far as UTF-8 can hold it.

    A byte that it cannot hold, and NUL, is written as `\\xNN`.
    """

    def __init__(self, file: IO[str], neutralise: bool = False) -> None:
        self._csv = csv.writer(file)
        self._csv.writerow(("line", "reason", "row"))
        self._shown = harmless if neutralise else str

    def write(self, rejects: Iterable[Reject]) -> None:
        """Appends rejects."""
        self._csv.writerows((line, reason, self._shown(kept(raw))) for line, reason, raw in rejects)


@contextmanager
def rejects_writer(path: Path, neutralise: bool = False) -> Iterator[RejectsWriter]:
    """Opens `path` for rejects; without any it holds its header alone."""
    with path.open("w", encoding="utf-8", newline="") as file:
        yield RejectsWriter(file, neutralise)


def kept(raw: bytes) -> str:
    """What a reject's row is shown as."""
    return raw.rstrip(b"\r\n").decode(errors="surrogateescape").translate(_UNHELD)


class _CsvPredictions:
    """A record goes on as it is written; only with a formula to neutralise it is written anew."""

    def __init__(self, file: IO[str], table: Table, model_version: int, neutralise: bool) -> None:
        self._file = file
        self._delimiter = table.dialect.delimiter
        self._version = str(model_version)
        self._neutralise = neutralise
        self._labels: dict[str, str] = {}  # as cells
        if table.part.is_first:
            if table.dialect.separator_line:
                file.write(table.dialect.separator_line + _LINE_END)
            names = self._written("", *added_columns(table.columns))
            file.write(self._through(table.header) + names + _LINE_END)

    def write(self, block: Block, predictions: Sequence[Prediction]) -> None:
        end = f"{self._delimiter}{self._version}{_LINE_END}"
        doubtful, sure = f"{self._delimiter}true{end}", f"{self._delimiter}false{end}"
        self._file.write(
            "".join(
                [
                    f"{self._through(row.source) if self._neutralise else row.source}"
                    f"{self._label(prediction.label)}{prediction.confidence:.4f}"
                    f"{doubtful if prediction.review else sure}"
                    for row, prediction in zip(block.rows, predictions, strict=True)
                ]
            )
        )

    def _label(self, label: str) -> str:
        """The label as a cell between two delimiters."""
        if label not in self._labels:
            self._labels[label] = self._written("", harmless(label), "")
        return self._labels[label]

    def _through(self, source: str) -> str:
        if not self._neutralise:
            return source
        cells = fields(source, self._delimiter)
        shown = [harmless(cell) for cell in cells]
        return source if shown == cells else self._written(*shown)

    def _written(self, *cells: str) -> str:
        row = io.StringIO(newline="")
        # The csv module quotes a lone CR or LF only if the line break contains it.
        csv.writer(row, delimiter=self._delimiter, lineterminator=_LINE_END).writerow(cells)
        return row.getvalue().removesuffix(_LINE_END)


class _JsonPredictions:
    def __init__(self, file: IO[str], model_version: int) -> None:
        self._file = file
        self._version = model_version

    def write(self, block: Block, predictions: Sequence[Prediction]) -> None:
        for row, prediction in zip(block.rows, predictions, strict=True):
            label, confidence, review, version = added_columns(row.columns)
            added = {
                label: prediction.label,
                confidence: round(float(prediction.confidence), 4),
                review: bool(prediction.review),
                version: self._version,
            }
            # `{"text": …` + `, "label": …}`: the row has a text, so it is not empty.
            members = json.dumps(added, ensure_ascii=False)[1:]
            self._file.write(f"{row.source[:-1].rstrip()}, {members}\n")


@contextmanager
def _parquet_predictions(
    path: Path, table: Table, model_version: int
) -> Iterator[PredictionsWriter]:
    from batch.parquet import ParquetOutput

    output = ParquetOutput(path, table.schema, added_columns(table.columns), table.name)
    yield _ParquetPredictions(output, model_version)
    output.close()


class _ParquetPredictions:
    def __init__(self, output: Any, model_version: int) -> None:
        self._output = output
        self._version = model_version

    def write(self, block: Block, predictions: Sequence[Prediction]) -> None:
        self._output.write(
            block.batch,
            (
                [prediction.label for prediction in predictions],
                [round(float(prediction.confidence), 4) for prediction in predictions],
                [bool(prediction.review) for prediction in predictions],
                [self._version] * len(predictions),
            ),
        )
