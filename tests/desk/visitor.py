"""Somebody at the desk: a client that behaves as a browser on this machine does."""

from __future__ import annotations

import re
from typing import Any

import httpx2
from starlette.testclient import TestClient

from pipelines.aws import Aws
from pipelines.desk.app import create_app

ORIGIN = "http://127.0.0.1:8642"
TOKEN = "a-token-of-the-tests"


def stranger(aws: Aws, explain: Any = None) -> TestClient:
    """A browser that has not been given the address."""
    app = create_app(aws, TOKEN, explain)
    return TestClient(app, base_url=ORIGIN, follow_redirects=False)


class Visitor:
    """A browser that has opened the printed address."""

    def __init__(self, aws: Aws, explain: Any = None) -> None:
        self.client = stranger(aws, explain)
        self.client.get(f"/?token={TOKEN}")

    def get(self, path: str) -> httpx2.Response:
        return self.client.get(path)

    def read(self, path: str) -> str:
        """A page that is there, as its text."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    @property
    def secret(self) -> str:
        """That of our forms, from a page that has one."""
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.read("/try"))
        assert found
        return found[1]

    def post(self, path: str, **fields: str) -> httpx2.Response:
        """Sends a form of one of our pages."""
        return self.client.post(
            path, data={"csrf": self.secret, **fields}, headers={"Origin": ORIGIN}
        )

    def put(self, name: str, content: Any) -> httpx2.Response:
        """Sends a file as the drop zone does."""
        headers = {"Origin": ORIGIN, "X-CSRF-Token": self.secret, "Accept": "application/json"}
        return self.client.put("/uploads", params={"name": name}, content=content, headers=headers)


def sentence(answer: httpx2.Response) -> str:
    """The error that a page tells, in one line."""
    found = re.search(r'role="alert" data-testid="error">(.*?)</p>', answer.text, re.S)
    assert found, answer.text
    assert "\n" not in found[1]
    return found[1]
