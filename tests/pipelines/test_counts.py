"""How numbers of things read."""

from __future__ import annotations

import pytest

from pipelines.counts import many


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (12_000, "12,000 rows")]
)
def test_one_thing_is_no_plural_and_large_numbers_can_be_read(number: int, words: str) -> None:
    assert many(number, "row") == words
