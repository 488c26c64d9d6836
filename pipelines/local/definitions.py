"""Pipeline definitions: the parsed document, its graph, and what is refused before anything runs.

The rules are those of the Amazon SageMaker developer guide (pages on step types and on pipeline
quotas) and of the published schema of definitions, so that a definition that runs here is accepted
there.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any

from pipelines.local.aws_json import ServiceError, invalid
from pipelines.local.expressions import (
    CONDITIONS,
    ExpressionError,
    references,
    split_step_reference,
)
from pipelines.local.step_cache import duration_seconds

STEP_TYPES = ("Processing", "Training", "Lambda", "RegisterModel", "Condition", "Fail")
BRANCH_TYPES = ("Processing", "Training", "RegisterModel", "Fail")
PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (float, int),
    "Boolean": (bool,),
}
EXECUTION_VARIABLES = frozenset(
    {
        "PipelineName",
        "PipelineArn",
        "PipelineExecutionId",
        "PipelineExecutionArn",
        "StartDateTime",
        "CurrentDateTime",
    }
)
RETRYABLE = frozenset(
    {
        "Step.SERVICE_FAULT",
        "Step.THROTTLING",
        "SageMaker.JOB_INTERNAL_ERROR",
        "SageMaker.CAPACITY_ERROR",
        "SageMaker.RESOURCE_LIMIT",
    }
)
MAX_STEPS, MAX_PARAMETERS, MAX_SIZE = 50, 200, 1_048_576  # the service's quotas
_FUNCTIONS = ("Std:Join", "Std:JsonGet")
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
    for step in steps.values():
        _check_step(step, definition)
    _check_cycles(steps)
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
        needed = {step for step, _ in map(_split, _step_references(arguments))}
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


def _step_references(value: Any) -> list[str]:
    return [one for one in references(value) if one.startswith("Steps.")]


def _split(reference: str) -> tuple[str, str]:
    try:
        return split_step_reference(reference)
    except ExpressionError as error:
        raise invalid(str(error)) from None


def _check_step(step: Step, definition: Definition) -> None:
    for name in step.dependencies:
        if name not in definition.steps:
            raise invalid(f"Step [{step.name}] depends on [{name}], which does not exist")
        on = definition.steps[name]
        if on.type == "Condition" and (step.branch is None or step.branch[0] != name):
            raise invalid(
                f"Step [{step.name}] depends on the condition step [{name}]: not supported"
            )
        if on.branch and on.branch != step.branch:
            raise invalid(
                f"Step [{step.name}] depends on [{name}], which only runs in a branch of "
                f"[{on.branch[0]}]"
            )
    _check_expressions(step, step.arguments)
    for reference in references(step.arguments):
        root, _, rest = reference.partition(".")
        if root == "Parameters" and rest not in definition.parameters:
            raise invalid(f"Step [{step.name}] refers to the unknown parameter [{rest}]")
        if root == "Execution" and rest not in EXECUTION_VARIABLES:
            raise invalid(f"Step [{step.name}] refers to the unknown variable [{reference}]")
        if root not in ("Parameters", "Execution", "Steps"):
            raise invalid(f"Step [{step.name}] has the unknown reference [{reference}]")
        if root == "Steps":
            _check_property(step, *_split(reference), definition)
    for policy in step.document.get("RetryPolicies") or []:
        _check_retry(step, policy)
    _check_cache(step)
    _CHECKS.get(step.type, lambda _step: None)(step)


def _check_expressions(step: Step, value: Any) -> None:
    """Refuses functions that are not known, and known ones without what they need."""
    if isinstance(value, list):
        for item in value:
            _check_expressions(step, item)
    if not isinstance(value, dict):
        return
    for name, inner in value.items():
        if name.startswith("Std:") and name not in _FUNCTIONS:
            raise invalid(f"Step [{step.name}] uses the unknown function [{name}]")
        if name == "Std:Join" and not isinstance(inner.get("Values"), list):
            raise invalid(f"Step [{step.name}] has a Std:Join without Values")
        if name == "Std:JsonGet":
            if not isinstance(inner.get("Path"), str):
                raise invalid(f"Step [{step.name}] has a Std:JsonGet whose Path is no text")
            if ("S3Uri" in inner) == ("PropertyFile" in inner):
                raise invalid(
                    f"Step [{step.name}] has a Std:JsonGet that needs either PropertyFile or S3Uri"
                )
            if "PropertyFile" in inner and ".PropertyFiles." not in inner["PropertyFile"]["Get"]:
                raise invalid(f"Step [{step.name}] has a Std:JsonGet that names no property file")
        _check_expressions(step, inner)


def _check_property(step: Step, name: str, path: str, definition: Definition) -> None:
    target = definition.steps[name].document
    if not path:
        raise invalid(f"Step [{step.name}] refers to step [{name}], but to none of its properties")
    if path.startswith("PropertyFiles."):
        files = {one["PropertyFileName"] for one in target.get("PropertyFiles") or []}
        if path.removeprefix("PropertyFiles.") not in files:
            raise invalid(
                f"Step [{step.name}] refers to [{path}], which step [{name}] does not have"
            )
    output = re.match(r"OutputParameters\['([^']*)'\]", path)
    if output:
        names = {one["OutputName"] for one in target.get("OutputParameters") or []}
        if output.group(1) not in names:
            raise invalid(
                f"Step [{step.name}] refers to [{path}], which step [{name}] does not have"
            )


def _check_retry(step: Step, policy: dict[str, Any]) -> None:
    types = policy.get("ExceptionType") or []
    unknown = set(types) - RETRYABLE
    if unknown or not types:
        raise invalid(f"Step [{step.name}] retries on [{', '.join(sorted(unknown))}]: not known")
    if ("MaxAttempts" in policy) == ("ExpireAfterMin" in policy):
        raise invalid(
            f"Step [{step.name}] has a retry policy that needs either MaxAttempts or ExpireAfterMin"
        )


def _check_cache(step: Step) -> None:
    expiry = (step.document.get("CacheConfig") or {}).get("ExpireAfter")
    try:
        if expiry is not None:
            duration_seconds(expiry)
    except ValueError as error:
        raise invalid(f"Step [{step.name}] has the cache expiry [{expiry}]: {error}") from None


def _check_processing(step: Step) -> None:
    outputs = (step.arguments.get("ProcessingOutputConfig") or {}).get("Outputs") or []
    names = {one["OutputName"] for one in outputs}
    for one in step.document.get("PropertyFiles") or []:
        if one["OutputName"] not in names:
            raise invalid(
                f"Step [{step.name}]: property file [{one['PropertyFileName']}] lies in the output "
                f"[{one['OutputName']}], which it does not have"
            )


def _check_condition(step: Step) -> None:
    conditions = step.arguments.get("Conditions") or []
    if not conditions:
        raise invalid(f"Condition step [{step.name}] has no conditions")

    def check(condition: dict[str, Any]) -> None:
        kind = condition.get("Type")
        if kind not in CONDITIONS:
            raise invalid(f"Condition step [{step.name}] has the unknown condition [{kind}]")
        for inner in condition.get("Conditions") or []:
            check(inner)
        if "Condition" in condition:
            check(condition["Condition"])

    for condition in conditions:
        check(condition)


def _check_fail(step: Step) -> None:
    if '"Std:JsonGet"' in json.dumps(step.arguments.get("ErrorMessage", "")):
        raise invalid(
            f"Fail step [{step.name}]: its message can join parameters and properties only"
        )


def _check_lambda(step: Step) -> None:
    if not isinstance(step.document.get("FunctionArn"), str):
        raise invalid(f"Lambda step [{step.name}] names no FunctionArn")
    for name, value in step.arguments.items():
        if isinstance(value, list) or (isinstance(value, dict) and not _is_expression(value)):
            raise invalid(f"Lambda step [{step.name}]: input [{name}] is no flat value")


def _check_training(step: Step) -> None:
    for name, value in (step.arguments.get("HyperParameters") or {}).items():
        is_number = isinstance(value, (int, float))
        if is_number or (isinstance(value, dict) and not _is_expression(value)):
            raise invalid(f"Training step [{step.name}]: hyperparameter [{name}] must be text")


def _is_expression(value: dict[str, Any]) -> bool:
    return len(value) == 1 and next(iter(value)) in ("Get", *_FUNCTIONS)


_CHECKS = {
    "Condition": _check_condition,
    "Fail": _check_fail,
    "Lambda": _check_lambda,
    "Processing": _check_processing,
    "Training": _check_training,
}


def _check_cycles(steps: dict[str, Step]) -> None:
    done: set[str] = set()
    while len(done) < len(steps):
        ready = {
            name for name, step in steps.items() if name not in done and step.dependencies <= done
        }
        if not ready:
            stuck = ", ".join(sorted(set(steps) - done))
            raise ServiceError("ValidationException", f"The steps depend on each other: {stuck}")
        done |= ready
