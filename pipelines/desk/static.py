"""Style and script. The palette and the base are those of the reports: the same product."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pipelines.desk.pages import FOLDER
from pipelines.page import STYLE

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NAMES = ("desk.css", "desk.js", "icon.svg")
PATHS = tuple(f"/static/{name}" for name in ("base.css", *_NAMES))


def file(request: Request) -> Response:
    """One of the files that there are."""
    name = request.path_params["name"]
    if name == "base.css":
        return Response(STYLE, media_type="text/css")
    if name not in _NAMES:
        raise HTTPException(404)
    path = FOLDER / "static" / name
    return Response(path.read_bytes(), media_type=_TYPES[path.suffix])


def icon(_request: Request) -> Response:
    """What a browser asks for where a document names no icon: reports and cards."""
    return Response((FOLDER / "static" / "icon.svg").read_bytes(), media_type=_TYPES[".svg"])
