"""Errors that a user can cause, in one line: what was given, what was expected, what to do."""

from __future__ import annotations


class UserError(Exception):
    """Something that the user gave or did, not a fault of ours: shown without a traceback."""


class NotThereError(UserError):
    """What was named does not exist."""
