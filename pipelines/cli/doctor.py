"""`claimflow doctor`."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from pipelines.cli import FAILED
from pipelines.cli.places import is_local_cloud, place_of, stage_option
from pipelines.cli.shared import json_option, print_json


@click.command("doctor")
@stage_option
@json_option
def command(stage: str | None, as_json: bool) -> None:
    """Check this machine and the account: a line for each thing, with the remedy where one is
    needed. Exit code 1 with any error.

    Example: claimflow doctor --stage prod
    """
    from pipelines.deployment.doctor import examine

    findings = []
    colours = {"ok": "green", "warning": "yellow", "error": "red"}
    with place_of(stage) as place:
        for finding in examine(place, is_local_cloud(place)):
            findings.append(finding)
            if not as_json:
                click.echo(click.style(finding.line, fg=colours[finding.level]))
    if as_json:
        print_json([asdict(one) for one in findings])
    sys.exit(FAILED if any(one.level == "error" for one in findings) else 0)
