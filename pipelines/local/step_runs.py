"""How each kind of step runs: a job, a function, a registration; all as the pipeline's role."""

from __future__ import annotations

import json
import random
import string
import threading
from collections.abc import Callable
from dataclasses import dataclass

from pipelines.local.aws_json import (
    Request,
    Response,
    ServiceError,
    check_request,
    service_model,
)
from pipelines.local.definitions import Step
from pipelines.local.documents import Document, Documents
from pipelines.local.jobs import PROCESSING, TRAINING, Jobs
from pipelines.local.objects import Objects
from pipelines.local.step_cache import StepCache

# Invokes a Lambda function by ARN: (payload) → (result, error or None).
InvokeFunction = Callable[[str, bytes], tuple[bytes, str | None]]
# Raises ServiceError where the pipeline's role may not do this: (service, operation, request).
Authorize = Callable[[str, str, Request], None]
# Hears the metadata of a step while it runs.
Note = Callable[[Document], None]
Result = tuple[Document, Document]  # a step's properties, and its metadata


class StepFailedError(Exception):
    """A step ended badly. `kind` is what retry policies match on."""

    def __init__(self, reason: str, kind: str = "", metadata: Document | None = None) -> None:
        super().__init__(reason)
        self.kind = kind
        self.metadata = metadata or {}


class StepStoppedError(Exception):
    """The execution was stopped while the step ran."""


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


class StepRuns:
    """Runs the steps of one execution that call a service."""

    def __init__(self, services: Services, execution_id: str) -> None:
        self._services = services
        self._execution_id = execution_id
        self._lock = threading.Lock()
        self._jobs: set[str] = set()
        self.stopping = threading.Event()

    def run(self, step: Step, arguments: Document, note: Note) -> Result:
        """Runs a step once.

        Raises
        ------
        StepFailedError, StepStoppedError, ServiceError
            It did not end well.
        """
        if step.type == "Lambda":
            return self._invoke(step, arguments)
        if step.type == "RegisterModel":
            return self._register(step, arguments)
        return self._run_job(step, arguments, note)

    def stop(self) -> None:
        """Ends the jobs that run, and lets no other begin."""
        self.stopping.set()
        with self._lock:
            running = list(self._jobs)
        for name in running:
            self._services.jobs.stop(name)

    def _run_job(self, step: Step, arguments: Document, note: Note) -> Result:
        kind, key = (
            (TRAINING, "TrainingJob") if step.type == "Training" else (PROCESSING, "ProcessingJob")
        )
        suffix = "".join(random.choices(string.ascii_letters + string.digits, k=10))  # noqa: S311
        name = f"pipelines-{self._execution_id}-{step.name[:20]}-{suffix}"
        self._authorize("sagemaker", f"Create{key}", {f"{key}Name": name, **arguments})
        with self._lock:
            if self.stopping.is_set():
                raise StepStoppedError
            job = self._services.jobs.create(kind, name, arguments)
            self._jobs.add(name)
        metadata = {key: {"Arn": job[f"{key}Arn"]}}
        note(metadata)
        job = self._services.jobs.run(kind, name)
        with self._lock:
            self._jobs.discard(name)
        status = job[f"{key}Status"]
        if status == "Stopped" and self.stopping.is_set():
            raise StepStoppedError
        if status != "Completed":
            reason = job.get("FailureReason") or f"the job was stopped ({status})"
            kinds = {"InternalServerError": "SageMaker.JOB_INTERNAL_ERROR"}
            raise StepFailedError(reason, kinds.get(reason.partition(":")[0], ""), metadata)
        return job, metadata

    def _invoke(self, step: Step, arguments: Document) -> Result:
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

    def _register(self, step: Step, arguments: Document) -> Result:
        request = {**arguments, "ClientToken": f"{self._execution_id}-{step.name}"[:36]}
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
