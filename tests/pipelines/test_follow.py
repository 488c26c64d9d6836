"""An execution while it runs, as a terminal shows it."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.follow import step_table

STATES = ("Starting", "Executing", "Stopping", "Stopped", "Failed", "Succeeded", "[/] of tomorrow")


@pytest.mark.parametrize("state", STATES)
def test_a_step_is_shown_in_every_state_that_the_service_may_tell(state: str) -> None:
    shown = io.StringIO()
    status = ExecutionStatus("arn", "Executing", "", [StepStatus("[Train", "TrainingJob", state)])
    Console(file=shown, force_terminal=True, width=80).print(step_table(status))
    assert state in shown.getvalue()
    assert "[Train" in shown.getvalue()
