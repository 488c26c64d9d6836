"""The manifest: what a job did with one upload. Where it lies, the upload is settled."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "manifest.json"
Outcome = Literal["succeeded", "failed"]


@dataclass(frozen=True)
class Manifest:
    """What becomes `manifest.json`: always rows_in = predicted + rejected.

    Attributes
    ----------
    outcome, reason: `failed` if the file as a whole could not be predicted, with one line why; then
        no row counts, and no other file lies beside the manifest.
    approval_status: of the model package when the job ran. It was approved when the upload was
        accepted, and that pins it: a version rejected since still predicts, and it shows here.
    for_review: predicted rows that a person should look at.
    predictions, rejects: keys in the bucket of the manifest.
    seconds: from the job's start to the last upload.
    """

    outcome: Outcome
    reason: str
    upload_id: str
    bucket: str
    key: str
    version: str
    etag: str
    model_package_arn: str
    model_package_version: int
    approval_status: str
    artifact_sha256: str
    rows_in: int
    predicted: int
    rejected: int
    for_review: int
    predictions: str
    rejects: str
    seconds: float
    code_version: str
    job_id: str


def read(s3: S3Client, bucket: str, prefix: str) -> dict[str, Any] | None:
    """The manifest below `prefix`, None if the upload is not settled."""
    try:
        answer = s3.get_object(Bucket=bucket, Key=prefix + NAME)
    except s3.exceptions.NoSuchKey:
        return None
    manifest: dict[str, Any] = json.loads(answer["Body"].read())
    return manifest


def write(s3: S3Client, bucket: str, prefix: str, manifest: Manifest) -> bool:
    """Writes the manifest if there is none; whether this call wrote it."""
    try:
        s3.put_object(
            Bucket=bucket,
            Key=prefix + NAME,
            Body=json.dumps(asdict(manifest), ensure_ascii=False, indent=1).encode() + b"\n",
            ContentType="application/json",
            IfNoneMatch="*",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] == "PreconditionFailed":
            return False
        raise
    return True
