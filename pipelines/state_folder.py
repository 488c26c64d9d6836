"""The folder in which claimflow keeps what it knows on this machine."""

from __future__ import annotations

from pathlib import Path


def private(state: Path) -> Path:
    """The state folder, made where it is missing, for this user alone: texts of claims lie there.

    Raises
    ------
    OSError
        It is somebody else's, or cannot be made.
    """
    state.mkdir(parents=True, exist_ok=True)
    state.chmod(0o700)
    return state
