"""Predicts one file with a model folder, without any cloud: the outputs are those of the job."""

from __future__ import annotations

import argparse
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from batch import manifest
from batch.manifest import REJECTS, REPORT, Manifest
from batch.model import Predicts, sha256_of
from batch.objects import json_bytes, legible
from batch.outputs import predictions_name, rejects_writer
from batch.passes import predict_table
from batch.report import render
from batch.settings import neutralises
from batch.tables import Format, open_table
from batch.tally import Tally
from steps.errors import InputError

OUTPUTS = (
    *(f"predictions{form.value}{packed}" for form in Format for packed in ("", ".gz")),
    REJECTS,
    REPORT,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0, or 2 if the file or the model cannot be used; the manifest tells the same."""
    parser = argparse.ArgumentParser("predict-file", description=__doc__)
    parser.add_argument(
        "--model", type=Path, required=True, help="a folder with model.tar.gz, or what that holds"
    )
    parser.add_argument("--input", type=Path, required=True, help="CSV, JSON Lines or Parquet")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--text-column", default="", help="default: the model's")
    parser.add_argument("--formulas", default="keep", choices=("keep", "neutralise"))
    given = parser.parse_args(argv)
    try:
        document = predict_file(
            given.input, given.output, given.model, given.text_column, given.formulas
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:  # the folder cannot be written to, or the disk is full
        place = legible(str(error.filename or given.output))
        print(f"error: {place}: {error.strerror}", file=sys.stderr)
        return 1
    if document.reason:
        print(f"error: {document.reason}", file=sys.stderr)
        return 2
    print(
        f"predicted {document.predicted:,} rows ({document.for_review:,} for review), "
        f"rejected {document.rejected:,}"
    )
    return 0


def load_folder(folder: Path) -> Predicts:
    """The model in a folder that holds `model.tar.gz`, or what that holds."""
    from steps.classifier import Classifier  # MXNet takes seconds

    return Classifier.load_either(folder)


def predict_file(
    path: Path,
    output: Path,
    model: Path,
    text_column: str = "",
    formulas: str = "keep",
    load: Callable[[Path], Predicts] = load_folder,
) -> Manifest:
    """Predicts the file at `path` into the folder `output`, replacing what an earlier call left.

    As in the cloud, a file or a model that cannot be used makes a manifest that says why. Nothing
    of a failure before that is seen: the files are moved into the folder when all are written, the
    manifest last.
    """
    started = time.monotonic()
    if path.name in OUTPUTS and path.parent.resolve() == output.resolve():
        raise InputError(
            f"{legible(str(path))} would be overwritten; choose another folder for the output"
        )
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".predict-", dir=output) as temporary:
        folder = Path(temporary)
        info: Mapping[str, Any] = {}
        tally, name, reason = Tally(), "", ""
        try:
            neutralise = neutralises(formulas)
            classifier = load(model)
            info = classifier.info
            with (
                _opened(path) as stream,
                rejects_writer(folder / REJECTS, neutralise) as rejects,
            ):
                table = open_table(
                    stream, legible(path.name), text_column or classifier.text_column
                )
                name = predictions_name(table)
                tally = predict_table(table, classifier, 0, folder, rejects, neutralise)
        except InputError as error:
            tally, name, reason = Tally(), "", str(error)
        document = Manifest(
            **manifest.told(tally, info, reason, name),
            key=path.name,
            artifact_sha256=_sum(model),
            bytes_in=path.stat().st_size if path.is_file() else 0,
            seconds=round(time.monotonic() - started, 3),
            code_version=os.environ.get("CLAIMFLOW_CODE_VERSION", "unknown"),
        )
        if name:
            (folder / REPORT).write_text(render(document, tally, {}, info), "utf-8")
        else:
            (folder / REJECTS).unlink(missing_ok=True)
        (folder / manifest.NAME).write_bytes(json_bytes(asdict(document)))
        _replace(output, folder, name)
    return document


def _sum(model: Path) -> str:
    archive = model / "model.tar.gz"
    return sha256_of(archive) if archive.is_file() else ""


def _opened(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(
            f"{legible(str(path))}: {(error.strerror or 'cannot be read').lower()}"
        ) from error


def _replace(output: Path, made: Path, predictions: str) -> None:
    """Moves the files into the folder, without the ones of an earlier call."""
    for name in (manifest.NAME, *OUTPUTS):  # the manifest first: it vouches for the others
        (output / name).unlink(missing_ok=True)
    for name in (predictions, REJECTS, REPORT) if predictions else ():
        (made / name).replace(output / name)
    (made / manifest.NAME).replace(output / manifest.NAME)
