"""Properties of a template as arguments of the API: the same names but for the case of a letter."""

from __future__ import annotations

from typing import Any


def api_arguments(client: Any, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
    """The properties that an operation takes, under its own names and with its own types; a number
    may stand in a template as text. Tags are left out: their form differs everywhere."""
    shape = client.meta.service_model.operation_model(operation).input_shape
    given = {name: value for name, value in properties.items() if name != "Tags"}
    arguments: dict[str, Any] = _converted(given, shape)
    return arguments


def _converted(value: Any, shape: Any) -> Any:
    if shape.type_name == "structure":
        members = {name.lower(): name for name in shape.members}
        return {
            members[name.lower()]: _converted(one, shape.members[members[name.lower()]])
            for name, one in value.items()
            if name.lower() in members
        }
    if shape.type_name == "list":
        return [_converted(one, shape.member) for one in value]
    if shape.type_name == "map":
        return {name: _converted(one, shape.value) for name, one in value.items()}
    if shape.type_name in ("integer", "long"):
        return int(value)
    if shape.type_name in ("float", "double"):
        return float(value)
    if shape.type_name == "boolean":
        return value if isinstance(value, bool) else str(value).lower() == "true"
    if shape.type_name == "string":
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value
