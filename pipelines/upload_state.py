"""One upload, and what became of it by its record, its manifest and its job."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

from pipelines.counts import many

State = Literal["predicted", "failed", "running", "waiting", "unhandled", "unreadable"]
WORDS: dict[State, str] = {
    "predicted": "predicted",
    "failed": "failed",
    "running": "running",
    "waiting": "waiting for a model",
    "unhandled": "not handled yet",
    "unreadable": "unreadable",
}
PREDICTED = "succeeded"  # the outcome that a manifest tells of a file that was predicted
_FORGETS_AFTER = timedelta(days=1)  # Batch keeps ended jobs for a week; well below that


@dataclass(frozen=True)
class Upload:
    """One version of a file of claims on S3, and the id under which its prediction is known.

    Without versioning `version` is empty; `etag` has no quotes.
    """

    bucket: str
    key: str
    id: str
    version: str = ""
    etag: str = ""
    size: int | None = None
    uploaded_at: datetime | None = None


@dataclass(frozen=True)
class UploadState:
    """What became of an upload.

    Attributes
    ----------
    reason: what more there is to say of the state, in one line.
    record: `submissions/<id>.json`, of the newest attempt.
    manifest: of that attempt, once it is settled.
    """

    upload: Upload
    state: State
    reason: str = ""
    record: dict[str, Any] | None = None
    manifest: dict[str, Any] | None = None

    @property
    def attempt(self) -> int:
        return int((self.record or {}).get("attempt", 1))

    @property
    def words(self) -> str:
        return f"{WORDS[self.state]}: {self.reason}" if self.reason else WORDS[self.state]

    @property
    def summary(self) -> str:
        """The state, and of a predicted file how many rows."""
        if self.state != "predicted" or self.manifest is None:
            return self.words
        predicted = self.manifest["predicted"]
        told = f"predicted: {many(predicted, 'row') if predicted else 'none of the rows'}"
        if self.manifest["for_review"]:
            told += f", {self.manifest['for_review']:,} for review"
        if self.manifest["rejected"]:
            told += f", {self.manifest['rejected']:,} rejected"
        return told

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        upload = {name: value for name, value in asdict(self.upload).items() if value is not None}
        if self.upload.uploaded_at:
            upload["uploaded_at"] = self.upload.uploaded_at.isoformat()
        return {
            "state": self.state,
            "reason": self.reason,
            "upload": upload,
            "record": self.record,
            "manifest": self.manifest,
        }


def upload_id(bucket: str, key: str, version: str) -> str:
    """The id of one version of an upload (its version id, or else its ETag).

    The same formula as in the trigger (`lambdas/layout.py`): a contract, held by a test on both.
    """
    version = version.strip('"')
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()[:32]


def state_of(
    upload: Upload,
    record: dict[str, Any],
    manifest: dict[str, Any] | None,
    job: dict[str, Any] | None,
) -> UploadState:
    """The state of an upload that was handled; `job` is its Batch job, None where it has none or
    Batch does not know it any more."""
    if manifest is not None:
        if manifest["outcome"] == PREDICTED:
            return UploadState(upload, "predicted", "", record, manifest)
        reason = str(manifest.get("reason", ""))
        return UploadState(upload, "failed", reason, record, manifest)
    if job and job["status"] == "FAILED":
        return UploadState(upload, "failed", _failure(job), record)
    return UploadState(upload, *_running(record, job), record)


def _running(record: dict[str, Any], job: dict[str, Any] | None) -> tuple[State, str]:
    """The state of an upload without manifest whose job, if it has one, has not failed."""
    if not record.get("job_id"):
        return "running", "claimed by the trigger"
    if job is None:
        submitted = datetime.fromisoformat(record.get("submitted_at") or record["claimed_at"])
        if datetime.now(timezone.utc) - submitted > _FORGETS_AFTER:
            return "failed", "its job left no result, and Batch does not know it any more"
        return "running", "submitted"
    told = f"Batch job {job['status'].lower()}"
    shares = job.get("arrayProperties", {})
    if size := shares.get("size"):
        done = shares.get("statusSummary", {}).get("SUCCEEDED", 0)
        told += f", {done} of {size} shares done"
    return "running", told


def _failure(job: dict[str, Any]) -> str:
    told = f"Batch job {job['jobId']} failed: {job.get('statusReason', 'no reason')}"
    container = job.get("container", {})
    stream = container.get("logStreamName")
    if not stream:
        return told
    options = container.get("logConfiguration", {}).get("options", {})
    group = options.get("awslogs-group", "/aws/batch/job")
    return (
        f"{told}; its log: aws logs get-log-events --log-group-name {group} "
        f"--log-stream-name {stream}"
    )
