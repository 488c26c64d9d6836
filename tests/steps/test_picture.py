from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.picture import confusion_svg

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)  # noqa: S314 - our own
    return ["".join(t for t in node.itertext()) for node in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("size", [2, 9, 40])
def test_every_count_and_label_is_there_and_inside(size: int) -> None:
    counts = np.arange(1, size * size + 1).reshape(size, size)
    svg = confusion_svg(counts, [f"label {number}" for number in range(size)])
    shown = texts(svg)
    assert set(map(str, counts.ravel())) <= set(shown)
    root = ElementTree.fromstring(svg)  # noqa: S314
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for cell in root.iter(f"{SVG}rect"):
        assert float(cell.get("x", 0)) + float(cell.attrib["width"]) <= width
        assert float(cell.get("y", 0)) + float(cell.attrib["height"]) <= height


def test_colour_is_the_share_of_the_row() -> None:
    svg = confusion_svg(np.array([[5, 5], [500, 500]]), ["a", "b"])
    root = ElementTree.fromstring(svg)  # noqa: S314
    fills = [
        cell.attrib["fill"] for group in root.iter(f"{SVG}g") for cell in group.iter(f"{SVG}rect")
    ]
    assert len(fills) == 4
    assert len(set(fills)) == 1


def test_a_label_without_rows_is_no_error() -> None:
    assert "<svg" in confusion_svg(np.array([[3, 0], [0, 0]]), ["a", "b"])


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec=None), min_size=1), min_size=2, max_size=3))
def test_any_label_makes_well_formed_xml(labels: list[str]) -> None:
    size = len(labels)
    ElementTree.fromstring(confusion_svg(np.eye(size, dtype=np.int64), labels))  # noqa: S314


def test_a_label_cannot_bring_markup() -> None:
    svg = confusion_svg(np.eye(2, dtype=np.int64), ['"/><script>x</script>', "&lt;b"])
    root = ElementTree.fromstring(svg)  # noqa: S314
    assert not list(root.iter(f"{SVG}script"))
    assert any("<script>" in text for text in texts(svg))
