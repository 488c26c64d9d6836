"""Predictions for a file: put it where the claims team puts theirs, wait, fetch what came out."""

from __future__ import annotations

import csv
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.aws import Aws, download_folder
from pipelines.control import check_file
from pipelines.errors import UserError
from pipelines.object_writer import ObjectWriter
from pipelines.transfers import Progress, untold
from pipelines.upload_state import Upload, upload_id
from pipelines.uploads import INCOMING, Uploads
from pipelines.xz import Unpacker

LONGEST_NAME = 200  # characters of an upload's name, as the functions keep them (lambdas/layout.py)
_BLOCK = 1 << 20  # bytes that are read at once


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

    def upload(self, path: Path, progress: Progress = untold) -> Upload:
        """Puts a file into the bucket, as anyone would."""
        check_file(path)
        size = path.stat().st_size
        incoming = self.incoming(upload_name(path.name))
        try:
            with path.open("rb") as file, progress(path.name, size) as tell:
                while block := file.read(_BLOCK):
                    incoming.write(block)
                    tell(file.tell(), size)
            return incoming.finish()
        except BaseException:
            incoming.abort()
            raise

    def incoming(self, name: str) -> Incoming:
        """A file of claims of this name, to be written into the bucket as it arrives."""
        return Incoming(self._s3, self._aws.settings.bucket("predictions"), name)

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


class Incoming:
    """A file of claims on its way into the bucket, in constant memory.

    The prediction path reads gzip itself, but not xz, which is unpacked on the way. Whoever writes
    calls `finish` or `abort` at last.
    """

    def __init__(self, s3: Any, bucket: str, name: str) -> None:
        self._bucket, self._key = bucket, f"{INCOMING}{name.removesuffix('.xz')}"
        self._unpacker = Unpacker(name)
        self._writer = ObjectWriter(s3, bucket, self._key)

    def write(self, content: bytes) -> None:
        """Raises UserError if the file is damaged."""
        for part in self._unpacker.feed(content):
            self._writer.write(part)

    def finish(self) -> Upload:
        """The upload, which is predicted from now on. Raises UserError if it is cut short."""
        for part in self._unpacker.end():
            self._writer.write(part)
        put = self._writer.finish()
        identifier = upload_id(self._bucket, self._key, put.get("VersionId") or put["ETag"])
        return Upload(self._bucket, self._key, identifier)

    def abort(self) -> None:
        self._writer.abort()


def upload_name(given: str) -> str:
    """A file's name as a stranger gives it, as the name of an upload: without folders and without
    characters that only control, and not too long.

    Raises
    ------
    UserError
        Nothing is left of it.
    """
    name = re.split(r"[/\\]", given)[-1]
    name = "".join(one for one in name if unicodedata.category(one)[0] != "C").strip().strip(".")
    if not name:
        raise UserError("The file has no name: give it one, such as claims.csv")
    stem, dot, suffixes = name.partition(".")
    ending = (dot + suffixes)[-40:] if len(name) > LONGEST_NAME else dot + suffixes
    return stem[: LONGEST_NAME - len(ending)] + ending


def reject_reasons(folder: Path) -> Counter[str]:
    """How often each kind of reason stands in the rejects that were fetched into a folder; where in
    a row something is does not make it another kind."""
    path = folder / "rejects.csv"
    if not path.exists():
        return Counter()
    with path.open(encoding="utf-8", newline="") as file:
        reasons = (row["reason"] for row in csv.DictReader(file))
        return Counter(re.sub(r"(?<=byte )\d+", "N", reason) for reason in reasons)
