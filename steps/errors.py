"""Errors that a user can cause, in one line: what was given, what was expected, what to do."""

from __future__ import annotations


class InputError(Exception):
    """The data, a hyperparameter or an artifact is not what a step can work with."""

    def __str__(self) -> str:
        """What it quotes, such as the name of a label, may have lines of its own, and worse."""
        told = " ".join(super().__str__().splitlines())
        return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in told)
