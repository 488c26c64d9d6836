"""What a training prints after each epoch, and so how far one is that runs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipelines.aws import Aws
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.logs import JOB_GROUPS, last_lines

_EPOCH = re.compile(r"(?:descent=(\d{1,6}) )?epoch=(\d{1,6})((?: \w+=[0-9.eE+-]+)+)$")
_TOLD = {  # of the newest epoch
    "val_accuracy": "validation accuracy {:.4f}",
    "train_loss": "training loss {:.4f}",
    "loss": "training loss {:.4f}",  # of a later descent
    "samples_per_s": "{:,.0f} rows/s",
}


@dataclass(frozen=True)
class _Epoch:
    descent: int
    number: int
    figures: dict[str, float]


def epochs(lines: Iterable[str]) -> dict[int, dict[str, float]]:
    """The figures of each epoch of the first descent, the only one that validation rows judge; one
    that was resumed may tell an epoch twice, and the later one counts."""
    found = {one.number: one.figures for one in _told(lines) if one.descent == 1}
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
        found = sorted(_told(lines), key=lambda one: (one.descent, one.number))
        return replace(step, progress=_in_words(found[-1])) if found else step


def _told(lines: Iterable[str]) -> Iterator[_Epoch]:
    for line in lines:
        found = _EPOCH.fullmatch(line)
        if found:
            pairs = (one.split("=") for one in found[3].split())
            figures = {name: _number(figure) for name, figure in pairs}
            finite = {name: figure for name, figure in figures.items() if math.isfinite(figure)}
            yield _Epoch(int(found[1] or 1), int(found[2]), finite)


def _in_words(epoch: _Epoch) -> str:
    place = f"descent {epoch.descent}, " if epoch.descent > 1 else ""
    words = (
        form.format(epoch.figures[name]) for name, form in _TOLD.items() if name in epoch.figures
    )
    return ", ".join([f"{place}epoch {epoch.number}", *words])


def _number(figure: str) -> float:
    try:
        return float(figure)
    except ValueError:
        return math.nan
