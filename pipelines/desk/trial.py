"""A box to try one claim. Its text is neither kept nor logged: it comes in the body of a request,
and goes no further than the process that explains."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.desk.forms import Form, with_form
from pipelines.desk.marked_text import marked
from pipelines.desk.pages import desk, page
from pipelines.errors import UserError
from pipelines.registry.models import Models

if TYPE_CHECKING:
    from pipelines.explanation import Explanation
    from pipelines.registry.models import ModelVersion

LONGEST = 20_000  # characters
MOST_WORDS = 12
NO_MODEL = "No model predicts yet: approve one first."


def form(request: Request) -> Response:
    return _page(request, _predicting(request))


def explain(request: Request, form: Form) -> Response:
    given = form.get("text", "").replace("\r\n", "\n")
    version = _predicting(request)
    if not given.strip():
        return _page(request, version, 400, "Type or paste the text of a claim first.")
    if len(given) > LONGEST:
        told = f"The text has {len(given):,} characters, expected at most {LONGEST:,}: shorten it."
        return _page(request, version, 400, told, given)
    if version is None:
        return _page(request, None, 400, NO_MODEL, given)
    explain = desk(request).explain
    if explain is None:
        return _page(request, version, 503, "Claims cannot be tried on this machine.", given)
    try:
        found = explain(version, given)
    except UserError as error:
        return _page(request, version, 503, str(error), given)
    return _page(request, version, given=given, **_answer(given, found))


def _page(
    request: Request,
    version: ModelVersion | None,
    status: int = 200,
    error: str = "",
    given: str = "",
    **answer: Any,
) -> Response:
    return page(
        request,
        "try.html",
        status,
        version=version,
        error=error or ("" if version else NO_MODEL),
        given=given,
        longest=LONGEST,
        **{"found": None, **answer},
    )


def _answer(given: str, found: Explanation) -> dict[str, Any]:
    """What the page shows of an explanation."""
    weights: dict[str, float] = defaultdict(float)  # of a word that stands there twice the sum
    for word in found.words:
        weights[word.text.lower()] += word.weight
    strongest = sorted(weights.items(), key=lambda one: -abs(one[1]))
    return {
        "found": found,
        "parts": marked(given, found.words),
        "reasons": {
            "for": [one for one in strongest if one[1] > 0][:MOST_WORDS],
            "against": [one for one in strongest if one[1] < 0][:MOST_WORDS],
        },
        "largest": max(map(abs, weights.values()), default=0.0) or 1.0,
        "ranked": sorted(found.probabilities.items(), key=lambda one: -one[1])[:5],
    }


def _predicting(request: Request) -> ModelVersion | None:
    """The version that predicts now: files get the labels of the same one."""
    models = Models(desk(request).aws)
    return models.predicting(models.versions())


ROUTES = [
    Route("/try", form),
    Route("/try", with_form(explain), methods=["POST"]),
]
