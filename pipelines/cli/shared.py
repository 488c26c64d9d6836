"""What the commands share: settings, AWS, and output for programs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.aws import Aws

json_option = click.option("--json", "as_json", is_flag=True, help="Output for programs.")
engine_option = click.option(
    "--engine",
    type=click.Choice(["process", "docker"]),
    help="What runs the jobs: processes of this machine, or containers (setting engine).",
)
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


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, default=str))
