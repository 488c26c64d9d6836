"""What the commands share: settings, AWS, and output for programs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipelines.aws import Aws

json_option = click.option("--json", "as_json", is_flag=True, help="Output for programs.")


@contextlib.contextmanager
def aws() -> Iterator[Aws]:
    """AWS as the environment names it, its errors in one line."""
    from pipelines.aws import Aws, readable_errors
    from pipelines.settings import Settings

    with readable_errors():
        yield Aws(Settings.load())


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, default=str))
