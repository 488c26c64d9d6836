"""The front of the local cloud: one HTTP address, and who answers what.

SageMaker, Batch's jobs, Lambda's invocations and event sources are ours; everything else is moto's,
and what moto changes in S3 is written to files before the client gets its answer. Whoever calls as
a role may do what its policies allow.
"""

from __future__ import annotations

import io
import json
import re
import traceback
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from botocore import xform_name

from pipelines.local.access import Access, Caller
from pipelines.local.aws_json import Request, Response, ServiceError, check_request, service_model
from pipelines.local.batch_jobs import BatchJobs
from pipelines.local.event_sources import EventSources
from pipelines.local.functions import Functions
from pipelines.local.iam_context import Place
from pipelines.local.iam_objects import existence_call
from pipelines.local.iam_requests import HttpRequest, calls
from pipelines.local.moto_bridge import ObjectStore, WsgiApplication
from pipelines.local.refusals import identity_of, refusal

HEALTH = "/_claimflow/health"
Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Operation = Callable[[Request], Response]

_CREDENTIAL = re.compile(r"(?:.*Credential=)?([^/]+)/\d+/[^/]+/([a-z0-9-]+)/aws4_request")
_INVOKE = re.compile(r"/2015-03-31/functions/([^/]+)/invocations")
_EVENT_SOURCE = re.compile(r"/2015-03-31/event-source-mappings/?([^/]*)")
_BATCH_JOBS = ("SubmitJob", "DescribeJobs", "ListJobs", "TerminateJob", "CancelJob")


class Gateway:
    """A WSGI application."""

    def __init__(
        self,
        moto: WsgiApplication,
        store: ObjectStore,
        sagemaker: list[Any],
        batch: BatchJobs,
        functions: Functions,
        event_sources: EventSources,
        access: Access,
        place: Place,
        identity: Response,
    ) -> None:
        self._moto = moto
        self._store = store
        self._sagemaker = sagemaker
        self._batch = batch
        self._functions = functions
        self._event_sources = event_sources
        self._access = access
        self._place = place
        self._identity = identity

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if _comes_from_a_page(environ):
            return _refuse(start_response, ServiceError("AccessDenied", "Not for web pages", 403))
        path, (key, service) = _path(environ), _credential(environ)
        if path == HEALTH:
            return _answer(start_response, 200, self._identity)
        caller = self._access.caller(key)
        if caller is None:
            message = "The access key is not that of this local cloud: `claimflow local env`"
            return _refuse(start_response, ServiceError("InvalidClientTokenId", message, 403))
        request = _request(environ, service, path)
        try:
            if caller.role:
                self._access.require(caller, calls(request, self._place))
        except ServiceError as error:
            return refusal(start_response, error, service, environ["REQUEST_METHOD"])
        try:
            if service == "sts" and caller.role and b"GetCallerIdentity" in _body(environ):
                return identity_of(start_response, caller)
            if service == "sagemaker":
                return _answer(start_response, 200, self._call_sagemaker(environ))
            operation = path.removeprefix("/v1/")
            mine = {name.lower(): name for name in _BATCH_JOBS}
            if service == "batch" and operation in mine:
                return _answer(start_response, 200, self._call_batch(mine[operation], environ))
            invoked = _INVOKE.fullmatch(path)
            if service == "lambda" and invoked:
                return self._invoke(environ, start_response, urllib.parse.unquote(invoked.group(1)))
            mapping = _EVENT_SOURCE.fullmatch(path)
            if service == "lambda" and mapping:
                return _answer(start_response, 202, self._event_source(environ, mapping.group(1)))
        except ServiceError as error:
            return _refuse(start_response, error)
        except Exception as error:  # a fault of ours: the server's log has the traceback
            traceback.print_exc()
            fault = ServiceError("InternalFailure", f"The local cloud failed: {error!r}", 500)
            return _refuse(start_response, fault)
        if caller.role and service == "s3" and request.method in ("GET", "HEAD"):
            return self._read_as_role(environ, start_response, caller, path)
        return self._pass_on(environ, start_response, service, path)

    def _call_sagemaker(self, environ: Environ) -> Response:
        name = environ.get("HTTP_X_AMZ_TARGET", "").partition(".")[2]
        method = xform_name(name)
        for service in self._sagemaker:
            operation: Operation | None = getattr(service, method, None)
            if operation is not None and not method.startswith("_"):
                return self._call(operation, "sagemaker", name, environ)
        raise ServiceError("UnknownOperationException", f"The local cloud does not know {name}")

    def _call_batch(self, name: str, environ: Environ) -> Response:
        operation: Operation = getattr(self._batch, xform_name(name))
        return self._call(operation, "batch", name, environ)

    def _call(self, operation: Operation, service: str, name: str, environ: Environ) -> Response:
        model = service_model(service)
        if name not in model.operation_names:
            raise ServiceError("UnknownOperationException", f"The local cloud does not know {name}")
        request = _json(environ)
        check_request(model.operation_model(name), request)
        return operation(request)

    def _invoke(
        self, environ: Environ, start_response: StartResponse, name: str
    ) -> Iterable[bytes]:
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        if kind != "RequestResponse":
            message = f"The local cloud does not know the InvocationType {kind}"
            raise ServiceError("InvalidParameterValueException", message)
        answer = self._functions.invoke(name, _body(environ))
        if answer is None:
            raise ServiceError("ResourceNotFoundException", f"Function not found: {name}", 404)
        headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", "$LATEST")]
        if answer.error:
            headers.append(("X-Amz-Function-Error", answer.error))
        start_response("200 OK", headers)
        return [answer.payload]

    def _event_source(self, environ: Environ, uuid: str) -> Response:
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            return self._event_sources.create(_json(environ))
        if method == "GET":
            return (
                self._event_sources.get(uuid) if uuid else self._event_sources.all(_query(environ))
            )
        if method == "DELETE":
            return self._event_sources.delete(uuid)
        raise ServiceError(
            "UnknownOperationException", "The local cloud does not know UpdateEventSourceMapping"
        )

    def _read_as_role(
        self, environ: Environ, start_response: StartResponse, caller: Caller, path: str
    ) -> Iterable[bytes]:
        """moto's answer; but that an object is missing is told to those who may list, alone."""
        started: list[tuple[Any, ...]] = []

        def hold(*arguments: Any) -> None:
            started.append(arguments)

        body = self._moto(environ, hold)
        if started[0][0].startswith("404"):
            try:
                self._access.require(caller, [existence_call(path)])
            except ServiceError as error:
                return refusal(start_response, error, "s3", environ["REQUEST_METHOD"])
        start_response(*started[0])
        return body

    def _pass_on(
        self, environ: Environ, start_response: StartResponse, service: str | None, path: str
    ) -> Iterable[bytes]:
        """moto's answer; for a change in S3 the files are brought up to date first."""
        changes = service in ("s3", None) and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
        if not changes:
            return self._moto(environ, start_response)
        started: list[tuple[Any, ...]] = []

        def hold(*arguments: Any) -> None:
            started.append(arguments)

        body = list(self._moto(environ, hold))
        bucket, _, key = path.lstrip("/").partition("/")
        if started[0][0].startswith("2") and bucket and not path.startswith("/moto-api"):
            self._store.keep(bucket, key or None)  # no key: the bucket, or many deleted at once
        start_response(*started[0])
        return body


def _comes_from_a_page(environ: Environ) -> bool:
    """Whether a browser sends this for a page.

    Any page may call a loopback address, or have its own name resolve to it, and this API runs
    code. Programs send no Origin, and name the address.
    """
    host = environ.get("HTTP_HOST", "").rpartition(":")[0]
    return "HTTP_ORIGIN" in environ or host not in ("127.0.0.1", "localhost")


def _credential(environ: Environ) -> tuple[str, str | None]:
    """The access key of a request, and the service that it is signed for, in a header or in its
    address; no key and no service for an unsigned one."""
    given = environ.get("HTTP_AUTHORIZATION") or _query(environ).get("X-Amz-Credential", [""])[0]
    found = _CREDENTIAL.match(given)
    return (found.group(1), found.group(2)) if found else ("", None)


def _request(environ: Environ, service: str | None, path: str) -> HttpRequest:
    return HttpRequest(
        service or "",
        environ["REQUEST_METHOD"],
        path,
        _query(environ),
        _Headers(environ),
        lambda: _body(environ),
    )


class _Headers(Mapping[str, str]):
    """The headers of a request by their names in lower case."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ

    def __getitem__(self, name: str) -> str:
        value: str = self._environ[f"HTTP_{name.upper().replace('-', '_')}"]
        return value

    def __iter__(self) -> Iterator[str]:
        names = (name for name in self._environ if name.startswith("HTTP_"))
        return (name[5:].lower().replace("_", "-") for name in names)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _path(environ: Environ) -> str:
    """The path as the client meant it: the key of an object may hold anything."""
    uri: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
    path = uri.partition("?")[0]
    return path if path.startswith("/2015-03-31/") else urllib.parse.unquote(path)


def _query(environ: Environ) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def _body(environ: Environ) -> bytes:
    """What a request carries; it can be read again."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    content: bytes = environ["wsgi.input"].read(length)
    environ["wsgi.input"] = io.BytesIO(content)
    return content


def _json(environ: Environ) -> Request:
    """The document that a request carries."""
    try:
        document = json.loads(_body(environ) or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ServiceError("SerializationException", "The request is no JSON object")
    return document


def _answer(start_response: StartResponse, status: int, document: Response) -> Iterable[bytes]:
    start_response(f"{status} OK", [("Content-Type", "application/x-amz-json-1.1")])
    return [json.dumps(document).encode()]


def _refuse(start_response: StartResponse, error: ServiceError) -> Iterable[bytes]:
    start_response(
        f"{error.status} Error",
        [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code)],
    )
    return [json.dumps({"__type": error.code, "message": error.message}).encode()]
