"""`claimflow train`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import FAILED
from pipelines.cli.shared import given_parameters, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain
from pipelines.terminal import Spinner, is_live, spinner
from pipelines.tuning import KINDS

if TYPE_CHECKING:
    from pipelines.local.train_here import Position


@click.command("train")
@click.option("--train", "file", type=click.Path(path_type=Path), required=True, metavar="FILE")
@click.option(
    "--local-files",
    is_flag=True,
    expose_value=False,
    help="Files of this machine, none of S3: always so here.",
)
@click.option("--kind", type=click.Choice(KINDS), default="ngram", show_default=True)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyperparameter of the kind.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for model.tar.gz.  [default: models/KIND]",
)
@click.option("--text-column", metavar="NAME", help="As the settings say, unless given.")
@click.option("--label-column", metavar="NAME", help="As the settings say, unless given.")
@click.option(
    "--checkpoints",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Go on from here what was interrupted.",
)
@json_option
def command(
    file: Path,
    kind: str,
    parameters: tuple[str, ...],
    output: Path | None,
    text_column: str | None,
    label_column: str | None,
    checkpoints: Path | None,
    as_json: bool,
) -> None:
    """Train a model here, without pipeline and without any cloud.

    The file is CSV (gzip, xz or plain). No test set is looked at: the figures are those of the rows
    that are kept for validation. Once these have judged it, ngram learns from them, too.
    `claimflow predict FILE --model FOLDER` uses the model. The kind bert needs
    -p pretrained_folder=FOLDER, and textcnn takes -p vectors_file=FILE.

    \b
    Example:
      claimflow train --train train.csv
      claimflow train --train train.csv --kind textcnn -p epochs=3 --output models/textcnn
    """
    from pipelines.local.train_here import TrainingFailedError, train_here
    from pipelines.settings import Settings

    settings = Settings.load()
    hyperparameters = {
        "text_column": text_column or settings.text_column,
        "label_column": label_column or settings.label_column,
        **given_parameters(parameters),
        "kind": kind,
    }
    folder = output or Path("models") / kind
    began = time.monotonic()
    try:
        with spinner(f"{kind}: reads and prepares", has_bar=True) as shown:
            stepped = _drawn(shown, kind) if is_live(sys.stderr) else None
            model = train_here(
                settings,
                file,
                hyperparameters,
                folder,
                checkpoints,
                lambda line: shown.say(plain(line)),
                stepped,
            )
    except TrainingFailedError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        if checkpoints:
            click.echo(f"the same command goes on from {checkpoints}", err=True)
        raise
    _tell(folder / "model.tar.gz", model, time.monotonic() - began, as_json)


def _drawn(shown: Spinner, kind: str) -> Callable[[Position], None]:
    """Draws how far a training is."""

    def stepped(at: Position) -> None:
        descent = f"descent {at.descent} of {at.descents}, " if at.descents > 1 else ""
        # An epoch is not done with its last step: the look at the validation rows follows.
        shown.now(f"{kind}: {descent}epoch {at.epoch}", at.step, at.steps + 1)

    return stepped


def _tell(path: Path, model: dict[str, Any], seconds: float, as_json: bool) -> None:
    figures, rows = model["validation"], model["training_data"]
    if as_json:
        print_json(
            {
                "model": str(path),
                "kind": model["kind"],
                "hyperparameters": model["hyperparameters"],
                "labels": model["labels"],
                "training_data": rows,
                "validation": figures,
                "seconds": round(seconds, 2),
            }
        )
        return
    click.echo(
        f"{model['kind']}: {len(model['labels'])} labels, "
        f"{many(rows['training_rows'], 'row')} for training and "
        f"{rows['validation_rows']:,} for validation, {seconds:.1f} s"
    )
    for name, value in figures.items():
        click.echo(f"  {name.replace('_', ' '):<30} {value:.4f}")
    click.echo(str(path))
