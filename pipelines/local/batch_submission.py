"""What SubmitJob makes of a request: the document of a new AWS Batch job."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from pipelines.local.aws_json import Request, present
from pipelines.local.batch_records import client_error, milliseconds
from pipelines.local.documents import Document
from pipelines.local.moto_services import BatchResources

ARRAY_SIZES = range(2, 10_001)
MOST_DEPENDENCIES = 20


def new_job(
    request: Request, resources: BatchResources, arn_prefix: str, is_known: Callable[[str], bool]
) -> Document:
    """The job that a request asks for; `is_known` tells whether there is a job with an id.

    Raises
    ------
    ServiceError
        `ClientException`, with what is wrong or missing.
    """
    name = request["jobName"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}", name):
        raise client_error(f"Job name {name} should match valid pattern")
    for unknown in ("nodeOverrides", "eksPropertiesOverride", "ecsPropertiesOverride"):
        if request.get(unknown):
            raise client_error(f"{unknown} is not known to the local cloud")
    size = (request.get("arrayProperties") or {}).get("size")
    if size is not None and size not in ARRAY_SIZES:
        raise client_error(
            f"Array size {size} must be between {ARRAY_SIZES[0]} and {ARRAY_SIZES[-1]}"
        )
    depends_on = request.get("dependsOn") or []
    _check_dependencies(depends_on, is_known)
    queue = resources.queue(request["jobQueue"])
    if queue is None:
        raise client_error(f"Job queue {request['jobQueue']} does not exist")
    definition = resources.definition(request["jobDefinition"])
    if definition is None:
        raise client_error(f"Job definition {request['jobDefinition']} does not exist")
    identifier = str(uuid.uuid4())
    return {
        **_described_container(request, definition),
        "jobArn": f"{arn_prefix}:job/{identifier}",
        "jobName": name,
        "jobId": identifier,
        "jobQueue": queue["jobQueueArn"],
        "jobDefinition": definition["jobDefinitionArn"],
        "status": "SUBMITTED",
        "attempts": [],
        "createdAt": milliseconds(),
        "dependsOn": depends_on,
        **present(arrayProperties={"size": size} if size else None),
    }


def _check_dependencies(given: list[Document], is_known: Callable[[str], bool]) -> None:
    if len(given) > MOST_DEPENDENCIES:
        raise client_error(f"a job can depend on at most {MOST_DEPENDENCIES} jobs")
    for one in given:
        if "type" in one:
            raise client_error(f"dependsOn of type {one['type']} is not known to the local cloud")
        if "jobId" not in one or not is_known(one["jobId"]):
            raise client_error(f"Job {one.get('jobId')} in dependsOn not found")


def _described_container(request: Request, definition: Document) -> Document:
    """What a job takes from its definition and from what overrides it."""
    overrides = request.get("containerOverrides") or {}
    container = definition["containerProperties"]
    variables = {one["name"]: one["value"] for one in container.get("environment") or []}
    variables |= {one["name"]: one["value"] for one in overrides.get("environment") or []}
    return present(
        parameters={**(definition.get("parameters") or {}), **(request.get("parameters") or {})},
        retryStrategy=request.get("retryStrategy") or definition.get("retryStrategy"),
        timeout=request.get("timeout") or definition.get("timeout"),
        tags={**(definition.get("tags") or {}), **(request.get("tags") or {})},
        platformCapabilities=definition.get("platformCapabilities") or ["EC2"],
        container={
            **container,
            "command": overrides.get("command") or container.get("command") or [],
            "environment": [{"name": key, "value": value} for key, value in variables.items()],
            "resourceRequirements": overrides.get("resourceRequirements")
            or container.get("resourceRequirements")
            or [],
        },
    )
