"""What arrives in the queue: EventBridge's events, each read into one of three types.

EventBridge carries an object's key as it is. (S3's own notifications encode it like a query string;
none of them come this way.)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from lambdas import layout
from lambdas.settings import LambdaSettings


class MalformedEventError(Exception):
    """A message that claims to be one of ours and lacks what such an event must hold."""


@dataclass(frozen=True)
class Upload:
    """One version of one object: `version` is empty without versioning, `etag` is unquoted."""

    bucket: str
    key: str
    version: str
    etag: str
    size: int

    @property
    def id(self) -> str:
        """See `lambdas.layout`."""
        return layout.upload_id(self.bucket, self.key, self.version or self.etag)


@dataclass(frozen=True)
class Approval:
    """A model package of our group was approved."""

    arn: str


@dataclass(frozen=True)
class Ignored:
    """An event that is not for us, and why."""

    name: str
    reason: str


def parse(body: str, settings: LambdaSettings) -> Upload | Approval | Ignored:
    """Reads the body of one queue message.

    Raises
    ------
    MalformedEventError: it is not JSON, or is one of ours without the fields that we need. Trying
        again does not help: the queue's redrive policy moves it to the dead-letter queue.
    """
    try:
        event = json.loads(body)
    except ValueError as error:
        raise MalformedEventError("the message is not JSON") from error
    if not isinstance(event, dict):
        raise MalformedEventError("the message is not a JSON object")
    name = str(event.get("detail-type") or event.get("Event") or "unknown")
    try:
        match event.get("source"), name:
            case "aws.s3", "Object Created":
                return _upload(event["detail"], name, settings)
            case "aws.sagemaker", "SageMaker Model Package State Change":
                return _approval(event["detail"], name, settings)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedEventError(f"'{name}' lacks {error} or has it in another form") from error
    return Ignored(name, "not an event that this function handles")


def _upload(detail: dict[str, Any], name: str, settings: LambdaSettings) -> Upload | Ignored:
    found = detail["object"]
    version = found.get("version-id") or ""
    upload = Upload(
        bucket=str(detail["bucket"]["name"]),
        key=str(found["key"]),
        version="" if version == "null" else str(version),  # S3's name for no version
        # EventBridge spells it `etag`; S3's own events and moto spell it `eTag`.
        etag=str(found.get("etag") or found["eTag"]).strip('"'),
        size=int(found.get("size", 0)),
    )
    if upload.bucket != settings.upload_bucket:
        return Ignored(name, f"bucket {upload.bucket} is not {settings.upload_bucket}")
    if not upload.key.startswith(settings.incoming_prefix):
        return Ignored(name, f"key does not start with {settings.incoming_prefix}")
    if upload.key.endswith("/") and upload.size == 0:
        return Ignored(name, "a folder that a console made")
    if settings.incoming_suffixes and not upload.key.endswith(settings.incoming_suffixes):
        return Ignored(name, f"key ends in none of {', '.join(settings.incoming_suffixes)}")
    return upload


def _approval(detail: dict[str, Any], name: str, settings: LambdaSettings) -> Approval | Ignored:
    status = str(detail["ModelApprovalStatus"])
    group = str(detail["ModelPackageGroupName"])
    if group != settings.model_package_group:
        return Ignored(name, f"group {group} is not {settings.model_package_group}")
    if status != "Approved":
        return Ignored(name, f"status is {status}")
    return Approval(str(detail["ModelPackageArn"]))
