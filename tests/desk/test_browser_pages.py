"""Each page of the desk, and the documents that it shows: for everybody, on any screen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from pipelines.cli import FAILED, REJECTED
from tests.desk.conftest import Contexts
from tests.desk.desk_process import VERSION, Desk
from tests.desk.test_browser import CLAIMS, DROP, finished

Visit = Callable[..., Page]

WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
# Where to keep pictures of all pages, for people to look at.
PICTURES = os.environ.get("CLAIMFLOW_PICTURES")
MEASURE = """() => [document.documentElement.scrollWidth, innerWidth]"""


def faults(page: Page, name: str) -> list[str]:
    """What a page has against people who cannot see it well, and where it is too wide."""
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        wide, room = page.evaluate(MEASURE)
        if wide > room:
            found.append(f"at {width} px it is {wide} px wide")
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            for fault in Axe().run(page).response["violations"]:
                if fault["impact"] in ("serious", "critical"):
                    places = [str(node["target"]) for node in fault["nodes"][:5]]
                    found.append(f"{fault['id']} at {width} px, {scheme}: {', '.join(places)}")
            if PICTURES:
                path = Path(PICTURES) / f"{name}-{width}-{scheme}.png"
                page.screenshot(path=path, full_page=True)
    return found


@pytest.fixture(scope="module")
def predicted() -> list[str]:
    """The upload that the pages are looked at with, once one is there."""
    return []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("overview", "/"),
        ("runs", "/runs"),
        ("run", "/runs/{execution}"),
        ("report", "/runs/{execution}/report"),
        ("models", "/models"),
        ("model", f"/models/{VERSION}"),
        ("card", f"/models/{VERSION}/card"),
        ("uploads", "/uploads"),
        ("upload", "/uploads/{upload}"),
        ("predictions-report", "/uploads/{upload}/report"),
        ("try", "/try"),
    ],
)
def test_a_page_is_for_everybody(
    approved: Desk, visit: Visit, predicted: list[str], name: str, path: str
) -> None:
    # The policy of a document lets no script run, not even that which examines it.
    page = visit(bypass_csp=True)
    if "{upload}" in path and not predicted:
        zone = page.get_by_test_id("drop-zone")
        page.evaluate(DROP, [zone.element_handle(), "pages.csv", CLAIMS])
        predicted.append(finished(page))
    execution = approved.execution() if "{execution}" in path else ""
    upload = predicted[0] if predicted else ""
    answer = page.goto(approved.origin + path.format(execution=execution, upload=upload))
    assert answer is not None and answer.ok
    assert not faults(page, name)


@pytest.mark.parametrize(
    ("name", "parameter", "code", "told"),
    [
        ("rejected", "MinAccuracy=1", REJECTED, "missed a bar"),
        ("failed", "TextColumn=nowhere", FAILED, "failed at Validate"),
    ],
)
def test_a_run_that_made_no_model_is_for_everybody(
    desk: Desk, visit: Visit, name: str, parameter: str, code: int, told: str
) -> None:
    execution = desk.line.start("-p", parameter)
    desk.line.json("pipeline", "status", execution, "--watch", code=code)
    page = visit(bypass_csp=True)
    for path in ("", "/report"):
        answer = page.goto(f"{desk.origin}/runs/{execution.rpartition('/')[2]}{path}")
        assert answer is not None and answer.ok
        expect(page.get_by_role("main")).to_contain_text(told)
        assert not faults(page, f"{name}{path.replace('/', '-')}")


def test_the_overview_with_a_decision_to_make_is_for_everybody(pending: Desk, visit: Visit) -> None:
    page = visit()
    expect(page.get_by_test_id("todo")).to_contain_text(f"version {VERSION}")
    assert not faults(page, "overview-pending")
    page.goto(f"{pending.origin}/models/{VERSION}")
    assert not faults(page, "model-pending")


def test_an_answer_is_for_everybody(approved: Desk, visit: Visit) -> None:
    page = visit("/try")
    claim = "The pump leaks: water drips from the seal, and the fuse of the motor has blown twice."
    page.get_by_label("The text of a claim").fill(claim)
    page.get_by_role("button", name="What is it?").click()
    expect(page.get_by_test_id("answer")).to_be_visible()
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true })")
    assert not faults(page, "answer")


@pytest.mark.parametrize(
    ("name", "path", "status"),
    [("missing", "/models/999", 404), ("nowhere", "/nowhere", 404)],
)
def test_an_error_is_for_everybody(
    desk: Desk, visit: Visit, contexts: Contexts, name: str, path: str, status: int
) -> None:
    page = visit()
    answer = page.goto(desk.origin + path)
    assert answer is not None and answer.status == status
    assert not faults(page, name)
    contexts.errors.clear()  # the browser's line on the status


def test_a_refusal_is_for_everybody(desk: Desk, contexts: Contexts) -> None:
    page = contexts.new().new_page()
    page.goto(desk.origin)
    assert not faults(page, "refusal")
    contexts.errors.clear()  # the browser's line on the status


def test_the_file_that_is_on_its_way_says_so_to_those_who_do_not_see(
    approved: Desk, visit: Visit
) -> None:
    page = visit()
    said: list[Any] = []
    page.expose_function("said", lambda line: said.append(line))
    page.evaluate(
        """() => new MutationObserver(() => said(
             document.querySelector("[data-testid=upload-status]").textContent
           )).observe(document.querySelector("[data-testid=upload-status]"), {childList: true})"""
    )
    zone = page.get_by_test_id("drop-zone")
    expect(page.get_by_test_id("upload-status")).to_have_attribute("role", "status")
    page.evaluate(DROP, [zone.element_handle(), "heard.csv", CLAIMS])
    finished(page)
    assert any("heard.csv" in line for line in said)
