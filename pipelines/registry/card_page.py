"""The model card as a page for people: one file that needs nothing beside it, on screen or paper.

Everything that comes from outside is escaped, and the page's own content security policy lets
nothing but its style in: no script, no image, no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.page import described, document, items, name, plain_table, text
from pipelines.registry import facts, tables
from pipelines.registry.facts import MOST_CLASSES
from pipelines.registry.tables import Table

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage

_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1d2733;--soft:#5b6773;--line:#dfe4e9;
--good:#1d6b3c;--bad:#a3341f;--look:#fbf0d9;--edge:#9a6a00}
@media(prefers-color-scheme:dark){:root{--paper:#14191f;--ink:#e4e9ee;--soft:#9aa7b4;--line:#2c353f;
--good:#7fcf9b;--bad:#f0917d;--look:#3a2f16;--edge:#e0b04c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 3rem;max-width:54rem;background:var(--paper);
color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{margin:0 0 .4rem;font-size:1.6rem;line-height:1.25;font-weight:650}
h2{margin:2.4rem 0 .5rem;font-size:1.12rem;font-weight:650}
p,li{max-width:44rem}
p{margin:.5rem 0}
ul{margin:.5rem 0;padding-left:1.2rem}
.soft,caption{color:var(--soft)}
.note{padding:.7rem 1rem;border-left:4px solid var(--edge);background:var(--look)}
.good{color:var(--good)}.bad{color:var(--bad)}
table{width:100%;margin:.6rem 0;border-collapse:collapse;font-size:.95rem}
caption{padding-bottom:.4rem;text-align:left;font-size:.9rem}
th,td{padding:.38rem .75rem .38rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top;font-weight:400}
thead th{color:var(--soft);font-size:.85rem;vertical-align:bottom}
.number{text-align:right;white-space:nowrap}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0}
@media(max-width:34rem){dl{display:block}dd{margin-bottom:.4rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;
--good:#000;--bad:#000;--look:#fff;--edge:#666}body{max-width:none;padding:0;font-size:10pt}
tr,.note{break-inside:avoid}h2,caption{break-after:avoid}}
"""


def page(found: Lineage, model_name: str) -> str:
    """The card of a version of the model of this name, as a whole document."""
    model = found.model
    title = f"Model card: {model_name}, version {model.version}"
    figures = tables.figures(found, "this version", facts.champion(found), has_column=True)
    body = [
        f"<h1>{text(title)}</h1>",
        f'<p class="soft">{text(model.verdict)}</p>',
        f"<p>{text(facts.purpose(found))}</p>",
        _section("Intended use", f"<p>{text(facts.USES)}</p>"),
        _section(
            "Limits",
            items(facts.limits(found)),
            f"<p>{text(facts.ETHICS)}</p>",
            f'<p class="soft">Risk: {text(facts.UNRATED)}</p>',
        ),
        _section(
            "How good it is",
            _table(figures) or tables.NO_FIGURE,
            _table(tables.classes(found, has_column=True)),
        ),
        _section("Data", _table(tables.data(found)), _table(_labels(found))),
        _section(
            "How it was made", described(facts.made(found)), _table(tables.hyperparameters(found))
        ),
    ]
    if found.missing:
        body.append(
            _section("What is not known", f'<div class="note">{items(found.missing)}</div>')
        )
    return document(title, "\n".join(body), _STYLE)


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
    return plain_table(*shown) if shown else ""


def _section(title: str, *parts: str) -> str:
    return "\n".join(["<section>", f"<h2>{title}</h2>", *filter(None, parts), "</section>"])
