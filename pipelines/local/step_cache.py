"""Step caching: what a step's key is made of, and how long a result may be used again.

The attributes are those of the Amazon SageMaker developer guide, "Default cache key attributes by
pipeline step type". Like the service, it compares the addresses of inputs, never what lies there.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from pipelines.local.aws_json import now
from pipelines.local.documents import Document, Documents

if TYPE_CHECKING:
    from pipelines.local.definitions import Step

_KIND = "step-cache"
_ATTRIBUTES = {
    "Processing": ("AppSpecification", "Environment", "ProcessingInputs"),
    "Training": (
        "AlgorithmSpecification",
        "CheckpointConfig",
        "DebugHookConfig",
        "DebugRuleConfigurations",
        "Environment",
        "HyperParameters",
        "InputDataConfig",
    ),
}
_DURATION = re.compile(
    r"P(?:(?P<Y>\d+)Y)?(?:(?P<Mo>\d+)M)?(?:(?P<W>\d+)W)?(?:(?P<D>\d+)D)?"
    r"(?:T(?:(?P<H>\d+)H)?(?:(?P<Mi>\d+)M)?(?:(?P<S>\d+)S)?)?"
)
_SECONDS = {
    "Y": 31_536_000,
    "Mo": 2_592_000,
    "W": 604_800,
    "D": 86_400,
    "H": 3_600,
    "Mi": 60,
    "S": 1,
}


class StepCache:
    """The latest result of each step of a pipeline, by what went into it."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def find(self, pipeline: str, step: Step, arguments: dict[str, Any]) -> Document | None:
        """The entry that may be used instead of running the step."""
        config = step.document.get("CacheConfig") or {}
        if not config.get("Enabled") or step.type not in _ATTRIBUTES:
            return None
        entry = self._documents.get(_KIND, _key(pipeline, step, arguments))
        expiry = config.get("ExpireAfter")
        if entry is None or (expiry and now() - entry["Time"] > duration_seconds(expiry)):
            return None
        return entry

    def keep(
        self, pipeline: str, step: Step, arguments: dict[str, Any], execution: str, result: Document
    ) -> None:
        if step.type in _ATTRIBUTES:
            key = _key(pipeline, step, arguments)
            entry = {"Time": now(), "Execution": execution, "Result": result}
            self._documents.put(_KIND, key, entry)


def duration_seconds(text: str) -> int:
    """An ISO 8601 duration in seconds; a month counts 30 days and a year 365.

    Raises
    ------
    ValueError
        Not such a duration.
    """
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise ValueError(f"{text} is not an ISO 8601 duration such as P30D or PT2H")
    return sum(int(value) * _SECONDS[unit] for unit, value in found.groupdict("0").items())


def _key(pipeline: str, step: Step, arguments: dict[str, Any]) -> str:
    parts = {name: arguments.get(name) for name in _ATTRIBUTES[step.type]}
    text = json.dumps([pipeline, step.name, step.type, parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
