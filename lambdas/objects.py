"""Small objects on S3: read where there is one, written on a condition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# 412: the condition does not hold; 409: another conditional write is under way.
REFUSED = {409, 412}


class BeingWrittenError(Exception):
    """Another is just writing the object: try again later."""


class UnreadableError(Exception):
    """An object of ours is damaged."""


class Object(NamedTuple):
    """What lies under a key, with the ETag of that very object."""

    body: bytes
    etag: str


def read(s3: S3Client, bucket: str, key: str) -> Object | None:
    """The object, None if there is none."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None
    return Object(answer["Body"].read(), answer["ETag"])


def read_json(s3: S3Client, bucket: str, key: str) -> dict[str, Any] | None:
    """The document that an object holds, None if there is none.

    Raises
    ------
    UnreadableError: it is no JSON object.
    """
    found = read(s3, bucket, key)
    if found is None:
        return None
    try:
        document = json.loads(found.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnreadableError(f"s3://{bucket}/{key} is damaged: restore an earlier version of it")
    return document


def put_json(s3: S3Client, bucket: str, key: str, document: Any, **condition: str) -> str | None:
    """Writes a document and returns its ETag; None if the condition does not hold.

    None may also stand for our own write: its answer was lost, and botocore repeated it.
    """
    try:
        answer = s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=json.dumps(document, ensure_ascii=False, indent=1).encode(),
            ContentType="application/json",
            **condition,  # type: ignore[arg-type]
        )
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] not in REFUSED:
            raise
        return None
    return answer["ETag"]


def create_json(s3: S3Client, bucket: str, key: str, document: dict[str, Any]) -> dict[str, Any]:
    """Writes a document unless there is one, and returns the one that lies there then.

    Raises
    ------
    BeingWrittenError, UnreadableError: see there.
    """
    if put_json(s3, bucket, key, document, IfNoneMatch="*") is not None:
        return document
    found = read_json(s3, bucket, key)
    if found is None:
        raise BeingWrittenError(f"another is just writing s3://{bucket}/{key}")
    return found
