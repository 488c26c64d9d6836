"""`claimflow retrain`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from pipelines.cli import FAILED, REJECTED
from pipelines.cli.places import is_local_cloud, place_of, stage_option
from pipelines.cli.shared import (
    given_parameters,
    json_option,
    parameter_option,
    print_json,
)
from pipelines.plain_text import plain

if TYPE_CHECKING:
    from pipelines.aws import Aws
    from pipelines.execution_status import ExecutionStatus
    from pipelines.retraining import Cause, Decision, Report, Retraining

SUMMARY_VARIABLE = "GITHUB_STEP_SUMMARY"  # GitHub Actions shows what is appended to this file
_EXIT_CODES = {"rejected": REJECTED, "failed": FAILED, "stopped": FAILED}


class _Interrupted(BaseException):
    """A signal that ends this program, and not what runs in the cloud."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


@click.command("retrain")
@click.option(
    "--cause",
    type=click.Choice(["push", "manual", "schedule"]),
    default="manual",
    show_default=True,
    help="What it is done for.",
)
@click.option("--commit", metavar="SHA", help="The commit of the code; without it, git is asked.")
@parameter_option
@click.option(
    "--again",
    is_flag=True,
    help="Also where nothing has changed. Cached steps "
    "are not run again: where Train is one, a version with the same model is registered.",
)
@click.option("--images/--no-images", default=True, help="Build and push what ECR does not have.")
@click.option("--wait/--no-wait", default=True, help="Follow it to its end.")
@click.option(
    "--summary",
    type=click.Path(path_type=Path, dir_okay=False),
    help=f"Append a summary in Markdown to this file; default: ${SUMMARY_VARIABLE}.",
)
@stage_option
@json_option
def command(
    cause: str,
    commit: str | None,
    parameters: tuple[str, ...],
    again: bool,
    images: bool,
    wait: bool,
    summary: Path | None,
    stage: str | None,
    as_json: bool,
) -> None:
    """Train anew where code, definition, parameters or labelled data have changed.

    Exit codes: 0 registered or nothing to do, 1 failed, 3 the model was rejected. Interrupted, it
    leaves the execution running; a second call follows it.

    Example: claimflow retrain -p Epochs=5 --summary summary.md
    """
    from pipelines.cli.report import report_at_the_end
    from pipelines.control import code_version
    from pipelines.retraining import FunctionFailedError, Request, Retraining

    found = commit or code_version()
    request = Request(
        cause=cast("Cause", cause),
        commit=None if found == "unknown" else found,
        parameters=given_parameters(parameters),
        again=again,
    )
    if summary is None and os.environ.get(SUMMARY_VARIABLE):
        summary = Path(os.environ[SUMMARY_VARIABLE])
    if summary is not None:
        summary.open("a", encoding="utf-8").close()  # a wrong place is told now, not hours later

    def tell(text: str) -> None:
        click.echo(plain(text), err=as_json)

    decision = None
    with place_of(stage) as place, _signals():
        try:
            is_local = is_local_cloud(place)
            retraining = Retraining(place)
            if images and not is_local:
                _push(place, tell)
            tell(f"pipeline {place.settings.pipeline_name}: {retraining.control.upsert()}")
            retraining.control.check(request.parameters)
            decision = retraining.ask(request)
            _tell_decision(decision, tell)
            status = _end(place, retraining, decision, wait, as_json)
            if status.has_ended and decision.outcome != "unchanged":
                report_at_the_end(place, decision.execution)
            report = retraining.report(request, decision, status)
            _hand_over(report, summary, None if is_local else place.settings.region, as_json)
        except FunctionFailedError as error:
            click.echo(f"error: {plain(str(error))}", err=True)
            sys.exit(FAILED)
        except _Interrupted as signalled:
            click.echo(_left(decision), err=True)
            sys.exit(signalled.exit_code)
    sys.exit(_EXIT_CODES.get(report.outcome, 0))


def _push(place: Aws, tell: Any) -> None:
    """Builds and pushes what the registry does not have; an engine is needed only for that."""
    from pipelines.deployment.image_builds import push, status
    from pipelines.deployment.image_engine import find_engine

    missing = [
        one.target for one in status(None, place.settings, place.client("ecr")) if not one.digest
    ]
    if missing:
        push(find_engine(), place, tell, missing)
    else:
        tell("images: all are in the registry")


def _tell_decision(decision: Decision, tell: Any) -> None:
    is_old = decision.outcome == "unchanged"  # the newest execution had other content
    for change in decision.changes:
        tell(f"changed{' since the newest execution' if is_old else ''}: {change}")
    tell(f"data version {decision.data_version}")
    tell(decision.sentence)


def _end(
    place: Aws, retraining: Retraining, decision: Decision, wait: bool, as_json: bool
) -> ExecutionStatus:
    """The status at the end; without waiting, or of what has ended long ago, that of now."""
    from pipelines.follow import follow
    from pipelines.training_log import TrainingProgress

    control = retraining.control
    if not wait or decision.outcome == "unchanged":
        return control.status(decision.execution)
    if as_json:
        *_, status = control.follow(decision.execution)
        return status
    return follow(TrainingProgress(place).added(control.follow(decision.execution)))


def _hand_over(report: Report, summary: Path | None, region: str | None, as_json: bool) -> None:
    from pipelines.retraining_summary import (
        document,
        headline,
        markdown,
        next_step,
        same_model,
    )

    if summary is not None:
        with summary.open("a", encoding="utf-8") as file:
            file.write(markdown(report, region))
    if as_json:
        print_json(document(report))
        return
    click.echo(plain(headline(report)))
    if same := same_model(report):
        click.echo(same)
    for bar in report.bars:
        click.echo(f"{'passed' if bar.passed else 'missed'}: {bar.sentence}")
    click.echo(f"next: {next_step(report)}")


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Ctrl-C, and what a CI runner sends when it cancels a job or its machine goes."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise _Interrupted(number)

    before = {one: signal.signal(one, stop) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _left(decision: Decision | None) -> str:
    """What is to be known of what an interrupted call leaves behind."""
    if decision is None:
        return "\ninterrupted before an execution was known: a second `claimflow retrain` finds it"
    name = decision.execution.rpartition("/")[2]
    return (
        f"\nexecution {name} is left to itself: a second `claimflow retrain` follows it, "
        f"`claimflow pipeline stop {name}` ends it"
    )
