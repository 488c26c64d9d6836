"""`claimflow predictions`: what became of the uploads, and what to do about it."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import FAILED, REJECTED
from pipelines.cli.shared import aws, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain

if TYPE_CHECKING:
    from pipelines.drift import Drift, Index
    from pipelines.retries import DeadLetter, Retries
    from pipelines.upload_state import UploadState
    from pipelines.uploads import Recent

MOST_LABELS = 5
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Window(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A time back from now: `90m`, `12h`, `7d` or `2w`."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        match = re.fullmatch(r"(\d{1,4})([mhdw])", str(value).strip().lower())
        if not match:
            self.fail(f"{value!r}: expected a number and m, h, d or w, such as 7d", param, ctx)
        return datetime.now(timezone.utc) - timedelta(**{_UNITS[match[2]]: int(match[1])})


_since = click.option(
    "--since", type=Window(), default="7d", show_default=True, help="How far to look back."
)
_folder = click.option(
    "--folder", default="", help="Look only at uploads whose names begin so, such as 2026/11/."
)


@click.group("predictions")
def command() -> None:
    """The uploads and what became of them: look, retry, watch for drift.

    \b
    Example:
      claimflow predictions list
      claimflow predictions retry --all
    """


@command.command("list")
@_since
@_folder
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most.")
@json_option
def list_(since: datetime, folder: str, limit: int, as_json: bool) -> None:
    """List the uploads of the last days, newest first.

    Example: claimflow predictions list --since 2d
    """
    from pipelines.uploads import Uploads

    with aws() as place:
        recent = Uploads(place).recent(since, limit + 1, folder)
        found, shown = recent.states, recent.states[:limit]
        _warn_of_more(recent)
        if as_json:
            print_json([one.document() for one in shown])
            return
        for one in shown:
            click.echo(_line(one))
        if not shown:
            click.echo("no upload in this time; `--since 30d` looks further back")
        elif len(found) > limit:
            click.echo(f"… and more: --limit {2 * limit}")
        if any(one.state == "failed" for one in shown):
            click.echo("`claimflow predictions retry --all` predicts the failed ones once more")


@command.command()
@click.argument("upload")
@json_option
def show(upload: str, as_json: bool) -> None:
    """Show an upload: its record, its job, its result.

    UPLOAD is its id, its name, or an s3 address: its own or that of a result.

    Example: claimflow predictions show new_claims.csv
    """
    from pipelines.uploads import Uploads

    with aws() as place:
        uploads = Uploads(place)
        found = uploads.state(uploads.find(upload))
        if as_json:
            print_json(found.document())
            return
        for name, value in _told(found).items():
            click.echo(f"{name:<12} {value}")


@command.command()
@click.argument("uploads", nargs=-1, metavar="[UPLOAD]...")
@click.option("--all", "every", is_flag=True, help="Every failed upload and every dead letter.")
@click.option("--discard", is_flag=True, help="Delete the dead letters, and retry nothing.")
@click.option("--dry-run", is_flag=True, help="Show what would be done, and do nothing.")
@_since
@_folder
def retry(
    uploads: tuple[str, ...],
    every: bool,
    discard: bool,
    dry_run: bool,
    since: datetime,
    folder: str,
) -> None:
    """Predict failed uploads once more, and send dead letters back.

    A dead letter is a message that the functions could not handle; its reason is shown. One that
    they can never handle comes back each time: --discard deletes it. No upload is lost by that,
    what has no job is found again. An upload that is not handled yet is announced again if it is
    named. With --dry-run alone, all that could be retried is shown.

    \b
    Example:
      claimflow predictions retry --dry-run
      claimflow predictions retry new_claims.csv
    """
    from pipelines.errors import UserError
    from pipelines.retries import Retries
    from pipelines.uploads import Uploads

    if uploads and every:
        raise UserError("Name uploads or say --all, not both")
    if not uploads and not every and not dry_run:
        raise UserError("Name the uploads, or say --all; --dry-run shows what there is")
    with aws() as place:
        of = Uploads(place)
        ids = {one: of.find(one) for one in uploads}
        retries = Retries(place)
        sent: set[str] = set()
        handle = _discard if discard else _send_back
        for letter in retries.dead_letters():
            if uploads and letter.upload_id not in {one.id for one in ids.values()}:
                retries.release(letter)
            elif handle(retries, letter, dry_run):
                sent.add(letter.upload_id)
        if discard:
            if not sent:
                click.echo("there is no dead letter")
            return
        if uploads:
            found = of.states(list(ids.values()))
        else:
            recent = of.recent(since, folder=folder)
            found = recent.states
            _warn_of_more(recent)
        nothing = 0
        for one in found:
            if one.state == "failed":
                if not dry_run:
                    retries.retry(one)
                done = "would be sent again" if dry_run else "sent again"
                click.echo(plain(f"{done}: {one.upload.key} (it failed: {one.reason})"))
            elif uploads and one.upload.id not in sent and one.state == "unhandled":
                if not dry_run:
                    retries.announce(one.upload)
                done = "would be announced again" if dry_run else "announced again"
                click.echo(plain(f"{done}: {one.upload.key}"))
            elif uploads and one.upload.id not in sent:
                nothing += 1
                click.echo(plain(f"{one.upload.key} is {one.words}: nothing to retry"), err=True)
        if not uploads and not sent and not any(one.state == "failed" for one in found):
            click.echo("nothing failed in this time, and there is no dead letter")
    sys.exit(FAILED if nothing else 0)


@command.command()
@_since
@click.option("--alarm", is_flag=True, help="Write the metrics, and announce drift as an event.")
@json_option
def drift(since: datetime, alarm: bool, as_json: bool) -> None:
    """Compare what was predicted with what the model learnt from.

    The population stability index of labels and confidences: below 0.1 steady, from 0.25 on it is
    time to train again (exit code 3).

    Example: claimflow predictions drift --since 30d
    """
    from pipelines.drift import Drifts

    with aws() as place:
        drifts = Drifts(place)
        found = drifts.since(since)
        announced = drifts.alarm(found) if alarm else False
    if as_json:
        from dataclasses import asdict

        print_json({**asdict(found), "level": found.level, "announced": announced})
    else:
        _tell_drift(found)
        if announced:
            click.echo("announced: the event Drift Detected")
    sys.exit(REJECTED if found.level == "act" else 0)


def _line(found: UploadState) -> str:
    upload = found.upload
    when = f"{upload.uploaded_at:%Y-%m-%d %H:%M:%S}" if upload.uploaded_at else " " * 19
    return f"{when}  {upload.id[:8]}  {plain(upload.key)}  {plain(found.summary)}"


def _told(found: UploadState) -> dict[str, str]:
    upload, record, manifest = found.upload, found.record, found.manifest
    told = {"file": f"s3://{upload.bucket}/{plain(upload.key)}", "upload": upload.id}
    if upload.version:
        told["version"] = upload.version
    if upload.uploaded_at:
        told["uploaded"] = f"{upload.uploaded_at:%Y-%m-%d %H:%M:%S} UTC, {upload.size:,} bytes"
    told["state"] = plain(found.words)
    if record:
        told["model"] = f"version {record['model_package_version']}, {record['model_package_arn']}"
        attempt = f", attempt {found.attempt}" if found.attempt > 1 else ""
        shares = f", {record['shards']} shares" if record.get("shards", 1) > 1 else ""
        told["job"] = f"{record.get('job_id') or 'none yet'}{attempt}{shares}"
        told["results"] = f"s3://{record['results_bucket']}/{plain(record['results_prefix'])}"
    if manifest and found.state == "predicted":
        told["rows"] = (
            f"{manifest['rows_in']:,} in: {manifest['predicted']:,} predicted "
            f"({manifest['for_review']:,} for a person to look at), {manifest['rejected']:,} "
            f"rejected, in {manifest['seconds']:.1f} s"
        )
        if labels := manifest.get("labels"):
            told["labels"] = _labels(labels)
        if report := manifest.get("report"):
            told["report"] = f"s3://{record['results_bucket']}/{plain(report)}" if record else ""
    return told


def _labels(labels: dict[str, int]) -> str:
    ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
    total = sum(labels.values()) or 1
    shown = [f"{plain(label)} {count / total:.1%}" for label, count in ranked[:MOST_LABELS]]
    more = len(ranked) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _send_back(retries: Retries, letter: DeadLetter, dry_run: bool) -> bool:
    reason = letter.reason or "its function crashed or ran out of time"
    if not letter.queue:
        retries.release(letter)
        click.echo(f"stays: {plain(letter.subject)}: nothing tells its queue: {plain(reason)}")
        return False
    if dry_run:
        retries.release(letter)
    else:
        retries.send_back(letter)
    done = "would be sent" if dry_run else "sent"
    click.echo(f"{done} back to {letter.queue}: {plain(letter.subject)}: {plain(reason)}")
    return True


def _discard(retries: Retries, letter: DeadLetter, dry_run: bool) -> bool:
    if dry_run:
        retries.release(letter)
    else:
        retries.discard(letter)
    done = "would be discarded" if dry_run else "discarded"
    reason = letter.reason or "its function crashed or ran out of time"
    click.echo(plain(f"{done}: {letter.subject}: {reason}"))
    return True


def _warn_of_more(recent: Recent) -> None:
    from pipelines.uploads import MOST_LISTED

    if not recent.complete:
        click.echo(
            f"there are more uploads: only the first {MOST_LISTED:,} by name were looked at; "
            "--folder says which to look at",
            err=True,
        )


def _tell_drift(found: Drift) -> None:
    others = f" ({many(found.others, 'file')} of other versions left out)" if found.others else ""
    if found.level == "unknown":
        click.echo(f"nothing to compare: {found.why_unknown}{others}")
        return
    counted = f"{many(found.rows, 'row')} in {many(found.files, 'file')}"
    click.echo(f"{counted}, model version {found.version}{others}")
    for name, index in (("labels", found.labels), ("confidences", found.confidences)):
        if index:
            click.echo(f"{name:<12} {index.value:.3f}  {_meaning(index)}")
    for verb, changes in (("gained", found.gained), ("lost", found.lost)):
        for label, then, now in changes:
            click.echo(f"{verb:<12} {plain(label)}: {then:.1%} in training, {now:.1%} now")
    click.echo(f"{'certainty':<12} {found.mean_then:.1%} in training, {found.mean_now:.1%} now")
    if found.level == "act":
        click.echo("the claims have changed: train again on newer ones")


def _meaning(index: Index) -> str:
    if index.level == "steady" and index.value > index.chance:
        return "steady"
    if index.level == "steady":
        return f"steady: chance alone gives up to {index.chance:.3f} with so many rows"
    return "watch it: it has changed" if index.level == "watch" else "act: it has changed much"
