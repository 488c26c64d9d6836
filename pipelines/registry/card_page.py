"""The model card as a page for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.page import described, items, name, paragraph, section, table, text
from pipelines.page import page as whole_page
from pipelines.registry import facts, tables
from pipelines.registry.facts import MOST_CLASSES
from pipelines.registry.tables import Table

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage


def page(found: Lineage, model_name: str) -> str:
    """The card of a version of the model of this name, as a whole document."""
    model = found.model
    title = f"Model card: {model_name}, version {model.version}"
    figures = tables.figures(found, "this version", facts.champion(found), has_column=True)
    body = [
        f"<h1>{text(title)}</h1>",
        paragraph(model.verdict, "soft"),
        paragraph(facts.purpose(found)),
        section("Intended use", paragraph(facts.USES)),
        section(
            "Limits",
            items(facts.limits(found)),
            paragraph(facts.ETHICS),
            paragraph(f"Risk: {facts.UNRATED}", "soft"),
        ),
        section(
            "How good it is",
            _table(figures) or tables.NO_FIGURE,
            _table(tables.classes(found, has_column=True)),
        ),
        section("Data", _table(tables.data(found)), _table(_labels(found))),
        section(
            "How it was made", described(facts.made(found)), _table(tables.hyperparameters(found))
        ),
    ]
    if found.missing:
        body.append(section("What is not known", f'<div class="note">{items(found.missing)}</div>'))
    return whole_page(title, body)


def _labels(found: Lineage) -> Table | None:
    """The labels of the training data."""
    labels = sorted(facts.trained_labels(found).items(), key=lambda one: (one[1], one[0]))
    if not labels:
        return None
    total = sum(rows for _, rows in labels) or 1
    caption = f"Labels of the {total:,} training rows, the rarest first"
    if len(labels) > MOST_CLASSES:
        caption += f": {MOST_CLASSES} of {len(labels):,}"
    return Table(
        caption,
        ["label", "rows>", "share>"],
        [
            [name(label), f"{rows:,}", f"{rows / total:.1%}"]
            for label, rows in labels[:MOST_CLASSES]
        ],
    )


def _table(shown: Table | None) -> str:
    return table(*shown) if shown else ""
