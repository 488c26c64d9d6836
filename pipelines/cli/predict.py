"""`claimflow predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipelines.cli import FAILED, WAITING
from pipelines.cli.shared import aws, json_option, print_json


@click.command("predict")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results.")
@click.option("--timeout", default=600.0, show_default=True, help="Seconds to wait.")
@json_option
def command(file: Path, output: Path | None, timeout: float, as_json: bool) -> None:
    """Upload a file of claims, wait for its prediction and fetch it.

    The file is CSV (gzip or not) or JSON Lines with a text column. Exit code 4: it is kept and
    waits for a model to be approved.

    Example: claimflow predict new_claims.csv --output results
    """
    from pipelines.predictions import NoApprovedModel, Predictions, reject_reasons

    with aws() as place:
        predictions = Predictions(place)
        folder = output or Path("results") / file.name
        folder.mkdir(parents=True, exist_ok=True)  # before anything is uploaded
        upload = predictions.upload(file)
        click.echo(f"uploaded to s3://{upload.bucket}/{upload.key}", err=True)
        try:
            done = predictions.wait(upload, timeout, lambda text: click.echo(text, err=True))
        except NoApprovedModel:
            click.echo(
                f"No model is approved yet. {file.name} is kept at "
                f"s3://{upload.bucket}/{upload.key} and is predicted as soon as one is: "
                "`claimflow model list`, then "
                "`claimflow model approve VERSION`",
                err=True,
            )
            sys.exit(WAITING)
        paths = predictions.fetch(done, folder)
        manifest = done.manifest
        if as_json:
            print_json({"manifest": manifest, "files": [str(path) for path in paths]})
        elif manifest["outcome"] == "succeeded":
            click.echo(
                f"{manifest['rows_in']} rows: {manifest['predicted']} predicted "
                f"({manifest['for_review']} for a person to look at), "
                f"{manifest['rejected']} rejected"
            )
            for path in paths:
                click.echo(str(path))
            for reason, count in reject_reasons(folder).most_common(3):
                click.echo(f"rejected: {count} rows: {reason}", err=True)
        if manifest["outcome"] != "succeeded":
            click.echo(f"error: {file}: {manifest.get('reason', 'it could not be read')}", err=True)
            sys.exit(FAILED)
        if not manifest["predicted"]:
            click.echo(f"error: {file}: it has no row that could be predicted", err=True)
            sys.exit(FAILED)
