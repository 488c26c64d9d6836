"""What people can mend themselves."""

from __future__ import annotations


class RetrainError(Exception):
    """No training can be started: one line that says what is missing and what to do."""
