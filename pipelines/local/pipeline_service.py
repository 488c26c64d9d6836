"""The API of SageMaker Pipelines: pipelines, their executions and steps."""

from __future__ import annotations

import random
import re
import string
import threading
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

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
from pipelines.local.executor import EXECUTIONS, Executor, Services
from pipelines.local.objects import Objects

PIPELINES, TAGS = "pipelines", "tags"
ENDED = ("Succeeded", "Failed", "Stopped")


class PipelineService:
    """Pipelines and executions."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        objects: Objects,
        services_of: Callable[[str], Services],
    ) -> None:
        self._documents = documents
        self._arn_prefix = arn_prefix
        self._objects = objects
        self._services_of = services_of  # a role's ARN → what steps call as it
        self._running: dict[str, tuple[Executor, threading.Thread]] = {}
        self._lock = threading.Lock()

    def create_pipeline(self, request: Request) -> Response:
        name, token = request["PipelineName"], request.get("ClientRequestToken")
        text = self._definition_text(request)
        parse_definition(text)
        arn = f"{self._arn_prefix}:pipeline/{name}"
        with self._lock:
            existing = self._documents.get(PIPELINES, name)
            if existing and (not token or existing.get("ClientRequestToken") != token):
                raise invalid(
                    f"Pipeline names must be unique within an AWS account and region. "
                    f"Pipeline with name ({name}) already exists."
                )
            if not existing:
                self._documents.put(
                    PIPELINES,
                    name,
                    present(
                        PipelineArn=arn,
                        PipelineName=name,
                        PipelineDisplayName=request.get("PipelineDisplayName", name),
                        PipelineDescription=request.get("PipelineDescription"),
                        PipelineDefinition=text,
                        RoleArn=request["RoleArn"],
                        PipelineStatus="Active",
                        CreationTime=now(),
                        LastModifiedTime=now(),
                        CreatedBy={},
                        LastModifiedBy={},
                        ClientRequestToken=token,
                        ParallelismConfiguration=request.get("ParallelismConfiguration"),
                    ),
                )
        if request.get("Tags"):
            self.add_tags({"ResourceArn": arn, "Tags": request["Tags"]})
        return {"PipelineArn": arn}

    def update_pipeline(self, request: Request) -> Response:
        name = self._pipeline(request["PipelineName"])["PipelineName"]
        changes: dict[str, Any] = {
            key: request[key]
            for key in (
                "PipelineDisplayName",
                "PipelineDescription",
                "RoleArn",
                "ParallelismConfiguration",
            )
            if key in request
        }
        if "PipelineDefinition" in request or "PipelineDefinitionS3Location" in request:
            changes["PipelineDefinition"] = self._definition_text(request)
            parse_definition(changes["PipelineDefinition"])
        changed = self._documents.change(
            PIPELINES, name, lambda pipeline: pipeline.update(changes, LastModifiedTime=now())
        )
        return {"PipelineArn": changed["PipelineArn"]}

    def describe_pipeline(self, request: Request) -> Response:
        pipeline = self._pipeline(request["PipelineName"])
        pipeline.pop("ClientRequestToken", None)
        return pipeline

    def list_pipelines(self, request: Request) -> Response:
        prefix = request.get("PipelineNamePrefix", "")
        names = (
            "PipelineArn",
            "PipelineName",
            "PipelineDisplayName",
            "PipelineDescription",
            "RoleArn",
            "CreationTime",
            "LastModifiedTime",
            "LastExecutionTime",
        )
        pipelines = [
            {name: pipeline[name] for name in names if name in pipeline}
            for pipeline in self._documents.all(PIPELINES)
            if pipeline["PipelineName"].startswith(prefix)
        ]
        by = "PipelineName" if request.get("SortBy") == "Name" else "CreationTime"
        pipelines = in_period(pipelines, request)
        shown, token = page(_ordered(pipelines, request, by), request)
        return {"PipelineSummaries": shown, **token}

    def delete_pipeline(self, request: Request) -> Response:
        pipeline = self._pipeline(request["PipelineName"])
        for execution in self._executions(pipeline["PipelineArn"]):
            if execution["PipelineExecutionStatus"] not in ENDED:
                raise ServiceError(
                    "ConflictException",
                    f"Pipeline {pipeline['PipelineName']} has an execution that runs: "
                    f"{execution['PipelineExecutionArn']}",
                )
        self._documents.delete(PIPELINES, pipeline["PipelineName"])
        return {"PipelineArn": pipeline["PipelineArn"]}

    def start_pipeline_execution(self, request: Request) -> Response:
        """Starts an execution; the same token gives the execution that it started before."""
        if "SelectiveExecutionConfig" in request:
            raise invalid("SelectiveExecutionConfig is not known to the local cloud")
        token = request.get("ClientRequestToken")
        with self._lock:
            pipeline = self._pipeline(request["PipelineName"])
            for execution in self._executions(pipeline["PipelineArn"]):
                if token and execution.get("ClientRequestToken") == token:
                    return {"PipelineExecutionArn": execution["PipelineExecutionArn"]}
            definition = parse_definition(pipeline["PipelineDefinition"])
            values = definition.values(request.get("PipelineParameters") or [])
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
                ),
            )
            self._documents.change(
                PIPELINES,
                pipeline["PipelineName"],
                lambda document: document.update(LastExecutionTime=now(), LastRunTime=now()),
            )
            executor = Executor(self._services_of(pipeline["RoleArn"]), arn, definition)
            thread = threading.Thread(target=self._run, args=(executor, arn), daemon=True)
            self._running[arn] = (executor, thread)
            thread.start()
        return {"PipelineExecutionArn": arn}

    def stop_pipeline_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        arn = execution["PipelineExecutionArn"]
        if execution["PipelineExecutionStatus"] != "Executing":
            raise invalid(
                f"Pipeline execution {arn} is {execution['PipelineExecutionStatus']}: "
                "only one that is executing can be stopped"
            )
        with self._lock:  # whoever starts it holds the lock until it is there
            running = self._running.get(arn)
        if running:
            running[0].stop()
        return {"PipelineExecutionArn": arn}

    def describe_pipeline_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        for name in ("Steps", "Parameters", "PipelineDefinition", "PipelineName"):
            del execution[name]
        execution.pop("ClientRequestToken", None)
        return execution

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
            for execution in self._executions(pipeline["PipelineArn"])
        ]
        executions = in_period(executions, request, "StartTime")
        shown, token = page(_ordered(executions, request, "StartTime"), request)
        return {"PipelineExecutionSummaries": shown, **token}

    def list_pipeline_execution_steps(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        steps = _ordered(list(execution["Steps"].values()), request, "StartTime")
        shown, token = page(steps, request)
        return {"PipelineExecutionSteps": shown, **token}

    def list_pipeline_parameters_for_execution(self, request: Request) -> Response:
        execution = self._execution(request["PipelineExecutionArn"])
        parameters = [
            {"Name": name, "Value": str(value)} for name, value in execution["Parameters"].items()
        ]
        shown, token = page(parameters, request)
        return {"PipelineParameters": shown, **token}

    def add_tags(self, request: Request) -> Response:
        tags = self._tags(request["ResourceArn"])
        tags |= {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        self._documents.put(TAGS, request["ResourceArn"], tags)
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def list_tags(self, request: Request) -> Response:
        tags = self._tags(request["ResourceArn"])
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def delete_tags(self, request: Request) -> Response:
        tags = self._tags(request["ResourceArn"])
        kept = {key: value for key, value in tags.items() if key not in request["TagKeys"]}
        self._documents.put(TAGS, request["ResourceArn"], kept)
        return {}

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

    def close(self) -> None:
        """Stops what runs, and waits for it: an orderly end of the local cloud."""
        for executor, thread in list(self._running.values()):
            if thread.is_alive():
                executor.stop("The local cloud was stopped while this ran")
        for _, thread in list(self._running.values()):
            thread.join()

    def _run(self, executor: Executor, arn: str) -> None:
        executor.run()
        self._running.pop(arn, None)

    def _definition_text(self, request: Request) -> str:
        if "PipelineDefinition" in request:
            return str(request["PipelineDefinition"])
        location = request.get("PipelineDefinitionS3Location")
        if not location:
            raise invalid("Either PipelineDefinition or PipelineDefinitionS3Location is needed")
        address = f"s3://{location['Bucket']}/{location['ObjectKey']}"
        try:
            return self._objects.read(address).decode()
        except (ClientError, UnicodeDecodeError) as error:
            raise invalid(f"The definition {address} cannot be read: {error}") from None

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

    def _executions(self, pipeline_arn: str) -> list[Document]:
        return [
            one for one in self._documents.all(EXECUTIONS) if one["PipelineArn"] == pipeline_arn
        ]

    def _tags(self, arn: str) -> dict[str, Any]:
        return self._documents.get(TAGS, arn) or {}


def _ordered(items: list[Document], request: Request, by: str) -> list[Document]:
    """By the given member, latest first unless told otherwise, as AWS does."""
    return sorted(items, key=lambda one: one[by], reverse=request.get("SortOrder") != "Ascending")
