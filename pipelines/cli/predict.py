"""`claimflow predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from pipelines.cli import FAILED, WAITING
from pipelines.cli.shared import aws, json_option, print_json
from pipelines.counts import many
from pipelines.plain_text import plain
from pipelines.terminal import progress, spinner

SHOWN = 3  # kinds of reason for a rejected row


@click.command("predict")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds to wait.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Folder with a model.tar.gz: predict here, without any cloud.",
)
@json_option
def command(
    file: Path, output: Path | None, timeout: float, model: Path | None, as_json: bool
) -> None:
    """Predict a file of claims: upload it, wait, and fetch what came out.

    The file is CSV (gzip or not), JSON Lines or Parquet with a text column. Exit code 4: it is kept
    and waits for a model to be approved. With --model nothing is uploaded and nothing needed but
    the folder, as `claimflow model fetch` makes it.

    \b
    Example:
      claimflow predict new_claims.csv --output results
      claimflow predict new_claims.csv --model models/3
    """
    folder = output or Path("results") / file.name
    if model is not None:
        from pipelines.local.predict_here import predict_here
        from pipelines.settings import Settings

        manifest, paths = predict_here(Settings.load(), file, model, folder)
    else:
        manifest, paths = _predicted(file, folder, timeout)
    _tell(file, folder, manifest, paths, as_json)


def _predicted(file: Path, folder: Path, timeout: float) -> tuple[dict[str, Any], list[Path]]:
    """The manifest and the files of a prediction in the cloud."""
    from pipelines.predictions import NoApprovedModel, Predictions

    with aws() as place:
        predictions = Predictions(place)
        folder.mkdir(parents=True, exist_ok=True)  # before anything is uploaded
        upload = predictions.upload(file, progress)
        click.echo(f"uploaded to s3://{upload.bucket}/{upload.key}", err=True)
        try:
            with spinner(f"waiting for {plain(file.name)}") as shown:
                done = predictions.wait(upload, timeout, lambda text: shown.say(plain(text)))
        except NoApprovedModel:
            click.echo(
                f"No approved model may predict yet. {file.name} is kept at "
                f"s3://{upload.bucket}/{upload.key} and is predicted as soon as one may: "
                "`claimflow model list`, then "
                "`claimflow model approve VERSION`",
                err=True,
            )
            sys.exit(WAITING)
        return done.manifest, predictions.fetch(done, folder, progress)


def _tell(
    file: Path, folder: Path, manifest: dict[str, Any], paths: list[Path], as_json: bool
) -> None:
    from pipelines.predictions import reject_reasons

    if as_json:
        print_json({"manifest": manifest, "files": [str(path) for path in paths]})
    elif manifest["outcome"] == "succeeded":
        click.echo(
            f"{many(manifest['rows_in'], 'row')}: {manifest['predicted']:,} predicted "
            f"({manifest['for_review']:,} for a person to look at), "
            f"{manifest['rejected']:,} rejected"
        )
        for path in paths:
            click.echo(str(path))
        reasons = reject_reasons(folder)
        for reason, count in reasons.most_common(SHOWN):
            click.echo(f"rejected: {many(count, 'row')}: {plain(reason)}", err=True)
        if len(reasons) > SHOWN:
            more = many(len(reasons) - SHOWN, "more reason")
            click.echo(f"rejected: for {more}, see {folder / 'rejects.csv'}", err=True)
    if manifest["outcome"] != "succeeded":
        reason = str(manifest.get("reason") or "it could not be read")
        click.echo(f"error: {file}: {plain(reason.removeprefix(f'{file.name}: '))}", err=True)
        sys.exit(FAILED)
    if not manifest["predicted"]:
        click.echo(f"error: {file}: it has no row that could be predicted", err=True)
        sys.exit(FAILED)
