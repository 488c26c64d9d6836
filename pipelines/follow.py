"""Shows an execution while it runs: a live table on a terminal, a line a change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.execution_status import ExecutionStatus, StepStatus

if TYPE_CHECKING:
    from rich.table import Table

_STYLES = {
    "Succeeded": "green",
    "Failed": "red",
    "Stopped": "yellow",
    "Stopping": "yellow",
    "Executing": "cyan",
}


def follow(statuses: Iterator[ExecutionStatus]) -> ExecutionStatus:
    """Shows every status and returns the last."""
    return _live(statuses) if sys.stdout.isatty() else _lines(statuses)


def step_table(status: ExecutionStatus) -> Table:
    """The steps of an execution as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("step", "state", "time"):
        table.add_column(column, justify="right" if column == "time" else "left")
    for step in status.steps:
        state = Text(_state(step), _STYLES.get(step.status, ""))
        table.add_row(Text(step.name), state, _time(step))
    return table


def step_line(step: StepStatus) -> str:
    """One step as one line."""
    return f"{step.name:<13} {_state(step):<20} {_time(step):>8}".rstrip()


def _live(statuses: Iterator[ExecutionStatus]) -> ExecutionStatus:
    from rich.live import Live

    with Live(refresh_per_second=8) as live:
        for status in statuses:
            live.update(step_table(status))
    return status


def _lines(statuses: Iterator[ExecutionStatus]) -> ExecutionStatus:
    shown: dict[str, str] = {}
    for status in statuses:
        for step in status.steps:
            if shown.get(step.name) != step.status:
                shown[step.name] = step.status
                print(step_line(step), flush=True)
    return status


def _state(step: StepStatus) -> str:
    return f"{step.status} (cached)" if step.is_cached else step.status


def _time(step: StepStatus) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"
