"""What arrives in the queue of uploads, each message read into events of four types.

EventBridge carries an object's key as it is; S3's own notifications, several to a message, encode
it like a query string. The rules send the former; a bucket that was wired to the queue by hand, the
latter.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from lambdas import layout
from lambdas.messages import HopelessError
from lambdas.settings import SubmitSettings, SweepSettings


class MalformedEventError(HopelessError):
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
    version: int


@dataclass(frozen=True)
class Retry:
    """A person wants an upload predicted again that has failed.

    `attempt` is the one that failed, if the message tells: delivered again after the next attempt
    has failed too, it then does not start a third.
    """

    upload_id: str
    attempt: int | None = None


@dataclass(frozen=True)
class Ignored:
    """An event that is not for us, and why."""

    name: str
    reason: str


Event = Upload | Approval | Retry | Ignored


def parse(body: str, settings: SubmitSettings) -> list[Event]:
    """Reads the body of one queue message.

    Raises
    ------
    MalformedEventError: it is not JSON, or is one of ours without the fields that we need.
    """
    event = parse_object(body)
    name = str(event.get("detail-type") or event.get("Event") or "unknown")
    with reading(name):
        match event.get("source"), name:
            case "aws.s3", "Object Created":
                detail = event["detail"]
                return [_created(detail["bucket"]["name"], detail["object"], settings)]
            case "aws.sagemaker", "SageMaker Model Package State Change":
                return [_approval(event["detail"], name, settings)]
            case "claimflow", "Retry Upload":
                return [_retry(event["detail"])]
        if isinstance(event.get("Records"), list):
            return [_notification(record, settings) for record in event["Records"]]
    return [Ignored(name, "not an event that this function handles")]


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Reads an event of this name: of one of ours that lacks something it says what.

    Raises
    ------
    MalformedEventError: a field that is read is not there, or has another form.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise MalformedEventError(f"'{name}' lacks {error} or has it in another form") from error


def parse_object(body: str) -> dict[str, Any]:
    """The JSON object that a message is.

    Raises
    ------
    MalformedEventError: it is none.
    """
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedEventError("the message is not JSON, or nested too deeply") from error
    if not isinstance(event, dict):
        raise MalformedEventError("the message is not a JSON object")
    return event


def announcement(upload: Upload) -> str:
    """The message that announces an upload once more, in the form of EventBridge's."""
    found = {"key": upload.key, "size": upload.size, "etag": upload.etag}
    if upload.version:
        found["version-id"] = upload.version
    return json.dumps(
        {
            "source": "aws.s3",
            "detail-type": "Object Created",
            "detail": {
                "bucket": {"name": upload.bucket},
                "object": found,
                "reason": "announced again by the sweep",
            },
        }
    )


def stored_upload(bucket: str, version: Any, settings: SweepSettings) -> Upload | None:
    """One entry of ListObjectVersions as an upload, None if it is not one to predict."""
    if not layout.is_upload(
        version["Key"], version["Size"], settings.incoming_prefix, settings.incoming_suffixes
    ):
        return None
    return Upload(
        bucket=bucket,
        key=version["Key"],
        version=_version(version["VersionId"]),
        etag=version["ETag"].strip('"'),
        size=version["Size"],
    )


def _created(bucket: Any, found: dict[str, Any], settings: SubmitSettings) -> Event:
    """`found` is spelt by EventBridge with `etag` and `version-id`, by S3 itself (and moto) with
    `eTag` and `versionId`."""
    upload = Upload(
        bucket=str(bucket),
        key=str(found["key"]),
        version=_version(found.get("version-id") or found.get("versionId")),
        etag=str(found.get("etag") or found["eTag"]).strip('"'),
        size=int(found.get("size", 0)),
    )
    for name in (upload.key, upload.version, upload.etag):
        name.encode()  # raises ValueError for what cannot be one
    name = "Object Created"
    if upload.bucket != settings.upload_bucket:
        return Ignored(name, f"bucket {upload.bucket} is not {settings.upload_bucket}")
    if not layout.is_upload(
        upload.key, upload.size, settings.incoming_prefix, settings.incoming_suffixes
    ):
        return Ignored(
            name,
            f"not below {settings.incoming_prefix}, or a folder that a console made, or with none "
            f"of the suffixes ({', '.join(settings.incoming_suffixes) or 'all are taken'})",
        )
    return upload


def _notification(record: dict[str, Any], settings: SubmitSettings) -> Event:
    name = str(record["eventName"])
    if record["eventSource"] != "aws:s3" or not name.startswith("ObjectCreated:"):
        return Ignored(name, "not an event that this function handles")
    found = record["s3"]["object"]
    decoded = {**found, "key": unquote_plus(found["key"])}
    return _created(record["s3"]["bucket"]["name"], decoded, settings)


def _version(found: str | None) -> str:
    return "" if found in (None, "", "null") else str(found)  # "null": S3's name for no version


def _approval(detail: dict[str, Any], name: str, settings: SubmitSettings) -> Event:
    status = str(detail["ModelApprovalStatus"])
    group = str(detail["ModelPackageGroupName"])
    if group != settings.model_package_group:
        return Ignored(name, f"group {group} is not {settings.model_package_group}")
    if status != "Approved":
        return Ignored(name, f"status is {status}")
    return Approval(str(detail["ModelPackageArn"]), int(detail["ModelPackageVersion"]))


def _retry(detail: dict[str, Any]) -> Retry:
    upload, attempt = detail["upload_id"], detail.get("attempt")
    if layout.parse_job_name(layout.job_name(str(upload))) != (upload, 1):
        raise ValueError("an upload_id of 32 hexadecimal digits")
    return Retry(upload, None if attempt is None else int(attempt))
