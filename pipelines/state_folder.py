"""The folder in which claimflow keeps what it knows on this machine."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import UserError


def private(state: Path) -> Path:
    """The state folder, made where it is missing, for this user alone: texts of claims lie there.

    Raises
    ------
    UserError
        It is somebody else's, or cannot be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
    except OSError as error:
        raise UserError(
            f"The state folder {state} cannot be made yours alone ({error.strerror}), but texts "
            "of claims lie there: name one of your own in CLAIMFLOW_STATE"
        ) from error
    return state
