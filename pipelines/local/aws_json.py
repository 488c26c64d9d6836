"""What the services of the local cloud share: errors as AWS words them, and requests checked
against the service's own model, the one that boto3 is made from."""

from __future__ import annotations

import math
import re
import time
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from botocore.model import OperationModel, ServiceModel, Shape

Request = dict[str, Any]
Response = dict[str, Any]


class ServiceError(Exception):
    """What a service answers instead of a result."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def invalid(message: str) -> ServiceError:
    return ServiceError("ValidationException", message)


def not_found(what: str, name: str) -> ServiceError:
    return ServiceError("ResourceNotFound", f"{what} '{name}' does not exist.")


@cache
def service_model(service: str) -> ServiceModel:
    from botocore.loaders import Loader
    from botocore.model import ServiceModel

    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def check_request(operation: OperationModel, request: Request) -> None:
    """Checks names, types, sizes, patterns and enumerations of a request.

    Raises
    ------
    ServiceError
        `ValidationException`, worded as AWS words it.
    """
    from botocore.validate import ParamValidator

    if operation.input_shape is None:
        return
    report = ParamValidator().validate(request, operation.input_shape)
    faults = [report.generate_report()] if report.has_errors() else []
    faults = faults or list(_constraints(operation.input_shape, request, ""))
    if faults:
        more = "s" if len(faults) > 1 else ""
        raise invalid(f"{len(faults)} validation error{more} detected: {'; '.join(faults)}")


def _constraints(shape: Shape, value: Any, path: str) -> list[str]:
    """What boto3 leaves to the service: longest, pattern, enumeration."""
    shape_: Any = shape
    if shape.type_name == "structure":
        members = shape_.members
        return [
            fault
            for name, item in value.items()
            if name in members and item is not None
            for fault in _constraints(members[name], item, f"{path}.{name}" if path else name)
        ]
    if shape.type_name == "list":
        faults = _too_long(shape, len(value), path)
        for index, item in enumerate(value):
            faults += _constraints(shape_.member, item, f"{path}.{index + 1}.member")
        return faults
    if shape.type_name == "map":
        faults = _too_long(shape, len(value), path)
        for key, item in value.items():
            faults += _constraints(shape_.value, item, f"{path}.{key}")
        return faults
    if shape.type_name != "string" or not isinstance(value, str):
        return []
    faults = _too_long(shape, len(value), path)
    pattern = shape.metadata.get("pattern")
    if pattern and not _matches(pattern, value):
        faults.append(
            f"Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy regular expression pattern: {pattern}"
        )
    values = shape.metadata.get("enum")
    if values and value not in values:
        faults.append(
            f"Value '{value}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(values)}]"
        )
    return faults


def _too_long(shape: Shape, length: int, path: str) -> list[str]:
    longest = shape.metadata.get("max")
    if longest is None or length <= longest:
        return []
    return [
        f"Value at '{path}' failed to satisfy constraint: "
        f"Member must have length less than or equal to {longest}"
    ]


# Java's classes of characters, nearly; of those that are missing here, nothing is refused.
_CLASSES = {
    r"\p{L}": r"a-zA-Z\u00aa-\u1fff\u2c00-\uffff",
    r"\p{N}": r"\d",
    r"\p{Z}": r" \u00a0\u1680\u2000-\u200a\u3000",
}


def _matches(pattern: str, value: str) -> bool:
    for java, ours in _CLASSES.items():
        pattern = pattern.replace(java, ours)
    try:
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    except re.error:  # a few of AWS's patterns are Java's own
        return True


def page(
    items: list[Any], request: Request, default: int = 100
) -> tuple[list[Any], dict[str, str]]:
    """One page of `items` and, where there are more, the token of the next."""
    token = str(request.get("NextToken") or 0)
    if not token.isdecimal():
        raise invalid(f"NextToken [{token}] is none that was given")
    start = int(token)
    end = start + int(request.get("MaxResults") or default)
    return items[start:end], {"NextToken": str(end)} if end < len(items) else {}


def in_period(items: list[Any], request: Request, by: str = "CreationTime") -> list[Any]:
    """The items whose time lies in what the request asks for, under either of AWS's names."""
    after = request.get("CreatedAfter", request.get("CreationTimeAfter", -math.inf))
    before = request.get("CreatedBefore", request.get("CreationTimeBefore", math.inf))
    return [item for item in items if after < item[by] < before]


def present(**members: Any) -> Response:
    """The members that have a value: AWS leaves the others out."""
    return {name: value for name, value in members.items() if value is not None}


def now() -> float:
    """The time as AWS's JSON protocols carry it: seconds since 1970."""
    return round(time.time(), 3)
