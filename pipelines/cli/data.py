"""`claimflow data`: data to try it with."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("data")
def command() -> None:
    """Data to try it with.

    \b
    Example:
      claimflow data sample data
      claimflow data imdb imdb --archive aclImdb_v1.tar.gz
    """


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--seed", default=7, show_default=True)
def sample(folder: Path, seed: int) -> None:
    """Write synthetic warranty claims: train.csv, test.csv and new_claims.csv.

    Example: claimflow data sample data
    """
    from pipelines.sample import write_sample

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
    from pipelines.cli.shared import download_progress
    from pipelines.imdb import fetch_imdb

    with download_progress("aclImdb_v1.tar.gz") as progress:
        paths = fetch_imdb(folder, archive, progress)
    for path in (paths.train, paths.test):
        click.echo(str(path))
