"""Runs one execution of a pipeline: the steps in the order of their dependencies, the independent
ones in parallel, with retries, caching, conditions and stop. `step_runs.py` runs a single step."""

from __future__ import annotations

import queue
import threading
import time
from datetime import datetime, timezone
from typing import Any

from pipelines.local.aws_json import ServiceError, now, present
from pipelines.local.definitions import Definition, Step
from pipelines.local.documents import Document
from pipelines.local.expressions import ExpressionError, Scope
from pipelines.local.step_results import StepResults
from pipelines.local.step_runs import Services, StepFailedError, StepRuns, StepStoppedError

EXECUTIONS = "executions"


class Executor:
    """One execution. Its document always says how far it is; what succeeded there, in an earlier
    try, is not run again."""

    def __init__(self, services: Services, arn: str, definition: Definition) -> None:
        self._services = services
        self._arn = arn
        self._definition = definition
        self._failure = ""
        execution = services.documents.get(EXECUTIONS, arn)
        assert execution is not None
        self._pipeline = execution["PipelineName"]
        self._results = StepResults(definition, services.objects, execution)
        identifier = arn.rpartition("/")[2]
        self._runs = StepRuns(services, identifier)
        self._scope = Scope(
            execution["Parameters"],
            {
                "PipelineName": execution["PipelineName"],
                "PipelineArn": execution["PipelineArn"],
                "PipelineExecutionId": identifier,
                "PipelineExecutionArn": arn,
                "StartDateTime": _iso(execution["CreationTime"]),
                "CurrentDateTime": _iso(now()),
            },
            self._results.properties,
            self._results.property_file,
            self._results.read_json,
        )

    def run(self) -> None:
        """Runs to the end. Never raises: whatever happens is told in the document."""
        try:
            self._run_steps()
        except Exception as error:
            self._failure = self._failure or f"InternalServerError: {error!r}"

        def end(execution: Document) -> None:
            status = "Failed" if self._failure else "Succeeded"
            if execution["PipelineExecutionStatus"] == "Stopping":
                status = "Stopped"
            execution |= {"PipelineExecutionStatus": status, "LastModifiedTime": now()}
            execution |= present(FailureReason=self._failure or None)

        self._services.documents.change(EXECUTIONS, self._arn, end)

    def stop(self, reason: str = "") -> None:
        """Starts nothing more, and ends the jobs that run; nothing where it has ended.

        `reason` is kept as the execution's, where nobody asked for the stop.
        """

        def mark(execution: Document) -> None:
            if execution["PipelineExecutionStatus"] == "Executing":
                execution |= {"PipelineExecutionStatus": "Stopping", "LastModifiedTime": now()}
                execution |= present(FailureReason=reason or None)
                for step in execution["Steps"].values():
                    if step["StepStatus"] == "Executing":
                        step["StepStatus"] = "Stopping"

        self._services.documents.change(EXECUTIONS, self._arn, mark)
        self._runs.stop()

    def _run_steps(self) -> None:
        """Starts each step as soon as it is ready, until nothing runs and nothing is ready.

        The threads are no pool's: Python waits for a pool's at its own end, however long they take.
        """
        ended: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
        started = set(self._results.ended)
        running = 0

        def run(step: Step) -> None:
            fault: Exception | None = None
            try:
                self._run_step(step)
            except Exception as error:  # the document cannot be written
                fault = error
            ended.put(fault)

        while True:
            if not self._failure and not self._runs.stopping.is_set():
                for step in self._definition.steps.values():
                    if step.name not in started and self._is_ready(step):
                        threading.Thread(
                            target=run, args=(step,), name=f"step {step.name}", daemon=True
                        ).start()
                        started.add(step.name)
                        running += 1
            if not running:
                return
            fault = ended.get()
            running -= 1
            if fault:
                self._failure = self._failure or f"InternalServerError: {fault!r}"

    def _is_ready(self, step: Step) -> bool:
        if step.branch and self._results.outcomes.get(step.branch[0]) is not step.branch[1]:
            return False
        return step.dependencies <= self._results.ended

    def _run_step(self, step: Step) -> None:
        """Runs one step and notes how it ended."""
        record = {"StepName": step.name, "StepType": step.type, "StartTime": now()}
        record |= present(
            StepDisplayName=step.document.get("DisplayName"),
            StepDescription=step.document.get("Description"),
        )
        self._note(step, {**record, "StepStatus": "Executing", "AttemptCount": 1})
        try:
            self._attempt(step)
        except (StepFailedError, ExpressionError, ServiceError) as error:
            metadata = getattr(error, "metadata", {})
            self._failure = self._failure or (
                str(error)
                if step.type == "Fail"
                else f"Step failure: One or multiple steps failed: {step.name}: {error}"
            )
            self._end(step, "Failed", metadata, FailureReason=str(error))
        except StepStoppedError:
            self._end(step, "Stopped", {})
        except Exception as error:  # a fault of our own
            self._failure = self._failure or f"InternalServerError: {step.name}: {error!r}"
            self._end(step, "Failed", {}, FailureReason=f"InternalServerError: {error!r}")

    def _attempt(self, step: Step) -> None:
        """Runs a step until it succeeds or its retry policies are used up."""
        policies = step.document.get("RetryPolicies") or []
        attempts: dict[int, int] = {}
        began = time.monotonic()
        while True:
            try:
                return self._run_once(step)
            except StepFailedError as error:
                matching = [
                    index
                    for index, one in enumerate(policies)
                    if error.kind in one["ExceptionType"]
                ]
                if not matching or self._runs.stopping.is_set():
                    raise
                index = matching[0]
                policy, used = policies[index], attempts.get(index, 0)
                pause = policy.get("IntervalSeconds", 1) * policy.get("BackoffRate", 2.0) ** used
                limit = policy.get("ExpireAfterMin", 0) * 60
                is_late = limit and time.monotonic() - began + pause > limit
                if is_late or ("MaxAttempts" in policy and used >= policy["MaxAttempts"]):
                    raise
                attempts[index] = used + 1
                self._note(step, {"AttemptCount": sum(attempts.values()) + 1})
                if self._runs.stopping.wait(pause):
                    raise StepStoppedError from None

    def _run_once(self, step: Step) -> None:
        if step.type == "Condition":
            outcome = self._scope.all_hold(step.arguments["Conditions"])
            self._results.outcomes[step.name] = outcome
            self._end(step, "Succeeded", {"Condition": {"Outcome": str(outcome)}})
            return
        arguments = self._scope.resolve(step.arguments)
        if step.type == "Fail":
            message = arguments.get("ErrorMessage", "")
            raise StepFailedError(message, metadata={"Fail": {"ErrorMessage": message}})
        cached = self._services.cache.find(self._pipeline, step, arguments)
        if cached:
            hit = {"SourcePipelineExecutionArn": cached["Execution"]}
            self._succeed(step, cached["Result"], CacheHitResult=hit)
            return
        properties, metadata = self._runs.run(
            step, arguments, lambda told: self._note(step, {"Metadata": told})
        )
        result = {"Properties": properties, "Metadata": metadata}
        self._services.cache.keep(self._pipeline, step, arguments, self._arn, result)
        self._succeed(step, result)

    def _succeed(self, step: Step, result: Document, **more: Any) -> None:
        self._results.properties[step.name] = result["Properties"]
        self._end(step, "Succeeded", result["Metadata"], **more)

    def _end(self, step: Step, status: str, metadata: Document, **more: Any) -> None:
        changes = {"StepStatus": status, "EndTime": now(), **present(**more)}
        if metadata:
            changes["Metadata"] = metadata
        self._note(step, changes)
        if status == "Succeeded":
            self._results.ended.add(step.name)

    def _note(self, step: Step, changes: Document) -> None:
        """Brings the document in step; what a step that succeeded has left is part of it, so that a
        later try can go on from there."""

        def change(execution: Document) -> None:
            execution["Steps"].setdefault(step.name, {}).update(changes)
            execution["LastModifiedTime"] = now()
            if changes.get("StepStatus") == "Succeeded" and step.name in self._results.properties:
                execution["Results"][step.name] = self._results.properties[step.name]

        self._services.documents.change(EXECUTIONS, self._arn, change)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
