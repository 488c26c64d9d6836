"""`claimflow local`: the local cloud."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.shared import engine_option, json_option, print_json

if TYPE_CHECKING:
    from pipelines.local.daemon import Running


@click.group("local")
def command() -> None:
    """The local cloud: the same AWS API on this machine, without an account.

    \b
    Example:
      claimflow local up
      eval "$(claimflow local env)"
      aws s3 ls
    """


@command.command()
@click.option("--tracking/--no-tracking", default=True, help="Run MLflow's server beside it.")
@engine_option
def up(tracking: bool, engine: str | None) -> None:
    """Start it in the background. What earlier runs made is there again.

    \b
    Example:
      claimflow local up
      claimflow local up --engine docker
    """
    from pipelines.local import daemon
    from pipelines.settings import Settings

    settings = Settings.load(engine=engine)
    _tell(daemon.start(settings.state, tracking, settings.engine_asked_for))
    click.echo('\nTo use it in this shell:  eval "$(claimflow local env)"')


@command.command()
def down() -> None:
    """Stop it and what it runs. What it keeps stays in the state folder.

    Example: claimflow local down
    """
    from pipelines.local import daemon

    click.echo("stopped" if daemon.stop(_state()) else "it was not running")


@command.command()
@json_option
def status(as_json: bool) -> None:
    """Say whether it runs, and where. Exit code 1 when it does not.

    Example: claimflow local status --json
    """
    from pipelines.local import daemon

    running = daemon.find(_state())
    if as_json:
        print_json({"running": running is not None, **(vars(running) if running else {})})
    elif running:
        _tell(running)
    else:
        click.echo("it is not running; start it with `claimflow local up`")
    sys.exit(0 if running else 1)


@command.command()
def env() -> None:
    """Print the exports that make aws, boto3 and claimflow use it.

    Example: eval "$(claimflow local env)"
    """
    click.echo(_running().exports())


def _running() -> Running:
    from pipelines.errors import UserError
    from pipelines.local import daemon

    running = daemon.find(_state())
    if not running:
        raise UserError("The local cloud is not running; start it with `claimflow local up`")
    return running


def _state() -> Path:
    from pipelines.settings import Settings

    return Settings.load().state


def _tell(running: Running) -> None:
    click.echo(f"local cloud  {running.endpoint}  (process {running.pid})")
    click.echo(f"engine       {running.engine}")
    click.echo(f"MLflow       {running.tracking}")
    click.echo(f"state        {_state().resolve()}")
