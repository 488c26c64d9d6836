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
@click.option("--again", is_flag=True, help="Write it anew, although one is kept.")
@click.option("--texts", is_flag=True, help="With the texts of its mistakes; it is not kept then.")
@click.option("--open/--no-open", "opens", default=True, help="Open it, on a terminal.")
def command(
    execution: str | None, output: Path | None, again: bool, texts: bool, opens: bool
) -> None:
    """Open the page on what an execution did and how good its model is.

    EXECUTION is an id or ARN; without it, the latest. The page is one file without network and
    scripts, and holds no text of a claim but with --texts. That of an execution that has ended is
    kept with it on S3: whoever waits for the end writes it, else the first call of this.

    \b
    Example:
      claimflow report
      claimflow report abcdefghijkl --output run.html --no-open
      claimflow report --texts
    """
    from pipelines.control import Control
    from pipelines.report.written import kept_report, write_report, write_with_texts

    with aws() as place:
        make = write_with_texts if texts else write_report if again else kept_report
        written = make(place, Control(place).resolve(execution), output)
    click.echo(written.path)
    if written.kept_since:
        click.echo(f"of {written.kept_since:%Y-%m-%d %H:%M:%S %Z}; --again makes it anew", err=True)
    if written.fault:
        click.echo(written.fault, err=True)
    if opens and sys.stdout.isatty():
        import webbrowser

        webbrowser.open(written.path.resolve().as_uri())


def report_at_the_end(place: Aws, execution: str) -> None:
    """Writes the report of an execution (its ARN) that another command has followed to its end, and
    says where in one line. What goes wrong is said, and changes nothing else."""
    from pipelines.aws import readable_errors
    from pipelines.errors import UserError
    from pipelines.report.written import kept_report

    try:
        with readable_errors():
            written = kept_report(place, execution)
    except (UserError, OSError) as error:
        click.echo(f"there is no report: {error}", err=True)
        return
    click.echo(f"report: {written.path}", err=True)
