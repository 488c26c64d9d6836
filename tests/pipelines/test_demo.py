"""What the demo finds out about a user's file before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.demo import _columns
from pipelines.settings import Settings


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("review,sentiment\na long text of a review,1\n", ("review", "sentiment")),
        ("kind,claim\nfire,the reactor overheated\n", ("claim", "kind")),
        ("text,label\nburnt,fire\n", ("text", "label")),
        ("id,claim,kind\n1,the reactor overheated,fire\n", ("text", "label")),
        ("the reactor overheated,fire\nthe pump leaks,leak\n", ("text", "label")),
        ("", ("text", "label")),
    ],
    ids=["imdb", "the other way round", "the settings'", "three", "no header", "empty"],
)
def test_columns_are_guessed_only_where_there_is_one_way_to_read_them(
    tmp_path: Path, content: str, expected: tuple[str, str]
) -> None:
    path = tmp_path / "train.csv"
    path.write_text(content, "utf-8")
    assert _columns(Settings(), path) == expected
