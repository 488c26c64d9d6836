"""The overview: what needs doing, and what goes on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pipelines.aws import Aws
from pipelines.control import Control
from pipelines.desk.pages import desk, page
from pipelines.desk.registry import Registry, read_registry
from pipelines.errors import UserError
from pipelines.execution_status import ExecutionStatus


@dataclass(frozen=True)
class _Newest:
    """The newest run; without one, why there is none."""

    status: ExecutionStatus | None
    started: datetime | None = None
    why: str = ""


def overview(request: Request) -> Response:
    aws = desk(request).aws
    with ThreadPoolExecutor(3) as pool:
        run = pool.submit(_newest_run, aws)
        registry = pool.submit(_registry, aws)
        states = pool.submit(desk(request).newest.states, aws, is_live=False)
    return page(
        request,
        "home.html",
        run=run.result(),
        registry=registry.result(),
        states=states.result(),
        failed=[one for one in states.result() if one.state in ("failed", "unreadable")],
    )


def live(request: Request) -> Response:
    """The part of the overview that changes by itself."""
    aws = desk(request).aws
    states = desk(request).newest.states(aws, is_live=True)
    return page(request, "_now.html", run=_newest_run(aws), states=states)


def _newest_run(aws: Aws) -> _Newest:
    control = Control(aws)
    try:
        newest = control.executions(1)
    except UserError as error:  # there is no pipeline yet
        return _Newest(None, why=str(error))
    if not newest:
        return _Newest(None, why="Nothing has been trained yet.")
    status = control.status(newest[0]["PipelineExecutionArn"])
    return _Newest(status, newest[0]["StartTime"])


def _registry(aws: Aws) -> Registry | str:
    """What is registered, or why that cannot be told: the rest does not depend on it."""
    try:
        return read_registry(aws, 10)
    except UserError as error:
        return str(error)


ROUTES = [Route("/", overview), Route("/live/overview", live)]
