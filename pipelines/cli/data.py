"""`claimflow data`: labelled claims to train and to test with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.shared import aws, json_option, print_json
from pipelines.plain_text import plain
from pipelines.terminal import progress

if TYPE_CHECKING:
    from pipelines.data.datasets import Addition, Datasets
    from pipelines.data.versions import LabelledFile, Manifest, PinnedFile, SetDiff
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
        click.echo(plain(f"removed: s3://{bucket}/{one.key}, {_many(one.bytes, 'byte')}"))
    click.echo(
        f"kept as an old version in the bucket for {_many(days, 'day')}; "
        "data versions keep their copies"
    )
    if any(one.set == "test" for one in removed):
        click.echo("the test set is another one now: the next comparison is on new rows")
    _tell_what_is_left(left)


@command.command()
@click.argument("version", required=False)
@json_option
def show(version: str | None, as_json: bool) -> None:
    """Show what labelled claims there are, or a version: what one training has read.

    A version may be named by the beginning of its id.

    \b
    Example:
      claimflow data show
      claimflow data show 3f9a
    """
    from pipelines.data.datasets import Datasets

    with aws() as place:
        datasets = Datasets(place)
        if version is None:
            _show_all(datasets, as_json)
            return
        manifest = datasets.version(version)
        if as_json:
            print_json(manifest.document())
            return
        click.echo(f"version {manifest.version}, made {_time(manifest.made_at)}")
        click.echo(datasets.manifest_address(manifest.version))
        for name, pinned in (("train", manifest.train), ("test", manifest.test)):
            click.echo(f"{name}: {_counted(pinned)}")
            for one in pinned:
                click.echo(f"  {_time(one.added_at)}  {_rows(one):>14}  {plain(one.key)}")


@command.command("diff")
@click.argument("old", required=False)
@click.argument("new", required=False)
@json_option
def diff_(old: str | None, new: str | None, as_json: bool) -> None:
    """Show what files and rows a version has that an older one has not.

    Without NEW the newest one is compared, without OLD with the one before it.

    \b
    Example:
      claimflow data diff
      claimflow data diff 3f9a 81c2
    """
    from pipelines.data.datasets import Datasets
    from pipelines.data.versions import diff

    with aws() as place:
        datasets = Datasets(place)
        before, after = _two(datasets, old, new)
        found = diff(before, after)
    if as_json:
        print_json(
            {
                "old": before.version,
                "new": after.version,
                **{name: one.document() for name, one in found.items()},
            }
        )
        return
    click.echo(f"{before.version}, made {_time(before.made_at)}")
    click.echo(f"{after.version}, made {_time(after.made_at)}")
    _tell_diff("train", found["train"])
    _tell_diff("test", found["test"])
    if found["test"].is_changed:
        click.echo("models from before and after are measured on different rows")


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
        rows = _many(one.file.rows, "row")
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
    click.echo("left: " + "; ".join(f"{name} {_sized(of)}" for name, of in of_set.items()))
    for name, option in (("train", ""), ("test", " --test")):
        if not of_set[name]:
            click.echo(f"next: `claimflow data add FILE{option}`, then `claimflow retrain`")
            return
    click.echo("next: `claimflow retrain`; what is removed starts no training by itself")


def _show_all(datasets: Datasets, as_json: bool) -> None:
    from dataclasses import asdict

    files, versions = datasets.labelled(), datasets.versions()
    newest = versions[0] if versions else None
    if as_json:
        print_json(
            {
                "labelled": [
                    {**asdict(one), "pinned": bool(newest and newest.holds(one))} for one in files
                ],
                "newest": newest.document() if newest else None,
                "versions": [one.version for one in versions],
            }
        )
        return
    for name in ("train", "test"):
        of_set = [one for one in files if one.set == name]
        click.echo(f"{name}: {_sized(of_set)}")
        for one in of_set:
            mark = "  (in no version yet)" if newest and not newest.holds(one) else ""
            size = _many(one.bytes, "byte")
            click.echo(f"  {_time(one.added_at)}  {size:>18}  {plain(one.key)}{mark}")
    if newest is None:
        click.echo("no version yet: `claimflow retrain` makes the first")
        return
    click.echo(
        f"newest of {_many(len(versions), 'version')}: {newest.version}, "
        f"made {_time(newest.made_at)}: "
        f"train {_counted(newest.train)}; test {_counted(newest.test)}"
    )


def _two(datasets: Datasets, old: str | None, new: str | None) -> tuple[Manifest, Manifest]:
    """The versions to compare."""
    from pipelines.errors import UserError

    if old and new:
        return datasets.version(old), datasets.version(new)
    versions = datasets.versions()
    if old and versions:
        return datasets.version(old), versions[0]
    if len(versions) < 2:
        made = "no data version" if not versions else "only one data version"
        raise UserError(f"There is {made} yet: nothing to compare; `claimflow retrain` makes one")
    return versions[1], versions[0]


def _tell_diff(name: str, found: SetDiff) -> None:
    from pipelines.data.versions import row_count

    if not found.is_changed:
        click.echo(f"{name}: the same")
        return
    click.echo(
        f"{name}: {_many(len(found.added), 'file')} and {_many(row_count(found.added), 'row')} "
        f"more, {_many(len(found.removed), 'file')} and "
        f"{_many(row_count(found.removed), 'row')} fewer"
    )
    for sign, files in (("+", found.added), ("-", found.removed)):
        for one in files:
            click.echo(f"  {sign} {_rows(one):>14}  {plain(one.key)}")
    if found.is_reordered:
        click.echo("  the others are in another order: of a claim, another label may win")


def _counted(files: Sequence[PinnedFile]) -> str:
    from pipelines.data.versions import row_count

    return f"{_many(len(files), 'file')}, {_many(row_count(files), 'row')}"


def _sized(files: Sequence[LabelledFile]) -> str:
    return f"{_many(len(files), 'file')}, {_many(sum(one.bytes for one in files), 'byte')}"


def _rows(file: PinnedFile) -> str:
    return "no CSV" if file.rows is None else _many(file.rows, "row")


def _many(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _time(time: datetime | str) -> str:
    parsed = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{parsed:%Y-%m-%d %H:%M:%S}"
