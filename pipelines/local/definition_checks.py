"""What a pipeline definition is refused for, before anything runs.

The rules are those of the Amazon SageMaker developer guide (pages on step types) and of the
published schema of definitions, so that a definition that runs here is accepted there.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipelines.local.aws_json import invalid
from pipelines.local.expressions import (
    CONDITIONS,
    ExpressionError,
    references,
    split_step_reference,
)
from pipelines.local.step_cache import duration_seconds

if TYPE_CHECKING:
    from pipelines.local.definitions import Definition, Step

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
_FUNCTIONS = ("Std:Join", "Std:JsonGet")


def check_steps(definition: Definition) -> None:
    """Checks every step, and that their dependencies are no circle.

    Raises
    ------
    ServiceError
        `ValidationException`: what is wrong, by name.
    """
    for step in definition.steps.values():
        _check_step(step, definition)
    _check_cycles(definition.steps)


def referenced_steps(value: Any) -> set[str]:
    """The names of the steps whose properties an argument refers to."""
    return {_split(one)[0] for one in references(value) if one.startswith("Steps.")}


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
            raise invalid(f"The steps depend on each other: {stuck}")
        done |= ready
