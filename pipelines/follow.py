"""Shows an execution while it runs: a live table on a terminal, a line a change elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.terminal import console, is_live

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
    return _live(statuses) if is_live(sys.stdout) else _lines(statuses)


def step_table(status: ExecutionStatus) -> Table:
    """The steps of an execution as a table."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("step", "state", "time", ""):
        table.add_column(column, justify="right" if column == "time" else "left")
    for step in status.steps:
        state = Text(_state(step), _STYLES.get(step.status, ""))
        table.add_row(Text(step.name), state, _time(step), Text(_remark(step)))
    return table


def step_line(step: StepStatus) -> str:
    """One step as one line."""
    told = f"{step.name:<13} {_state(step):<20} {_time(step):>8}  {_remark(step)}"
    return told.rstrip()


def _live(statuses: Iterator[ExecutionStatus]) -> ExecutionStatus:
    from rich.live import Live

    with Live(console=console(sys.stdout), refresh_per_second=4) as live:
        for status in statuses:
            live.update(Now(status))
    return status


class Now:
    """A status that is drawn anew between two statuses, too, because the times go on."""

    def __init__(self, status: ExecutionStatus) -> None:
        self._status = status

    def __rich__(self) -> Table:
        return step_table(self._status)


def _lines(statuses: Iterator[ExecutionStatus]) -> ExecutionStatus:
    shown: dict[str, tuple[str, str]] = {}
    for status in statuses:
        for step in status.steps:
            told = (step.status, _remark(step))
            if shown.get(step.name) != told:
                shown[step.name] = told
                print(step_line(step), flush=True)
    return status


def _state(step: StepStatus) -> str:
    return f"{step.status} (cached)" if step.is_cached else step.status


def _remark(step: StepStatus) -> str:
    attempt = f"attempt {step.attempt}" if step.attempt > 1 else ""
    return ", ".join(filter(None, (attempt, step.progress)))


def _time(step: StepStatus) -> str:
    return "" if step.seconds is None else f"{step.seconds:.1f} s"
