"""Who is let in, and what every answer carries."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest
from starlette.routing import Route
from starlette.testclient import TestClient

from pipelines.desk.app import create_app
from pipelines.desk.security import HEADERS, Secrets
from tests.desk.visitor import ORIGIN, TOKEN, Visitor, stranger
from tests.pipelines.deployment import Deployment

PAGES = ("/", "/runs", "/models", "/uploads", "/try")


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, dict(attrs)))


def routes(deployment: Deployment) -> list[tuple[str, str]]:
    """Everything that changes something: method and path."""
    app = create_app(deployment.aws, TOKEN, None)
    values = {"{version:int}": "1", "{execution}": "abc", "{upload}": "f" * 32, "{name}": "x"}
    found = []
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path
        for name, value in values.items():
            path = path.replace(name, value)
        found += [(method, path) for method in route.methods or () if method in ("POST", "PUT")]
    assert len(found) > 6
    return found


@pytest.mark.parametrize("path", PAGES)
def test_without_the_token_no_page_is_shown(deployment: Deployment, path: str) -> None:
    answer = stranger(deployment.aws).get(path)
    assert answer.status_code == 403
    assert "`claimflow desk` has printed" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "é\ud800"])
def test_a_wrong_token_opens_nothing(deployment: Deployment, token: str) -> None:
    client = stranger(deployment.aws)
    answer = client.get("/?token=" + token.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert client.get("/models").status_code == 403


def test_the_token_becomes_a_cookie_that_other_sites_and_scripts_do_not_get(
    deployment: Deployment,
) -> None:
    client = stranger(deployment.aws)
    answer = client.get(f"/?token={TOKEN}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert TOKEN not in cookie
    assert client.get("/models").status_code == 200


def test_a_ticket_opens_the_desk_once(deployment: Deployment) -> None:
    app = create_app(deployment.aws, TOKEN, None)
    first = TestClient(app, base_url=ORIGIN, follow_redirects=False)
    ticket = app.state.desk.secrets.ticket()
    assert first.get(f"/?token={ticket}").status_code == 303
    assert first.get("/models").status_code == 200
    second = TestClient(app, base_url=ORIGIN, follow_redirects=False)
    assert second.get(f"/?token={ticket}").status_code == 403


def test_a_ticket_is_good_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = Secrets(TOKEN)
    tickets = [secrets.ticket(), secrets.ticket()]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 59)
    assert secrets.opens(tickets[0])
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert not secrets.opens(tickets[1])
    assert secrets.opens(TOKEN)


def test_a_cookie_of_another_desk_opens_nothing(deployment: Deployment) -> None:
    other = Secrets("another token")
    client = stranger(deployment.aws)
    client.cookies.set(other.cookie, other.session)
    client.cookies.set(Secrets(TOKEN).cookie, other.session)
    assert client.get("/").status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8642", "10.0.0.1", "", "[::2]"]
)
def test_under_another_name_nothing_is_answered(deployment: Deployment, host: str) -> None:
    client = Visitor(deployment.aws).client
    for path in ("/", f"/?token={TOKEN}", "/static/desk.js"):
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("host", ["127.0.0.1:9000", "localhost:8642", "LOCALHOST", "[::1]:1"])
def test_the_names_of_this_machine_are_ours_also_through_a_tunnel(
    deployment: Deployment, host: str
) -> None:
    assert stranger(deployment.aws).get("/static/desk.css", headers={"Host": host}).is_success


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "http://127.0.0.1:5000", "https://127.0.0.1"]
)
def test_what_another_page_sends_is_refused_whatever_it_is(
    deployment: Deployment, origin: str | None
) -> None:
    visitor = Visitor(deployment.aws)
    headers = {"X-CSRF-Token": visitor.secret, **({"Origin": origin} if origin else {})}
    for method, path in routes(deployment):
        data = {"csrf": visitor.secret, "why": "x", "text": "x"}
        answer = visitor.client.request(method, path, data=data, headers=headers)
        assert answer.status_code == 403, path


@pytest.mark.parametrize("secret", [None, "", "0" * 64, TOKEN])
def test_without_the_secret_of_our_forms_nothing_is_changed(
    deployment: Deployment, secret: str | None
) -> None:
    deployment.register("PendingManualApproval")
    visitor = Visitor(deployment.aws)
    headers = {"Origin": ORIGIN, **({} if secret is None else {"X-CSRF-Token": secret})}
    for method, path in routes(deployment):
        data = {"why": "x", "text": "x", **({} if secret is None else {"csrf": secret})}
        answer = visitor.client.request(method, path, data=data, headers=headers)
        assert answer.status_code == 403, path
    forged = {"files": {"file": ("a.csv", b"text\na\n")}, "headers": headers}
    assert visitor.client.post("/uploads", **forged).status_code == 403
    assert "waits for a decision" in visitor.read("/models/1")
    assert "No file has arrived" in visitor.read("/uploads")


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/static/desk.js", f"/?token={TOKEN}"])
@pytest.mark.parametrize("enter", [Visitor, stranger])
def test_every_answer_keeps_scripts_frames_and_caches_out(
    deployment: Deployment, path: str, enter: Callable[..., Any]
) -> None:
    found = enter(deployment.aws)
    answer = (found.client if isinstance(found, Visitor) else found).get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"


def test_a_mistake_of_the_desk_keeps_them_out_too(
    deployment: Deployment,
) -> None:
    def fail(_model: Any, _text: str) -> Any:
        raise RuntimeError

    deployment.register()
    answer = Visitor(deployment.aws, fail).post("/try", text="smoke")
    assert answer.status_code == 500
    for name, value in HEADERS.items():
        assert answer.headers[name] == value


def test_pages_have_no_script_and_no_style_of_their_own(deployment: Deployment) -> None:
    deployment.register("PendingManualApproval")
    deployment.upload()
    visitor = Visitor(deployment.aws)
    for path in (*PAGES, "/models/1"):
        found = Elements()
        found.feed(visitor.read(path))
        names = {name for _, attributes in found.all for name in attributes}
        assert not [name for name in names if name == "style" or name.startswith("on")]
        assert [one["src"] for tag, one in found.all if tag == "script"] == ["/static/desk.js"]
        assert "style" not in {tag for tag, _ in found.all}


@pytest.mark.parametrize("path", ["/static/nothing", "/static/", "/favicon.ico"])
def test_a_page_that_a_stranger_gets_tells_nothing_of_the_deployment(
    deployment: Deployment, path: str
) -> None:
    answer = stranger(deployment.aws).get(path)
    assert answer.status_code == 403
    assert deployment.aws.given.prefix not in answer.text
    assert deployment.aws.given.region not in answer.text


@pytest.mark.parametrize("name", ["../app.py", "..%2fapp.py", "app.py", "desk.css/", "%00", ""])
def test_only_the_files_for_pages_are_served(deployment: Deployment, name: str) -> None:
    answer = Visitor(deployment.aws).get(f"/static/{name}")
    assert answer.status_code in (403, 404)
    assert "create_app" not in answer.text


def test_the_log_has_a_line_for_each_request_and_no_values(
    deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    def explain(_model: str, text: str) -> Any:
        raise RuntimeError(f"about {text}")

    deployment.register("Approved")
    visitor = Visitor(deployment.aws, explain)
    with caplog.at_level(logging.INFO):
        visitor.get("/models/1")
        visitor.get("/uploads/a-name-of-somebody")
        answer = visitor.post("/try", text="smoke from the dryer")
        visitor.put("name-of-somebody.csv", b"text\na\n")
    assert answer.status_code == 500
    assert "Something is wrong" in answer.text
    lines = [one.getMessage() for one in caplog.records if one.name == "claimflow.desk"]
    assert any(line.startswith("GET /models/{version:int} 200 ") for line in lines)
    assert any(line.startswith("GET /uploads/{upload} 404 ") for line in lines)
    assert any(line.startswith("POST /try 500 ") for line in lines)
    assert any(line.startswith("RuntimeError at ") for line in lines)
    of_the_test = ("werkzeug", "httpx2")  # AWS's stand-in and the browser's
    ours = [one.getMessage() for one in caplog.records if one.name not in of_the_test]
    for word in ("smoke", "dryer", "somebody", TOKEN, visitor.secret):
        assert word not in "\n".join(ours)
