"""`claimflow data show` and `diff`: the labelled claims that there are, and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pipelines.cli.shared import aws, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain

if TYPE_CHECKING:
    from pipelines.data.datasets import Datasets
    from pipelines.data.versions import LabelledFile, Manifest, PinnedFile, SetDiff


@click.command()
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


@click.command("diff")
@click.argument("old", required=False)
@click.argument("new", required=False)
@json_option
def diff(old: str | None, new: str | None, as_json: bool) -> None:
    """Show what files and rows a version has that an older one has not.

    Without NEW the newest one is compared, without OLD with the one before it.

    \b
    Example:
      claimflow data diff
      claimflow data diff 3f9a 81c2
    """
    from pipelines.data.datasets import Datasets
    from pipelines.data.versions import diff as difference

    with aws() as place:
        datasets = Datasets(place)
        before, after = _two(datasets, old, new)
        found = difference(before, after)
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


def sized(files: Sequence[LabelledFile]) -> str:
    """How many files there are, and how large."""
    return f"{many(len(files), 'file')}, {many(sum(one.bytes for one in files), 'byte')}"


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
        click.echo(f"{name}: {sized(of_set)}")
        for one in of_set:
            mark = "  (in no version yet)" if newest and not newest.holds(one) else ""
            size = many(one.bytes, "byte")
            click.echo(f"  {_time(one.added_at)}  {size:>18}  {plain(one.key)}{mark}")
    if newest is None:
        click.echo("no version yet: `claimflow retrain` makes the first")
        return
    click.echo(
        f"newest of {many(len(versions), 'version')}: {newest.version}, "
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
        f"{name}: {many(len(found.added), 'file')} and {many(row_count(found.added), 'row')} "
        f"more, {many(len(found.removed), 'file')} and "
        f"{many(row_count(found.removed), 'row')} fewer"
    )
    for sign, files in (("+", found.added), ("-", found.removed)):
        for one in files:
            click.echo(f"  {sign} {_rows(one):>14}  {plain(one.key)}")
    if found.is_reordered:
        click.echo("  the others are in another order: of a claim, another label may win")


def _counted(files: Sequence[PinnedFile]) -> str:
    from pipelines.data.versions import row_count

    return f"{many(len(files), 'file')}, {many(row_count(files), 'row')}"


def _rows(file: PinnedFile) -> str:
    return "no CSV" if file.rows is None else many(file.rows, "row")


def _time(time: datetime | str) -> str:
    parsed = datetime.fromisoformat(time) if isinstance(time, str) else time
    return f"{parsed:%Y-%m-%d %H:%M:%S}"
