"""Predictions for a file: put it where the claims team puts theirs, wait, fetch what came out."""

from __future__ import annotations

import csv
import lzma
import re
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
from pipelines.transfers import Progress, untold
from pipelines.uploads import INCOMING, Upload, Uploads, upload_id

XZ = b"\xfd7zXZ\x00"  # how such a file begins


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
        self._uploads = Uploads(aws)

    def upload(self, path: Path) -> Upload:
        """Puts a file into the bucket, as anyone would."""
        check_file(path)
        bucket = self._aws.settings.bucket("predictions")
        key = f"{INCOMING}{path.name.removesuffix('.xz')}"
        with unpacked(path) as body:
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
        deadline = time.monotonic() + timeout
        results = self._aws.settings.bucket("results")
        told = ""
        while time.monotonic() < deadline:
            found = self._uploads.state(upload)
            if found.manifest is not None and found.record is not None:
                return Prediction(found.manifest, results, found.record["results_prefix"])
            if found.state in ("failed", "unreadable"):
                raise UserError(found.reason)
            if found.state == "waiting":
                raise NoApprovedModel
            told_now = found.reason or "waiting for the trigger"
            if told_now != told:
                tell(told_now)
                told = told_now
            time.sleep(0.3)
        raise UserError(
            f"No result within {timeout:.0f} s; the upload is kept: "
            f"`claimflow predictions show {upload.id}` tells how it goes on"
        )

    def fetch(
        self, prediction: Prediction, folder: Path, progress: Progress = untold
    ) -> list[Path]:
        """Downloads predictions, rejects and manifest into a folder."""
        return download_folder(self._s3, prediction.address, folder, progress)


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The file's content; the prediction path reads gzip itself, but not xz."""
    with path.open("rb") as plain:
        if plain.read(len(XZ)) != XZ:
            plain.seek(0)
            yield plain
            return
    with tempfile.TemporaryFile() as content:
        try:
            with lzma.open(path) as packed:
                shutil.copyfileobj(packed, content)
        except (lzma.LZMAError, EOFError):
            raise UserError(f"{path}: the xz file is damaged or cut short") from None
        content.seek(0)
        yield content


def reject_reasons(folder: Path) -> Counter[str]:
    """How often each kind of reason stands in the rejects that were fetched into a folder; where in
    a row something is does not make it another kind."""
    path = folder / "rejects.csv"
    if not path.exists():
        return Counter()
    with path.open(encoding="utf-8", newline="") as file:
        reasons = (row["reason"] for row in csv.DictReader(file))
        return Counter(re.sub(r"(?<=byte )\d+", "N", reason) for reason in reasons)
