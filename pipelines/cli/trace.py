"""`claimflow trace`: where a prediction comes from, and what a model version predicted."""

from __future__ import annotations

from typing import Any

import click

from pipelines.cli.shared import aws, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain

_MOST_FILES = 20  # of the data that are listed for people


@click.command("trace")
@click.argument("what")
@click.option(
    "--limit",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    help="Results of a version to list, at most.",
)
@json_option
def command(what: str, limit: int, as_json: bool) -> None:
    """Trace a prediction back to model, execution, commit, images and data; or a model version both
    ways.

    WHAT is the s3 address of a file of results or of an upload, an upload's id, or the number of a
    model version. What cannot be found any more is told as such.

    \b
    Example:
      claimflow trace s3://claimflow-dev-results-…/results/claims.csv/…/predictions.csv
      claimflow trace 3
    """
    from pipelines.errors import UserError
    from pipelines.registry.trace import Traces

    if not what.strip():
        raise UserError(
            "Nothing to trace: give the s3 address of results or of an upload, an upload's id, or "
            "the number of a model version"
        )
    with aws() as place:
        found = Traces(place).of(what, limit).document()
    if as_json:
        print_json(found)
        return
    missing = found.pop("missing")
    predicted = found.pop("predicted")
    for title, part in found.items():
        _show(title, part)
    if predicted:
        _show("predicted, newest first", {one["upload"][:12]: _result(one) for one in predicted})
    if missing:
        click.echo("not known")
        for sentence in missing:
            click.echo(f"  {plain(sentence)}")


def _show(title: str, part: dict[str, Any]) -> None:
    known = {name: value for name, value in part.items() if value not in ("", [], {}, None)}
    if not known:
        return
    click.echo(title)
    for name, value in known.items():
        lines = [_line(one) for one in value] if isinstance(value, list) else [str(value)]
        if len(lines) > _MOST_FILES:
            lines[_MOST_FILES:] = [f"… and {len(lines) - _MOST_FILES} more: --json lists all"]
        for place, line in enumerate(lines):
            label = name.replace("_", " ") if not place else ""
            click.echo(f"  {label:<16} {plain(line)}")


def _line(one: Any) -> str:
    """An item of a list, on one line."""
    if not isinstance(one, dict):
        return str(one)
    if "key" in one:  # a file of the data
        rows = "" if one["rows"] is None else f"  {many(one['rows'], 'row')}"
        return f"{one['key']}{rows}  version {one['version_id']}  sha256 {one['sha256'][:16]}"
    cached = f"  cached from {one['cached_from']}" if one.get("cached_from") else ""
    told = (f"{one['name']} {one['status']}", one.get("image"), one.get("job"))
    return "  ".join(filter(None, told)) + cached


def _result(one: dict[str, Any]) -> str:
    rows = f"  {one['predicted']:,} of {many(one['rows_in'], 'row')}" if "rows_in" in one else ""
    return f"{one['submitted_at']}  {one['outcome']}{rows}  {one['file']} → {one['results']}"
