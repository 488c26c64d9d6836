"""Predictions for a file: put it where the claims team puts theirs, wait, fetch what came out."""

from __future__ import annotations

import csv
import hashlib
import json
import lzma
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipelines.aws import Aws, download_folder
from pipelines.control import check_file
from pipelines.errors import UserError

INCOMING = "incoming/"
XZ = b"\xfd7zXZ\x00"  # how such a file begins


@dataclass(frozen=True)
class Upload:
    """A file of claims as it lies on S3, and the id under which its prediction is known."""

    bucket: str
    key: str
    id: str


@dataclass(frozen=True)
class Prediction:
    """What became of an upload."""

    manifest: dict[str, Any]
    bucket: str
    prefix: str  # where predictions, rejects and manifest lie

    @property
    def address(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


class NoApprovedModel(Exception):  # noqa: N818 - a state to wait in, not an error
    """The upload is kept and waits for a model to be approved."""


class Predictions:
    """The prediction path, seen from outside: nothing but S3 and the state of a Batch job."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def upload(self, path: Path) -> Upload:
        """Puts a file into the bucket, as anyone would."""
        check_file(path)
        bucket = self._aws.settings.bucket("predictions")
        key = f"{INCOMING}{path.name.removesuffix('.xz')}"
        with _unpacked(path) as body:
            put = self._s3.put_object(Bucket=bucket, Key=key, Body=body)
        return Upload(bucket, key, upload_id(bucket, key, put.get("VersionId") or put["ETag"]))

    def wait(
        self, upload: Upload, timeout: float, tell: Callable[[str], None] = lambda _text: None
    ) -> Prediction:
        """Waits for the prediction.

        Raises
        ------
        NoApprovedModel
            There is no model yet: the upload waits.
        UserError
            The job failed, or the time is up.
        """
        results = self._aws.settings.bucket("results")
        deadline = time.monotonic() + timeout
        told = ""
        while time.monotonic() < deadline:
            submission = self._json(results, f"submissions/{upload.id}.json")
            if submission is None:
                if self._json(results, f"waiting/{upload.id}.json") is not None:
                    raise NoApprovedModel
                state = "waiting for the trigger"
            else:
                prefix = submission["results_prefix"]
                # In this order: a job that ends in between has written its manifest before.
                state, failure = self._job_state(submission.get("job_id", ""))
                manifest = self._json(results, f"{prefix}manifest.json")
                if manifest is not None:
                    return Prediction(manifest, results, prefix)
                if failure:
                    raise UserError(failure)
            if state != told:
                tell(state)
                told = state
            time.sleep(0.3)
        raise UserError(
            f"No result within {timeout:.0f} s; the upload is kept. It will appear in "
            f"s3://{results}/results/ as soon as its job ends"
        )

    def fetch(self, prediction: Prediction, folder: Path) -> list[Path]:
        """Downloads predictions, rejects and manifest into a folder."""
        return download_folder(self._s3, prediction.address, folder)

    def _job_state(self, job_id: str) -> tuple[str, str]:
        """The state of a job in words, and why it failed if it did."""
        if not job_id:
            return "claimed by the trigger", ""
        jobs = self._aws.client("batch").describe_jobs(jobs=[job_id])["jobs"]
        if not jobs:
            return "submitted", ""
        job = jobs[0]
        if job["status"] == "FAILED":
            return "Batch job failed", (
                f"Batch job {job_id} failed: {job.get('statusReason', 'no reason')}; its log: "
                f"aws logs get-log-events --log-group-name /aws/batch/job "
                f"--log-stream-name {job['container'].get('logStreamName', '?')}"
            )
        return f"Batch job {job['status'].lower()}", ""

    def _json(self, bucket: str, key: str) -> dict[str, Any] | None:
        try:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        document: dict[str, Any] = json.loads(body)
        return document


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The file's content; the prediction path reads gzip itself, but not xz."""
    with path.open("rb") as plain:
        if plain.read(len(XZ)) != XZ:
            plain.seek(0)
            yield plain
            return
    with tempfile.TemporaryFile() as unpacked:
        try:
            with lzma.open(path) as packed:
                shutil.copyfileobj(packed, unpacked)
        except (lzma.LZMAError, EOFError):
            raise UserError(f"{path}: the xz file is damaged or cut short") from None
        unpacked.seek(0)
        yield unpacked


def reject_reasons(folder: Path) -> Counter[str]:
    """How often each reason stands in the rejects that were fetched into a folder."""
    path = folder / "rejects.csv"
    if not path.exists():
        return Counter()
    with path.open(encoding="utf-8", newline="") as file:
        return Counter(row["reason"] for row in csv.DictReader(file))


def upload_id(bucket: str, key: str, version: str) -> str:
    """The id of one version of an upload (its version id, or else its ETag).

    The same formula as in the trigger (`lambdas/layout.py`): a contract, held by a test on both.
    """
    version = version.strip('"')
    return hashlib.sha256(f"{bucket}\n{key}\n{version}".encode()).hexdigest()[:32]
