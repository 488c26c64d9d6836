"""The API of SageMaker Pipelines: pipelines and their tags; executions are in `executions.py`."""

from __future__ import annotations

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
    now,
    page,
    present,
)
from pipelines.local.definitions import parse_definition
from pipelines.local.documents import Documents
from pipelines.local.executions import ENDED, PIPELINES, Executions, latest_first
from pipelines.local.objects import Objects
from pipelines.local.step_runs import Services

TAGS = "tags"


class PipelineService(Executions):
    """Pipelines, and what there is to say of their executions."""

    def __init__(
        self,
        documents: Documents,
        arn_prefix: str,
        objects: Objects,
        services_of: Callable[[str], Services],
    ) -> None:
        super().__init__(documents, services_of)
        self._arn_prefix = arn_prefix
        self._objects = objects
        self._making = threading.Lock()

    def create_pipeline(self, request: Request) -> Response:
        name, token = request["PipelineName"], request.get("ClientRequestToken")
        text = self._definition_text(request)
        parse_definition(text)
        arn = f"{self._arn_prefix}:pipeline/{name}"
        with self._making:
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
        shown, token = page(latest_first(pipelines, request, by), request)
        return {"PipelineSummaries": shown, **token}

    def delete_pipeline(self, request: Request) -> Response:
        pipeline = self._pipeline(request["PipelineName"])
        for execution in self._of_pipeline(pipeline["PipelineArn"]):
            if execution["PipelineExecutionStatus"] not in ENDED:
                raise ServiceError(
                    "ConflictException",
                    f"Pipeline {pipeline['PipelineName']} has an execution that runs: "
                    f"{execution['PipelineExecutionArn']}",
                )
        self._documents.delete(PIPELINES, pipeline["PipelineName"])
        return {"PipelineArn": pipeline["PipelineArn"]}

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

    def _tags(self, arn: str) -> dict[str, Any]:
        return self._documents.get(TAGS, arn) or {}
