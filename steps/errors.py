"""Errors that a user can cause, in one line: what was given, what was expected, what to do."""

from __future__ import annotations


class InputError(Exception):
    """The data, a hyperparameter or an artifact is not what a step can work with."""
