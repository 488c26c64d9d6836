"""The desk as an application: its routes, and what stands around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.routing import Route

from pipelines.aws import Aws
from pipelines.desk import errors, home, models, runs, static, trial, uploads
from pipelines.desk.access_log import AccessLog
from pipelines.desk.pages import Desk, bare_page
from pipelines.desk.security import Guard, Secrets
from pipelines.errors import UserError
from pipelines.retraining import FunctionFailedError

if TYPE_CHECKING:
    from pipelines.desk.pages import Explain


def create_app(aws: Aws, token: str, explain: Explain | None) -> Starlette:
    """The desk of one deployment.

    Parameters
    ----------
    token: who knows it may do what the credentials of `aws` may.
    explain: why a version of the model gives a text its label; raises UserError where it cannot.
        None: nothing here can tell.
    """
    secrets = Secrets(token)
    routes = [*home.ROUTES, *runs.ROUTES, *models.ROUTES, *uploads.ROUTES, *trial.ROUTES]
    routes += [Route("/static/{name}", static.file), Route("/favicon.ico", static.icon)]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(AccessLog, routes=routes, refusal=bare_page),
            Middleware(Guard, secrets=secrets, refusal=bare_page, open_paths=static.PATHS),
        ],
        exception_handlers={
            UserError: errors.user_error,
            FunctionFailedError: errors.function_error,
            ClientError: errors.aws_error,
            BotoCoreError: errors.aws_error,
            Boto3Error: errors.aws_error,
            HTTPException: errors.http_error,
            ClientDisconnect: errors.gone,
        },
    )
    app.router.redirect_slashes = False
    app.state.desk = Desk(aws, secrets, explain)
    return app
