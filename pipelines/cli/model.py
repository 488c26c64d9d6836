"""`claimflow model`: the registry."""

from __future__ import annotations

import json
from pathlib import Path

import click

from pipelines.cli.shared import aws, json_option, print_json
from pipelines.plain_text import plain
from pipelines.terminal import progress

LIFT = "`claimflow model rollback --clear` lifts it"

_version = click.argument("version", type=int)
_why = click.option("--why", default="", help="The reason; it is needed, and kept for the others.")


@click.group("model")
def command() -> None:
    """The registered models: look at them, approve or reject them, go back to an older one.

    \b
    Example:
      claimflow model list
      claimflow model approve 3 --why "better on water damage"
      claimflow model rollback --why "3 confuses fire and smoke"
    """


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the versions, newest first.

    Example: claimflow model list
    """
    from pipelines.registry.models import Models

    with aws() as place:
        models = Models(place)
        versions = models.versions()
        predicting, ceiling = models.predicting(versions), models.serving.ceiling()
        if as_json:
            print_json(
                [
                    {
                        **one.document(),
                        "predicts": one == predicting,
                        "held_back": bool(
                            ceiling and ceiling.holds_back(one.version, one.approval)
                        ),
                    }
                    for one in versions
                ]
            )
            return
        if not versions:
            click.echo("no model is registered yet; train one with `claimflow pipeline start`")
            return
        click.echo("version  registered           approval")
        for one in versions:
            mark = "  ◄ predicts" if one == predicting else ""
            if ceiling and ceiling.holds_back(one.version, one.approval):
                mark = "  (held back by the rollback)"
            created = f"{one.created:%Y-%m-%d %H:%M:%S}"
            click.echo(f"{one.version:>7}  {created}  {one.approval}{mark}")
        if ceiling:
            click.echo(f"{ceiling.sentence}; {LIFT}")


@command.command()
@_version
@json_option
def show(version: int, as_json: bool) -> None:
    """Show a version: where it comes from and how good it is.

    Example: claimflow model show 3
    """
    from pipelines.registry.models import Models

    with aws() as place:
        found = Models(place).show(version)
        if as_json:
            print_json(found.document())
            return
        lines = {
            "version": str(found.version),
            "approval": found.verdict,
            "created": f"{found.created:%Y-%m-%d %H:%M:%S}",
            "artifact": found.artifact,
            **(found.metadata or {}),
            **{name: f"{value:.4f}" for name, value in found.figures().items()},
        }
        for name, value in lines.items():
            click.echo(f"{name:<22} {value}")


@command.command()
@_version
@_why
def approve(version: int, why: str) -> None:
    """Let a version predict, from the next upload on. Its model card is kept with it.

    Example: claimflow model approve 3 --why "better on water damage"
    """
    _decide(version, True, why)


@command.command()
@_version
@_why
def reject(version: int, why: str) -> None:
    """Take a version out.

    Example: claimflow model reject 3 --why "confuses fire and smoke"
    """
    _decide(version, False, why)


def _decide(version: int, approve: bool, why: str) -> None:
    from pipelines.registry.models import Models

    with aws() as place:
        models = Models(place)
        decided = models.decide(version, approve, why, lambda text: click.echo(text, err=True))
        click.echo(f"version {decided.version}: {decided.approval}")
        versions = models.versions()
        predicting, ceiling = models.predicting(versions), models.serving.ceiling()
        is_held_back = approve and ceiling is not None and version > ceiling.version
        if ceiling and is_held_back:
            click.echo(f"version {version} does not predict: {ceiling.sentence}; {LIFT}")
        if predicting is None:
            click.echo("no approved version may predict now: new uploads wait until one does")
        elif predicting.version != version:
            told = f"version {predicting.version} predicts: it is the newest that is approved"
            if not ceiling:
                told += f" (`claimflow model reject {predicting.version}` takes it out)"
            elif is_held_back:
                told += ", up to the ceiling"
            else:
                told += f", up to the ceiling of the rollback ({LIFT})"
            click.echo(told)


@command.command()
@click.argument("version", type=int, required=False)
@click.option("--why", default="", help="The reason; it is kept. Needed but for --clear.")
@click.option("--clear", is_flag=True, help="Let the newest approved version predict again.")
def rollback(version: int | None, why: str, clear: bool) -> None:
    """Let an older approved VERSION predict, from the next upload on.

    Without VERSION it is the approved one before the one that predicts now. Newer versions are
    held back until --clear, also those that are approved later.

    \b
    Example:
      claimflow model rollback --why "3 confuses fire and smoke"
      claimflow model rollback --clear
    """
    from pipelines.errors import UserError
    from pipelines.registry.models import Models

    if clear and version is not None:
        raise UserError("--clear takes no version: it lets the newest approved one predict again")
    with aws() as place:
        models = Models(place)
        if clear:
            lifted = models.lift(why)
            click.echo("lifted" if lifted else "nothing to lift: no rollback is in force")
        else:
            click.echo(f"{models.roll_back(version, why).sentence}; {LIFT}")
        predicting = models.predicting(models.versions())
        click.echo(
            f"version {predicting.version} predicts from the next upload on"
            if predicting
            else "no version is approved: new uploads wait until one is"
        )


@command.command()
@json_option
def history(as_json: bool) -> None:
    """Show all that was decided, newest first: approvals, rejections, rollbacks; who, when and why.

    What was changed elsewhere, such as in a console, is told as far as it still shows.

    Example: claimflow model history
    """
    from dataclasses import asdict

    from pipelines.registry.models import Models

    with aws() as place:
        decisions = Models(place).history()
        if as_json:
            print_json([{**asdict(one), "sentence": one.sentence} for one in decisions])
            return
        for one in decisions:
            click.echo(plain(one.line) + ("" if one.is_recorded else "  (not recorded)"))
        if not decisions:
            click.echo("nothing yet; train a model with `claimflow pipeline start`")


@command.command()
@_version
@click.option("--output", type=click.Path(path_type=Path), help="Folder; default models/VERSION.")
def card(version: int, output: Path | None) -> None:
    """Write a version's model card: a page for people, and JSON in SageMaker's schema.

    It tells what the version is for and what it cannot, the data, the metrics beside the champion's
    and how it was made.

    Example: claimflow model card 3 --output models/3
    """
    from pipelines.registry.card import content
    from pipelines.registry.card_page import page
    from pipelines.registry.models import Models

    folder = output or Path("models") / str(version)
    with aws() as place:
        found = Models(place).lineage(version)
        texts = {
            "model_card.json": json.dumps(content(found), indent=1, ensure_ascii=False),
            "model_card.html": page(found, place.settings.model_package_group),
        }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
        click.echo(str(folder / name))
    for sentence in found.missing:
        click.echo(f"not known: {sentence}", err=True)


@command.command()
@_version
@click.option("--output", type=click.Path(path_type=Path), help="Folder; default models/VERSION.")
def fetch(version: int, output: Path | None) -> None:
    """Download a version's model.tar.gz, as `claimflow predict --model` takes it.

    Example: claimflow model fetch 3 --output models/3
    """
    from pipelines.registry.models import Models

    with aws() as place:
        folder = output or Path("models") / str(version)
        click.echo(str(Models(place).fetch(version, folder, progress)))
