"""The API of SageMaker Pipelines: executions and their steps; started, retried, stopped, told."""

from __future__ import annotations

import random
import re
import string
import threading
import time
from collections.abc import Callable

from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    in_period,
    invalid,
    not_found,
    now,
    page,
    present,
)
from pipelines.local.definitions import parse_definition
from pipelines.local.documents import Document, Documents
from pipelines.local.executor import EXECUTIONS, Executor
from pipelines.local.step_results import forget_what_did_not_succeed
from pipelines.local.step_runs import Services

PIPELINES = "pipelines"
ENDED = ("Succeeded", "Failed", "Stopped")
CLOSING_SECONDS = 40.0  # a job that ignores SIGTERM takes the engine's time of grace: 30
_NOT_DESCRIBED = (
    "Steps",
    "Results",
    "Parameters",
    "PipelineDefinition",
    "PipelineName",
    "ClientRequestToken",
    "RetryTokens",
)


class Executions:
    """Executions of all pipelines."""

    def __init__(self, documents: Documents, services_of: Callable[[str], Services]) -> None:
        self._documents = documents
        self._services_of = services_of  # a role's ARN → what steps call as it
        self._running: dict[str, tuple[Executor, threading.Thread]] = {}
        self._lock = threading.Lock()  # around a look at an execution and what follows from it

    def start_pipeline_execution(self, request: Request) -> Response:
        """Starts an execution; the same token gives the execution that it started before."""
        if "SelectiveExecutionConfig" in request:
            raise invalid("SelectiveExecutionConfig is not known to the local cloud")
        token = request.get("ClientRequestToken")
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            for execution in self._of_pipeline(pipeline["PipelineArn"]):
                if token and execution.get("ClientRequestToken") == token:
                    return {"PipelineExecutionArn": execution["PipelineExecutionArn"]}
            definition = parse_definition(pipeline["PipelineDefinition"])
            values = definition.values(request.get("PipelineParameters") or [])
            services = self._services_of(pipeline["RoleArn"])
            identifier = "".join(random.choices(string.ascii_lowercase + string.digits, k=12))  # noqa: S311
            arn = f"{pipeline['PipelineArn']}/execution/{identifier}"
            self._documents.put(
                EXECUTIONS,
                arn,
                present(
                    PipelineArn=pipeline["PipelineArn"],
                    PipelineName=pipeline["PipelineName"],
                    PipelineExecutionArn=arn,
                    PipelineExecutionDisplayName=request.get(
                        "PipelineExecutionDisplayName", f"execution-{int(now() * 1000)}"
                    ),
                    PipelineExecutionDescription=request.get("PipelineExecutionDescription"),
                    PipelineExecutionStatus="Executing",
                    CreationTime=now(),
                    LastModifiedTime=now(),
                    CreatedBy={},
                    LastModifiedBy={},
                    ClientRequestToken=token,
                    PipelineDefinition=pipeline["PipelineDefinition"],
                    Parameters=values,
                    Steps={},
                    Results={},
                    RetryTokens=[],
                ),
            )
            self._documents.change(
                PIPELINES,
                pipeline["PipelineName"],
                lambda document: document.update(LastExecutionTime=now(), LastRunTime=now()),
            )
            self._run(Executor(services, arn, definition), arn)
        return {"PipelineExecutionArn": arn}

    def retry_pipeline_execution(self, request: Request) -> Response:
        """Goes on with an execution that failed or was stopped, under its ARN, with the definition
        and the parameters that it was started with: what succeeded is kept, all else runs (again).
        The same token does so once."""
        arn, token = request["PipelineExecutionArn"], request["ClientRequestToken"]

        def begin_again(execution: Document) -> None:
            execution.setdefault("Results", {})  # one that an older local cloud has kept
            execution.setdefault("RetryTokens", []).append(token)
            forget_what_did_not_succeed(execution)
            execution.pop("FailureReason", None)
            execution |= {"PipelineExecutionStatus": "Executing", "LastModifiedTime": now()}

        with self._lock:
            execution = self._execution(arn)
            if token in execution.get("RetryTokens", []):
                return {"PipelineExecutionArn": arn}
            status = execution["PipelineExecutionStatus"]
            if status not in ("Failed", "Stopped"):
                raise ServiceError(
                    "ConflictException",
                    f"Pipeline execution {arn} is {status}: "
                    "only one that failed or was stopped can be retried",
                )
            services = self._services_of(self._pipeline(execution["PipelineArn"])["RoleArn"])
            definition = parse_definition(execution["PipelineDefinition"])
            self._documents.change(EXECUTIONS, arn, begin_again)
            self._run(Executor(services, arn, definition), arn)
        return {"PipelineExecutionArn": arn}

    def stop_pipeline_execution(self, request: Request) -> Response:
        with self._lock:  # whoever starts it holds the lock until it is there
            execution = self._execution(request["PipelineExecutionArn"])
            arn = execution["PipelineExecutionArn"]
            if execution["PipelineExecutionStatus"] != "Executing":
                raise invalid(
                    f"Pipeline execution {arn} is {execution['PipelineExecutionStatus']}: "
                    "only one that is executing can be stopped"
                )
            if arn in self._running:
                self._running[arn][0].stop()
        return {"PipelineExecutionArn": arn}

    def describe_pipeline_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        return {name: value for name, value in execution.items() if name not in _NOT_DESCRIBED}

    def describe_pipeline_definition_for_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        return {
            "PipelineDefinition": execution["PipelineDefinition"],
            "CreationTime": execution["CreationTime"],
        }

    def update_pipeline_execution(self, request: Request) -> Response:
        arn = self._execution(request["PipelineExecutionArn"])["PipelineExecutionArn"]
        names = ("PipelineExecutionDisplayName", "PipelineExecutionDescription")
        changes = {name: request[name] for name in names if name in request}
        self._documents.change(EXECUTIONS, arn, lambda execution: execution.update(changes))
        return {"PipelineExecutionArn": arn}

    def list_pipeline_executions(self, request: Request) -> Response:
        pipeline = self._pipeline(request["PipelineName"])
        executions = [
            present(
                PipelineExecutionArn=execution["PipelineExecutionArn"],
                StartTime=execution["CreationTime"],
                PipelineExecutionStatus=execution["PipelineExecutionStatus"],
                PipelineExecutionDescription=execution.get("PipelineExecutionDescription"),
                PipelineExecutionDisplayName=execution.get("PipelineExecutionDisplayName"),
                PipelineExecutionFailureReason=execution.get("FailureReason"),
            )
            for execution in self._of_pipeline(pipeline["PipelineArn"])
        ]
        executions = in_period(executions, request, "StartTime")
        shown, token = page(latest_first(executions, request, "StartTime"), request)
        return {"PipelineExecutionSummaries": shown, **token}

    def list_pipeline_execution_steps(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        steps = latest_first(list(execution["Steps"].values()), request, "StartTime")
        shown, token = page(steps, request)
        return {"PipelineExecutionSteps": shown, **token}

    def list_pipeline_parameters_for_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        parameters = [
            {"Name": name, "Value": str(value)} for name, value in execution["Parameters"].items()
        ]
        shown, token = page(parameters, request)
        return {"PipelineParameters": shown, **token}

    # What the local cloud calls.

    def fail_interrupted(self, reason: str) -> None:
        """Ends the executions that a former process of the local cloud left running."""

        def change(execution: Document) -> None:
            for step in execution["Steps"].values():
                if step["StepStatus"] in ("Executing", "Stopping"):
                    step |= {"StepStatus": "Failed", "EndTime": now(), "FailureReason": reason}
            execution |= {
                "PipelineExecutionStatus": "Failed",
                "FailureReason": reason,
                "LastModifiedTime": now(),
            }

        for execution in self._documents.all(EXECUTIONS):
            if execution["PipelineExecutionStatus"] not in ENDED:
                self._documents.change(EXECUTIONS, execution["PipelineExecutionArn"], change)

    def close(self, seconds: float = CLOSING_SECONDS) -> None:
        """Stops what runs, and waits for it: an orderly end of the local cloud. What has not ended
        by then, a function that takes its time, is told to have failed at the next start."""
        with self._lock:
            running = list(self._running.values())
        for executor, _ in running:
            executor.stop("The local cloud was stopped while this ran")
        deadline = time.monotonic() + seconds
        for _, thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, executor: Executor, arn: str) -> None:
        """Runs an execution in a thread of its own; the caller holds the lock."""

        def run() -> None:
            try:
                executor.run()
            finally:
                with self._lock:
                    if self._running.get(arn, (None,))[0] is executor:  # and no later try
                        del self._running[arn]

        thread = threading.Thread(target=run, name=f"execution {arn[-12:]}", daemon=True)
        self._running[arn] = (executor, thread)
        thread.start()

    def _pipeline(self, name_or_arn: str) -> Document:
        name = re.sub(r"^arn:.*:pipeline/", "", name_or_arn)
        pipeline = self._documents.get(PIPELINES, name)
        if pipeline is None:
            raise not_found("Pipeline", name_or_arn)
        return pipeline

    def _execution(self, arn: str) -> Document:
        execution = self._documents.get(EXECUTIONS, arn)
        if execution is None:
            raise not_found("Pipeline execution", arn)
        return execution

    def _of_pipeline(self, arn: str) -> list[Document]:
        return self._documents.find(EXECUTIONS, lambda execution: execution["PipelineArn"] == arn)


def latest_first(items: list[Document], request: Request, by: str) -> list[Document]:
    """Ordered by a member, latest first unless told otherwise, as AWS does."""
    return sorted(items, key=lambda one: one[by], reverse=request.get("SortOrder") != "Ascending")
