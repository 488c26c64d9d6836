"""`claimflow images`: the images that the steps and the prediction job run in."""

from __future__ import annotations

import click

from pipelines.cli.places import has_credentials, place_of, stage_option
from pipelines.cli.shared import json_option, print_json


@click.group("images")
def command() -> None:
    """The images of this source tree: tagged by their content, so that nothing is built twice.

    \b
    Example:
      claimflow images build
      claimflow images push --stage prod
    """


@command.command("build")
def build_() -> None:
    """Build what is not there yet, with docker or podman; needs no account.

    Example: claimflow images build
    """
    from pipelines.deployment.image_builds import build, find_engine
    from pipelines.settings import Settings

    build(find_engine(), Settings.load(), click.echo)


@command.command("push")
@stage_option
def push_(stage: str | None) -> None:
    """Push to ECR what it does not have; builds it first where needed. Prints the digests.

    Example: claimflow images push --stage prod
    """
    from pipelines.deployment.image_builds import find_engine, push

    engine = find_engine()
    with place_of(stage) as place:
        for target, digest in push(engine, place, click.echo).items():
            click.echo(f"{place.settings.image_repository(target)}@{digest}")


@command.command("list")
@stage_option
@json_option
def list_(stage: str | None, as_json: bool) -> None:
    """Show which images this source tree needs, and where they are.

    Example: claimflow images list --json
    """
    from dataclasses import asdict

    from pipelines.deployment.image_builds import find_engine, status
    from pipelines.errors import UserError

    try:
        engine = find_engine()
    except UserError:
        engine = None
    with place_of(stage) as place:
        is_known = has_credentials()
        settings = place.settings if is_known else place.given
        found = status(engine, settings, place.client("ecr") if is_known else None)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    built = {True: "built", False: "not built", None: "no engine"}
    for one in found:
        pushed = one.digest or ("not in the registry" if is_known else "no account to ask")
        click.echo(f"{one.target:<12} {one.tag}  {built[one.is_built]:<10} {pushed}")
