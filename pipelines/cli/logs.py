"""`claimflow logs`: what steps, prediction jobs and functions print."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import click

from pipelines.cli.predictions import Window
from pipelines.cli.shared import aws

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipelines.aws import Aws
    from pipelines.logs import Event, Logs, Source

    Look = Callable[[], tuple[Sequence[Source], bool]]


@click.command("logs")
@click.argument("what", required=False, metavar="[STEP]")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--execution", help="Its id or ARN; without it, the latest.")
@click.option("--follow", is_flag=True, help="Go on until the step, job or execution has ended.")
@click.option("--since", type=Window(), default="1d", show_default=True, help="Of a function.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object an event, for programs.")
def command(
    what: str | None,
    name: str | None,
    execution: str | None,
    follow: bool,
    since: datetime,
    as_json: bool,
) -> None:
    """Show what the steps of an execution print, a line an event, or one step alone.

    `predictions [UPLOAD]` shows the job of an upload (without a name, of the latest), `function
    NAME` a function: champion, submit, notify, sweep, retrain or approve.

    \b
    Example:
      claimflow logs --follow
      claimflow logs Train --execution abcdefghijkl
      claimflow logs predictions new_claims.csv
      claimflow logs function submit --since 2h
    """
    from pipelines.errors import UserError
    from pipelines.logs import Logs

    with aws() as place:
        logs = Logs(place)
        if what == "predictions":
            look = _upload(place, logs, name)
        elif what == "function":
            if not name:
                raise UserError("Name the function: `claimflow logs function submit`")
            sources = logs.of_function(name, since)
            look = lambda: (sources, False)  # noqa: E731 - a function never ends
        elif name:
            raise UserError(f"{what} {name}: expected one step, `predictions` or `function NAME`")
        else:
            look = _execution(place, logs, what, execution)
        for event in logs.follow(look) if follow else logs.read(look()[0]):
            click.echo(_line(event, as_json))


def _execution(place: Aws, logs: Logs, step: str | None, execution: str | None) -> Look:
    """The steps of an execution, or one of them."""
    from pipelines.control import Control
    from pipelines.errors import UserError
    from pipelines.execution_status import ENDED

    control = Control(place)
    arn = control.resolve(execution)
    found = control.status(arn)
    names = [one.name for one in found.steps]
    if step and step not in names and found.has_ended:
        raise UserError(
            f"Execution {found.id} has no step {step} that ran; "
            f"there are {', '.join(names) or 'none'}"
        )
    for one in found.steps:
        if one.is_cached and one.job and step is None:
            click.echo(
                f"{one.name} is cached, its log is that of an earlier execution: "
                f"`claimflow logs {one.name} --execution {found.id}` shows it",
                err=True,
            )

    def look() -> tuple[Sequence[Source], bool]:
        now = control.status(arn)
        if step is None:
            mine = [one for one in now.steps if not one.is_cached]
            return logs.of_steps(mine, now.id), now.has_ended
        mine = [one for one in now.steps if one.name == step]
        ended = bool(mine) and mine[-1].status in ENDED
        return logs.of_steps(mine, now.id), ended or now.has_ended

    return look


def _upload(place: Aws, logs: Logs, name: str | None) -> Look:
    """The prediction job of an upload."""
    from pipelines.errors import UserError
    from pipelines.uploads import Uploads

    uploads = Uploads(place)
    if name:
        upload = uploads.find(name)
    else:
        recent = uploads.recent(datetime.now(timezone.utc) - timedelta(days=30), 1).states
        if not recent:
            raise UserError("There is no upload of the last 30 days; name an older one")
        upload = recent[0].upload
    if not (uploads.state(upload).record or {}).get("job_id"):
        click.echo(f"{upload.id[:8]} has no job yet: {uploads.state(upload).words}", err=True)

    def look() -> tuple[Sequence[Source], bool]:
        now = uploads.state(upload)
        return logs.of_upload(now), now.state in ("predicted", "failed", "unreadable")

    return look


def _line(event: Event, as_json: bool) -> str:
    if as_json:
        return json.dumps(event.document())  # ASCII: fields may hold what steers a terminal
    when = f"{event.time:%Y-%m-%dT%H:%M:%S}.{event.time.microsecond // 1000:03}Z"
    return "  ".join(filter(None, (when, event.execution, event.source, event.message)))
