"""The manifest: what a job did with one upload. Where it lies, the upload is settled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from batch.objects import put_once
from batch.tally import Tally

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NAME = "manifest.json"
REJECTS = "rejects.csv"
REPORT = "report.html"
Outcome = Literal["succeeded", "failed"]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What becomes `manifest.json`: always rows_in = predicted + rejected.

    Attributes
    ----------
    outcome, reason: `failed` if the file as a whole could not be predicted, with one line why; then
        no row counts, and no other file lies beside the manifest.
    approval_status: of the model package when the job ran. It was approved when the upload was
        accepted, and that pins it: a version rejected since still predicts, and it shows here.
    for_review: predicted rows that a person should look at.
    labels: how many rows got each label.
    confidence: `histogram`, predicted rows in 100 equal bins of [0, 1], and `quantiles` from them.
    reference: what to compare these with: `labels`, rows of the training set, and
        `confidence_histogram` on its validation split; null for a model that does not tell.
    predictions, rejects, report: keys in the bucket of the manifest.
    shards: how many jobs shared the work.
    bytes_in: of the file as it was uploaded.
    seconds: from the first job's start to the last upload.
    job_id: the Batch job; of an array, the whole array.

    What has a default is empty where a file was predicted without a cloud.
    """

    outcome: Outcome
    reason: str
    upload_id: str = ""
    bucket: str = ""
    key: str
    version: str = ""
    etag: str = ""
    model_package_arn: str = ""
    model_package_version: int = 0
    approval_status: str = ""
    artifact_sha256: str
    rows_in: int
    predicted: int
    rejected: int
    for_review: int
    labels: dict[str, int]
    confidence: dict[str, Any]
    reference: dict[str, Any] | None
    predictions: str
    rejects: str
    report: str
    shards: int = 1
    bytes_in: int
    seconds: float
    code_version: str
    job_id: str = ""


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
    return put_once(s3, bucket, prefix + NAME, asdict(manifest))


def told(
    tally: Tally, info: Mapping[str, Any], reason: str, predictions: str, prefix: str = ""
) -> dict[str, Any]:
    """The fields that say what became of the rows: failed for a `reason`, or with results that lie
    below `prefix`, the predictions by that name."""
    return {
        "outcome": "failed" if reason else "succeeded",
        "reason": reason,
        "rows_in": tally.predicted + tally.rejected,
        "predicted": tally.predicted,
        "rejected": tally.rejected,
        "for_review": tally.for_review,
        "labels": dict(sorted(tally.labels.items())),
        "confidence": {"histogram": tally.confidence, "quantiles": tally.quantiles()},
        "reference": _reference(info),
        "predictions": prefix + predictions if predictions else "",
        "rejects": prefix + REJECTS if predictions else "",
        "report": prefix + REPORT if predictions else "",
    }


def _reference(info: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `model.json` says of the training, to compare predictions with; None if it does not."""
    data = info.get("training_data")
    labels = data.get("labels") if isinstance(data, Mapping) else None
    histogram = info.get("validation_confidence")
    if not labels or not histogram:
        return None
    return {"labels": labels, "confidence_histogram": histogram}
