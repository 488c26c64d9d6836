"""The texts of the rows that a model got wrong: only for who asks for them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pipelines.aws import download_folder, split_uri
from pipelines.data.labelled_file import texts_of
from pipelines.transfers import download


def texts_at(s3: Any, address: str, text_column: str, rows: Collection[int]) -> dict[int, str]:
    """The texts of rows of the files at an S3 address, a file's or a folder's. Rows count from 1
    through all files by their names, without headers, as the evaluation counts them.

    Raises
    ------
    UserError
        A file is not what the evaluation has read.
    """
    found: dict[int, str] = {}
    number = 0
    with tempfile.TemporaryDirectory() as folder:
        for path in _fetched(s3, address, Path(folder)):
            for text in texts_of(path, text_column):
                number += 1
                if number in rows:
                    found[number] = text
                if len(found) == len(rows):
                    return found
    return found


def _fetched(s3: Any, address: str, folder: Path) -> list[Path]:
    """The files in the order in which a step reads them."""
    bucket, key = split_uri(address)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    if [one["Key"] for one in listed] == [key]:
        path = folder / Path(key).name
        download(s3, bucket, key, path, size=listed[0]["Size"])
        return [path]
    paths = download_folder(s3, address, folder)
    return sorted(path for path in paths if not path.name.startswith("."))
