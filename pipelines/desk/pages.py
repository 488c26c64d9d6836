"""The pages: templates, what they all show, and how values become words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from pipelines import page as look
from pipelines.aws import Aws
from pipelines.desk import words
from pipelines.desk.newest import Newest
from pipelines.desk.security import DOCUMENT_POLICY, Secrets

if TYPE_CHECKING:
    from pipelines.explanation import Explanation
    from pipelines.registry.models import ModelVersion

    # Why a version of the model gives a text its label.
    Explain = Callable[[ModelVersion, str], Explanation]

FOLDER = Path(__file__).parent
NAVIGATION = {
    "/": "Overview",
    "/runs": "Runs",
    "/models": "Models",
    "/uploads": "Files",
    "/try": "Try a claim",
}


@dataclass(frozen=True)
class Desk:
    """What every page works with."""

    aws: Aws
    secrets: Secrets
    explain: Explain | None
    newest: Newest = field(default_factory=Newest)


def desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


def page(request: Request, name: str, code: int = 200, **told: Any) -> Response:
    """A page from its template."""
    settings = desk(request).aws.given
    html = (
        _templates()
        .get_template(name)
        .render(
            csrf=desk(request).secrets.form,
            navigation=NAVIGATION,
            path=request.url.path,
            deployment=settings.prefix,
            region=settings.region,
            **told,
        )
    )
    return HTMLResponse(html.encode("utf-8", "replace"), code)


def bare_page(status: int, title: str, sentence: str) -> Response:
    """A page for those who may see nothing else."""
    html = _templates().get_template("bare.html").render(title=title, sentence=sentence)
    return HTMLResponse(html, status)


def document(html: str) -> Response:
    """A document that is whole by itself, such as a report: it may bring its style, and no more."""
    return HTMLResponse(
        html.encode("utf-8", "replace"), headers={"Content-Security-Policy": DOCUMENT_POLICY}
    )


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        moment=words.moment,
        since=words.since,
        duration=words.duration,
        size=words.size,
        text=_text,
        name=_name,
        path=lambda given: quote(given, safe=""),
    )
    made.globals.update(
        now=lambda: datetime.now().astimezone(),
        words=words,
    )
    return made


def _text(given: object, longest: int = look.LONGEST) -> Markup:
    """Text from outside, as the reports show it."""
    return Markup(look.text(str(given), longest))  # noqa: S704 - it is escaped there


def _name(given: object, longest: int = look.LONGEST) -> Markup:
    """A name from outside."""
    return Markup(look.name(str(given), longest))  # noqa: S704 - it is escaped there
