"""Runs one execution of a pipeline: the steps in the order of their dependencies, the independent
ones in parallel, with retries, caching, conditions and stop."""

from __future__ import annotations

import json
import random
import string
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    check_request,
    now,
    present,
    service_model,
)
from pipelines.local.definitions import Definition, Step
from pipelines.local.documents import Document, Documents
from pipelines.local.expressions import ExpressionError, Scope
from pipelines.local.jobs import PROCESSING, TRAINING, Jobs
from pipelines.local.objects import Objects
from pipelines.local.step_cache import StepCache

EXECUTIONS = "executions"
MAX_PARALLEL_STEPS = 50  # the service's default of ParallelismConfiguration

# Invokes a Lambda function by ARN: (payload) → (result, error or None).
InvokeFunction = Callable[[str, bytes], tuple[bytes, str | None]]


class StepFailedError(Exception):
    """A step ended badly. `kind` is what retry policies match on."""

    def __init__(self, reason: str, kind: str = "", metadata: Document | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.metadata = metadata or {}


class StepStoppedError(Exception):
    """The execution was stopped while the step ran."""


# Raises ServiceError where the pipeline's role may not do this: (service, operation, request).
Authorize = Callable[[str, str, Request], None]


@dataclass(frozen=True)
class Services:
    """What steps call, as the pipeline's role."""

    documents: Documents
    jobs: Jobs
    objects: Objects
    cache: StepCache
    invoke: InvokeFunction
    create_model_package: Callable[[Request], Response]
    describe_model_package: Callable[[Request], Response]
    authorize: Authorize


class Executor:
    """One execution. Its document always says how far it is."""

    def __init__(self, services: Services, arn: str, definition: Definition) -> None:
        self._services = services
        self._arn = arn
        self._definition = definition
        self._lock = threading.Lock()
        self._properties: dict[str, Any] = {}
        self._outcomes: dict[str, bool] = {}
        self._ended: set[str] = set()
        self._failure = ""
        self._stopping = threading.Event()
        self._jobs: set[str] = set()
        execution = services.documents.get(EXECUTIONS, arn)
        assert execution is not None
        self._pipeline = execution["PipelineName"]
        self._scope = Scope(
            execution["Parameters"],
            {
                "PipelineName": execution["PipelineName"],
                "PipelineArn": execution["PipelineArn"],
                "PipelineExecutionId": arn.rpartition("/")[2],
                "PipelineExecutionArn": arn,
                "StartDateTime": _iso(execution["CreationTime"]),
                "CurrentDateTime": _iso(now()),
            },
            self._properties,
            self._property_file,
            self._read_json,
        )

    def run(self) -> None:
        """Runs to the end. Never raises: whatever happens is told in the document."""
        try:
            with ThreadPoolExecutor(MAX_PARALLEL_STEPS, thread_name_prefix="step") as pool:
                self._run_steps(pool)
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
        self._stopping.set()
        with self._lock:
            running = list(self._jobs)
        for name in running:
            self._services.jobs.stop(name)

    def _run_steps(self, pool: ThreadPoolExecutor) -> None:
        running: dict[Future[None], Step] = {}
        started: set[str] = set()
        while True:
            if not self._failure and not self._stopping.is_set():
                for step in self._definition.steps.values():
                    if step.name not in started and self._is_ready(step):
                        started.add(step.name)
                        running[pool.submit(self._run_step, step)] = step
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                running.pop(future)
                future.result()

    def _is_ready(self, step: Step) -> bool:
        if step.branch and self._outcomes.get(step.branch[0]) is not step.branch[1]:
            return False
        return step.dependencies <= self._ended

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
                if not matching or self._stopping.is_set():
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
                if self._stopping.wait(pause):
                    raise StepStoppedError from None

    def _run_once(self, step: Step) -> None:
        if step.type == "Condition":
            outcome = self._scope.all_hold(step.arguments["Conditions"])
            self._outcomes[step.name] = outcome
            self._end(step, "Succeeded", {"Condition": {"Outcome": str(outcome)}})
            return
        arguments = self._scope.resolve(step.arguments)
        if step.type == "Fail":
            message = arguments.get("ErrorMessage", "")
            raise StepFailedError(message, metadata={"Fail": {"ErrorMessage": message}})
        cached = self._services.cache.find(self._pipeline, step, arguments)
        if cached:
            self._properties[step.name] = cached["Result"]["Properties"]
            hit = {"SourcePipelineExecutionArn": cached["Execution"]}
            self._end(step, "Succeeded", cached["Result"]["Metadata"], CacheHitResult=hit)
            return
        run = {
            "Processing": self._run_job,
            "Training": self._run_job,
            "Lambda": self._run_lambda,
            "RegisterModel": self._run_register,
        }[step.type]
        properties, metadata = run(step, arguments)
        self._properties[step.name] = properties
        result = {"Properties": properties, "Metadata": metadata}
        self._services.cache.keep(self._pipeline, step, arguments, self._arn, result)
        self._end(step, "Succeeded", metadata)

    def _run_job(self, step: Step, arguments: Document) -> tuple[Document, Document]:
        kind, key = (
            (TRAINING, "TrainingJob") if step.type == "Training" else (PROCESSING, "ProcessingJob")
        )
        suffix = "".join(random.choices(string.ascii_letters + string.digits, k=10))  # noqa: S311
        name = f"pipelines-{self._arn.rpartition('/')[2]}-{step.name[:20]}-{suffix}"
        self._authorize("sagemaker", f"Create{key}", {f"{key}Name": name, **arguments})
        with self._lock:
            if self._stopping.is_set():
                raise StepStoppedError
            job = self._services.jobs.create(kind, name, arguments)
            self._jobs.add(name)
        metadata = {key: {"Arn": job[f"{key}Arn"]}}
        self._note(step, {"Metadata": metadata})
        job = self._services.jobs.run(kind, name)
        with self._lock:
            self._jobs.discard(name)
        status = job[f"{key}Status"]
        if status == "Stopped" and self._stopping.is_set():
            raise StepStoppedError
        if status != "Completed":
            reason = job.get("FailureReason") or f"the job was stopped ({status})"
            kinds = {"InternalServerError": "SageMaker.JOB_INTERNAL_ERROR"}
            raise StepFailedError(reason, kinds.get(reason.partition(":")[0], ""), metadata)
        return job, metadata

    def _run_lambda(self, step: Step, arguments: Document) -> tuple[Document, Document]:
        arn = step.document["FunctionArn"]
        self._authorize("lambda", "Invoke", {"FunctionName": arn})
        result, error = self._services.invoke(arn, json.dumps(arguments).encode())
        if error:
            raise StepFailedError(f"ClientError: The function {arn} failed: {error}")
        given = json.loads(result) or {}
        outputs = {}
        for one in step.document.get("OutputParameters") or []:
            name = one["OutputName"]
            if not isinstance(given, dict) or name not in given:
                raise StepFailedError(f"ClientError: The function {arn} did not return [{name}]")
            if isinstance(given[name], (dict, list)):
                raise StepFailedError(
                    f"ClientError: The function {arn} returned [{name}], which is no flat value"
                )
            outputs[name] = given[name]
        shown = [{"Name": name, "Value": str(value)} for name, value in outputs.items()]
        return {"OutputParameters": outputs}, {"Lambda": {"Arn": arn, "OutputParameters": shown}}

    def _run_register(self, step: Step, arguments: Document) -> tuple[Document, Document]:
        token = f"{self._arn.rpartition('/')[2]}-{step.name}"[:36]
        request = {**arguments, "ClientToken": token}
        if request.get("SkipModelValidation") is None:
            request.pop("SkipModelValidation", None)
        operation = service_model("sagemaker").operation_model("CreateModelPackage")
        check_request(operation, request)
        self._authorize("sagemaker", "CreateModelPackage", request)
        arn = self._services.create_model_package(request)["ModelPackageArn"]
        package = self._services.describe_model_package({"ModelPackageName": arn})
        return package, {"RegisterModel": {"Arn": arn}}

    def _authorize(self, service: str, operation: str, request: Request) -> None:
        try:
            self._services.authorize(service, operation, request)
        except ServiceError as error:
            raise StepFailedError(
                f"ClientError: Failed to invoke {service}:{operation}. Error Details: {error}"
            ) from None

    def _property_file(self, step_name: str, name: str) -> Any:
        step = self._definition.steps[step_name].document
        described = next(one for one in step["PropertyFiles"] if one["PropertyFileName"] == name)
        if step_name not in self._properties:
            raise ExpressionError(f"{name}: step {step_name} has not run")
        outputs = self._properties[step_name]["ProcessingOutputConfig"]["Outputs"]
        uri = next(
            one["S3Output"]["S3Uri"]
            for one in outputs
            if one["OutputName"] == described["OutputName"]
        )
        return self._read_json(f"{uri.rstrip('/')}/{described['FilePath']}")

    def _read_json(self, address: str) -> Any:
        try:
            return json.loads(self._services.objects.read(address))
        except (ValueError, BotoCoreError, ClientError) as error:
            raise ExpressionError(f"{address} cannot be read as JSON: {error}") from None

    def _end(self, step: Step, status: str, metadata: Document, **more: Any) -> None:
        changes = {"StepStatus": status, "EndTime": now(), **present(**more)}
        if metadata:
            changes["Metadata"] = metadata
        self._note(step, changes)
        if status == "Succeeded":
            self._ended.add(step.name)

    def _note(self, step: Step, changes: Document) -> None:
        def change(execution: Document) -> None:
            execution["Steps"].setdefault(step.name, {}).update(changes)
            execution["LastModifiedTime"] = now()

        self._services.documents.change(EXECUTIONS, self._arn, change)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
