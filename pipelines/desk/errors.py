"""What goes wrong, as a page with one sentence: what it was, and what to do."""

from __future__ import annotations

from botocore import exceptions
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from pipelines.aws import readable_errors
from pipelines.desk.pages import desk, page
from pipelines.errors import NotThereError, UserError

_UNREACHABLE = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.TokenRetrievalError,
    exceptions.SSOError,
    exceptions.ConnectionError,
    exceptions.HTTPClientError,
)
_EXPIRED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "UnrecognizedClientException",
    "InvalidAccessKeyId",
    "RequestExpired",
}
_STATUS_TITLES = {404: "There is no such page", 405: "This cannot be done here"}


def user_error(request: Request, error: Exception) -> Response:
    """Something that was named or asked for is not right."""
    is_missing = isinstance(error, NotThereError)
    title = "This is not there" if is_missing else "This cannot be done"
    return answer(request, 404 if is_missing else 400, title, str(error))


def function_error(request: Request, error: Exception) -> Response:
    return answer(request, 502, "This did not work", str(error))


def aws_error(request: Request, error: Exception) -> Response:
    """AWS, or the local cloud, did not do what it was asked for."""
    sentence = readable(error)
    code = ""
    if isinstance(error, exceptions.ClientError):
        code = str(error.response["Error"].get("Code", ""))
    if code in _EXPIRED or isinstance(error, _UNREACHABLE):
        desk(request).aws.forget_credentials()  # the next try finds what was put right meanwhile
        if code:
            sentence += (
                "; set credentials as for the aws command and load this page again, "
                "or start the desk anew"
            )
        return answer(request, 503, "AWS cannot be reached", sentence)
    return answer(request, 502, "AWS did not do this", sentence)


def http_error(request: Request, error: Exception) -> Response:
    """No such page, or not with this method."""
    assert isinstance(error, HTTPException)
    title = _STATUS_TITLES.get(error.status_code, "This cannot be done")
    sentence = "Begin again at the overview."
    return answer(request, error.status_code, title, sentence, error.headers)


def gone(_request: Request, _error: Exception) -> Response:
    """Who asked has left before all was sent: nobody reads the answer, but the log."""
    return Response(status_code=400)


def answer(
    request: Request,
    status: int,
    title: str,
    sentence: str,
    headers: object = None,
) -> Response:
    """The page, or for our own script a document."""
    if request.headers.get("accept") == "application/json":
        return JSONResponse({"error": sentence}, status)
    found = page(request, "error.html", status, title=title, sentence=sentence)
    if isinstance(headers, dict):
        found.headers.update(headers)
    return found


def readable(error: Exception) -> str:
    """An error of AWS or boto3 in one line."""
    try:
        with readable_errors():
            raise error
    except UserError as told:
        return str(told)
