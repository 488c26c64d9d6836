"""What a request says, as WSGI hands it over, and how it is answered."""

from __future__ import annotations

import io
import json
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.local.aws_json import Request, Response, ServiceError

Environ = dict[str, Any]
StartResponse = Callable[..., Any]

_SCOPE = r"([^/,\s]+)/\d+/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request"
_HEADER = re.compile(rf"AWS4-HMAC-SHA256 Credential={_SCOPE}(?![^,\s])(?!.*Credential=)")
_ADDRESS = re.compile(_SCOPE)


@dataclass(frozen=True)
class Credential:
    """Whose key a request carries, and what it is signed for; all empty where it is not signed."""

    key: str = ""
    region: str = ""
    service: str = ""


def credential(environ: Environ) -> Credential:
    """The credential of a request, in its header or, for S3 alone, in its address."""
    if environ.get("HTTP_AUTHORIZATION"):
        found = _HEADER.match(environ["HTTP_AUTHORIZATION"])
        return Credential(*found.groups()) if found else Credential()
    found = _ADDRESS.fullmatch(query(environ).get("X-Amz-Credential", [""])[0])
    return Credential(*found.groups()) if found and found.group(3) == "s3" else Credential()


def comes_from_a_page(environ: Environ) -> bool:
    """Whether a browser sends this for a page.

    Any page may call a loopback address, or have its own name resolve to it, and this API runs
    code. Programs send no Origin, and name the address.
    """
    host = environ.get("HTTP_HOST", "").rpartition(":")[0]
    return "HTTP_ORIGIN" in environ or host not in ("127.0.0.1", "localhost")


def raw_path(environ: Environ) -> str:
    """The path as it was sent: the key of an object may hold anything."""
    uri: str = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ["PATH_INFO"]
    return uri.partition("?")[0]


def path(environ: Environ) -> str:
    """The path as the client meant it."""
    return urllib.parse.unquote(raw_path(environ))


def query(environ: Environ) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)


def body(environ: Environ) -> bytes:
    """What a request carries; it can be read again.

    Raises
    ------
    ServiceError
        Its length is no number.
    """
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isdecimal():
        raise ServiceError("InvalidRequest", "The Content-Length is no number")
    content: bytes = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = io.BytesIO(content)
    return content


def document(environ: Environ) -> Request:
    """The JSON document that a request carries.

    Raises
    ------
    ServiceError
        It carries none.
    """
    try:
        found = json.loads(body(environ) or b"{}")
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ServiceError("SerializationException", "The request is no JSON object")
    return found


class Headers(Mapping[str, str]):
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


def answer(start_response: StartResponse, status: int, found: Response) -> Iterable[bytes]:
    start_response(f"{status} OK", [("Content-Type", "application/x-amz-json-1.1")])
    return [json.dumps(found).encode()]


def refuse(start_response: StartResponse, error: ServiceError) -> Iterable[bytes]:
    start_response(
        f"{error.status} Error",
        [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", error.code)],
    )
    return [json.dumps({"__type": error.code, "message": error.message}).encode()]
