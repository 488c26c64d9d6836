"""The desk as the claims team sees it: in a real browser, on a real local cloud.

A run of these tests sends no request to another machine, and no page complains in its console: the
fixtures look.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.desk.conftest import SECONDS, Contexts
from tests.desk.desk_process import VERSION, Desk

Visit = Callable[..., Page]

CLAIMS = "claim_id,text\n" + "".join(
    f"{number},{text}\n"
    for number, text in enumerate(
        (
            "water drips from the pump and the seal is wet",
            "the fuse blows and the wire sparks",
            "it rattles and hums loudly",
        )
    )
)
DROP = """([zone, name, content]) => {
  const given = new DataTransfer();
  given.items.add(new File([content], name, {type: "text/csv"}));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, {dataTransfer: given, bubbles: true, cancelable: true}));
  }
}"""


def file_of_claims(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(CLAIMS, "utf-8")
    return path


def finished(page: Page) -> str:
    """The id of the upload that the page shows, once it is predicted."""
    page.wait_for_url(re.compile(r"/uploads/[0-9a-f]{32}$"))
    links = page.get_by_test_id("files").get_by_role("link")
    expect(links.first).to_be_visible(timeout=2000 * SECONDS)
    return page.url.rpartition("/")[2]


def downloaded(page: Page) -> bytes:
    link = page.get_by_test_id("files").get_by_role("link", name="predictions.csv")
    with page.expect_download() as download:
        link.click()
    assert download.value.suggested_filename == "predictions.csv"
    return Path(download.value.path()).read_bytes()


def focus_by_tab(page: Page, wanted: Locator) -> None:
    """Goes through the page with the keyboard until the element has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("one => one === document.activeElement"):
            return
    pytest.fail(f"the keyboard does not reach {wanted}")


def test_a_file_that_is_dropped_is_predicted_and_can_be_downloaded(
    approved: Desk, visit: Visit
) -> None:
    page = visit()
    zone = page.get_by_test_id("drop-zone")
    page.evaluate(DROP, [zone.element_handle(), "dröpped <claims>.csv", CLAIMS])
    upload = finished(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("dröpped <claims>.csv")
    content = downloaded(page)
    assert content == approved.result(upload, "predictions.csv")
    assert content.decode().count("\n") == CLAIMS.count("\n")


def test_without_javascript_the_plain_form_does_the_same(
    approved: Desk, visit: Visit, tmp_path: Path
) -> None:
    page = visit("/uploads", java_script_enabled=False)
    page.get_by_label("A file of claims").set_input_files(file_of_claims(tmp_path, "plain.csv"))
    page.get_by_role("button", name="Predict").click()
    upload = finished(page)  # the page loads itself anew
    assert downloaded(page) == approved.result(upload, "predictions.csv")


def test_with_the_keyboard_alone_a_file_is_sent(
    approved: Desk, visit: Visit, tmp_path: Path
) -> None:
    page = visit()
    page.on("filechooser", lambda _: None)  # takes a moment to be in force
    focus_by_tab(page, page.get_by_label("A file of claims"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(file_of_claims(tmp_path, "keys.csv"))
    focus_by_tab(page, page.get_by_role("button", name="Predict"))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/uploads/[0-9a-f]{32}$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("keys.csv")


def test_a_file_that_cannot_be_predicted_says_why(approved: Desk, visit: Visit) -> None:
    page = visit()
    zone = page.get_by_test_id("drop-zone")
    page.evaluate(DROP, [zone.element_handle(), "no_text.csv", "number,amount\n1,2\n"])
    expect(page.get_by_test_id("upload-state")).to_contain_text("text")


def test_a_model_is_approved_with_a_reason(pending: Desk, visit: Visit) -> None:
    page = visit()
    page.get_by_test_id("todo").get_by_role("link", name=f"version {VERSION}").click()
    page.get_by_label("Why?").fill("tried on “fifty” <b>claims</b>")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_test_id("approval")).to_contain_text("predicts")
    expect(page.get_by_role("main")).to_contain_text("“tried on “fifty” <b>claims</b>”")
    assert pending.approval() == {
        "status": "Approved",
        "reason": "tried on “fifty” <b>claims</b>",
    }
    assert "tried on “fifty” <b>claims</b>" in [one["why"] for one in pending.decisions()]


def test_without_a_reason_nothing_is_decided(
    pending: Desk, visit: Visit, contexts: Contexts
) -> None:
    page = visit(f"/models/{VERSION}", java_script_enabled=False)
    page.get_by_label("Why?").fill("   ")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_be_visible()
    assert pending.approval()["status"] == "PendingManualApproval"
    contexts.errors.clear()  # the browser's line on the status


def test_with_the_keyboard_alone_a_model_is_approved(pending: Desk, visit: Visit) -> None:
    page = visit(f"/models/{VERSION}")
    focus_by_tab(page, page.get_by_label("Why?"))
    page.keyboard.type("by keyboard")
    focus_by_tab(page, page.get_by_role("button", name="Approve"))
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("approval")).to_contain_text("predicts")
    assert pending.approval() == {"status": "Approved", "reason": "by keyboard"}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"], ids=["same site", "another site"])
@pytest.mark.parametrize("action", [f"/models/{VERSION}/approve", "/retrain", "/uploads"])
def test_a_form_on_the_page_of_another_origin_changes_nothing(
    pending: Desk, contexts: Contexts, visit: Visit, host: str, action: str
) -> None:
    arrived, decided = pending.uploads(), len(pending.decisions())
    page = visit()
    with another_site(forgery(pending.origin + action), host) as address:
        page.goto(address)
        done = page.expect_response(pending.origin + action)
        with page.expect_console_message(), done as answer:
            page.get_by_role("button").click()
        assert answer.value.status == 403
        contexts.strangers.clear()  # the other site's own page
        contexts.errors.clear()  # the browser's line on the status
    assert pending.approval()["status"] == "PendingManualApproval"
    assert (pending.uploads(), len(pending.decisions())) == (arrived, decided)


def test_who_does_not_know_the_address_sees_nothing(desk: Desk, contexts: Contexts) -> None:
    page = contexts.new().new_page()
    answer = page.goto(f"{desk.origin}/models")
    assert answer is not None and answer.status == 403
    expect(page.get_by_role("heading", level=1)).to_have_text("The token is missing")
    contexts.errors.clear()  # the browser's line on the status


def test_a_claim_is_tried_and_its_words_are_shown(approved: Desk, visit: Visit) -> None:
    page = visit("/try")
    claim = "The pump leaks: water drips\nfrom the <seal> & the gasket."
    page.get_by_label("The text of a claim").fill(claim)
    page.get_by_role("button", name="What is it?").click()
    answer = page.get_by_test_id("answer")
    label = page.get_by_test_id("label").inner_text()
    expect(answer.get_by_test_id("marked")).to_have_text(claim)
    assert label in desk_labels(approved)
    assert answer.get_by_test_id("words-for").get_by_role("row").count() > 2
    assert answer.locator("mark.for").count() > 2


def desk_labels(desk: Desk) -> set[str]:
    rows = desk.line.sample.train.read_text("utf-8").splitlines()[1:]
    return {row.rpartition(",")[2] for row in rows}


def test_a_claim_is_tried_without_javascript(approved: Desk, visit: Visit) -> None:
    page = visit("/try", java_script_enabled=False)
    page.get_by_label("The text of a claim").fill("the fuse blows")
    page.get_by_role("button", name="What is it?").click()
    expect(page.get_by_test_id("words-for")).to_be_visible()


def forgery(address: str) -> str:
    return (
        f'<form method="post" action="{address}" enctype="multipart/form-data">'
        '<input name="why" value="forged"><input name="csrf" value="guessed">'
        "<button>Win a prize</button></form>"
    )


@contextmanager
def another_site(content: str, host: str) -> Iterator[str]:
    """The address of a page that somebody else serves."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
