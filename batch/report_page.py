"""The look of the report: page, tables, bars and histogram as HTML that needs nothing beside it.

Everything that comes from outside goes through `text`, and the page's own content security policy
lets nothing but its style in: no script, no image, no network.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence

LONGEST = 160  # characters of a name that are shown

_ANCHORS = ("start", "middle", "middle", "middle", "end")
_STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1d2733;--soft:#5b6773;--line:#dfe4e9;
--bar:#3f74a3;--track:#eef1f4;--look:#fbf0d9;--edge:#9a6a00}
@media(prefers-color-scheme:dark){:root{--paper:#14191f;--ink:#e4e9ee;--soft:#9aa7b4;--line:#2c353f;
--bar:#7fb0db;--track:#222a33;--look:#3a2f16;--edge:#e0b04c}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 3rem;max-width:54rem;background:var(--paper);
color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{margin:0 0 .4rem;font-size:1.6rem;line-height:1.25;font-weight:650}
h2{margin:2.6rem 0 .5rem;font-size:1.12rem;font-weight:650}
p{margin:.5rem 0;max-width:44rem}
a{color:var(--bar)}
.soft,caption,footer{color:var(--soft)}
.lead{font-size:1.08rem}
.note{padding:.7rem 1rem;border-left:4px solid var(--edge);background:var(--look)}
.figures{display:flex;flex-wrap:wrap;gap:1rem 2.5rem;margin:1.6rem 0 0;padding:1.1rem 0;
border:solid var(--line);border-width:1px 0}
.figures div{flex:1 1 8rem}
.figures dt{color:var(--soft);font-size:.9rem}
.figures dd{margin:0;font-size:1.7rem;font-weight:600;line-height:1.3}
.figures small{display:block;color:var(--soft);font-size:.85rem;font-weight:400}
table{width:100%;margin:.6rem 0;border-collapse:collapse;font-size:.95rem}
caption{padding-bottom:.4rem;text-align:left;font-size:.9rem}
th,td{padding:.38rem .75rem .38rem 0;border-bottom:1px solid var(--line);text-align:left;
vertical-align:top;font-weight:400}
thead th{color:var(--soft);font-size:.85rem;vertical-align:bottom}
th:last-child,td:last-child{padding-right:0}
.number{text-align:right;white-space:nowrap}
.number+.number{padding-left:.75rem}
.plain .number:first-child{width:5.5rem;padding-right:1.5rem}
.bars th{width:42%}.bars .number{width:1%}
.bars .bar{width:34%;padding-top:.85rem}
svg{display:block;width:100%;overflow:visible}
figure{margin:1rem 0}
footer{margin-top:3rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.85rem}
footer dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1.25rem;margin:.5rem 0}
footer dd{margin:0}
@media(max-width:34rem){body{padding-top:1.5rem}.bars .bar{width:22%}
footer dl{display:block}footer dd{margin-bottom:.4rem}}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--bar:#3f74a3;
--track:#eee;--look:#fbf0d9;--edge:#9a6a00}body{max-width:none;padding:0;font-size:10pt}
tr,figure,.figures,.note{break-inside:avoid}h2,caption{break-after:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole document; `title` is plain text, `body` HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def text(given: str, longest: int = LONGEST) -> str:
    """Plain text as HTML: cut in the middle if too long, without characters that only control."""
    if len(given) > longest:
        half = (longest - 1) // 2
        given = f"{given[:half]}…{given[-half:]}"
    shown = "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(one) in {"Cc", "Cs"} else one
        for one in given
    )
    return html.escape(shown)


def name(given: str, longest: int = LONGEST) -> str:
    """A name from outside; what is written from right to left stays inside it."""
    return f"<bdi>{text(given, longest) or '(empty)'}</bdi>"


def section(title: str, *parts: str) -> str:
    return "\n".join(["<section>", f"<h2>{title}</h2>", *filter(None, parts), "</section>"])


def figures(shown: Sequence[tuple[str, str, str]]) -> str:
    """Large figures: what it is, the figure, and a word on it."""
    items = "".join(
        f"<div><dt>{what}</dt><dd>{figure}<small>{remark}</small></dd></div>"
        for what, figure, remark in shown
    )
    return f'<dl class="figures">{items}</dl>'


def described(items: Iterable[tuple[str, str]]) -> str:
    """Terms and what they are; both are HTML."""
    return "<dl>" + "".join(f"<dt>{term}</dt><dd>{what}</dd>" for term, what in items) + "</dl>"


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], css: str = "") -> str:
    """A table whose first column names its row; cells are HTML.

    A header that ends in `>` is that of a column of figures, an empty one that of bars.
    """
    kinds = ["number" if one.endswith(">") else "" if one else "bar" for one in header]
    classes = [f' class="{kind}"' if kind else "" for kind in kinds]
    head = "".join(
        f'<th scope="col"{kind}>{one.rstrip(">")}</th>' if one else f"<td{kind}></td>"
        for one, kind in zip(header, classes, strict=True)
    )
    body = "\n".join(
        f'<tr><th scope="row"{classes[0]}>{first}</th>'
        + "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(rest, classes[1:], strict=True))
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<table class="{css or "plain"}">\n<caption>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
    )


def bar(part: float) -> str:
    """A bar of a part of its width; the figure stands beside it, so a screen reader skips it."""
    return (
        '<svg height="8" aria-hidden="true" focusable="false">'
        '<rect width="100%" height="8" rx="4" fill="var(--track)"/>'
        f'<rect width="{100 * part:.2f}%" height="8" rx="4" fill="var(--bar)"/></svg>'
    )


def histogram(title: str, told: str, counts: Sequence[int], marked: float, mark: str) -> str:
    """A histogram over [0, 1]; what lies below `marked` is shaded, and `mark` says what that is.

    Positions are percentages of the width: the drawing stretches, its letters do not.
    """
    highest, top, height = max([*counts, 1]), 22, 150
    width = 100 / len(counts)
    bars = "".join(
        f'<rect x="{place * width + 0.15:.2f}%" y="{top + height - drawn:.1f}" '
        f'width="{width - 0.3:.2f}%" height="{drawn:.1f}" fill="var(--bar)"/>'
        for place, count in enumerate(counts)
        if count and (drawn := max(1.5, height * count / highest))
    )
    edge = 100 * min(marked, 1.0)
    shade = (
        f'<rect y="{top}" width="{edge:.2f}%" height="{height}" fill="var(--look)"/>'
        f'<line x1="{edge:.2f}%" x2="{edge:.2f}%" y1="{top - 6}" y2="{top + height}" '
        'stroke="var(--edge)" stroke-width="1.5" stroke-dasharray="4 3"/>'
        if edge > 0
        else ""
    )
    anchor = "end" if edge > 50 else "start"
    letters = f'<text x="{edge:.2f}%" y="{top - 9}" text-anchor="{anchor}">{mark}</text>'
    axis = "".join(
        f'<text x="{tick}%" y="{top + height + 18}" text-anchor="{anchor}">{tick} %</text>'
        for tick, anchor in zip((0, 25, 50, 75, 100), _ANCHORS, strict=True)
    )
    return (
        f'<figure><svg role="img" aria-labelledby="h-title h-told" height="{top + height + 24}">'
        f'<title id="h-title">{title}</title><desc id="h-told">{told}</desc>{shade}{bars}'
        f'<line x2="100%" y1="{top + height}" y2="{top + height}" stroke="var(--line)"/>'
        f'<g fill="var(--soft)" font-size="12">{letters if edge > 0 else ""}{axis}</g>'
        "</svg></figure>"
    )


def in_rows(count: int) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number(count)} {plural(count, 'row', 'rows')}"


def plural(count: int, one: str, more: str) -> str:
    return one if count == 1 else more


def number(count: int) -> str:
    return f"{count:,}"


def percent(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def share(part: int, whole: int) -> str:
    """A share that says 0 or 100 % only where that is exact."""
    if not whole:
        return "\N{EN DASH}"
    shown = 100 * part / whole
    if 0 < part < whole and not 0.05 <= shown < 99.95:
        return (
            "&lt;\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
            if shown < 1
            else ("&gt;\N{NO-BREAK SPACE}99.9\N{NO-BREAK SPACE}%")
        )
    return percent(part / whole)
