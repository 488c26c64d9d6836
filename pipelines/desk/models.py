"""The registered models: side by side, one of them, its card, and the decisions on it."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pipelines.aws import Aws
from pipelines.desk.forms import Form, with_form
from pipelines.desk.pages import desk, document, page
from pipelines.desk.registry import read_entry, read_registry
from pipelines.errors import NotThereError, UserError
from pipelines.registry.card_page import page as card_page
from pipelines.registry.models import Models

MOST = 30
NO_REASON = "Say why in a few words: the reason is kept for the others."


def models(request: Request, error: str = "", why: str = "") -> Response:
    aws = desk(request).aws
    return page(
        request,
        "models.html",
        400 if error else 200,
        registry=read_registry(aws, MOST),
        decisions=Models(aws).history()[:MOST],
        error=error,
        why=why,
    )


def model(request: Request, error: str = "", why: str = "") -> Response:
    aws, version = desk(request).aws, request.path_params["version"]
    known = Models(aws)
    found = known.show(version)
    entry = read_entry(aws, found)
    return page(
        request,
        "model.html",
        400 if error else 200,
        model=found,
        entry=entry,
        registry=read_registry(aws, 0),
        execution=(found.metadata or {}).get("execution", "").rpartition("/")[2],
        decisions=[one for one in known.history() if one.version == version],
        error=error,
        why=why,
    )


def card(request: Request) -> Response:
    aws = desk(request).aws
    found = Models(aws).lineage(request.path_params["version"])
    return document(card_page(found, aws.settings.model_package_group))


def approve(aws: Aws, version: int, why: str) -> None:
    Models(aws).decide(version, True, why)


def reject(aws: Aws, version: int, why: str) -> None:
    Models(aws).decide(version, False, why)


def roll_back(aws: Aws, version: int, why: str) -> None:
    Models(aws).roll_back(version, why)


def deciding(decide: Callable[[Aws, int, str], None]) -> Callable[[Request, Form], Response]:
    """Decides on a version; what cannot be is told on its page, with the reason as it was typed."""

    def endpoint(request: Request, form: Form) -> Response:
        version, why = request.path_params["version"], form.get("why", "")
        if not why.strip():
            return model(request, NO_REASON)
        try:
            decide(desk(request).aws, version, why)
        except NotThereError:
            raise
        except UserError as error:
            return model(request, str(error), why)
        return RedirectResponse(f"/models/{version}", 303)

    return endpoint


def lift(request: Request, form: Form) -> Response:
    """Ends a rollback: the newest approved version predicts again."""
    if not form.get("why", "").strip():
        return models(request, NO_REASON)
    Models(desk(request).aws).lift(form["why"])
    return RedirectResponse("/models", 303)


ROUTES = [
    Route("/models", models),
    Route("/models/lift", with_form(lift), methods=["POST"]),
    Route("/models/{version:int}", model),
    Route("/models/{version:int}/card", card),
    Route("/models/{version:int}/approve", with_form(deciding(approve)), methods=["POST"]),
    Route("/models/{version:int}/reject", with_form(deciding(reject)), methods=["POST"]),
    Route("/models/{version:int}/rollback", with_form(deciding(roll_back)), methods=["POST"]),
]
