"""`claimflow pipeline diff`."""

from __future__ import annotations

from pathlib import Path

import click

_file = click.Path(path_type=Path, dir_okay=False)


@click.command("diff")
@click.argument("old", type=_file)
@click.argument("new", type=_file, required=False)
@click.option("--markdown", "output", type=_file, help="Write it to this file, for a comment.")
def command(old: Path, new: Path | None, output: Path | None) -> None:
    """Tell in words what differs between two definitions; without NEW, today's is the new one.

    Example: claimflow pipeline diff definition.json --markdown comment.md
    """
    from pipelines.control import build_definition
    from pipelines.definition_diff import write_diff
    from pipelines.settings import Settings

    text = new.read_bytes() if new else build_definition(Settings.load())
    told = write_diff(old.read_bytes(), text)
    if output:
        output.write_text(told, "utf-8")
    else:
        click.echo(told, nl=False)
