"""What asks for a training: a direct request, or a message of new labelled data or of drift."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from lambdas import layout
from lambdas.errors import RetrainError
from lambdas.events import Ignored, parse_object, reading
from lambdas.settings import RetrainSettings

Cause = Literal["push", "manual", "schedule", "data", "drift"]


@dataclass(frozen=True)
class Request:
    """A direct invocation.

    Attributes
    ----------
    commit: of the code; empty for that of the newest execution that has one.
    parameters: of the pipeline, other than those that are set here.
    again: start although nothing has changed.
    """

    cause: Cause
    commit: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    again: bool = False


@dataclass(frozen=True)
class Asked:
    """A queue message that asks for a training; `by` names what sent it."""

    cause: Cause
    by: str


def parse_request(event: Mapping[str, Any]) -> Request:
    """Reads the payload of a direct invocation; members may be null.

    Raises
    ------
    RetrainError: it is none.
    """
    given = {name: value for name, value in event.items() if value is not None}
    unknown = sorted(given.keys() - {"cause", "commit", "parameters", "again"})
    if unknown:
        raise RetrainError(f"the request has {', '.join(unknown)}, which is not known")
    if given.get("cause") not in get_args(Cause):
        raise RetrainError(f"the cause is none of {', '.join(get_args(Cause))}")
    request = Request(**given)
    is_text = isinstance(request.commit, str)
    if not is_text or not re.fullmatch(r"[\w.+\-/]{0,100}", request.commit, re.ASCII):
        raise RetrainError("the commit has characters that no commit has")
    if not isinstance(request.parameters, Mapping) or not all(
        isinstance(value, str) for value in request.parameters.values()
    ):
        raise RetrainError("the parameters are not texts by their names")
    if not isinstance(request.again, bool):
        raise RetrainError("again is neither true nor false")
    return request


def parse(body: str, settings: RetrainSettings) -> Asked | Ignored:
    """Reads the body of one queue message.

    Raises
    ------
    MalformedEventError: it is not JSON, or is one of ours without the fields that we need.
    """
    event = parse_object(body)
    name = str(event.get("detail-type", "unknown"))
    with reading(name):
        match event.get("source"), name:
            case "aws.s3", "Object Created":
                bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
                if bucket != settings.data_bucket or layout.labelled_set(key) is None:
                    return Ignored(name, "not a file of labelled claims")
                return Asked("data", key)
            case "aws.cloudwatch", "CloudWatch Alarm State Change":
                state = event["detail"]["state"]["value"]
                if state != "ALARM":
                    return Ignored(name, f"state is {state}")
                return Asked("drift", str(event["detail"]["alarmName"]))
    return Ignored(name, "not an event that this function handles")
