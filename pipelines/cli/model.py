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
        versions = Models(place).versions()
        if as_json:
            print_json([one.document() for one in versions])
            return
        for one in versions:
            click.echo(f"{one.version:>4}  {one.created:%Y-%m-%d %H:%M:%S}  {one.approval}")
        if not versions:
            click.echo("no model is registered yet; train one with `claimflow pipeline start`")


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
        click.echo(f"version   {found.version}\napproval  {found.approval} {found.reason}".rstrip())
        click.echo(f"created   {found.created:%Y-%m-%d %H:%M:%S}\nartifact  {found.artifact}")
        for name, value in (found.metadata or {}).items():
            click.echo(f"{name:<9} {value}")
        for group in (found.metrics or {}).values():
            for name, metric in group.items():
                if isinstance(metric, dict) and "value" in metric:
                    click.echo(f"{name:<22} {metric['value']:.4f}")


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
        decided = Models(place).decide(version, approve, why)
        click.echo(f"version {decided.version}: {decided.approval}")
