"""`claimflow tune`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipelines.cli import FAILED
from pipelines.cli.places import is_local_cloud
from pipelines.cli.shared import (
    aws,
    given_parameters,
    json_option,
    parameter_option,
    print_json,
)
from pipelines.plain_text import plain
from pipelines.terminal import progress
from pipelines.tuning import KINDS, OBJECTIVES

if TYPE_CHECKING:
    from pipelines.tuning_jobs import Trial, TuningStatus

_name = click.argument("name", required=False)


@click.group("tune", invoke_without_command=True)
@click.option("--train", metavar="FILE|S3URI", help="Labelled claims to train on.")
@click.option("--kind", type=click.Choice(KINDS), default="ngram", show_default=True)
@click.option(
    "--objective",
    type=click.Choice(tuple(OBJECTIVES)),
    default="accuracy",
    show_default=True,
    help="Of the validation rows: what is to be largest.",
)
@click.option("--jobs", type=click.IntRange(1, 750), default=8, show_default=True)
@click.option("--parallel", type=click.IntRange(1, 10), default=2, show_default=True)
@parameter_option
@click.option("--wait", is_flag=True, help="Show the trainings until all have ended.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    train: str | None,
    kind: str,
    objective: str,
    jobs: int,
    parallel: int,
    parameters: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> None:
    """Search the main hyperparameters of a kind of model, by trainings like the pipeline's.

    What is given with -p, by its parameter or among Hyperparameters, is fixed and not searched. The
    best are told as options of `claimflow pipeline start`.

    \b
    Example:
      claimflow tune --train train.csv --jobs 8 --parallel 2 --wait
      claimflow tune --train train.csv --kind textcnn -p Epochs=5 -p BatchSize=64
      claimflow tune status
    """
    if context.invoked_subcommand:
        return
    if not train:
        raise click.UsageError("Missing option '--train'.", context)
    from pipelines.tuning_jobs import Tuning

    with aws() as place:
        tuning = Tuning(place)
        given = given_parameters(parameters)
        name = tuning.start(train, kind, objective, jobs, parallel, given, progress)
        if not as_json:
            click.echo(name)
        if is_local_cloud(place):
            click.echo("the local cloud draws at random, whatever the strategy", err=True)
        if wait:
            _show_to_the_end(tuning.follow(name), as_json)
        elif as_json:
            print_json({"name": name})


@command.command()
@_name
@click.option("--watch", is_flag=True, help="Stay until it has ended.")
@json_option
def status(name: str | None, watch: bool, as_json: bool) -> None:
    """Show a tuning job (the latest, or by name), and the best that it has found.

    Example: claimflow tune status --watch
    """
    from pipelines.tuning_jobs import Tuning

    with aws() as place:
        tuning = Tuning(place)
        name = name or tuning.latest()
        if watch:
            _show_to_the_end(tuning.follow(name), as_json)
            return
        found = tuning.status(name)
        if as_json:
            print_json(_document(found))
            return
        for number, trial in enumerate(found.trials, 1):
            click.echo(_line(number, trial, found))
        _print_end(found)


@command.command()
@_name
def stop(name: str | None) -> None:
    """Stop a tuning job (the latest, or by name) and its trainings.

    Example: claimflow tune stop
    """
    from pipelines.tuning_jobs import Tuning

    with aws() as place:
        tuning = Tuning(place)
        name = name or tuning.latest()
        tuning.stop(name)
        click.echo(f"stopping {name}")


def _show_to_the_end(statuses: Iterator[TuningStatus], as_json: bool) -> None:
    """Tells each training as it ends, and the best of all; exit code 1 where there is none."""
    told: set[str] = set()
    try:
        for found in statuses:
            for number, trial in enumerate(found.trials, 1):
                if trial.has_ended and trial.name not in told:
                    told.add(trial.name)
                    click.echo(_line(number, trial, found), err=as_json)
    except KeyboardInterrupt:
        click.echo(
            "\nthe tuning job goes on: `claimflow tune status --watch` follows it, "
            "`claimflow tune stop` ends it",
            err=True,
        )
        sys.exit(130)
    if as_json:
        print_json(_document(found))
    else:
        _print_end(found)
    if found.status != "Completed":
        sys.exit(FAILED)


def _line(number: int, trial: Trial, found: TuningStatus) -> str:
    drawn = " ".join(f"{name}={value}" for name, value in trial.hyperparameters.items())
    reached = "" if trial.value is None else f" {found.objective}={trial.value:.4f}"
    reason = f" ({trial.reason})" if trial.reason else ""
    return plain(f"{number} of {found.jobs}: {trial.status}{reached} {drawn}{reason}")


def _print_end(found: TuningStatus) -> None:
    reason = f": {found.reason}" if found.reason else ""
    click.echo(plain(f"{found.name}: {found.status}{reason}"))
    if not found.best:
        return
    reached = f"{found.objective}={found.best.value}"
    click.echo(plain(f"best: {reached} by {found.best.name}"))
    options = (word for option in found.start_options for word in ("-p", option))
    click.echo(plain(shlex.join(["claimflow", "pipeline", "start", *options])))


def _document(found: TuningStatus) -> dict[str, object]:
    best = {"start_options": found.start_options} if found.best else {}
    return {**asdict(found), **best}
