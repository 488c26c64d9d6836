"""What a training prints after each epoch, and so how far one is that runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from pipelines.aws import Aws
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.logs import JOB_GROUPS, last_lines

_EPOCH = re.compile(r"epoch=(\d{1,6})((?: \w+=[0-9.eE+-]+)+)$")
_TOLD = {  # of the newest epoch
    "val_accuracy": "validation accuracy {:.4f}",
    "train_loss": "training loss {:.4f}",
    "samples_per_s": "{:,.0f} rows/s",
}


def epochs(lines: Iterable[str]) -> dict[int, dict[str, float]]:
    """The figures of each epoch; one that was resumed may tell an epoch twice, and the later one
    counts."""
    found: dict[int, dict[str, float]] = {}
    for line in lines:
        told = _EPOCH.fullmatch(line)
        if told:
            pairs = (one.split("=") for one in told[2].split())
            figures = {name: _number(figure) for name, figure in pairs}
            found[int(told[1])] = {
                name: figure for name, figure in figures.items() if math.isfinite(figure)
            }
    return dict(sorted(found.items()))


class TrainingProgress:
    """How far the trainings of one deployment are."""

    def __init__(self, aws: Aws) -> None:
        self._logs = aws.client("logs")

    def added(self, statuses: Iterable[ExecutionStatus]) -> Iterator[ExecutionStatus]:
        """The same, with what the log of a training that runs tells; nothing where it cannot be
        read."""
        for status in statuses:
            yield replace(status, steps=[self._step(step) for step in status.steps])

    def _step(self, step: StepStatus) -> StepStatus:
        if step.type != "TrainingJob" or step.status != "Executing" or not step.job:
            return step
        job = step.job.rpartition("/")[2]
        lines, _ = last_lines(self._logs, JOB_GROUPS["training-job"], job)
        found = epochs(lines)
        if not found:
            return step
        epoch, figures = max(found.items())
        words = (form.format(figures[name]) for name, form in _TOLD.items() if name in figures)
        return replace(step, progress=", ".join([f"epoch {epoch}", *words]))


def _number(figure: str) -> float:
    try:
        return float(figure)
    except ValueError:
        return math.nan
