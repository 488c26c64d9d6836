"""A line for each request: method, path as the routes have it, status, milliseconds. No values: an
address may hold a name, a body the text of a claim."""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
from collections.abc import Callable, Sequence

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.desk.security import HEADERS

LOG = logging.getLogger("claimflow.desk")
_FRAMES = 4  # of the call that broke, from the innermost on
_BROKEN = "The desk has made a mistake: its terminal tells where. Try again, or start it anew."
_CLOSED = "Start it anew with `claimflow desk`."


class AccessLog:
    """Logs every request; what an application did not catch becomes a page, and a line without the
    error's message."""

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[BaseRoute],
        refusal: Callable[[int, str, str], Response],
    ) -> None:
        self._app, self._routes, self._refusal = app, routes, refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
            places = " < ".join(f"{one.filename}:{one.lineno}" for one in reversed(frames))
            LOG.error("%s at %s", type(error).__name__, places)
            if not status:  # else the answer is cut short, and the browser sees that
                await self._refuse(500, "Something is wrong", _BROKEN)(scope, receive, noting)
        except asyncio.CancelledError:  # the server gives up what is under way at its end
            if not status:
                await self._refuse(503, "The desk is closed", _CLOSED)(scope, receive, noting)
        finally:
            milliseconds = 1000 * (time.monotonic() - began)
            LOG.info(
                "%s %s %d %.0f ms", scope["method"], self._template(scope), status, milliseconds
            )

    def _refuse(self, status: int, title: str, sentence: str) -> Response:
        answer = self._refusal(status, title, sentence)
        answer.headers.update(HEADERS)  # whoever else puts them there stands further in
        return answer

    def _template(self, scope: Scope) -> str:
        for route in self._routes:
            if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE:
                return route.path
        return "(no such page)"
