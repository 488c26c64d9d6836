"""The model card as a page for people: one file that needs nothing beside it, on screen or paper.

Everything that comes from outside is escaped, and the page's own content security policy lets
nothing but its style in: no script, no image, no network.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipelines.data.versions import SETS
from pipelines.registry import facts
from pipelines.registry.facts import FIGURES, MOST_CLASSES

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage

LONGEST = 300  # characters of a value that are shown
_FILES = 200  # of the data that are listed

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


def page(found: Lineage, name: str) -> str:
    """The card of a version of the model of this name, as a whole document."""
    model = found.model
    title = f"Model card: {name}, version {model.version}"
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(model.verdict)}</p>',
        f"<p>{_text(facts.purpose(found))}</p>",
        _section("Intended use", f"<p>{_text(facts.USES)}</p>"),
        _section(
            "Limits",
            _items(facts.limits(found)),
            f"<p>{_text(facts.ETHICS)}</p>",
            f'<p class="soft">Risk: {_text(facts.UNRATED)}</p>',
        ),
        _section("How good it is", _figures(found), _classes(found)),
        _section("Data", _data(found), _labels(found)),
        _section("How it was made", _described(facts.made(found)), _hyperparameters(found)),
    ]
    if found.missing:
        body.append(
            _section("What is not known", f'<div class="note">{_items(found.missing)}</div>')
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _figures(found: Lineage) -> str:
    shown = facts.figures(found)
    if not shown:
        return "<p>The evaluation cannot be read: no figure is known.</p>"
    rows = found.evaluation["challenger"].get("rows", 0)
    champion = any(one.champion is not None for one in shown)
    caption = f"On {rows:,} test rows" + (
        f", beside {facts.champion(found)}" if champion else "; there was no champion to compare"
    )
    return _table(
        caption,
        ["metric", "this version>", "champion>", "intervals are of 95 %"],
        [
            [
                _text(one.name.replace("_", " ")),
                _beside(one.value, one.champion, FIGURES[one.name]),
                "–" if one.champion is None else f"{one.champion:.4f}",
                _text(one.note),
            ]
            for one in shown
        ],
    )


def _beside(value: float, champion: float | None, more_is_better: bool) -> str:
    """A figure, marked and not by colour alone where it is better or worse than the champion's."""
    if champion is None or value == champion:
        return f"{value:.4f}"
    is_better = (value > champion) == more_is_better
    css, mark = ("good", "▲") if is_better else ("bad", "▼")
    word = "better" if is_better else "worse"
    return f'<span class="{css}" title="{word} than the champion">{mark} {value:.4f}</span>'


def _classes(found: Lineage) -> str:
    listed = list(facts.classes(found))
    if not listed:
        return ""
    caption = "By label, those that are found least first"
    if len(listed) > MOST_CLASSES:
        caption += f": {MOST_CLASSES} of {len(listed):,}"
    return _table(
        caption,
        ["label", "rows>", "recall>", "the champion's>", "precision>", "F1>"],
        [
            [
                _name(label),
                f"{one['support']:,}",
                _beside(one["recall"], one["champion"], True),
                "–" if one["champion"] is None else f"{one['champion']:.4f}",
                f"{one['precision']:.4f}",
                f"{one['f1']:.4f}",
            ]
            for label, one in listed[:MOST_CLASSES]
        ],
    )


def _data(found: Lineage) -> str:
    manifest = found.manifest
    if manifest is None:
        return ""
    files = [
        [
            _name(one.key),
            name,
            "–" if one.rows is None else f"{one.rows:,}",
            _text(one.added_at[:10]),
            _text(one.sha256[:16]),
        ]
        for name in SETS
        for one in manifest.files(name)
    ]
    shown = f", {_FILES} of {len(files):,}" if len(files) > _FILES else ""
    return _table(
        f"Data version {_text(manifest.version)}{shown}",
        ["file", "set", "rows>", "added", "SHA-256"],
        files[:_FILES],
    )


def _labels(found: Lineage) -> str:
    labels = sorted(facts.trained_labels(found).items(), key=lambda one: (one[1], one[0]))
    if not labels:
        return ""
    total = sum(rows for _, rows in labels) or 1
    caption = f"Labels of the {total:,} training rows, the rarest first"
    if len(labels) > MOST_CLASSES:
        caption += f": {MOST_CLASSES} of {len(labels):,}"
    return _table(
        caption,
        ["label", "rows>", "share>"],
        [
            [_name(label), f"{rows:,}", f"{rows / total:.1%}"]
            for label, rows in labels[:MOST_CLASSES]
        ],
    )


def _hyperparameters(found: Lineage) -> str:
    given = facts.hyperparameters(found)
    if not given:
        return ""
    rows = [[_text(name), _text(value)] for name, value in given.items()]
    return _table("Hyperparameters of the training job", ["name", "value"], rows)


def _described(items: dict[str, str]) -> str:
    known = ((name.replace("_", " "), value) for name, value in items.items() if value)
    return (
        "<dl>"
        + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in known)
        + "</dl>"
    )


def _section(title: str, *parts: str) -> str:
    return "\n".join(["<section>", f"<h2>{title}</h2>", *filter(None, parts), "</section>"])


def _items(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{_text(one)}</li>" for one in sentences) + "</ul>"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its row; a header that ends in `>` is that of figures."""
    classes = [' class="number"' if one.endswith(">") else "" for one in header]
    head = "".join(
        f'<th scope="col"{css}>{one.rstrip(">")}</th>'
        for one, css in zip(header, classes, strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row">{first}</th>'
        + "".join(f"<td{css}>{cell}</td>" for cell, css in zip(rest, classes[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f"<table>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    )


def _name(given: str) -> str:
    """A name from outside; what is written from right to left stays inside it."""
    return f"<bdi>{_text(given) or '(empty)'}</bdi>"


def _text(given: str) -> str:
    """Plain text as HTML: cut if it is very long, without characters that only control."""
    cut = given if len(given) <= LONGEST else f"{given[: LONGEST - 1]}…"
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in {"Cc", "Cs"} else one
        for one in cut
    )
    return html.escape(shown)
