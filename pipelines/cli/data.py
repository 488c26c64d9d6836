"""`claimflow data`: labelled claims to train and to test with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import data_versions
from pipelines.cli.data_versions import sized
from pipelines.cli.shared import aws, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain
from pipelines.terminal import progress

if TYPE_CHECKING:
    from pipelines.data.datasets import Addition
    from pipelines.data.versions import LabelledFile
    from pipelines.settings import Settings


@click.group("data")
def command() -> None:
    """Labelled claims: add and remove some, look at what there is; and data to try it with.

    \b
    Example:
      claimflow data add january.csv february.csv.gz
      claimflow data show
      claimflow data sample data
    """


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--test", is_flag=True, help="They are the held-out test set.")
@click.option("--replace", is_flag=True, help="With --test: in place of the one that is there.")
@json_option
def add(files: tuple[Path, ...], test: bool, replace: bool, as_json: bool) -> None:
    """Add files of labelled claims to learn from: CSV, plain, gzip or xz.

    They are kept beside those that are there, and merged when a training starts: of the same claim
    the label that was added last wins.

    \b
    Example:
      claimflow data add claims.csv
      claimflow data add held_out.csv --test
    """
    from pipelines.data.datasets import Datasets

    if replace and not test:
        raise click.UsageError("--replace needs --test: training files are only ever added")
    with aws() as place:
        added = Datasets(place).add(files, test, replace, progress)
        settings = place.settings
        starts_in = settings.deployment.quiet_seconds if _starts_itself(settings, added) else None
        if as_json:
            print_json(_addition(added, settings.bucket("data"), starts_in))
            return
        _tell_addition(added, settings.bucket("data"), starts_in)


@command.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@json_option
def remove(names: tuple[str, ...], as_json: bool) -> None:
    """Remove files of labelled claims, so that no later training reads them.

    NAME is a key as `claimflow data show` tells it, a file's name, or the first 4 or more digits of
    its SHA-256. The bucket keeps what was removed as an old version; data versions, and models that
    have learned from them, stay as they are.

    \b
    Example:
      claimflow data remove january.csv
    """
    from pipelines.data.datasets import Datasets

    with aws() as place:
        datasets, bucket = Datasets(place), place.settings.bucket("data")
        removed, left = datasets.remove(names), datasets.labelled()
        days = place.settings.deployment.old_version_days
    if as_json:
        print_json(
            {
                "removed": [f"s3://{bucket}/{one.key}" for one in removed],
                "left": [f"s3://{bucket}/{one.key}" for one in left],
                "kept_days": days,
            }
        )
        return
    for one in removed:
        click.echo(plain(f"removed: s3://{bucket}/{one.key}, {many(one.bytes, 'byte')}"))
    click.echo(
        f"kept as an old version in the bucket for {many(days, 'day')}; "
        "data versions keep their copies"
    )
    if any(one.set == "test" for one in removed):
        click.echo("the test set is another one now: the next comparison is on new rows")
    _tell_what_is_left(left)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=7, show_default=True)
def sample(folder: Path, seed: int) -> None:
    """Write synthetic warranty claims: train.csv, test.csv and new_claims.csv.

    Example: claimflow data sample data
    """
    from pipelines.data.sample import write_sample

    paths = write_sample(folder, seed)
    for path in (paths.train, paths.test, paths.new_claims):
        click.echo(str(path))


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--archive",
    type=click.Path(path_type=Path),
    help="A copy of aclImdb_v1.tar.gz; without it, it is downloaded from its home.",
)
def imdb(folder: Path, archive: Path | None) -> None:
    """Write the Large Movie Review Dataset as train.csv and test.csv (columns review, sentiment).

    Example: claimflow data imdb imdb --archive aclImdb_v1.tar.gz
    """
    from pipelines.data.imdb import fetch_imdb

    paths = fetch_imdb(folder, archive, progress)
    for path in (paths.train, paths.test):
        click.echo(str(path))


command.add_command(data_versions.show)
command.add_command(data_versions.diff)


def _starts_itself(settings: Settings, added: Addition) -> bool:
    is_event = any(one.is_new for one in added.files)  # what is taken away sends none
    return is_event and settings.deployment.retrain_on_data


def _addition(added: Addition, bucket: str, starts_in: int | None) -> dict[str, Any]:
    return {
        "files": [
            {
                "file": str(one.file.path),
                "uri": f"s3://{bucket}/{one.key}",
                "new": one.is_new,
                "rows": one.file.rows,
                "bytes": one.file.bytes,
                "sha256": one.file.sha256,
            }
            for one in added.files
        ],
        "replaced": [f"s3://{bucket}/{key}" for key in added.replaced],
        "retraining_starts_in_seconds": starts_in,
    }


def _tell_addition(added: Addition, bucket: str, starts_in: int | None) -> None:
    for one in added.files:
        rows = many(one.file.rows, "row")
        done = f"added: {rows}," if one.is_new else f"already there, not added again: {rows},"
        click.echo(plain(f"{done} {one.file.path} in s3://{bucket}/{one.key}"))
    if added.replaced:
        click.echo(
            f"the test set before ({len(added.replaced)} of its files) is taken away; versions "
            "keep it. The next comparison is on new rows"
        )
    if not added.is_change:
        click.echo("nothing has changed, so no training follows")
    elif starts_in is None:
        click.echo("next: `claimflow retrain`")
    else:
        click.echo(
            f"next: a retraining starts by itself when nothing more was added for {starts_in} s; "
            "`claimflow retrain` starts it now"
        )


def _tell_what_is_left(left: Sequence[LabelledFile]) -> None:
    of_set = {name: [one for one in left if one.set == name] for name in ("train", "test")}
    click.echo("left: " + "; ".join(f"{name} {sized(of)}" for name, of in of_set.items()))
    for name, option in (("train", ""), ("test", " --test")):
        if not of_set[name]:
            click.echo(f"next: `claimflow data add FILE{option}`, then `claimflow retrain`")
            return
    click.echo("next: `claimflow retrain`; what is removed starts no training by itself")
