"""The state folder is for one user alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.state_folder import private


@pytest.mark.parametrize("is_there", [False, True])
def test_nobody_else_may_enter(tmp_path: Path, is_there: bool) -> None:
    state = tmp_path / "a" / "state"
    if is_there:
        state.mkdir(parents=True, mode=0o755)
    assert private(state) == state
    assert state.stat().st_mode & 0o777 == 0o700
