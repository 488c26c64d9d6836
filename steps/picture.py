"""A confusion matrix as a self-contained SVG."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

_FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_INK, _FAINT, _GRID = "#1f2933", "#616e7c", "#e4e7eb"
_LIGHT, _DARK = (247, 250, 252), (8, 64, 129)
_LONGEST_LABEL = 24  # characters that are shown
_TOP = 64  # height of the heading
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def confusion_svg(
    confusion: npt.NDArray[np.int64], labels: Sequence[str], title: str = "Confusion matrix"
) -> str:
    """A heat map of counts: rows are true labels, columns predicted ones, the colour is the share
    of the row."""
    size = len(labels)
    cell = max(26, min(110, 760 // size))
    font = max(9, min(15, cell // 4))
    shown = [_short(label) for label in labels]
    longest = max(map(len, shown))
    upright = longest * font * 0.62 > cell - 6  # column labels that do not fit lie on their side
    left = 44 + int(longest * font * 0.62)
    below = int(longest * font * 0.62) + 14 if upright else font + 14
    width = max(left + size * cell + 24, 360)
    height = _TOP + size * cell + below + 34
    total = int(confusion.sum())
    right = int(np.trace(confusion))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="{_FONT}" role="img">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="20" y="28" font-size="17" font-weight="600" fill="{_INK}">{_text(title)}</text>',
        f'<text x="20" y="48" font-size="12" fill="{_FAINT}">{right:,} of {total:,} right '
        f"({right / max(1, total):.1%}); colour: share of the row</text>",
    ]
    for row in range(size):
        in_row = int(confusion[row].sum())
        y = _TOP + row * cell
        parts.append(_label(left - 8, y + cell / 2 + font * 0.36, font, "end", labels[row]))
        for column in range(size):
            count = int(confusion[row, column])
            share = count / in_row if in_row else 0.0
            x = left + column * cell
            hint = (
                f"{_text(labels[row])} taken for {_text(labels[column])}: "
                f"{count:,} of {in_row:,} ({share:.1%})"
            )
            parts.append(
                f'<g><title>{hint}</title><rect x="{x}" y="{y}" width="{cell}" height="{cell}" '
                f'fill="{_colour(share)}" stroke="{_GRID}"/>'
                + _count(x + cell / 2, y + cell / 2, cell, font, count, share)
                + "</g>"
            )
    bottom = _TOP + size * cell
    for column in range(size):
        centre = left + column * cell + cell / 2
        if upright:
            label = _label(
                centre + font * 0.36, bottom + 8, font, "end", labels[column], turned=True
            )
        else:
            label = _label(centre, bottom + font + 6, font, "middle", labels[column])
        parts.append(label)
    across = left + size * cell / 2
    down = _TOP + size * cell / 2
    parts += [
        f'<text x="{across:g}" y="{height - 12}" font-size="12" text-anchor="middle" '
        f'fill="{_FAINT}">predicted</text>',
        f'<text transform="translate(20 {down:g}) rotate(-90)" font-size="12" text-anchor="middle" '
        f'fill="{_FAINT}">true</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _count(x: float, y: float, cell: int, font: int, count: int, share: float) -> str:
    """A cell's count; no zeros, so that the eye finds what is there."""
    if not count:
        return ""
    digits = str(count)
    size = min(font, (cell - 4) / (len(digits) * 0.62))
    ink = "#ffffff" if share > 0.5 else _INK
    return (
        f'<text x="{x:g}" y="{y + size * 0.36:.1f}" font-size="{size:.1f}" text-anchor="middle" '
        f'fill="{ink}">{digits}</text>'
    )


def _label(x: float, y: float, font: int, anchor: str, label: str, turned: bool = False) -> str:
    place = (
        f'transform="translate({x:g} {y:g}) rotate(-90)"' if turned else f'x="{x:g}" y="{y:.1f}"'
    )
    return (
        f'<text {place} font-size="{font}" text-anchor="{anchor}" fill="{_INK}">'
        f"<title>{_text(label)}</title>{_text(_short(label))}</text>"
    )


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…"


def _text(text: str) -> str:
    """The text as XML may hold it."""
    return escape(_NOT_XML.sub("\ufffd", text), {'"': "&quot;"})


def _colour(share: float) -> str:
    mixed = (round(a + (b - a) * share) for a, b in zip(_LIGHT, _DARK, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
