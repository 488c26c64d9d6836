"""`claimflow images`: the images that the steps and the prediction job run in."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from pipelines.cli.places import has_credentials, place_of, stage_option
from pipelines.cli.shared import json_option, print_json

engine_option = click.option(
    "--engine",
    type=click.Choice(["docker", "podman"]),
    help="The program to use; without it the first of the two that answers.",
)


@click.group("images")
def command() -> None:
    """The images of this source tree: tagged by their content, so that nothing is built twice.

    \b
    Example:
      claimflow images build
      claimflow images push --stage prod
    """


@command.command("build")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@engine_option
def build_(targets: tuple[str, ...], engine: str | None) -> None:
    """Build what is not there yet, with docker or podman; needs no account.

    Without a target all that the settings ask for; the image for GPUs where the instance type of
    the training has one.

    \b
    Example:
      claimflow images build
      claimflow images build gluon-gpu --engine podman
    """
    from pipelines.deployment.image_builds import build
    from pipelines.deployment.image_engine import find_engine
    from pipelines.settings import Settings

    with _progress() as tell:
        build(find_engine(engine), Settings.load(), tell, targets)


@command.command("push")
@stage_option
@engine_option
def push_(stage: str | None, engine: str | None) -> None:
    """Push to ECR what it does not have; builds it first where needed. Prints the digests.

    Example: claimflow images push --stage prod
    """
    from pipelines.deployment.image_builds import push
    from pipelines.deployment.image_engine import find_engine

    found = find_engine(engine)
    with place_of(stage) as place:
        with _progress() as tell:
            pushed = push(found, place, tell)
        for target, digest in pushed.items():
            click.echo(f"{place.settings.image_repository(target)}@{digest}")


@command.command("inspect")
@click.argument("target")
@click.option("--sbom", type=click.Path(path_type=Path), help="Write its bill of materials there.")
@engine_option
@json_option
def inspect_(target: str, sbom: Path | None, engine: str | None, as_json: bool) -> None:
    """Show what an image holds: its labels, its layers, what weighs, its bill of materials.

    \b
    Example:
      claimflow images inspect gluon-cpu
      claimflow images inspect validate --sbom validate.cdx.json
    """
    from dataclasses import asdict

    from pipelines.deployment.image_contents import contents, save_bill
    from pipelines.deployment.image_engine import find_engine
    from pipelines.settings import Settings

    found, settings = find_engine(engine), Settings.load()
    shown = contents(found, settings, target)
    if sbom:
        save_bill(found, settings, target, sbom)
    if as_json:
        print_json(asdict(shown))
        return
    click.echo(f"{shown.name}  {shown.size / 1e6:.0f} MB")
    click.echo(f"id      {shown.image_id}")
    click.echo(f"digest  {shown.digest or 'not in a registry'}")
    for key, value in sorted(shown.labels.items()):
        click.echo(f"label   {key}={value}")
    for size, made_by in shown.layers:
        click.echo(f"layer   {size / 1e6:6.1f} MB  {made_by[:80]}")
    for name, size in list(shown.packages.items())[:12]:
        click.echo(f"weighs  {size / 1e6:6.1f} MB  {name}")
    counted = ", ".join(f"{count} {kind}" for kind, count in shown.components.items())
    click.echo(f"bill    {counted}" + (f", written to {sbom}" if sbom else ""))


@command.command("list")
@stage_option
@json_option
def list_(stage: str | None, as_json: bool) -> None:
    """Show which images this source tree needs, and where they are.

    Example: claimflow images list --json
    """
    from dataclasses import asdict

    from pipelines.deployment.image_builds import status
    from pipelines.deployment.image_engine import find_engine
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


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Tells what is done: one line that changes on a terminal, a line for each step elsewhere."""
    if not sys.stderr.isatty():
        yield lambda line: click.echo(line, err=True)
        return
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as shown:
        yield lambda line: shown.update(escape(line))
