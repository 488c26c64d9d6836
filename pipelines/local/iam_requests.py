"""Which operation of which service a request to the API calls, and so what it needs allowed."""

from __future__ import annotations

import json
import re
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from pipelines.local.aws_json import Request, ServiceError, service_model
from pipelines.local.iam import Call
from pipelines.local.iam_actions import operation_calls
from pipelines.local.iam_context import Place, in_context
from pipelines.local.iam_objects import object_calls

_LABEL = re.compile(r"\\\{(\w+)(?:\\\+)?\\\}")  # of an escaped address
_REST = ("lambda", "batch")
_QUERY = ("iam", "sts", "sns")
_JSON = ("sagemaker", "sqs", "events", "logs", "kms", "ecr")


@dataclass(frozen=True)
class HttpRequest:
    """What of a request tells its action and resources. Names of headers are in lower case."""

    service: str  # that it is signed for
    method: str
    path: str  # decoded
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    read_body: Callable[[], bytes]


def calls(request: HttpRequest, place: Place) -> list[Call]:
    """What a request needs allowed, all of it.

    Raises
    ------
    ServiceError
        It cannot be named.
    """
    if request.service == "s3":
        found = object_calls(
            request.method, request.path, request.query, request.headers, request.read_body
        )
        return [in_context(call, place) for call in found]
    operation, parameters = _operation(request)
    return operation_calls(request.service, operation, parameters, place)


# Which operation a request is.


def _operation(request: HttpRequest) -> tuple[str, Request]:
    """The operation that a request calls, and its parameters."""
    service = request.service
    if service in _JSON:
        return request.headers.get("x-amz-target", "").rpartition(".")[2], _document(request)
    if service in _QUERY:
        text = request.read_body().decode(errors="replace")
        form = {**request.query, **urllib.parse.parse_qs(text, keep_blank_values=True)}
        parameters = {name: values[0] for name, values in form.items()}
        return parameters.get("Action", ""), parameters
    if service in _REST:
        for method, pattern, operation in _routes(service):
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                body = {} if operation == "Invoke" else _document(request)
                return operation, {**body, **found.groupdict()}
    return f"{request.method} {request.path}", {}


def _document(request: HttpRequest) -> Request:
    try:
        document = json.loads(request.read_body() or b"{}")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The request is no JSON object")
    return document


@cache
def _routes(service: str) -> list[tuple[str, re.Pattern[str], str]]:
    """(method, path, operation) of a service with REST addresses."""
    routes = []
    model = service_model(service)
    for name in model.operation_names:
        http = model.operation_model(name).http
        path = re.escape(http["requestUri"].partition("?")[0].rstrip("/"))
        pattern = _LABEL.sub(r"(?P<\1>[^/]+)", path)
        routes.append((http["method"], re.compile(f"{pattern}/?"), name))
    return routes
