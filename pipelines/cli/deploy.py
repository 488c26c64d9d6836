"""`claimflow deploy`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from pipelines.cli import FAILED
from pipelines.cli.places import has_credentials, is_local_cloud, place_of, stage_option

if TYPE_CHECKING:
    from pipelines.aws import Aws
    from pipelines.deployment.adoption import Leftover
    from pipelines.deployment.deploy import Change, ChangeSet, Deployer
    from pipelines.deployment.stacks import Plan, Stack
    from pipelines.settings import Settings

_MARKS = {
    "Add": ("+", "green"),
    "Import": ("<", "green"),
    "Modify": ("~", "yellow"),
    "Remove": ("-", "red"),
}


@click.command("deploy")
@stage_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask, unless data would be lost.")
@click.option("--adopt", is_flag=True, help="Take over what an earlier deployment left.")
@click.option("--stack", "room", metavar="NAME", help="Only pipelines, batch, lambdas or ci.")
def command(stage: str | None, dry_run: bool, yes: bool, adopt: bool, room: str | None) -> None:
    """Bring the account in step with the templates: shows what will change, asks, and does it.

    With --dry-run and without an account it shows what a fresh account would get. Against the local
    cloud it makes the same resources there. What holds data outlives its stack: where it is there
    and the stack is not, --adopt imports it into the new one, with all that it holds.

    Example: claimflow deploy --stage prod --dry-run
    """
    from pipelines.deployment.deploy import StackError
    from pipelines.deployment.stacks import STACKS, find_stack
    from pipelines.settings import Settings

    stacks = (find_stack(room),) if room else STACKS
    with place_of(stage) as place:
        try:
            if is_local_cloud(place):
                _deploy_locally(place, stacks, dry_run, yes)
            elif dry_run and not has_credentials():
                _show_fresh(Settings.load(stage=stage), stacks)
            else:
                _deploy(place, stacks, dry_run, yes, adopt)
        except StackError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(FAILED)


def _deploy(place: Aws, chosen: Sequence[Stack], dry_run: bool, yes: bool, adopt: bool) -> None:
    from pipelines.deployment.adoption import Leftovers
    from pipelines.deployment.deploy import Deployer
    from pipelines.deployment.stacks import STACKS, Plan, parameters
    from pipelines.images import addresses

    settings, deployer = place.settings, Deployer(place)
    images = addresses(settings, place.client("ecr"))
    values = parameters(settings, images)
    for stack in STACKS:
        if stack not in chosen:
            values |= deployer.outputs(stack)
            continue
        plan = Plan(settings, stack, values)
        is_there = deployer.is_there(stack)
        if not is_there and not plan.resources:
            click.echo(f"{stack.name(settings)}: nothing is wanted of it")
        elif not is_there and dry_run:
            _show_plan(plan, settings)
            _show_leftovers(settings, stack, Leftovers(place).of(plan))
            values |= plan.outputs
        else:
            if not _clear(deployer, stack, dry_run, yes):
                return
            if not deployer.is_there(stack):
                _adopt(deployer, stack, Leftovers(place).of(plan), adopt, yes)
            _deploy_stack(deployer, stack, values, dry_run, yes)
            values |= deployer.outputs(stack)
    missing = [target for target, address in images.items() if "@" not in address]
    if missing:
        click.echo(
            f"The images {' and '.join(missing)} of this code are not in the registry: "
            "`claimflow images push`, then deploy again"
        )


def _clear(deployer: Deployer, stack: Stack, dry_run: bool, yes: bool) -> bool:
    """Deletes what is left of a stack that was never made; False where that is only to be shown."""
    from pipelines.deployment.deploy import NEVER_MADE

    name, state = stack.name(deployer.settings), deployer.state(stack)
    if state not in NEVER_MADE:
        return True
    click.echo(f"{name}: left over from a creation that failed ({state}); it must go first")
    if dry_run:
        return False
    _ask(f"Delete what is left of {name}?", yes)
    deployer.delete(stack)
    return True


def _adopt(
    deployer: Deployer, stack: Stack, leftovers: list[Leftover], adopt: bool, yes: bool
) -> None:
    """Imports what is there although its stack is not; refuses unless that is wanted."""
    from pipelines.errors import UserError

    if not leftovers:
        return
    if not adopt:
        raise UserError(_left_over(deployer.settings, stack, leftovers))
    change_set = deployer.prepare_import(stack, leftovers)
    show_changes(change_set.stack, change_set.changes)
    _confirm(deployer, change_set, yes)
    deployer.execute(stack, change_set, lambda line: click.echo(f"  {line}"))


def _show_leftovers(settings: Settings, stack: Stack, leftovers: list[Leftover]) -> None:
    if leftovers:
        click.echo(_left_over(settings, stack, leftovers))


def _left_over(settings: Settings, stack: Stack, leftovers: list[Leftover]) -> str:
    """What is in the way, and the ways out of it."""
    names = ", ".join(one.name for one in leftovers)
    are_shared = any(one.resource.type == "AWS::ECR::Repository" for one in leftovers)
    of_another = "; repositories of another stage: create_repositories = false"
    return (
        f"{stack.name(settings)}: {names} are there, but the stack is not: `claimflow deploy "
        "--adopt` takes them over with all that they hold, `claimflow destroy --delete-data` "
        f"deletes them{of_another if are_shared else ''}"
    )


def _deploy_stack(
    deployer: Deployer, stack: Stack, values: dict[str, str], dry_run: bool, yes: bool
) -> None:
    name = stack.name(deployer.settings)
    if "CodeKey" in stack.document["Parameters"] and not dry_run:
        is_new = deployer.upload_code(stack.arguments(values)["CodeBucket"])
        click.echo(f"{name}: the functions' code {'is uploaded' if is_new else 'is there'}")
    change_set = deployer.prepare(stack, values)
    if change_set is None:
        click.echo(f"{name}: no change")
        return
    show_changes(name, change_set.changes)
    if dry_run:
        deployer.discard(change_set)
        return
    _confirm(deployer, change_set, yes)
    deployer.execute(stack, change_set, lambda line: click.echo(f"  {line}"))
    click.echo(f"{name}: done")
    for key, value in deployer.outputs(stack).items():
        click.echo(f"  {key:<24} {value}")


def _confirm(deployer: Deployer, change_set: ChangeSet, yes: bool) -> None:
    lost = [change.id for change in change_set.changes if change.loses_data]
    settings = deployer.settings
    place = f"account {settings.account}, {settings.region}"
    if lost:
        question = f"DATA MAY BE LOST ({', '.join(lost)}). Change {change_set.stack} in {place}?"
    else:
        question = f"Change {change_set.stack} in {place}?"
    if not yes or lost:
        _or_discard(deployer, change_set, lambda: _ask(question, yes=False))


def _or_discard(deployer: Deployer, change_set: ChangeSet, ask: Callable[[], None]) -> None:
    try:
        ask()
    except BaseException:
        deployer.discard(change_set)
        raise


def _deploy_locally(place: Aws, chosen: Sequence[Stack], dry_run: bool, yes: bool) -> None:
    from pipelines.local.resources import LocalStacks

    settings = place.settings
    for stack in LocalStacks(settings, place.client).planned():
        if stack.stack not in chosen:
            continue
        name, changes = stack.stack.name(settings), stack.changes
        if not changes:
            click.echo(f"{name}: no change")
            continue
        show_changes(name, changes)
        if not dry_run:
            _ask(f"Change {name} in the local cloud?", yes)
            stack.apply()
            click.echo(f"{name}: done")


def _show_fresh(settings: Settings, chosen: Sequence[Stack]) -> None:
    from pipelines.deployment.stacks import parameters, plans
    from pipelines.images import addresses

    stands_for = f" ({settings.known_account} stands for its number)"
    click.echo(
        "No account is at hand: this is what a fresh one would get"
        f"{'' if settings.account else stands_for}."
    )
    values = parameters(settings, addresses(settings))
    for plan in plans(settings, values):
        if plan.stack in chosen:
            _show_plan(plan, settings)


def _show_plan(plan: Plan, settings: Settings) -> None:
    from pipelines.deployment.deploy import Change

    name = plan.stack.name(settings)
    if not plan.resources:
        click.echo(f"{name}: nothing is wanted of it")
        return
    show_changes(
        name,
        [Change("Add", one.id, one.type, one.label) for one in plan.resources],
    )


def show_changes(stack: str, changes: Sequence[Change]) -> None:
    """A line for each resource; what is replaced or removed cannot be overlooked."""
    click.echo(f"{stack}: {_counted(changes)}")
    for change in changes:
        mark, colour = _MARKS.get(change.action, ("?", "yellow"))
        line = f"  {mark} {change.type:<40} {change.id:<28} {change.name}".rstrip()
        if change.replacement:
            certain = "" if change.replacement == "True" else " PERHAPS"
            line += f"  !!{certain} REPLACED: a new one is made, this one goes"
            colour = "red"
        if change.properties:
            line += f"  ({', '.join(change.properties)})"
        if change.loses_data:
            line += "  !! HOLDS DATA"
        click.echo(click.style(line, fg=colour, bold=bool(change.replacement)))


def _counted(changes: Sequence[Change]) -> str:
    words = {"Add": "added", "Import": "imported", "Modify": "changed", "Remove": "removed"}
    counts = {
        word: sum(change.action == action for change in changes) for action, word in words.items()
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)


def _ask(question: str, yes: bool) -> None:
    if not yes and not click.confirm(question):
        click.echo("nothing more is changed")
        sys.exit(FAILED)
