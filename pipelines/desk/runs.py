"""Runs of the pipeline: the list, one of them live, its report, and how a new one is asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pipelines.control import Control
from pipelines.desk.forms import Form, with_form
from pipelines.desk.pages import desk, document, page
from pipelines.errors import UserError
from pipelines.report.run import Runs
from pipelines.report.run_page import run_page
from pipelines.retraining import Request as Asked
from pipelines.retraining import Retraining

MOST = 20


def runs(request: Request) -> Response:
    control = Control(desk(request).aws)
    try:
        summaries = control.executions(MOST)
    except UserError as error:  # there is no pipeline yet
        return page(request, "runs.html", rows=[], why=str(error))
    with ThreadPoolExecutor(8) as pool:
        statuses = pool.map(control.status, [one["PipelineExecutionArn"] for one in summaries])
    rows = list(zip([one["StartTime"] for one in summaries], statuses, strict=True))
    return page(request, "runs.html", rows=rows, why="")


def run(request: Request) -> Response:
    return _run(request, "run.html")


def live(request: Request) -> Response:
    """The part of a run's page that changes by itself."""
    return _run(request, "_run.html")


def _run(request: Request, template: str) -> Response:
    control = Control(desk(request).aws)
    status = control.status(control.resolve(request.path_params["execution"]))
    registered = control.registered(status.arn) if status.has_ended else None
    version = int(registered.rpartition("/")[2]) if registered else None
    return page(request, template, status=status, version=version)


def report(request: Request) -> Response:
    """The report, made of what is known now."""
    aws = desk(request).aws
    execution = Control(aws).resolve(request.path_params["execution"])
    return document(run_page(Runs(aws).of(execution)))


def retrain(request: Request, _form: Form) -> Response:
    """Asks for a new run, which begins only where something has changed."""
    decision = Retraining(desk(request).aws).ask(Asked(cause="manual"))
    execution = decision.execution.rpartition("/")[2]
    if decision.outcome == "unchanged":
        return page(request, "retrain.html", decision=decision, execution=execution)
    return RedirectResponse(f"/runs/{execution}", 303)


ROUTES = [
    Route("/runs", runs),
    Route("/runs/{execution}", run),
    Route("/runs/{execution}/report", report),
    Route("/live/runs/{execution}", live),
    Route("/retrain", with_form(retrain), methods=["POST"]),
]
