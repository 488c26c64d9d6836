"""What is known of a model as tables for a page: its figures, its labels, its data.

A page decides how a table looks; here is what stands in it. Cells are HTML, what comes from outside
is escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipelines.counts import many
from pipelines.data.versions import SETS
from pipelines.page import name, text
from pipelines.registry import facts
from pipelines.registry.facts import FIGURES, MOST_CLASSES

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage

NO_FIGURE = "<p>The evaluation cannot be read: no figure is known.</p>"
_FILES = 200  # of the data that are listed


class Table(NamedTuple):
    """What `pipelines.page.table` takes."""

    caption: str
    header: list[str]
    rows: list[list[str]]


def figures(found: Lineage, subject: str, champion: str, has_column: bool = False) -> Table | None:
    """The metrics of the `subject` beside those of the `champion`, both in words; the champion has
    a column if there was one, or always. None where no figure is known."""
    shown = facts.figures(found)
    if not shown:
        return None
    rows = found.evaluation["challenger"].get("rows", 0)
    has_champion = any(one.champion is not None for one in shown)
    caption = f"On {many(rows, 'test row')}" + (
        f", beside {champion}" if has_champion else "; there was no champion to compare"
    )
    compared = ["champion>"] if has_champion or has_column else []
    return Table(
        caption,
        ["metric", f"{subject}>", *compared, "intervals are of 95 %"],
        [
            [
                text(one.name.replace("_", " ")),
                _beside(one.value, one.champion, FIGURES[one.name]),
                *(_figure(one.champion) for _ in compared),
                text(one.note),
            ]
            for one in shown
        ],
    )


def classes(found: Lineage, has_column: bool = False) -> Table | None:
    """The labels of the test set, those that are found least first; the champion has a column if
    there was one, or always."""
    listed = list(facts.classes(found))
    if not listed:
        return None
    caption = "By label, those that are found least first"
    if len(listed) > MOST_CLASSES:
        caption += f": {MOST_CLASSES} of {len(listed):,}"
    has_champion = any(one["champion"] is not None for _, one in listed)
    compared = ["the champion's>"] if has_champion or has_column else []
    return Table(
        caption,
        ["label", "rows>", "recall>", *compared, "precision>", "F1>"],
        [
            [
                name(label),
                f"{one['support']:,}",
                _beside(one["recall"], one["champion"], True),
                *(_figure(one["champion"]) for _ in compared),
                f"{one['precision']:.4f}",
                f"{one['f1']:.4f}",
            ]
            for label, one in listed[:MOST_CLASSES]
        ],
    )


def data(found: Lineage) -> Table | None:
    """The files of the data version."""
    manifest = found.manifest
    if manifest is None:
        return None
    files = [
        [
            name(one.key),
            of,
            "–" if one.rows is None else f"{one.rows:,}",
            text(one.added_at[:10]),
            text(one.sha256[:16]),
        ]
        for of in SETS
        for one in manifest.files(of)
    ]
    shown = f", {_FILES} of {len(files):,}" if len(files) > _FILES else ""
    return Table(
        f"Data version {text(manifest.version)}{shown}",
        ["file", "set", "rows>", "added", "SHA-256"],
        files[:_FILES],
    )


def hyperparameters(found: Lineage) -> Table | None:
    """What the training job was given."""
    given = facts.hyperparameters(found)
    if not given:
        return None
    rows = [[text(one), text(value)] for one, value in given.items()]
    return Table("Hyperparameters of the training job", ["name", "value"], rows)


def _beside(value: float, champion: float | None, more_is_better: bool) -> str:
    """A figure, marked and not by colour alone where it is better or worse than the champion's."""
    if champion is None or value == champion:
        return f"{value:.4f}"
    is_better = (value > champion) == more_is_better
    css, mark = ("good", "▲") if is_better else ("bad", "▼")
    word = "better" if is_better else "worse"
    return f'<span class="{css}" title="{word} than the champion">{mark} {value:.4f}</span>'


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
