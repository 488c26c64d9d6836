"""The state folder is for one user alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import UserError
from pipelines.state_folder import private


@pytest.mark.parametrize("is_there", [False, True])
def test_nobody_else_may_enter(tmp_path: Path, is_there: bool) -> None:
    state = tmp_path / "a" / "state"
    if is_there:
        state.mkdir(parents=True, mode=0o755)
    assert private(state) == state
    assert state.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_made_so_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(UserError, match="CLAIMFLOW_STATE") as raised:
        private(tmp_path / "state")
    assert "\n" not in str(raised.value)
