"""What a role is answered: that it may not, and who it is, in the form of each service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any
from xml.sax.saxutils import escape

from pipelines.local.aws_json import ServiceError
from pipelines.local.iam.access import Caller

StartResponse = Callable[..., Any]

_XML = [("Content-Type", "text/xml")]
# Where the service's own name for it is another one.
_CODES = {"s3": "AccessDenied", "iam": "AccessDenied", "sts": "AccessDenied"}
_CODES |= {"sns": "AuthorizationError", "sqs": "AccessDenied"}


def refusal(
    start_response: StartResponse, error: ServiceError, service: str, method: str
) -> Iterable[bytes]:
    """A refusal as the service answers it: S3 and the query services in XML, others in JSON."""
    code = error.code
    if code == "AccessDeniedException":
        code = _CODES.get(service, code)
    if service == "s3":
        start_response(f"{error.status} Error", [("Content-Type", "application/xml")])
        text = f"<Error><Code>{code}</Code><Message>{escape(error.message)}</Message></Error>"
        return [] if method == "HEAD" else [text.encode()]
    if service in ("iam", "sts", "sns"):
        start_response(f"{error.status} Error", _XML)
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code>"
            f"<Message>{escape(error.message)}</Message></Error></ErrorResponse>"
        )
        return [text.encode()]
    headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-ErrorType", code)]
    if service == "sqs":  # it spoke XML once, and its clients look here for the old names
        headers.append(("x-amzn-query-error", f"{code};Sender"))
    start_response(f"{error.status} Error", headers)
    return [json.dumps({"__type": code, "message": error.message}).encode()]


def identity_of(start_response: StartResponse, caller: Caller) -> Iterable[bytes]:
    """STS's GetCallerIdentity for a role."""
    assert caller.role is not None
    start_response("200 OK", _XML)
    account, session = caller.role.split(":")[4], caller.arn.rpartition("/")[2]
    text = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<GetCallerIdentityResult><Arn>{escape(caller.arn)}</Arn>"
        f"<UserId>AROA{'0' * 17}:{session}</UserId><Account>{account}</Account>"
        "</GetCallerIdentityResult></GetCallerIdentityResponse>"
    )
    return [text.encode()]
