"""What forms send: read within limits, and believed only with the secret of our own pages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from pipelines.desk.pages import bare_page, desk
from pipelines.desk.security import forged
from pipelines.errors import UserError

FIELD = "csrf"
HEADER = "X-CSRF-Token"
MOST_BYTES = 256 * 1024  # of a form without files
MOST_FIELDS = 20

Form = dict[str, str]


def with_form(
    endpoint: Callable[[Request, Form], Response],
) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that gets its form read and checked, and may take its time."""

    async def read(request: Request) -> Response:
        form = await _fields(request)
        if not desk(request).secrets.is_form(form.get(FIELD, "")):
            return forged(bare_page)
        return await run_in_threadpool(endpoint, request, form)

    return read


async def _fields(request: Request) -> Form:
    body = bytearray()
    async for block in request.stream():
        body += block
        if len(body) > MOST_BYTES:
            raise UserError(
                f"The form holds more than {MOST_BYTES // 1024} KB: shorten the text, or send it "
                "as a file"
            )
    try:
        fields = parse_qsl(
            body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MOST_FIELDS
        )
    except ValueError:
        raise UserError("The form cannot be read: load the page again and fill it in") from None
    return dict(fields)
