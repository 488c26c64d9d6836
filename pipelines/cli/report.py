"""`claimflow report`: what an execution did, as a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.shared import aws

if TYPE_CHECKING:
    from pipelines.aws import Aws


@click.command("report")
@click.argument("execution", required=False)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; without it, one in the state folder.",
)
@click.option("--open/--no-open", "opens", default=True, help="Open it, on a terminal.")
def command(execution: str | None, output: Path | None, opens: bool) -> None:
    """Write what an execution did and how good its model is as a page, and open it.

    EXECUTION is an id or ARN; without it, the latest. The page is one file without network and
    scripts, and never holds the text of a claim. A copy is kept with the execution.

    \b
    Example:
      claimflow report
      claimflow report abcdefghijkl --output run.html --no-open
    """
    from pipelines.control import Control
    from pipelines.report.written import write_report

    with aws() as place:
        written = write_report(place, Control(place).resolve(execution), output)
    click.echo(written.path)
    if written.fault:
        click.echo(written.fault, err=True)
    if opens and sys.stdout.isatty():
        import webbrowser

        webbrowser.open(written.path.resolve().as_uri())


def report_at_the_end(place: Aws, execution: str) -> None:
    """Writes the report of an execution (its ARN) that another command has followed, and says where
    in one line. What goes wrong is said, and changes nothing else."""
    from pipelines.aws import readable_errors
    from pipelines.errors import UserError
    from pipelines.report.written import write_report

    try:
        with readable_errors():
            written = write_report(place, execution)
    except (UserError, OSError) as error:
        click.echo(f"there is no report: {error}", err=True)
        return
    click.echo(f"report: {written.path}", err=True)
