"""Text from outside, made safe to show."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text without what could steer a terminal."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
