"""The executions of the pipeline: how they ended, and what they ran with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from lambdas.changes import DATA, Content
from lambdas.errors import RetrainError

if TYPE_CHECKING:
    from mypy_boto3_sagemaker import SageMakerClient

LONGEST = timedelta(days=28)  # for which an execution may run
MOST_COMPARED = 30  # executions that may have settled the same: one or two requests each
GATE = "ModelRejected"  # the step that says that the model missed a bar

SETTLED = ("Succeeded", "Rejected")
MAYBE_SETTLED = (*SETTLED, "Failed")
ENDED = (*SETTLED, "Failed", "Stopped", "Stopping")


@dataclass(frozen=True)
class Execution:
    """One execution.

    `outcome` is the service's word for its status, but for "Rejected": it failed because its model
    missed a bar. That is only found out down to the newest that settled something.
    """

    arn: str
    started: datetime
    outcome: str


@dataclass(frozen=True)
class History:
    """The executions that may matter, newest first: all that may run still, those since the newest
    that settled what it was started for, and `MOST_COMPARED` that may have settled something."""

    executions: Sequence[Execution]

    @property
    def running(self) -> Sequence[Execution]:
        return [one for one in self.executions if one.outcome == "Executing"]

    @cached_property
    def settled(self) -> Execution | None:
        return next((one for one in self.executions if one.outcome in SETTLED), None)

    @property
    def maybe_settled(self) -> Sequence[Execution]:
        """Those that settled something, and those that may have: a failure may be a missed bar."""
        found = (one for one in self.executions if one.outcome in MAYBE_SETTLED)
        return list(islice(found, MOST_COMPARED))

    @cached_property
    def ended(self) -> Execution | None:
        """The newest that runs no longer, whatever became of it; one that is being stopped will not
        settle anything either."""
        return next((one for one in self.executions if one.outcome in ENDED), None)


class Executions:
    """The executions of one pipeline."""

    def __init__(self, sagemaker: SageMakerClient, pipeline: str) -> None:
        self._sagemaker = sagemaker
        self._pipeline = pipeline

    def definition(self) -> dict[str, Any]:
        """The definition that is stored, and that a start runs.

        Raises
        ------
        RetrainError: there is no such pipeline.
        """
        try:
            described = self._sagemaker.describe_pipeline(PipelineName=self._pipeline)
        except self._sagemaker.exceptions.ResourceNotFound:
            raise RetrainError(
                f"there is no pipeline {self._pipeline} yet; "
                "create it with `claimflow pipeline upsert`"
            ) from None
        return _document(described["PipelineDefinition"])

    def history(self) -> History:
        found: list[Execution] = []
        settled: Execution | None = None
        compared = 0
        pages = self._sagemaker.get_paginator("list_pipeline_executions").paginate(
            PipelineName=self._pipeline, SortBy="CreationTime", SortOrder="Descending"
        )
        for summary in (one for page in pages for one in page["PipelineExecutionSummaries"]):
            arn, started = summary["PipelineExecutionArn"], summary["StartTime"]
            outcome: str = summary["PipelineExecutionStatus"]
            if settled and settled.started - started > LONGEST and compared >= MOST_COMPARED:
                break
            if outcome == "Failed" and settled is None and self._missed_a_bar(arn):
                outcome = "Rejected"
            found.append(Execution(arn, started, outcome))
            compared += outcome in MAYBE_SETTLED
            if outcome in SETTLED:
                settled = settled or found[-1]
        return History(found)

    def settled_with(self, content: Content, history: History) -> Execution | None:
        """The newest execution that settled this content, which names its data.

        An execution of other data is known by its parameters alone, so most cost one request.
        """
        for one in history.maybe_settled:
            given = self.parameters(one)
            if any(given.get(name) != content.given.get(name) for name in DATA):
                continue
            if self._content(one, given).digest != content.digest:
                continue
            if one.outcome in SETTLED:
                return one
            if self._missed_a_bar(one.arn):
                return replace(one, outcome="Rejected")
        return None

    def content(self, execution: Execution) -> Content:
        """What an execution ran, or runs, with."""
        return self._content(execution, self.parameters(execution))

    def parameters(self, execution: Execution) -> Mapping[str, str]:
        """Those that an execution was started with, perhaps without those left at their default."""
        pages = self._sagemaker.get_paginator("list_pipeline_parameters_for_execution").paginate(
            PipelineExecutionArn=execution.arn
        )
        return {one["Name"]: one["Value"] for page in pages for one in page["PipelineParameters"]}

    def start(self, parameters: Mapping[str, str], token: str) -> str:
        """Starts an execution and returns its ARN; the same token gives the same execution."""
        started = self._sagemaker.start_pipeline_execution(
            PipelineName=self._pipeline,
            PipelineParameters=[
                {"Name": name, "Value": value} for name, value in parameters.items()
            ],
            ClientRequestToken=token,
        )
        return started["PipelineExecutionArn"]

    def _content(self, execution: Execution, given: Mapping[str, str]) -> Content:
        described = self._sagemaker.describe_pipeline_definition_for_execution(
            PipelineExecutionArn=execution.arn
        )
        return Content(_document(described["PipelineDefinition"]), given)

    def _missed_a_bar(self, arn: str) -> bool:
        pages = self._sagemaker.get_paginator("list_pipeline_execution_steps").paginate(
            PipelineExecutionArn=arn
        )
        steps = (step for page in pages for step in page["PipelineExecutionSteps"])
        return any(step.get("StepName") == GATE for step in steps)


def _document(text: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(text)
    return document
