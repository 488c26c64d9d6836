"""The small language of pipeline definitions: `Get`, `Std:Join`, `Std:JsonGet`, and conditions.

What they mean is in the Amazon SageMaker developer guide ("Pipeline parameters", "Pipelines steps")
and in the SDK's own local executor, which the tests hold this against.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

# Reads a property file: (step, name of the property file) → its parsed JSON.
PropertyFileReader = Callable[[str, str], Any]
# Reads a JSON object on S3.
JsonReader = Callable[[str], Any]

_PATH = re.compile(r"""\.?([^.\[\]]+)|\[(?:'([^']*)'|"([^"]*)"|(-?\d+))\]""")
_NAMED_BY = ("OutputName", "InputName", "ChannelName")


class ExpressionError(Exception):
    """An expression that names something that is not there, or compares what cannot be compared."""


class Scope:
    """What the expressions of one execution may refer to."""

    def __init__(
        self,
        parameters: Mapping[str, Any],
        execution: Mapping[str, Any],
        steps: Mapping[str, Mapping[str, Any]],
        property_file: PropertyFileReader,
        s3_json: JsonReader,
    ) -> None:
        self._parameters = parameters
        self._execution = execution
        self._steps = steps
        self._property_file = property_file
        self._s3_json = s3_json

    def resolve(self, value: Any) -> Any:
        """`value` with every expression in it replaced by what it stands for."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "Get" in value:
            return self._known(self._get(value["Get"]), value["Get"])
        if "Std:Join" in value:
            join = value["Std:Join"]
            return join.get("On", "").join(as_text(self.resolve(part)) for part in join["Values"])
        if "Std:JsonGet" in value:
            arguments = value["Std:JsonGet"]
            return self._known(self._json_get(arguments), arguments["Path"])
        return {key: self.resolve(item) for key, item in value.items()}

    def all_hold(self, conditions: list[Mapping[str, Any]]) -> bool:
        """Whether all conditions are true. Everything that they name must be there, also what an
        outcome that is certain before would not need."""
        return all(_holds(condition) for condition in self.resolve(conditions))

    def _get(self, reference: str) -> Any:
        root, _, rest = reference.partition(".")
        if root == "Parameters":
            return _lookup(self._parameters, rest, reference)
        if root == "Execution":
            return _lookup(self._execution, rest, reference)
        step, path = split_step_reference(reference)
        if step not in self._steps:
            raise ExpressionError(f"{reference}: step {step} has not run")
        return walk(self._steps[step], path, reference)

    @staticmethod
    def _known(value: Any, shown: str) -> Any:
        if value is None:
            raise ExpressionError(f"{shown}: it has no value")
        return value

    def _json_get(self, arguments: Mapping[str, Any]) -> Any:
        if "S3Uri" in arguments:
            uri = self.resolve(arguments["S3Uri"])
            return walk(self._s3_json(uri), arguments["Path"], f"{uri}: {arguments['Path']}")
        step, path = split_step_reference(arguments["PropertyFile"]["Get"])
        name = path.removeprefix("PropertyFiles.")
        document = self._property_file(step, name)
        return walk(document, arguments["Path"], f"{name} of {step}: {arguments['Path']}")


COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "Equals": lambda left, right: left == right,
    "GreaterThan": lambda left, right: left > right,
    "GreaterThanOrEqualTo": lambda left, right: left >= right,
    "LessThan": lambda left, right: left < right,
    "LessThanOrEqualTo": lambda left, right: left <= right,
}
CONDITIONS = frozenset({"In", "Not", "Or", *COMPARISONS})


def _holds(condition: Mapping[str, Any]) -> bool:
    kind = condition["Type"]
    if kind == "Not":
        return not _holds(condition["Condition"])
    if kind == "Or":
        return any(_holds(one) for one in condition["Conditions"])
    if kind == "In":
        return condition["QueryValue"] in condition["Values"]
    left, right = condition["LeftValue"], condition["RightValue"]
    try:
        if kind == "Equals" and not _same_type(left, right):
            raise TypeError
        return bool(COMPARISONS[kind](left, right))
    except TypeError:
        raise ExpressionError(
            f"{kind} cannot compare {left!r} ({type(left).__name__}) "
            f"with {right!r} ({type(right).__name__})"
        ) from None


def references(value: Any) -> Iterator[str]:
    """Every `Get` in `value`, as it is written."""
    if isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        if isinstance(value.get("Get"), str):
            yield value["Get"]
        for item in value.values():
            yield from references(item)


def split_step_reference(reference: str) -> tuple[str, str]:
    """`Steps.Train.ModelArtifacts.S3Uri` → (`Train`, `ModelArtifacts.S3Uri`)."""
    found = re.fullmatch(r"Steps\.([A-Za-z0-9\-_]+)\.?(.*)", reference)
    if not found:
        raise ExpressionError(f"{reference}: neither Parameters, Execution nor Steps")
    return found.group(1), found.group(2)


def walk(document: Any, path: str, shown: str) -> Any:
    """The value at `path` (`a.b[0]['c']`) of a JSON document.

    A list of outputs, inputs or channels is also indexed by the name of the item, as the service
    does.
    """
    position = 0
    while position < len(path):
        found = _PATH.match(path, position)
        if not found:
            raise ExpressionError(f"{shown}: not a path")
        position = found.end()
        key = next(group for group in found.groups() if group is not None)
        document = _child(document, int(key) if found.group(4) else key, shown)
    return document


def as_text(value: Any) -> str:
    """A value as `Std:Join` writes it."""
    return str(value)


def _same_type(left: Any, right: Any) -> bool:
    return isinstance(left, type(right)) or isinstance(right, type(left))


def _child(document: Any, key: str | int, shown: str) -> Any:
    if isinstance(document, dict) and key in document:
        return document[key]
    if isinstance(document, list):
        if isinstance(key, int) and -len(document) <= key < len(document):
            return document[key]
        for item in document:
            if isinstance(item, dict) and any(item.get(name) == key for name in _NAMED_BY):
                return item
    raise ExpressionError(f"{shown}: there is no {key}")


def _lookup(values: Mapping[str, Any], name: str, reference: str) -> Any:
    if name not in values:
        raise ExpressionError(f"{reference}: not known")
    return values[name]
