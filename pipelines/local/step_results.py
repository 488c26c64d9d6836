"""What the steps of an execution have left for later ones: properties, outcomes, property files."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.local.definitions import Definition
from pipelines.local.documents import Document
from pipelines.local.expressions import ExpressionError
from pipelines.local.objects import Objects


class StepResults:
    """The results of the steps that have ended well, those of an earlier try included."""

    def __init__(self, definition: Definition, objects: Objects, execution: Document) -> None:
        self._definition = definition
        self._objects = objects
        self.properties: dict[str, Any] = dict(execution["Results"])
        self.ended = {
            name for name, step in execution["Steps"].items() if step["StepStatus"] == "Succeeded"
        }
        self.outcomes = {  # of condition steps
            name: execution["Steps"][name]["Metadata"]["Condition"]["Outcome"] == "True"
            for name in self.ended
            if definition.steps[name].type == "Condition"
        }

    def property_file(self, step_name: str, name: str) -> Any:
        """The JSON of a property file.

        Raises
        ------
        ExpressionError
            Its step has not run, or did not write it.
        """
        step = self._definition.steps[step_name].document
        described = next(one for one in step["PropertyFiles"] if one["PropertyFileName"] == name)
        if step_name not in self.properties:
            raise ExpressionError(f"{name}: step {step_name} has not run")
        outputs = self.properties[step_name]["ProcessingOutputConfig"]["Outputs"]
        uri = next(
            one["S3Output"]["S3Uri"]
            for one in outputs
            if one["OutputName"] == described["OutputName"]
        )
        return self.read_json(f"{uri.rstrip('/')}/{described['FilePath']}")

    def read_json(self, address: str) -> Any:
        """The JSON at an address on S3.

        Raises
        ------
        ExpressionError
            It is not there, or no JSON.
        """
        try:
            return json.loads(self._objects.read(address))
        except (ValueError, BotoCoreError, ClientError) as error:
            raise ExpressionError(f"{address} cannot be read as JSON: {error}") from None


def forget_what_did_not_succeed(execution: Document) -> None:
    """Leaves of an execution's steps those that need not run again: they succeeded, and what they
    left is known."""
    execution["Steps"] = {
        name: step
        for name, step in execution["Steps"].items()
        if step["StepStatus"] == "Succeeded"
        and (name in execution["Results"] or "Condition" in step.get("Metadata", {}))
    }
