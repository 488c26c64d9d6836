"""The Large Movie Review Dataset (Maas et al., 2011): the project's measure of accuracy.

Its archive is read as a stream: no file gets its name from it.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import http.client
import io
import random
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import UserError
from pipelines.transfers import Progress, Tell, untold

URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
SHA256 = "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe"

_MAX_ARCHIVE = 200_000_000  # bytes; the archive has 84 million
_MAX_REVIEW = 1_000_000  # bytes; the longest review has under 20,000
_MAX_REVIEWS = 200_000  # there are 50,000
_REVIEW = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d{1,6}_\d{1,2})\.txt")
_CHUNK = 1 << 18

Row = tuple[str, str]  # review, sentiment: 1 is positive, 0 negative


@dataclass(frozen=True)
class ImdbPaths:
    """The two files that `fetch_imdb` writes, columns review and sentiment."""

    train: Path
    test: Path


def fetch_imdb(
    target: Path,
    archive: Path | None = None,
    progress: Progress = untold,
    *,
    url: str = URL,
    sha256: str = SHA256,
    seed: int = 7,
) -> ImdbPaths:
    """Writes `train.csv` and `test.csv` into `target`, from `archive` or, without one, from `url`.

    The rows are shuffled by `seed`. Nothing is left behind in `target` when it fails.

    Raises
    ------
    UserError
        When the archive cannot be had, is not the one with that SHA-256, or cannot be read.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        if archive is not None:
            with archive.open("rb") as file:
                _check_sum(file, archive.name, sha256)
                rows = _reviews(file, archive.name, progress)
        else:
            with _download(url, target, progress) as file:
                _check_sum(file, url, sha256)
                rows = _reviews(file, url, progress)
        paths = ImdbPaths(target / "train.csv", target / "test.csv")
        for split, path in (("train", paths.train), ("test", paths.test)):
            random.Random(seed).shuffle(rows[split])  # noqa: S311 - an order, not a secret
            _write(path, rows[split])
    except OSError as error:
        raise UserError(f"{error.filename or target}: {error.strerror or error}") from error
    return paths


@contextmanager
def _download(url: str, folder: Path, progress: Progress) -> Iterator[BinaryIO]:
    """The downloaded file, open for reading; it is gone afterwards."""
    path = folder / ".imdb-download.part"
    try:
        with path.open("w+b") as file:
            try:
                with progress("download", None) as tell:
                    _copy(url, file, tell)
            except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
                reason = getattr(error, "reason", None) or error
                raise UserError(
                    f"{url} cannot be downloaded ({_one_line(reason)}): try again, or get the file "
                    "in another way and name it as the archive"
                ) from error
            yield file
    finally:
        path.unlink(missing_ok=True)


def _copy(url: str, file: BinaryIO, tell: Tell) -> None:
    if not url.startswith(("https://", "http://")):
        raise ValueError("not a web address")
    done = 0
    with urllib.request.urlopen(url, timeout=60) as response:  # noqa: S310 - checked above
        total = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if done > _MAX_ARCHIVE:
                raise ValueError(f"more than {_MAX_ARCHIVE:,} bytes")
            file.write(chunk)
            tell(done, total)
    if total and done != total:
        raise ValueError(f"cut short after {done:,} of {total:,} bytes")


def _check_sum(file: BinaryIO, name: str, expected: str) -> None:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    if digest.hexdigest() != expected:
        raise UserError(
            f"{name} is not the archive of the Large Movie Review Dataset: its SHA-256 is "
            f"{digest.hexdigest()}, expected {expected}; download it again"
        )


def _reviews(file: BinaryIO, name: str, progress: Progress) -> dict[str, list[Row]]:
    """The labelled reviews of both splits, ordered by their names in the archive."""
    found: dict[str, dict[tuple[str, str], str]] = {"train": {}, "test": {}}
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    try:
        # Not mode "r|gz", which takes a stream that is cut short for one that has ended.
        with (
            gzip.GzipFile(fileobj=file) as unpacked,
            tarfile.open(fileobj=unpacked, mode="r|") as archive,
            progress("reading", size) as tell,
        ):
            for member in archive:
                tell(file.tell(), size)
                match = _REVIEW.fullmatch(member.name)
                if not match or not member.isreg():
                    continue
                if member.size > _MAX_REVIEW or sum(map(len, found.values())) >= _MAX_REVIEWS:
                    raise UserError(f"{name} holds more than the reviews that are expected in it")
                content = archive.extractfile(member)
                assert content is not None  # it is a regular file
                split, tone, number = match.groups()
                found[split][tone, number] = content.read().decode("utf-8")
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        EOFError,
        zlib.error,
        UnicodeDecodeError,
    ) as error:
        raise UserError(f"{name} cannot be read: {_one_line(error)}; download it again") from error
    for split, reviews in found.items():
        if not reviews:
            raise UserError(f"{name} holds no reviews in aclImdb/{split}/pos or neg")
    return {
        split: [(reviews[key], "1" if key[0] == "pos" else "0") for key in sorted(reviews)]
        for split, reviews in found.items()
    }


def _write(path: Path, rows: list[Row]) -> None:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("review", "sentiment"))
            writer.writerows(rows)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
