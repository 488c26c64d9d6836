"""A role's request in the one form that says the same to what judges it and to what answers it.

moto reads requests loosely: it takes an action from a header, a form, an address or the text of a
message, the region from the user agent, the account from a header of its own, and a key from a path
that it decodes in its own way. So what is judged is not the request as it came, but a plain one
that is made of it here, with nothing left that could be read in a second way; and that very
request is what moto gets. What cannot be made plain is refused.
"""

from __future__ import annotations

import io
import json
import urllib.parse
from collections.abc import Iterable
from xml.sax.saxutils import escape

from pipelines.local import wsgi
from pipelines.local.aws_json import ServiceError
from pipelines.local.iam.context import Place
from pipelines.local.iam.objects import copy_source, deleted_keys
from pipelines.local.wsgi import Credential, Environ

REST = ("lambda", "batch")
QUERY = ("iam", "sts", "sns")
JSON = ("sagemaker", "sqs", "events", "logs", "kms", "ecr")

_FORM = "application/x-www-form-urlencoded"
_GLOBAL = ("iam", "sts")  # of no region, whatever they are signed for
# Where moto's server, and not S3, answers.
_SERVERS_OWN = ("/moto-api", "/favicon.ico", "/latest/meta-data", "/latest/api", "/v20180820/")
# The headers that mean something; those of S3 by their beginnings.
_HEADERS = (
    "HTTP_HOST",
    "HTTP_X_AMZ_TARGET",
    "HTTP_X_AMZ_INVOCATION_TYPE",
    "HTTP_X_AMZN_QUERY_MODE",
)
_S3_HEADERS = (
    *("HTTP_HOST", "HTTP_X_AMZ_", "HTTP_CONTENT_", "HTTP_IF_", "HTTP_RANGE", "HTTP_CACHE_CONTROL"),
    *("HTTP_EXPIRES", "HTTP_EXPECT", "HTTP_TRANSFER_ENCODING"),
)


def plain_request(environ: Environ, credential: Credential, place: Place) -> Environ:
    """The request in its plain form.

    Raises
    ------
    ServiceError
        It has none, or it is for another region.
    """
    service = credential.service
    if service not in _GLOBAL and credential.region != place.region:
        raise ServiceError(
            "AccessDeniedException",
            f"The request is signed for {credential.region}; the local cloud is {place.region}",
            403,
        )
    kept = _S3_HEADERS if service == "s3" else _HEADERS
    made = {
        name: value
        for name, value in environ.items()
        if not name.startswith("HTTP_") or name.startswith(kept)
    }
    scope = f"{credential.key}/20000101/{credential.region}/{service}/aws4_request"
    made["HTTP_AUTHORIZATION"] = (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=unchecked"
    )
    if not wsgi.raw_path(environ).startswith("/"):
        raise ServiceError("InvalidURI", "The address of a request is a path")
    if service == "s3":
        _make_object_request(made)
    elif service in REST:
        _make_rest_request(made)
    else:
        _make_message(made, service)
    return made


def _make_object_request(made: Environ) -> None:
    """One path, each parameter once, a source and a deletion that can be read in one way."""
    path = "/" + wsgi.path(made).lstrip("/")
    if path.startswith(_SERVERS_OWN):
        raise ServiceError("AccessDenied", f"{path} is none of S3's", 403)
    kind = made.get("CONTENT_TYPE", "").lower()
    if kind.startswith((_FORM, "multipart/")):  # moto would take its fields for parameters
        raise ServiceError("InvalidRequest", f"The local cloud takes no object as {kind}")
    query = wsgi.query(made)
    # The parameters of a signature have been read.
    named = [(name, query[name][0]) for name in query if not name.lower().startswith("x-amz-")]
    _set_address(made, path, urllib.parse.quote(path, safe="/~"), named)
    if "HTTP_X_AMZ_COPY_SOURCE" in made:
        source, version = copy_source(made["HTTP_X_AMZ_COPY_SOURCE"])
        suffix = f"?versionId={urllib.parse.quote(version)}" if version else ""
        made["HTTP_X_AMZ_COPY_SOURCE"] = f"{urllib.parse.quote(source)}{suffix}"
    if made["REQUEST_METHOD"] == "POST" and "delete" in query:
        content = wsgi.body(made)
        objects = "".join(
            f"<Object><Key>{_xml(key)}</Key>"
            + (f"<VersionId>{_xml(version)}</VersionId>" if version else "")
            + "</Object>"
            for key, version in deleted_keys(content)
        )
        quiet = "<Quiet>true</Quiet>" if b"<Quiet>true" in content else ""
        _set_body(made, f"<Delete>{objects}{quiet}</Delete>".encode(), "application/xml")


def _make_rest_request(made: Environ) -> None:
    """The path as it was sent; the body of an invocation is the function's own."""
    raw = wsgi.raw_path(made)
    named = [(name, values[0]) for name, values in wsgi.query(made).items()]
    _set_address(made, urllib.parse.unquote(raw), raw, named)
    if raw.endswith("/invocations"):
        _set_body(made, wsgi.body(made), "application/octet-stream")
    else:
        _set_body(made, _json(made), "application/json")


def _make_message(made: Environ, service: str) -> None:
    """A POST to the service's root: all of it stands in the body, and the action in one place."""
    if made["REQUEST_METHOD"] != "POST" or wsgi.query(made):
        raise ServiceError("InvalidRequest", "A request is a POST, and none of it in its address")
    if service in QUERY:
        text = wsgi.body(made).decode(errors="replace")
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True)
        if len(dict(pairs)) < len(pairs):
            raise ServiceError("InvalidRequest", "A parameter is given twice")
        made.pop("HTTP_X_AMZ_TARGET", None)
        _set_body(made, urllib.parse.urlencode(pairs).encode(), _FORM)
    else:
        _set_body(made, _json(made), "application/x-amz-json-1.1")
    _set_address(made, "/", "/", [])


def _json(made: Environ) -> bytes:
    # moto would take a form out of a text with `&` in it.
    return json.dumps(wsgi.document(made)).replace("&", "\\u0026").encode()


def _set_address(made: Environ, path: str, raw: str, named: Iterable[tuple[str, str]]) -> None:
    made["QUERY_STRING"] = urllib.parse.urlencode(list(named), quote_via=urllib.parse.quote)
    made["PATH_INFO"] = path.encode().decode("latin-1")  # as WSGI has it
    made["REQUEST_URI"] = made["RAW_URI"] = (
        f"{raw}?{made['QUERY_STRING']}" if made["QUERY_STRING"] else raw
    )


def _set_body(made: Environ, content: bytes, kind: str) -> None:
    made["wsgi.input"] = io.BytesIO(content)
    made["CONTENT_LENGTH"], made["CONTENT_TYPE"] = str(len(content)), kind
    for name in ("HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING", "wsgi.input_terminated"):
        made.pop(name, None)


def _xml(text: str) -> str:
    return escape(text, {"\r": "&#13;", "\n": "&#10;", "\t": "&#9;"})
