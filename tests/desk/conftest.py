"""What the tests share that use the desk in a real browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.desk.desk_process import Desk, line_with_a_model, open_desk

# Read here: a fixture of the whole session takes all such variables away.
REQUIRED = bool(os.environ.get("CLAIMFLOW_REQUIRE_BROWSER"))
NAMES = ("chromium", "chromium-browser", "google-chrome")
SILENT = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS = 30  # that anything on a page may take on a busy machine


class Contexts:
    """Makes contexts of the browser, and hears all that happens in them."""

    def __init__(self, browser: Browser, origin: str) -> None:
        self._browser, self._origin = browser, origin
        self._made: list[BrowserContext] = []
        self.errors: list[str] = []
        self.strangers: list[str] = []

    def new(self, **options: Any) -> BrowserContext:
        context = self._browser.new_context(**options)
        context.set_default_timeout(SECONDS * 1000)
        context.on("request", self._request)
        context.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self._made.append(context)
        return context

    def close(self) -> None:
        for context in self._made:
            context.close()

    def _request(self, request: Any) -> None:
        if not request.url.startswith((f"{self._origin}/", "data:", "blob:")):
            self.strangers.append(request.url)


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[Desk]:
    """One for all tests: who minds what was decided on its model takes `approved` or `pending`."""
    with line_with_a_model(tmp_path_factory.mktemp("desk")) as line, open_desk(line) as desk:
        yield desk


@pytest.fixture
def approved(desk: Desk) -> Desk:
    desk.set_approval("Approved")
    return desk


@pytest.fixture
def pending(desk: Desk) -> Desk:
    desk.set_approval("PendingManualApproval")
    return desk


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        told = f"no browser: none of {', '.join(NAMES)} is installed (`ci/machine` does it)"
        if REQUIRED:
            pytest.fail(told)
        pytest.skip(told)
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """Ended with the file: while Playwright runs, no other test of its thread can use asyncio."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(SILENT))
        expect.set_options(timeout=SECONDS * 1000)
        yield browser
        browser.close()


@pytest.fixture
def contexts(browser: Browser, desk: Desk) -> Iterator[Contexts]:
    """At the end, no request has left the machine and no page has complained."""
    contexts = Contexts(browser, desk.origin)
    yield contexts
    contexts.close()
    assert not contexts.strangers
    assert not contexts.errors


@pytest.fixture
def visit(contexts: Contexts, desk: Desk) -> Callable[..., Page]:
    """Opens the printed address in a browser of its own, and then a page of the desk."""

    def open_page(path: str = "/", **options: Any) -> Page:
        page = contexts.new(**options).new_page()
        page.goto(desk.address)
        assert page.url == f"{desk.origin}/", "the token stays in the address"
        if path != "/":
            page.goto(desk.origin + path)
        return page

    return open_page
