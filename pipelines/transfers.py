"""Files on their way to S3 and back, and how far they are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

Tell = Callable[[int, int], None]  # bytes so far, bytes in all (0: unknown)
# Hears the name of what is moved and its bytes (None: unknown), and then how far it is.
Progress = Callable[[str, int | None], AbstractContextManager[Tell]]


def untold(_name: str, _size: int | None) -> AbstractContextManager[Tell]:
    """Tells nobody."""
    return nullcontext(lambda _done, _total: None)


def upload(s3: Any, path: Path, bucket: str, key: str, progress: Progress = untold) -> None:
    """Puts a file on S3, a large one in parts."""
    size = path.stat().st_size
    with progress(path.name, size) as tell:
        s3.upload_file(str(path), bucket, key, Callback=_counted(size, tell))


def download(
    s3: Any,
    bucket: str,
    key: str,
    path: Path,
    progress: Progress = untold,
    size: int | None = None,
) -> None:
    """Gets a file from S3, a large one in parts; S3 is asked for its size where it is not given."""
    if size is None:
        size = int(s3.head_object(Bucket=bucket, Key=key)["ContentLength"])
    with progress(key.rpartition("/")[2], size) as tell:
        s3.download_file(bucket, key, str(path), Callback=_counted(size, tell))


def _counted(size: int, tell: Tell) -> Callable[[int], None]:
    """What boto3 calls for each piece, from several threads."""
    done, lock = 0, threading.Lock()

    def count(amount: int) -> None:
        nonlocal done
        with lock:
            done += amount
            tell(done, size)

    return count
