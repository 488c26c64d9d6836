"""An object that is written while its content arrives."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pipelines.object_writer import PART, ObjectWriter
from tests.pipelines.deployment import SETTINGS, Deployment


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART + 5])
def test_an_object_is_written_as_it_arrived_whatever_its_size(
    deployment: Deployment, size: int
) -> None:
    bucket = SETTINGS.bucket("predictions")
    content = bytes(number % 251 for number in range(997)) * (size // 997 + 1)
    writer = ObjectWriter(deployment.s3, bucket, "object")
    for start in range(0, size, 3_000_001):
        writer.write(content[start : min(size, start + 3_000_001)])
    done = writer.finish()
    found = deployment.s3.get_object(Bucket=bucket, Key="object")
    assert found["Body"].read() == content[:size]
    assert found["VersionId"] == done["VersionId"]


def test_what_is_given_up_leaves_no_part_behind(deployment: Deployment) -> None:
    bucket = SETTINGS.bucket("predictions")
    writer = ObjectWriter(deployment.s3, bucket, "object")
    writer.write(bytes(PART + 1))
    assert deployment.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    writer.abort()
    assert not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_what_is_given_up_while_it_begins_leaves_no_part_behind(deployment: Deployment) -> None:
    bucket = SETTINGS.bucket("predictions")
    has_begun, may_go_on = threading.Event(), threading.Event()

    def hold(**_: Any) -> None:
        has_begun.set()
        assert may_go_on.wait(10)

    deployment.s3.meta.events.register("after-call.s3.CreateMultipartUpload", hold)
    writer = ObjectWriter(deployment.s3, bucket, "object")
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(writer.write, bytes(PART + 1))
        assert has_begun.wait(10)
        giving_up = pool.submit(writer.abort)
        time.sleep(0.2)  # it would have ended by now
        may_go_on.set()
        writing.result()
        giving_up.result()
    writer.write(bytes(2 * PART))
    assert not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    with pytest.raises(RuntimeError, match="given up"):
        writer.finish()


def test_what_is_finished_stays(deployment: Deployment) -> None:
    bucket = SETTINGS.bucket("predictions")
    writer = ObjectWriter(deployment.s3, bucket, "object")
    writer.write(bytes(PART + 1))
    writer.finish()
    writer.abort()
    assert deployment.s3.head_object(Bucket=bucket, Key="object")["ContentLength"] == PART + 1
