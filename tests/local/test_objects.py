"""Folders of a job on S3."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.local.objects import Mirror, Objects
from tests.local.local_cloud import BUCKET, Cloud

CONTENT = os.urandom(20 << 20)  # three parts of an upload


class EmptiedMeanwhile(Objects):
    """S3, and a job that empties its file as soon as the upload has begun."""

    path: Path

    def upload(self, path: Path, uri: str) -> None:
        self.path.with_suffix(".part").touch()
        self.path.with_suffix(".part").replace(self.path)
        super().upload(path, uri)


def test_a_file_that_is_emptied_while_it_goes_up_neither_stalls_nor_is_torn(
    cloud: Cloud, tmp_path: Path
) -> None:
    s3 = cloud.client("s3")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    objects = EmptiedMeanwhile(s3)
    objects.path = folder / "state.npz"
    with Mirror(objects, folder, f"s3://{BUCKET}/mirrored"):
        objects.path.write_bytes(CONTENT)
    found = s3.get_object(Bucket=BUCKET, Key="mirrored/state.npz")["Body"].read()
    assert found == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"], "no copy is left"
