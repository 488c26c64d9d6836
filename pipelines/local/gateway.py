"""The front of the local cloud: one HTTP address, and who answers what.

SageMaker, Batch's jobs, Lambda's invocations and event sources are ours; everything else is moto's,
and what moto changes in S3 is written to files before the client gets its answer. Whoever calls as
a role may do what its policies allow.
"""

from __future__ import annotations

import re
import traceback
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

from botocore import xform_name

from pipelines.local import wsgi
from pipelines.local.aws_json import Request, Response, ServiceError, check_request, service_model
from pipelines.local.batch_jobs import BatchJobs
from pipelines.local.event_sources import EventSources
from pipelines.local.functions import Functions
from pipelines.local.iam.access import Access, Caller
from pipelines.local.iam.context import Place
from pipelines.local.iam.objects import existence_call
from pipelines.local.iam.plain import plain_request
from pipelines.local.iam.refusals import identity_of, refusal
from pipelines.local.iam.requests import HttpRequest, calls
from pipelines.local.moto_bridge import ObjectStore, WsgiApplication
from pipelines.local.wsgi import Environ, StartResponse

HEALTH = "/_claimflow/health"
Operation = Callable[[Request], Response]

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
        if wsgi.comes_from_a_page(environ):
            refused = ServiceError("AccessDenied", "Not for web pages", 403)
            return wsgi.refuse(start_response, refused)
        if wsgi.raw_path(environ) == HEALTH:
            return wsgi.answer(start_response, 200, self._identity)
        credential = wsgi.credential(environ)
        service, method = credential.service, environ["REQUEST_METHOD"]
        caller = self._access.caller(credential.key)
        if caller is None:
            message = "The access key is not that of this local cloud: `claimflow local env`"
            return wsgi.refuse(start_response, ServiceError("InvalidClientTokenId", message, 403))
        try:
            if caller.role:
                environ = plain_request(environ, credential, self._place)
                request = _request(environ, service)
                self._access.require(caller, calls(request, self._place))
        except ServiceError as error:
            return refusal(start_response, error, service, method)
        path = wsgi.path(environ)
        try:
            if (
                service == "sts"
                and caller.role
                and b"Action=GetCallerIdentity" in wsgi.body(environ)
            ):
                return identity_of(start_response, caller)
            if service == "sagemaker":
                return wsgi.answer(start_response, 200, self._call_sagemaker(environ))
            operation = path.removeprefix("/v1/")
            mine = {name.lower(): name for name in _BATCH_JOBS}
            if service == "batch" and operation in mine:
                found = self._call_batch(mine[operation], environ)
                return wsgi.answer(start_response, 200, found)
            if service == "lambda":
                raw = wsgi.raw_path(environ)
                invoked, mapping = _INVOKE.fullmatch(raw), _EVENT_SOURCE.fullmatch(raw)
                if invoked:
                    name = urllib.parse.unquote(invoked.group(1))
                    short = name.removeprefix(f"{self._place.account}:function:")
                    return self._invoke(environ, start_response, short)
                if mapping:
                    found = self._event_source(environ, mapping.group(1))
                    return wsgi.answer(start_response, 202, found)
        except ServiceError as error:
            return wsgi.refuse(start_response, error)
        except Exception as error:  # a fault of ours: the server's log has the traceback
            traceback.print_exc()
            fault = ServiceError("InternalFailure", f"The local cloud failed: {error!r}", 500)
            return wsgi.refuse(start_response, fault)
        if caller.role and service == "s3" and method in ("GET", "HEAD"):
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
        request = wsgi.document(environ)
        check_request(model.operation_model(name), request)
        return operation(request)

    def _invoke(
        self, environ: Environ, start_response: StartResponse, name: str
    ) -> Iterable[bytes]:
        kind = environ.get("HTTP_X_AMZ_INVOCATION_TYPE", "RequestResponse")
        if kind != "RequestResponse":
            message = f"The local cloud does not know the InvocationType {kind}"
            raise ServiceError("InvalidParameterValueException", message)
        answer = self._functions.invoke(name, wsgi.body(environ))
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
            return self._event_sources.create(wsgi.document(environ))
        if method == "GET":
            return (
                self._event_sources.get(uuid)
                if uuid
                else self._event_sources.all(wsgi.query(environ))
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
        self, environ: Environ, start_response: StartResponse, service: str, path: str
    ) -> Iterable[bytes]:
        """moto's answer; for a change in S3 the files are brought up to date first."""
        changes = service == "s3" and environ["REQUEST_METHOD"] in ("PUT", "POST", "DELETE")
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


def _request(environ: Environ, service: str) -> HttpRequest:
    return HttpRequest(
        service,
        environ["REQUEST_METHOD"],
        wsgi.raw_path(environ),
        wsgi.query(environ),
        wsgi.Headers(environ),
        lambda: wsgi.body(environ),
    )
