"""`claimflow model`: the registry."""

from __future__ import annotations

import click

from pipelines.cli.shared import aws, json_option, print_json

_version = click.argument("version", type=int)


@click.group("model")
def command() -> None:
    """The registered models: look at them, approve or reject them.

    \b
    Example:
      claimflow model list
      claimflow model approve 3 --why "better on water damage"
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions, newest first.

    Example: claimflow model list
    """
    from pipelines.models import Models

    with aws() as place:
        models = Models(place)
        versions = models.versions()
        predicting = models.predicting(versions)
        if as_json:
            print_json([one.document() for one in versions])
            return
        if not versions:
            click.echo("no model is registered yet; train one with `claimflow pipeline start`")
            return
        click.echo("version  registered           approval")
        for one in versions:
            mark = "  ◄ predicts" if predicting and one.version == predicting.version else ""
            created = f"{one.created:%Y-%m-%d %H:%M:%S}"
            click.echo(f"{one.version:>7}  {created}  {one.approval}{mark}")


@command.command()
@_version
@json_option
def show(version: int, as_json: bool) -> None:
    """Show a version: where it comes from and how good it is.

    Example: claimflow model show 3
    """
    from pipelines.models import Models

    with aws() as place:
        found = Models(place).show(version)
        if as_json:
            print_json(found.document())
            return
        lines = {
            "version": str(found.version),
            "approval": f"{found.approval} {found.reason}".strip(),
            "created": f"{found.created:%Y-%m-%d %H:%M:%S}",
            "artifact": found.artifact,
            **(found.metadata or {}),
            **{name: f"{value:.4f}" for name, value in found.figures().items()},
        }
        for name, value in lines.items():
            click.echo(f"{name:<22} {value}")


@command.command()
@_version
@click.option("--why", default="", help="The reason; it is kept with the version.")
def approve(version: int, why: str) -> None:
    """Let a version predict, from the next upload on.

    Example: claimflow model approve 3 --why "better on water damage"
    """
    _decide(version, True, why)


@command.command()
@_version
@click.option("--why", default="", help="The reason; it is kept with the version.")
def reject(version: int, why: str) -> None:
    """Take a version out.

    Example: claimflow model reject 3 --why "confuses fire and smoke"
    """
    _decide(version, False, why)


def _decide(version: int, approve: bool, why: str) -> None:
    from pipelines.models import Models

    with aws() as place:
        models = Models(place)
        decided = models.decide(version, approve, why)
        click.echo(f"version {decided.version}: {decided.approval}")
        predicting = models.predicting(models.versions())
        if predicting is None:
            click.echo("no version is approved now: new uploads wait until one is")
        elif predicting.version != version:
            click.echo(
                f"version {predicting.version} predicts: it is the newest that is approved "
                f"(`claimflow model reject {predicting.version}` takes it out)"
            )
