"""Numbers of things, in words."""

from __future__ import annotations


def many(number: int, thing: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {thing}" + ("" if number == 1 else "s")
