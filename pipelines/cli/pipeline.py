"""`claimflow pipeline`: the definition and its executions."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli import FAILED, REJECTED, definition_diff
from pipelines.cli.shared import (
    aws,
    given_parameters,
    json_option,
    parameter_option,
    print_json,
)
from pipelines.plain_text import plain
from pipelines.terminal import console, is_live, progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipelines.aws import Aws
    from pipelines.control import Control
    from pipelines.diagnosis import Diagnosis
    from pipelines.execution_status import ExecutionStatus

_execution = click.argument("execution", required=False)


@click.group("pipeline")
def command() -> None:
    """The training pipeline: Validate, Train, Champion, Evaluate, ModelGate, Register.

    \b
    Example:
      claimflow pipeline upsert
      claimflow pipeline start --train train.csv --test test.csv --wait
    """


@command.command()
def definition() -> None:
    """Print the definition as JSON; needs neither network nor credentials.

    Example: claimflow pipeline definition > definition.json
    """
    import json

    from pipelines.control import build_definition
    from pipelines.settings import Settings

    click.echo(json.dumps(json.loads(build_definition(Settings.load())), indent=2))


@command.command()
def upsert() -> None:
    """Store today's definition.

    Example: claimflow pipeline upsert
    """
    from pipelines.control import Control

    with aws() as place:
        control = Control(place)
        done = control.upsert()
        click.echo(f"pipeline {control.settings.pipeline_name}: {done}")


@command.command()
@click.option("--train", metavar="FILE|S3URI", help="Labelled claims to train on.")
@click.option("--test", metavar="FILE|S3URI", help="Labelled claims to judge by.")
@parameter_option
@click.option("--wait", is_flag=True, help="Show the steps until it has ended.")
@json_option
def start(
    train: str | None, test: str | None, parameters: tuple[str, ...], wait: bool, as_json: bool
) -> None:
    """Start an execution. Files are uploaded first, under a digest of their content.

    Example: claimflow pipeline start --train train.csv --test test.csv -p Epochs=5 --wait
    """
    from pipelines.control import Control

    given = given_parameters(parameters)
    with aws() as place:
        control = Control(place)
        for name, data in (("TrainData", train), ("TestData", test)):
            if data:
                is_there = data.startswith("s3://")
                given[name] = data if is_there else control.upload_data(Path(data), progress)
        execution = control.start(given)
        if not as_json:
            click.echo(execution)
        if wait:
            _show_to_the_end(place, control, execution, as_json)
        elif as_json:
            print_json({"execution": execution})


@command.command()
@_execution
def stop(execution: str | None) -> None:
    """Stop an execution (the latest, or by id or ARN) and the job that it runs.

    Example: claimflow pipeline stop
    """
    from pipelines.control import Control

    with aws() as place:
        control = Control(place)
        arn = control.resolve(execution)
        control.stop(arn)
        click.echo(f"stopping {arn}")


@command.command()
@_execution
@click.option("--wait", is_flag=True, help="Show the steps until it has ended.")
@json_option
def retry(execution: str | None, wait: bool, as_json: bool) -> None:
    """Go on with an execution that failed or was stopped (the latest, or by id or ARN).

    What had succeeded is kept; the rest runs with the definition and the parameters of its start.

    Example: claimflow pipeline retry --wait
    """
    from pipelines.control import Control

    with aws() as place:
        control = Control(place)
        arn = control.resolve(execution)
        control.retry(arn)
        if not as_json:
            click.echo(f"retrying {arn}")
        if wait:
            _show_to_the_end(place, control, arn, as_json)
        elif as_json:
            print_json({"execution": arn})


@command.command()
@_execution
@json_option
def diagnose(execution: str | None, as_json: bool) -> None:
    """Tell why an execution failed (the latest, or by id or ARN), and what to do.

    Example: claimflow pipeline diagnose
    """
    from pipelines.control import Control
    from pipelines.diagnosis import diagnose

    with aws() as place:
        found = diagnose(place, Control(place).resolve(execution))
        if as_json:
            print_json(asdict(found))
        else:
            _print_diagnosis(found)


@command.command()
@_execution
@click.option("--watch", is_flag=True, help="Stay until it has ended.")
@json_option
def status(execution: str | None, watch: bool, as_json: bool) -> None:
    """Show an execution (the latest, or by id or ARN), and which bar a model missed.

    The exit code with --watch is that of --wait: 0 succeeded, 1 failed or stopped, 3 rejected.

    Example: claimflow pipeline status --watch
    """
    from pipelines.control import Control
    from pipelines.training_log import TrainingProgress

    with aws() as place:
        control = Control(place)
        arn = control.resolve(execution)
        if not as_json:
            click.echo(f"execution {arn.rpartition('/')[2]}")
        if watch:
            _show_to_the_end(place, control, arn, as_json)
            return
        (found,) = TrainingProgress(place).added([control.status(arn)])
        if as_json:
            print_json(_document(found))
            return
        _print_steps(found)
        _print_end(found)


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the latest executions.

    Example: claimflow pipeline list
    """
    from pipelines.control import Control

    with aws() as place:
        summaries = Control(place).executions()
        if as_json:
            print_json(summaries)
            return
        for one in summaries:
            identifier = one["PipelineExecutionArn"].rpartition("/")[2]
            started = one["StartTime"].strftime("%Y-%m-%d %H:%M:%S")
            reason = plain(one.get("PipelineExecutionFailureReason", ""))
            click.echo(
                f"{identifier}  {started}  {one['PipelineExecutionStatus']:<10} {reason}".rstrip()
            )
        if not summaries:
            click.echo("no execution yet; start one with `claimflow pipeline start`")


@command.command()
@_execution
@json_option
def steps(execution: str | None, as_json: bool) -> None:
    """List the steps of an execution (the latest, or by id or ARN).

    Example: claimflow pipeline steps --json
    """
    from pipelines.control import Control
    from pipelines.follow import step_line

    with aws() as place:
        control = Control(place)
        found = control.steps(control.resolve(execution))
        if as_json:
            print_json([asdict(step) for step in found])
            return
        for step in found:
            click.echo(step_line(step))


command.add_command(definition_diff.command)


def _show_to_the_end(place: Aws, control: Control, execution: str, as_json: bool) -> None:
    from pipelines.cli.report import report_at_the_end
    from pipelines.training_log import TrainingProgress

    statuses = TrainingProgress(place).added(control.follow(execution))
    try:
        found = _followed(statuses, as_json)
    except KeyboardInterrupt:
        click.echo(
            f"\nexecution {execution.rpartition('/')[2]} goes on: "
            "`claimflow pipeline status --watch` follows it, `claimflow pipeline stop` ends it",
            err=True,
        )
        sys.exit(130)
    report_at_the_end(place, execution)
    if found.status != "Succeeded":
        sys.exit(REJECTED if found.is_rejected else FAILED)


def _followed(statuses: Iterator[ExecutionStatus], as_json: bool) -> ExecutionStatus:
    from pipelines.follow import follow

    if as_json:
        *_, found = statuses
        print_json(_document(found))
    else:
        found = follow(statuses)
        _print_end(found)
    return found


def _print_steps(found: ExecutionStatus) -> None:
    from pipelines.follow import step_line, step_table

    if is_live(sys.stdout):
        console(sys.stdout).print(step_table(found))
        return
    for step in found.steps:
        click.echo(step_line(step))


def _print_end(found: ExecutionStatus) -> None:
    click.echo(plain(found.sentence))
    for bar in found.missed:
        click.echo(f"missed: {bar}")


def _print_diagnosis(found: Diagnosis) -> None:
    click.echo(f"execution {found.execution.rpartition('/')[2]}: {found.status}")
    if not found.cause:
        click.echo("there is no failure to explain")
        return
    for name, told in (
        ("step", found.step),
        ("reason", found.reason),
        ("cause", found.cause),
        *(("missed", bar) for bar in found.missed),
        ("what to do", found.advice),
        ("log", found.log_group and f"{found.log_group} {found.job}"),
        ("", found.log_fault),
    ):
        if told:
            click.echo(f"{name:<10}  {told}")
    for line in found.log:
        click.echo(f"            {line}")


def _document(found: ExecutionStatus) -> dict[str, Any]:
    return asdict(found)
