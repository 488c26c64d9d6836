"""What the commands share: settings, AWS, and output for programs."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.aws import Aws

json_option = click.option("--json", "as_json", is_flag=True, help="Output for programs.")
parameter_option = click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the pipeline.",
)


def given_parameters(options: Sequence[str]) -> dict[str, str]:
    """What `parameter_option` was given, by name."""
    from pipelines.errors import UserError

    given: dict[str, str] = {}
    for one in options:
        name, equals, value = one.partition("=")
        if not equals:
            raise UserError(f"--parameter {one}: expected NAME=VALUE")
        given[name] = value
    return given


@contextlib.contextmanager
def aws() -> Iterator[Aws]:
    """AWS as the environment names it, its errors in one line."""
    from pipelines.aws import Aws, readable_errors
    from pipelines.settings import Settings

    with readable_errors():
        yield Aws(Settings.load())


@contextlib.contextmanager
def download_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how far a download is: a bar on a terminal, a line for every tenth elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

        columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn())
        with Progress(*columns, TransferSpeedColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total or None)
        return
    told = 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // total if total else 0
        if tenth > told:
            told = tenth
            click.echo(f"{name}: {tenth * 10} % of {total / 1e6:.0f} MB", err=True)

    yield tell


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, default=str))
