"""Who may use the desk: whoever has the token, in a browser on this machine, on our own pages.

- The token in the printed address becomes a cookie, which other sites' requests do not carry. A
  browser that we start is given a ticket instead, which is good once: others see its arguments.
- The host's name must be that of this machine: else a stranger's domain that has been pointed at it
  (DNS rebinding) would be our own page to the browser.
- What changes something must come from our own page (`Origin`), and out of one of its forms, which
  hold a second secret: a cookie is also sent from other ports of this machine.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from collections.abc import Callable, Collection

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")  # their ports differ where a tunnel leads here
SAFE_METHODS = ("GET", "HEAD")
TICKET_LASTS = 60.0  # seconds
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# For pages that bring their style along and have no script: reports and model cards.
DOCUMENT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with "no-referrer" our own forms would have no Origin
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_UNKNOWN = (
    "This page opens with the address that `claimflow desk` has printed: copy the whole of it, "
    "with its token."
)
_WRONG_HOST = "This page answers only under the name of this machine, such as 127.0.0.1."
_FORGED = "The request does not come from a page of this desk: open the desk and try again there."


class Secrets:
    """The token, and what follows from it."""

    def __init__(self, token: str) -> None:
        self._token = token
        # Browsers share cookies among the ports of a machine: each desk has a name of its own.
        self.cookie = f"claimflow-desk-{self._derived('name')[:8]}"
        self.session = self._derived("session")
        self.form = self._derived("form")
        self._tickets: dict[str, float] = {}  # until when each is good

    def ticket(self) -> str:
        """What opens the desk as the token does, but once, and for a minute."""
        made = secrets.token_urlsafe(32)
        self._tickets[made] = time.monotonic() + TICKET_LASTS
        return made

    def opens(self, given: str) -> bool:
        """Whether it is the token or a ticket, which is used up by that."""
        until = self._tickets.pop(given, 0.0)
        return time.monotonic() < until or _same(given, self._token)

    def is_session(self, given: str) -> bool:
        return _same(given, self.session)

    def is_form(self, given: str) -> bool:
        return _same(given, self.form)

    def _derived(self, purpose: str) -> str:
        return hmac.new(self._token.encode(), purpose.encode(), "sha256").hexdigest()


class Guard:
    """Lets nobody else in, and puts the headers on every answer."""

    def __init__(
        self,
        app: ASGIApp,
        secrets: Secrets,
        refusal: Callable[[int, str, str], Response],
        open_paths: Collection[str],
    ) -> None:
        """`refusal` makes a page of a status, a title and a sentence; `open_paths` are for all."""
        self._app, self._secrets, self._refusal = app, secrets, refusal
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # nobody is answered who asks for another protocol

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self._answer(Request(scope)) or self._app
        await answer(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        """What is answered instead of a page, None for who may pass."""
        host = request.headers.get("host", "")
        if re.sub(r":\d{1,5}$", "", host).lower() not in HOSTS:
            return self._refusal(403, "Not under this name", _WRONG_HOST)
        if request.method in SAFE_METHODS and request.url.path in self._open_paths:
            return None  # the style of the page that refuses; it holds nothing of anybody
        given = request.query_params.get("token")
        if request.url.path == "/" and given is not None:
            if not self._secrets.opens(given):
                return self._refusal(403, "The token is not right", _UNKNOWN)
            answer = RedirectResponse("/", 303)
            answer.set_cookie(
                self._secrets.cookie, self._secrets.session, httponly=True, samesite="strict"
            )
            return answer
        if not self._secrets.is_session(request.cookies.get(self._secrets.cookie, "")):
            return self._refusal(403, "The token is missing", _UNKNOWN)
        if request.method not in SAFE_METHODS and not self._is_our_page(request, host):
            return self._refusal(403, "Refused", _FORGED)
        return None

    @staticmethod
    def _is_our_page(request: Request, host: str) -> bool:
        return request.headers.get("origin") == f"http://{host}"


def forged(page: Callable[[int, str, str], Response]) -> Response:
    """The answer to a request without the secret of our forms."""
    return page(403, "Refused", _FORGED)


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
