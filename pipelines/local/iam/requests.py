"""Which operation of which service a request to the API calls, and so what it needs allowed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl, unquote

from pipelines.local.aws_json import Request, ServiceError, service_model
from pipelines.local.iam.actions import operation_calls
from pipelines.local.iam.context import Place, in_context
from pipelines.local.iam.objects import object_calls
from pipelines.local.iam.plain import JSON, QUERY, REST
from pipelines.local.iam.policies import Call

_LABEL = re.compile(r"\\\{(\w+)(?:\\\+)?\\\}")  # of an escaped address


@dataclass(frozen=True)
class HttpRequest:
    """What of a request tells its action and resources. Names of headers are in lower case."""

    service: str  # that it is signed for
    method: str
    path: str  # as it was sent
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
        path = unquote(request.path)
        found = object_calls(
            request.method, path, request.query, request.headers, request.read_body
        )
        return [in_context(call, place) for call in found]
    operation, parameters = _operation(request)
    return operation_calls(request.service, operation, parameters, place)


# Which operation a request is.


def _operation(request: HttpRequest) -> tuple[str, Request]:
    """The operation that a request calls, and its parameters."""
    service = request.service
    if service in JSON:
        return request.headers.get("x-amz-target", "").rpartition(".")[2], _document(request)
    if service in QUERY:
        text = request.read_body().decode(errors="replace")
        parameters = dict(parse_qsl(text, keep_blank_values=True))
        return parameters.get("Action", ""), parameters
    if service in REST:
        for method, pattern, operation in _routes(service):
            found = pattern.fullmatch(request.path)
            if found and method == request.method:
                body = {} if operation == "Invoke" else _document(request)
                labels = found.groupdict().items()
                return operation, {**body, **{key: unquote(label) for key, label in labels}}
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
        routes.append((http["method"], re.compile(pattern), name))
    return routes
