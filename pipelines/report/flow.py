"""A pipeline's definition as a graph, drawn with what became of each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.page import text

# Of each state its sign and its colour: no state is told by colour alone.
STATES = {
    "Succeeded": ("✓", "good"),
    "Failed": ("✗", "bad"),
    "Executing": ("…", "bar"),
    "Starting": ("…", "bar"),
    "Stopping": ("■", "edge"),
    "Stopped": ("■", "edge"),
}
_NO_STATE = ("–", "line")
_LETTERS = 18  # of a name that fit into a box


@dataclass(frozen=True)
class Node:
    """A step; `told` is what became of it, in two words or three."""

    name: str
    state: str = ""
    told: str = "did not run"


@dataclass(frozen=True)
class Flow:
    """The steps of a definition in their order, and which of them another one needs."""

    steps: list[str] = field(default_factory=list)
    edges: set[tuple[str, str]] = field(default_factory=set)  # (before, after)

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> Flow:
        """The graph without edges that follow from others.

        Raises
        ------
        KeyError, TypeError
            It is no definition.
        """
        flow = cls()
        for step, condition in _steps(definition["Steps"], ""):
            flow.steps.append(str(step["Name"]))
            arguments = dict(step.get("Arguments", {}))
            if step.get("Type") == "Condition":
                arguments = {"Conditions": arguments.get("Conditions")}
            needs = {*step.get("DependsOn", []), *_references(arguments), condition} - {""}
            flow.edges.update((str(one), flow.steps[-1]) for one in needs)
        known = {edge for edge in flow.edges if edge[0] in flow.steps and edge[0] != edge[1]}
        return cls(flow.steps, _reduced(known))

    def layers(self) -> list[list[str]]:
        """The steps in the order in which they can run: each stands as late as it may."""
        depth = dict.fromkeys(self.steps, 0)
        for _ in self.steps:  # as often as the longest path may be
            for before, after in self.edges:
                depth[after] = max(depth[after], min(depth[before] + 1, len(self.steps)))
        for _ in self.steps:
            for before in self.steps:
                later = [depth[after] for one, after in self.edges if one == before]
                depth[before] = min(later, default=depth[before] + 1) - 1
        rows = {
            place: [one for one in self.steps if depth[one] == place] for place in depth.values()
        }
        return [rows[place] for place in sorted(rows)]


def drawn(flow: Flow, nodes: Mapping[str, Node], wide: bool) -> str:
    """The graph as SVG, from left to right where it is wide, else from top to bottom."""
    layers = flow.layers()
    if not layers:
        return ""
    box, between, beside = ((150, 62), 28, 20) if wide else ((160, 60), 26, 14)
    most = max(map(len, layers))
    along, across = box if wide else box[::-1]
    length = len(layers) * along + (len(layers) - 1) * between
    breadth = most * across + (most - 1) * beside
    place: dict[str, tuple[float, float]] = {}
    for layer, steps in enumerate(layers):
        used = len(steps) * across + (len(steps) - 1) * beside
        for number, step in enumerate(steps):
            at = layer * (along + between), (breadth - used) / 2 + number * (across + beside)
            place[step] = at if wide else at[::-1]
    ident = "flow-wide" if wide else "flow-tall"
    size = (length, breadth) if wide else (breadth, length)
    lines = "".join(_edge(place[a], place[b], box, wide) for a, b in sorted(flow.edges))
    boxes = "".join(_box(nodes.get(one) or Node(one), place[one], box) for one in flow.steps)
    return (
        f'<svg class="{ident}" viewBox="-2 -2 {size[0] + 4:g} {size[1] + 4:g}" role="img" '
        f'aria-labelledby="{ident}-title {ident}-told" width="{size[0] + 4:g}">'
        f'<title id="{ident}-title">The pipeline</title>'
        f'<desc id="{ident}-told">{text(told(flow, nodes), 4000)}</desc>'
        f'<g fill="none" stroke="var(--soft)" stroke-width="1.3">{lines}</g>{boxes}</svg>'
    )


def told(flow: Flow, nodes: Mapping[str, Node]) -> str:
    """The graph in words."""
    sentences = []
    for one in flow.steps:
        node = nodes.get(one) or Node(one)
        needs = sorted(before for before, after in flow.edges if after == one)
        after = f" after {' and '.join(needs)}" if needs else ""
        sentences.append(f"{one}{after}: {node.told}.")
    return " ".join(sentences)


def _box(node: Node, at: tuple[float, float], box: tuple[int, int]) -> str:
    sign, colour = STATES.get(node.state, _NO_STATE)
    x, y = at
    ran = node.state in STATES
    dashes = "" if ran else ' stroke-dasharray="4 3"'
    ink = colour if ran else "soft"
    return (
        f"<g><title>{text(node.name)}: {text(node.told)}</title>"
        f'<rect x="{x:g}" y="{y:g}" width="{box[0]}" height="{box[1]}" rx="8" '
        f'fill="var(--track)" stroke="var(--{colour})" stroke-width="1.5"{dashes}/>'
        f'<text x="{x + 13:g}" y="{y + 26:g}" font-size="14.5" font-weight="600" '
        f'fill="var(--ink)">{text(node.name, _LETTERS)}</text>'
        f'<text x="{x + 13:g}" y="{y + 46:g}" font-size="12.5" fill="var(--{ink})">'
        f"{sign} {text(node.told, 22)}</text></g>"
    )


def _edge(
    before: tuple[float, float], after: tuple[float, float], box: tuple[int, int], wide: bool
) -> str:
    width, height = box
    if wide:
        x, y = before[0] + width, before[1] + height / 2
        u, v = after[0] - 1, after[1] + height / 2
        middle = (x + u) / 2
        path = f"M{x:g} {y:g}C{middle:g} {y:g} {middle:g} {v:g} {u:g} {v:g}"
        return f'<path d="{path}"/><path d="M{u - 5:g} {v - 4:g}L{u:g} {v:g}L{u - 5:g} {v + 4:g}"/>'
    x, y = before[0] + width / 2, before[1] + height
    u, v = after[0] + width / 2, after[1] - 1
    middle = (y + v) / 2
    path = f"M{x:g} {y:g}C{x:g} {middle:g} {u:g} {middle:g} {u:g} {v:g}"
    return f'<path d="{path}"/><path d="M{u - 4:g} {v - 5:g}L{u:g} {v:g}L{u + 4:g} {v - 5:g}"/>'


def _steps(steps: Sequence[Any], condition: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every step, and the condition in whose branch it stands."""
    for step in steps:
        yield step, condition
        if step.get("Type") == "Condition":
            for branch in ("IfSteps", "ElseSteps"):
                yield from _steps(step["Arguments"].get(branch) or [], step["Name"])


def _references(value: Any) -> Iterator[str]:
    """The steps that a value takes something of."""
    if isinstance(value, dict):
        path = value.get("Get")
        if isinstance(path, str) and path.startswith("Steps."):
            yield path.split(".")[1]
        for one in value.values():
            yield from _references(one)
    elif isinstance(value, list):
        for one in value:
            yield from _references(one)


def _reduced(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Without the edges that a longer way stands for."""
    after: dict[str, set[str]] = {}
    for before, one in edges:
        after.setdefault(before, set()).add(one)

    def reached(begin: str) -> set[str]:
        """What comes after the next steps."""
        seen: set[str] = set()
        waiting = [two for one in after.get(begin, ()) for two in after.get(one, ())]
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += after.get(one, ())
        return seen

    return {(before, one) for before, one in edges if one not in reached(before)}
