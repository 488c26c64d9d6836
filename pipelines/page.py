"""The look of the pages for people: one file that needs nothing beside it, on screen or paper.

Everything that comes from outside goes through `text`, and a page's own content security policy
lets nothing but its style in: no script, no image, no network.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 300  # characters of a value that are shown

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1d2733;--soft:#5b6773;--line:#dfe4e9;
--bar:#3f74a3;--track:#f4f6f8;--second:#a85a12;--good:#1d6b3c;--bad:#a3341f;--look:#fbf0d9;
--edge:#9a6a00}
@media(prefers-color-scheme:dark){:root{--paper:#14191f;--ink:#e4e9ee;--soft:#9aa7b4;--line:#2c353f;
--bar:#7fb0db;--track:#1c232b;--second:#e5a663;--good:#7fcf9b;--bad:#f0917d;--look:#3a2f16;
--edge:#e0b04c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 3rem;max-width:56rem;background:var(--paper);
color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{margin:0 0 .4rem;font-size:1.6rem;line-height:1.25;font-weight:650}
h2{margin:2.6rem 0 .5rem;font-size:1.12rem;font-weight:650}
p,li{max-width:44rem}
p{margin:.5rem 0}
ul{margin:.5rem 0;padding-left:1.2rem}
a{color:var(--bar)}
.soft,caption,footer{color:var(--soft)}
.lead{font-size:1.08rem}
.note{padding:.7rem 1rem;border-left:4px solid var(--edge);background:var(--look)}
.note.bad{border-color:var(--bad);color:inherit}
.good{color:var(--good)}.bad{color:var(--bad)}
table{width:100%;margin:.6rem 0;border-collapse:collapse;font-size:.95rem}
caption{padding-bottom:.4rem;text-align:left;font-size:.9rem}
th,td{padding:.38rem .75rem .38rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top;font-weight:400}
th:last-child,td:last-child{padding-right:0}
thead th{color:var(--soft);font-size:.85rem;vertical-align:bottom}
tbody th{min-width:11rem}
.number,td .good,td .bad{white-space:nowrap}
.number{text-align:right}
th.number:first-child{min-width:0;width:5rem;padding-right:1.5rem}
.number+.number{padding-left:.75rem}
.scroll{overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0}
.figures{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1.6rem 0 0;padding:1.1rem 0;
border:solid var(--line);border-width:1px 0}
.figures div{flex:1 1 8rem}
.figures dt{font-size:.9rem}
.figures dd{font-size:1.7rem;font-weight:600;line-height:1.3}
.figures small{display:block;color:var(--soft);font-size:.85rem;font-weight:400}
svg{display:block;max-width:100%;height:auto;overflow:visible}
svg:not([width]){width:100%}
figure{margin:1rem 0}
details{margin:.6rem 0}
summary{color:var(--soft);cursor:pointer}
:focus-visible{outline:2px solid var(--bar);outline-offset:2px}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.85rem}
@media(max-width:34rem){body{padding-top:1.5rem}dl:not(.figures){display:block}
dl:not(.figures) dd{margin-bottom:.4rem}table{font-size:.9rem}tbody th{min-width:7.5rem}
tbody td:last-child:not(.number){min-width:8.5rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;
--bar:#3f74a3;--track:#fff;--second:#a85a12;--good:#000;--bad:#000;--look:#fff;--edge:#666}
body{max-width:none;padding:0;font-size:10pt}
.scroll{overflow:visible}
tr,figure,.figures,.note{break-inside:avoid}h2,caption{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def page(title: str, body: Iterable[str], style: str = "") -> str:
    """A whole document; `title` is plain text, `body` HTML, `style` what this page adds."""
    inner = "\n".join(filter(None, body))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{style}</style>\n</head>\n<body>\n"
        f"<main>\n{inner}\n</main>\n</body>\n</html>\n"
    )


def text(given: str, longest: int = LONGEST) -> str:
    """Plain text as HTML: cut if it is very long, without characters that only control."""
    cut = given if len(given) <= longest else f"{given[: longest - 1]}…"
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in {"Cc", "Cs"} else one
        for one in cut
    )
    return html.escape(shown)


def name(given: str, longest: int = LONGEST) -> str:
    """A name from outside; what is written from right to left stays inside it."""
    return f"<bdi>{text(given, longest) or '(empty)'}</bdi>"


def section(title: str, *parts: str) -> str:
    """A part of the page, which a link finds as `#title-in-small-letters`; `title` is our own."""
    place = re.sub(r"\W+", "-", title.lower()).strip("-")
    head = f'<section aria-labelledby="{place}">\n<h2 id="{place}">{title}</h2>'
    return "\n".join([head, *filter(None, parts), "</section>"])


def paragraph(sentence: str, css: str = "") -> str:
    """A sentence of plain text."""
    return (
        f'<p class="{css}">{text(sentence, 4000)}</p>' if css else f"<p>{text(sentence, 4000)}</p>"
    )


def items(sentences: Iterable[str]) -> str:
    """A list of sentences of plain text."""
    return "<ul>" + "".join(f"<li>{text(one)}</li>" for one in sentences) + "</ul>"


def figures(shown: Iterable[tuple[str, str, str]]) -> str:
    """Large figures: what it is, the figure, and a word on it; all plain text."""
    parts = "".join(
        f"<div><dt>{text(what)}</dt><dd>{text(figure)}<small>{text(remark)}</small></dd></div>"
        for what, figure, remark in shown
    )
    return f'<dl class="figures">{parts}</dl>'


def described(told: dict[str, str]) -> str:
    """Terms and what they are, as plain text; what is empty is left out."""
    known = ((term.replace("_", " "), value) for term, value in told.items() if value)
    parts = (f"<dt>{text(term)}</dt><dd>{text(value)}</dd>" for term, value in known)
    return "<dl>" + "".join(parts) + "</dl>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column names its row; cells are HTML. A header that ends in `>` is that
    of figures. One that is wider than the screen is moved by itself, with the keyboard, too."""
    classes = [' class="number"' if one.endswith(">") else "" for one in header]
    head = "".join(
        f'<th scope="col"{css}>{one.rstrip(">")}</th>'
        for one, css in zip(header, classes, strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row"{classes[0]}>{first}</th>'
        + "".join(f"<td{css}>{cell}</td>" for cell, css in zip(rest, classes[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    return scrolled(
        f"<table>\n<caption>{caption}</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>",
        re.sub(r"<[^>]*>", "", caption),
    )


def scrolled(inner: str, what: str) -> str:
    """What may be wider than the screen; `what` is HTML without tags."""
    return f'<div class="scroll" role="region" aria-label="{what}" tabindex="0">{inner}</div>'


def folded(summary: str, inner: str) -> str:
    """What is there for those who open it; `summary` is plain text."""
    return f"<details><summary>{text(summary)}</summary>{inner}</details>"
