"""The drawings of the report: curves, calibration, intervals. Each as SVG with a text beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.page import text

_WIDTH, _HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 12, 14, 34  # around the field of a chart
_TICKS = 5
_FIELD_X, _FIELD_Y = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name, a colour of the page, dashes, and its points."""

    name: str
    colour: str
    dashes: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Interval:
    """A difference with the ends of its interval."""

    name: str
    value: float
    low: float
    high: float


def curves(ident: str, title: str, told: str, lines: Sequence[Line]) -> str:
    """Figures by epoch; `title` and `told` are plain text."""
    points = [point for line in lines for point in line.points]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high, step = _scale(min(ys), max(ys))
    first, last = min(xs), max(max(xs), min(xs) + 1)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + _FIELD_X * (x - first) / (last - first),
            _TOP + _FIELD_Y * (high - y) / (high - low),
        )

    digits = max(0, -math.floor(math.log10(step)))
    ticks = [low + step * number for number in range(round((high - low) / step) + 1)]
    grid = "".join(_rule(at(first, tick)[1], f"{tick:.{digits}f}") for tick in ticks)
    every = max(1, math.ceil((last - first) / 8))
    numbers = range(int(first), int(last) + 1, every)
    axis = "".join(
        _below(at(number, low)[0], str(number)) for number in numbers if number <= max(xs)
    )
    parts = []
    for line in lines:
        places = [at(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="var(--{line.colour})" '
            f'stroke-width="2" stroke-linejoin="round" stroke-dasharray="{line.dashes}"/>'
        )
        if len(places) <= 40:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="var(--{line.colour})"/>'
                for x, y in places
            ]
    axis += _letters(_LEFT + _FIELD_X / 2, _HEIGHT - 2, "epoch")
    return _figure(ident, title, told, grid + axis + "".join(parts), _key(lines))


def calibration(ident: str, title: str, told: str, bins: Sequence[tuple[float, float, int]]) -> str:
    """How often it is right by how sure it is: (confidence, accuracy, rows) of each bin; a dot's
    area is the share of the rows."""

    def at(x: float, y: float) -> tuple[float, float]:
        return _LEFT + _FIELD_X * x, _TOP + _FIELD_Y * (1 - y)

    ticks = [number / 4 for number in range(_TICKS)]
    grid = "".join(_rule(at(0, tick)[1], f"{tick:.0%}") for tick in ticks)
    axis = "".join(_below(at(tick, 0)[0], f"{tick:.0%}") for tick in ticks)
    axis += _letters(_LEFT + _FIELD_X / 2, _HEIGHT - 2, "confidence")
    (x, y), (u, v) = at(0, 0), at(1, 1)
    ideal = f'<path d="M{x} {y}L{u} {v}" stroke="var(--soft)" stroke-dasharray="4 4"/>'
    most = max(rows for _, _, rows in bins)
    places = [(*at(confidence, accuracy), rows) for confidence, accuracy, rows in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 7.5 * math.sqrt(rows / most):.1f}" '
        'fill="var(--bar)" fill-opacity=".75"/>'
        for x, y, rows in places
    )
    line = f'<polyline points="{path}" fill="none" stroke="var(--bar)" stroke-width="2"/>'
    key = [Line("is right", "bar", "", []), Line("would be exact", "soft", "4 4", [])]
    return _figure(ident, title, told, grid + axis + ideal + line + dots, _key(key))


def intervals(ident: str, title: str, told: str, given: Sequence[Interval]) -> str:
    """Differences with their intervals about zero."""
    reach = max([abs(end) for one in given for end in (one.low, one.high, one.value)] + [0.005])
    reach *= 1.15
    row, top = 46, 8
    height = top + row * len(given) + 22

    def at(value: float) -> float:
        return _WIDTH / 2 * (1 + value / reach)

    parts = [
        f'<path d="M{at(0):g} {top}V{height - 20}" stroke="var(--soft)" stroke-dasharray="4 4"/>',
        _letters(at(0), height - 5, "no difference"),
        _letters(0, height - 5, "← worse", "start"),
        _letters(_WIDTH, height - 5, "better →", "end"),
    ]
    for number, one in enumerate(given):
        y = top + row * number + 30
        parts.append(
            f'<text x="0" y="{y - 14}" font-size="12.5" fill="var(--ink)">{text(one.name)}</text>'
            f'<text x="{_WIDTH}" y="{y - 14}" font-size="12.5" text-anchor="end" '
            f'fill="var(--ink)">{one.value:+.4f} ({one.low:+.4f} to {one.high:+.4f})</text>'
            f'<path d="M{at(one.low):.1f} {y}H{at(one.high):.1f}M{at(one.low):.1f} {y - 5}v10'
            f'M{at(one.high):.1f} {y - 5}v10" stroke="var(--bar)" stroke-width="2" fill="none"/>'
            f'<circle cx="{at(one.value):.1f}" cy="{y}" r="4.5" fill="var(--bar)"/>'
        )
    return _figure(ident, title, told, "".join(parts), "", height)


def _figure(
    ident: str, title: str, told: str, drawn: str, key: str, height: float = _HEIGHT
) -> str:
    return (
        f'<figure class="chart"><figcaption class="soft">{text(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-told"><title id="{ident}-title">{text(title)}'
        f'</title><desc id="{ident}-told">{text(told, 4000)}</desc>{drawn}</svg>{key}</figure>'
    )


def _key(lines: Sequence[Line]) -> str:
    """Which line is which; a screen reader has it from the description."""
    parts = "".join(
        '<span><svg width="26" height="8" viewBox="0 0 26 8">'
        f'<path d="M0 4H26" stroke="var(--{line.colour})" stroke-width="2" '
        f'stroke-dasharray="{line.dashes}"/></svg>{text(line.name)}</span>'
        for line in lines
    )
    return f'<div class="key" aria-hidden="true">{parts}</div>'


def _rule(y: float, told: str) -> str:
    return f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>' + _letters(
        _LEFT - 7, y + 4, told, "end"
    )


def _below(x: float, told: str) -> str:
    return _letters(x, _HEIGHT - _BOTTOM + 16, told)


def _letters(x: float, y: float, told: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="11.5" text-anchor="{anchor}" '
        f'fill="var(--soft)">{told}</text>'
    )


def _scale(low: float, high: float) -> tuple[float, float, float]:
    """Round ends about two values, and a round step between."""
    spread = max(high - low, abs(high) * 0.01, 1e-6)
    raw = spread / (_TICKS - 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * 0.999)
    return math.floor(low / step) * step, math.ceil(max(high, low + spread) / step) * step, step
