"""`claimflow destroy`."""

from __future__ import annotations

import sys

import click

from pipelines.cli import FAILED
from pipelines.cli.places import is_local_cloud, place_of, stage_option


@click.command("destroy")
@stage_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--delete-data", is_flag=True, help="Delete the data, too, for ever.")
def command(stage: str | None, yes: bool, delete_data: bool) -> None:
    """Take a deployment out of the account. Refuses while it holds data, and lists what.

    Example: claimflow destroy --stage test --delete-data
    """
    from pipelines.deployment.deploy import Deployer, StackError
    from pipelines.deployment.destroy import Contents, delete_stacks
    from pipelines.deployment.stacks import parameters, plans
    from pipelines.images import addresses

    with place_of(stage) as place:
        settings = place.settings
        contents = Contents(place, list(plans(settings, parameters(settings, addresses(settings)))))
        holdings = contents.holdings()
        for one in holdings:
            click.echo(one.sentence)
        if holdings and not delete_data:
            click.echo(
                f"error: {settings.prefix} holds data; with --delete-data it is deleted, too",
                err=True,
            )
            sys.exit(FAILED)
        if not yes:
            asked = f"Type {settings.prefix} to take it out of account {settings.account}"
            if click.prompt(asked) != settings.prefix:
                click.echo("nothing is changed")
                sys.exit(FAILED)
        if contents.delete_pipeline():
            click.echo(f"pipeline {settings.pipeline_name}: deleted")
        try:
            if is_local_cloud(place):
                from pipelines.local.resources import LocalStacks

                contents.delete(click.echo)
                for stack in reversed(LocalStacks(settings, place.client).planned()):
                    stack.remove()
                    click.echo(f"{stack.stack.name(settings)}: removed")
            else:
                delete_stacks(Deployer(place), contents, place, click.echo)
        except StackError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)
