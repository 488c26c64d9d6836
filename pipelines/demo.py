"""The whole line on this machine, from labelled claims to labelled predictions."""

from __future__ import annotations

import csv
import gzip
import lzma
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

from pipelines.aws import Aws, download_folder, readable_errors
from pipelines.control import Control, build_definition, check_file
from pipelines.counts import many
from pipelines.data.labelled_file import GZIP
from pipelines.data.sample import write_sample
from pipelines.deployment import image_builds, image_engine
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus
from pipelines.follow import follow
from pipelines.local import daemon
from pipelines.predictions import Predictions
from pipelines.registry.models import Models
from pipelines.report.written import write_report
from pipelines.settings import Settings
from pipelines.training_log import TrainingProgress
from pipelines.xz import MAGIC as XZ

SHOWN = 5  # predictions
PREDICT_SECONDS = 1800.0


@dataclass(frozen=True)
class Files:
    """What the demo runs on."""

    train: Path
    test: Path
    new: Path


def run_demo(settings: Settings, files: Files | None, new: Path | None, keep: bool) -> bool:
    """Runs the line and tells what it does; False where the execution ended badly or was rejected.

    Without `files` it makes sample data; `new` is then the file to predict, if it is given.

    Raises
    ------
    UserError
        A file that is not there, or a local cloud that does not start.
    """
    began = time.monotonic()
    for path in (files.train, files.test, files.new) if files else filter(None, [new]):
        check_file(path)
    output = settings.state / "demo"
    # The SDK takes seconds to import: it does so while the local cloud starts.
    warm_up = threading.Thread(target=build_definition, args=(settings,), daemon=True)
    warm_up.start()
    if files is None:
        _say("Data", f"writing synthetic warranty claims to {output / 'data'}")
        shutil.rmtree(output / "data", ignore_errors=True)  # of an earlier version
        sample = write_sample(output / "data")
        files = Files(sample.train, sample.test, new or sample.new_claims)
    text_column, label_column = settings.text_column, settings.label_column
    if not {"text_column", "label_column"} & settings.model_fields_set:
        text_column, label_column = _columns(settings, files.train)
    stays = keep or daemon.find(settings.state) is not None
    with _local_cloud(settings, stays, text_column, label_column) as (running, mine):
        place = Aws(mine, running.variables)
        with readable_errors():
            warm_up.join()
            execution, found = _train(place, files)
            _fetch_reports(place, execution, output)
            if found.status != "Succeeded":
                write_report(place, execution, output / "run.html")
                _tell_failure(found, output)
                return False
            control = Control(place)
            version = _approve(place, control.registered(execution))
            _predict(place, files.new, output, version)
            write_report(place, execution, output / "run.html")  # which tells the approval
        _tell_figures(control.evaluation(execution))
        _say("Where", f"predictions  {output / 'predictions'}")
        click.echo(f"             reports      {output / 'run.html'}")
        click.echo(f"                          {output / 'predictions' / 'report.html'}")
        click.echo(
            f"                          {output / 'validation' / 'data_docs' / 'index.html'}"
        )
        click.echo(f"                          {output / 'evaluation' / 'confusion_matrix.svg'}")
        program = ".venv/bin/claimflow" if shutil.which("claimflow") is None else "claimflow"
        if stays:
            click.echo(f"             runs         {running.tracking} (MLflow)")
            click.echo(f'             the local cloud still runs: eval "$({program} local env)"')
        else:
            click.echo(f"             all of it is kept: `{program} local up` brings it back")
    _say("Done", f"in {time.monotonic() - began:.0f} s")
    return True


@contextmanager
def _local_cloud(
    settings: Settings, stays: bool, text_column: str, label_column: str
) -> Iterator[tuple[daemon.Running, Settings]]:
    """The local cloud, and a client's settings; it is ended afterwards unless it stays."""
    _say("Local cloud", "found running" if daemon.find(settings.state) else "starting")
    running = daemon.start(settings.state, engine=settings.engine_asked_for)
    is_docker = running.engine == "docker"
    without = "jobs in containers" if is_docker else "no account and no Docker"
    click.echo(f"             {running.endpoint}, {without}")
    mine = settings.model_copy(
        update={
            "mlflow_tracking_uri": running.tracking,
            "text_column": text_column,
            "label_column": label_column,
        }
    )
    try:
        if is_docker:
            image_builds.build(_builder(), settings, lambda text: _say("Images", text))
        yield running, mine
    finally:
        if not stays:
            daemon.stop(settings.state)


def _builder() -> image_engine.Engine:
    """What builds images into the very engine that the jobs run in."""
    from pipelines.local.docker_connection import connect

    found = connect()
    if found.is_podman:
        return image_engine.find_engine("podman")
    return image_engine.find_engine("docker", found.address)


def _train(place: Aws, files: Files) -> tuple[str, ExecutionStatus]:
    control = Control(place)
    _say("Pipeline", f"{control.settings.pipeline_name}: {control.upsert()}")
    execution = control.start(
        {
            "TrainData": control.upload_data(files.train),
            "TestData": control.upload_data(files.test),
            "TextColumn": place.settings.text_column,
            "LabelColumn": place.settings.label_column,
            "MlflowTrackingUri": place.settings.mlflow_tracking_uri,
        }
    )
    _say("Execution", execution.rpartition("/")[2])
    return execution, follow(TrainingProgress(place).added(control.follow(execution)))


def _approve(place: Aws, arn: str | None) -> int:
    if arn is None:
        raise UserError(
            "The execution succeeded without registering a model: the pipeline has no Register step"
        )
    version = int(arn.rpartition("/")[2])
    _say("Registry", f"model version {version} registered, pending approval")
    click.echo("             the demo approves it now, in a person's place")
    Models(place).decide(version, approve=True, why="approved by the demo, in a person's place")
    return version


def _predict(place: Aws, new: Path, output: Path, version: int) -> None:
    predictions = Predictions(place)
    _say("Upload", f"{new.name}, with a plain S3 put")
    upload = predictions.upload(new)
    done = predictions.wait(
        upload, PREDICT_SECONDS, lambda text: click.echo(f"             {text}")
    )
    folder = output / "predictions"
    for old in folder.glob("*"):
        old.unlink()
    predictions.fetch(done, folder)
    manifest = done.manifest
    if manifest["outcome"] != "succeeded":
        raise UserError(f"{new}: {manifest.get('reason', 'it could not be read')}")
    _say(
        "Predictions",
        f"{many(manifest['rows_in'], 'row')} in, {manifest['predicted']:,} predicted "
        f"({manifest['for_review']:,} for a person to look at), {manifest['rejected']:,} rejected, "
        f"by model version {version}",
    )
    _show_some(folder, place.settings.text_column)


def _show_some(folder: Path, text_column: str) -> None:
    paths = sorted(folder.glob("predictions.csv*"))
    if not paths:
        return
    with _open_text(paths[0]) as file:
        header = file.readline()
        if header.startswith("sep="):
            header = file.readline()
        delimiter = max(",;\t", key=header.count)  # as in the upload
        rows = csv.DictReader(
            file, next(csv.reader([header], delimiter=delimiter)), delimiter=delimiter
        )
        for _, row in zip(range(SHOWN), rows, strict=False):
            text = " ".join((row.get(text_column) or "").split())
            label = row.get("predicted_label") or row.get("label")
            confidence = row.get("predicted_confidence") or row.get("confidence") or "0"
            shown = text if len(text) <= 60 else f"{text[:59]}…"
            click.echo(f"             {float(confidence):.2f}  {label:<16} {shown}")


def _fetch_reports(place: Aws, execution: str, output: Path) -> None:
    """Copies what the steps left on S3 to where a person can open it."""
    s3, control = place.client("s3"), Control(place)
    for step, folder in (("Validate", "validation"), ("Evaluate", "evaluation")):
        shutil.rmtree(output / folder, ignore_errors=True)  # of an earlier demo
        uri = control.output(execution, step)
        if uri is not None:
            download_folder(s3, uri, output / folder)


def _tell_failure(found: ExecutionStatus, output: Path) -> None:
    click.echo(found.sentence)
    for bar in found.missed:
        click.echo(f"missed: {bar}")
    click.echo(f"reports so far: {output}")


def _tell_figures(evaluation: dict[str, Any] | None) -> None:
    if evaluation is None:
        return
    challenger, champion = evaluation["challenger"], evaluation["champion"]
    _say(
        "Figures",
        f"on {many(challenger['rows'], 'test row')}: accuracy {challenger['accuracy']:.4f}, "
        f"macro F1 {challenger['macro_f1']:.4f}, "
        f"calibration error {challenger['calibration_error']:.4f}",
    )
    if champion:
        click.echo(f"             the champion before it: accuracy {champion['accuracy']:.4f}")


def _columns(settings: Settings, path: Path) -> tuple[str, str]:
    """The text and the label column: the settings', or the only way to read a table of two."""
    wanted = (settings.text_column, settings.label_column)
    try:
        with _open_text(path) as file:
            rows = csv.reader(file)
            header = next(rows, [])
            first = [row for _, row in zip(range(20), rows, strict=False) if len(row) == 2]
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError, csv.Error):
        return wanted  # Validate says what is wrong with it
    is_clear = len(header) == 2 and all(name.isidentifier() for name in header) and first
    if set(wanted) <= set(header) or not is_clear:  # what is no name may be a claim: no header
        return wanted
    lengths = [sum(len(row[column]) for row in first) for column in (0, 1)]
    text, label = (0, 1) if lengths[0] >= lengths[1] else (1, 0)
    _say("Columns", f"text is {header[text]!r}, label is {header[label]!r}")
    return header[text], header[label]


def _open_text(path: Path) -> IO[str]:
    with path.open("rb") as file:
        magic = file.read(6)
    if magic.startswith(GZIP):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    if magic == XZ:
        return lzma.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _say(what: str, text: str) -> None:
    click.echo(f"{what:<12} {text}")
