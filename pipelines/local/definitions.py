"""Pipeline definitions: the parsed document, its parameters, and the graph of its steps.

Quotas and names are those of the Amazon SageMaker developer guide; what steps may say is checked in
`definition_checks.py`.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from pipelines.local.aws_json import invalid
from pipelines.local.definition_checks import check_steps, referenced_steps

STEP_TYPES = ("Processing", "Training", "Lambda", "RegisterModel", "Condition", "Fail")
BRANCH_TYPES = ("Processing", "Training", "RegisterModel", "Fail")
PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (float, int),
    "Boolean": (bool,),
}
MAX_STEPS, MAX_PARAMETERS, MAX_SIZE = 50, 200, 1_048_576  # the service's quotas
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")


@dataclass(frozen=True)
class Step:
    """One step, with the names of the steps that must have ended well before it."""

    name: str
    type: str
    arguments: dict[str, Any]
    document: dict[str, Any]
    dependencies: frozenset[str]
    branch: tuple[str, bool] | None = None  # the condition step it hangs on, and for which outcome


@dataclass(frozen=True)
class Parameter:
    """One parameter with its type and default."""

    name: str
    type: str
    default: Any = None
    enumeration: tuple[Any, ...] = ()

    def parse(self, text: str) -> Any:
        """The value that a start gives as text, as its type.

        Raises
        ------
        ServiceError
            A text that is no such value.
        """
        try:
            value: Any = text
            if self.type == "Integer":
                value = int(_number(text))
            elif self.type == "Float":
                value = float(_number(text))
            elif self.type == "Boolean":
                value = {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError):
            raise invalid(
                f"Parameter [{self.name}] value [{text}] is not a valid {self.type}"
            ) from None
        if self.enumeration and value not in self.enumeration:
            allowed = ", ".join(str(one) for one in self.enumeration)
            raise invalid(f"Parameter [{self.name}] value [{text}] is not one of [{allowed}]")
        return value


@dataclass(frozen=True)
class Definition:
    """A definition that has passed every check."""

    parameters: dict[str, Parameter]
    steps: dict[str, Step] = field(hash=False)

    def values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """The parameters of one execution: defaults, overridden by what the start gives."""
        for one in given:
            if one["Name"] not in self.parameters:
                known = ", ".join(self.parameters)
                raise invalid(f"Unknown parameter [{one['Name']}]. The pipeline has: {known}")
        texts = {one["Name"]: one["Value"] for one in given}
        values = {}
        for name, parameter in self.parameters.items():
            if name in texts:
                values[name] = parameter.parse(texts[name])
            elif parameter.default is None:
                raise invalid(f"Parameter [{name}] has no default and was not given")
            else:
                values[name] = parameter.default
        return values


def parse_definition(text: str) -> Definition:
    """Parses and checks a definition.

    Raises
    ------
    ServiceError
        `ValidationException`: what is wrong, by name.
    """
    if len(text.encode()) > MAX_SIZE:
        raise invalid(f"The pipeline definition is larger than {MAX_SIZE} bytes")
    try:
        document = json.loads(text)
    except ValueError as error:
        raise invalid(f"The pipeline definition is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("Version") != "2020-12-01":
        raise invalid('The pipeline definition needs "Version": "2020-12-01"')
    try:
        return _parse(document)
    except (AttributeError, KeyError, TypeError) as error:  # a list where an object belongs
        raise invalid(f"The pipeline definition is not well formed: {error!r}") from None


def _parse(document: dict[str, Any]) -> Definition:
    parameters = _parameters(document.get("Parameters") or [])
    steps = _steps(document.get("Steps") or [])
    definition = Definition(parameters, steps)
    check_steps(definition)
    return definition


def _number(text: str) -> str:
    """A finite number in digits: Python would take `1_000`, ` 1` and `nan`, too."""
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError
    return text


def _parameters(documents: list[dict[str, Any]]) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    if len(documents) > MAX_PARAMETERS:
        raise invalid(f"{len(documents)} parameters; at most {MAX_PARAMETERS} are allowed")
    for one in documents:
        name, kind, default = one.get("Name", ""), one.get("Type", ""), one.get("DefaultValue")
        if not _NAME.fullmatch(name):
            raise invalid(f"Parameter name [{name}] must match {_NAME.pattern}")
        if name in parameters:
            raise invalid(f"Parameter [{name}] is defined twice")
        if kind not in PARAMETER_TYPES:
            raise invalid(f"Parameter [{name}] has the unknown type [{kind}]")
        is_bool = isinstance(default, bool)
        if default is not None and (
            not isinstance(default, PARAMETER_TYPES[kind]) or is_bool != (kind == "Boolean")
        ):
            raise invalid(f"Parameter [{name}] has the default [{default}], which is no {kind}")
        allowed = tuple(one.get("EnumValues") or ())
        if default is not None and allowed and default not in allowed:
            raise invalid(f"Parameter [{name}] has the default [{default}], not in its EnumValues")
        parameters[name] = Parameter(name, kind, default, allowed)
    return parameters


def _steps(documents: list[dict[str, Any]]) -> dict[str, Step]:
    steps: dict[str, Step] = {}

    def add(one: dict[str, Any], branch: tuple[str, bool] | None) -> None:
        name, kind = one.get("Name", ""), one.get("Type", "")
        if not _NAME.fullmatch(name):
            raise invalid(f"Step name [{name}] must match {_NAME.pattern}")
        if name in steps:
            raise invalid(
                f"Step [{name}] is defined twice: step names must be unique, in branches too"
            )
        if kind not in STEP_TYPES:
            raise invalid(
                f"Step [{name}] has the type [{kind}], which the local cloud does not run; "
                f"it runs {', '.join(STEP_TYPES)}"
            )
        if branch and kind == "Condition":
            raise invalid(f"Condition step [{name}] is nested in [{branch[0]}]: not supported")
        if branch and kind not in BRANCH_TYPES:
            raise invalid(f"Step [{name}] of type {kind} cannot stand in a branch of [{branch[0]}]")
        arguments = dict(one.get("Arguments") or {})
        branches = {}
        if kind == "Condition":
            branches = {
                outcome: arguments.pop(key, None) or []
                for outcome, key in ((True, "IfSteps"), (False, "ElseSteps"))
            }
        needed = referenced_steps(arguments)
        for on in one.get("DependsOn") or []:
            if not isinstance(on, str):
                raise invalid(
                    f"Step [{name}] depends on [{on}]: the local cloud knows names of steps only"
                )
            needed.add(on)
        if branch:
            needed.add(branch[0])
        steps[name] = Step(name, kind, arguments, one, frozenset(needed), branch)
        for outcome, children in branches.items():
            for child in children:
                add(child, (name, outcome))

    for one in documents:
        add(one, None)
    if not steps:
        raise invalid("The pipeline definition has no steps")
    if len(steps) > MAX_STEPS:
        raise invalid(f"{len(steps)} steps; at most {MAX_STEPS} are allowed")
    return steps
