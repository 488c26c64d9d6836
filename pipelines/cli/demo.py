"""`claimflow demo`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipelines.cli import FAILED
from pipelines.cli.shared import engine_option

_file = click.Path(path_type=Path)


@click.command("demo")
@click.option("--train", type=_file, help="Labelled claims to train on (CSV; .gz and .xz too).")
@click.option("--test", type=_file, help="Labelled claims to judge by.")
@click.option("--predict", type=_file, help="Claims to predict; without it, the test file.")
@click.option("--text-column", help="The column that holds the text.")
@click.option("--label-column", help="The column that holds the label.")
@engine_option
@click.option("--keep", is_flag=True, help="Leave the local cloud running.")
def command(
    train: Path | None,
    test: Path | None,
    predict: Path | None,
    text_column: str | None,
    label_column: str | None,
    engine: str | None,
    keep: bool,
) -> None:
    """Run the whole line on this machine: train, judge, register, approve, predict.

    Without files it makes synthetic warranty claims. With the engine docker each job runs in its
    real image; what is missing of these is built first.

    \b
    Example:
      claimflow demo
      claimflow demo --train train.csv --test test.csv --predict new.csv
      claimflow demo --engine docker
    """
    from pipelines.demo import Files, run_demo
    from pipelines.errors import UserError
    from pipelines.settings import Settings

    given = {"text_column": text_column, "label_column": label_column, "engine": engine}
    settings = Settings.load(**{name: value for name, value in given.items() if value})
    files = None
    if train or test:
        if not train or not test:
            raise UserError(
                "the demo on your own files needs --train and --test (make: DATA=… TEST=…)"
            )
        files = Files(train, test, predict or test)
    if not run_demo(settings, files, predict, keep):
        sys.exit(FAILED)
