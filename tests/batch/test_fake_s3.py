"""The S3 in memory answers as moto's does, wherever the job depends on it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.batch.fake_s3 import PART_MINIMUM, FakeS3

SMALL, LARGE = b"0123456789", b"a" * PART_MINIMUM


def told_by(s3: Any, call: Callable[[], Any]) -> Any:
    """What a call answers, as far as the job looks at it, or the code of its error."""
    try:
        answer = call()
    except ClientError as error:
        return isinstance(error, s3.exceptions.NoSuchKey), error.response["Error"]["Code"]
    if not isinstance(answer, dict):
        return answer
    shown = {name: answer[name] for name in ("ETag", "ContentLength") if name in answer}
    return shown | ({"Body": answer["Body"].read()} if "Body" in answer else {})


def transcript(s3: Any, folder: Path) -> list[Any]:
    """The answers to everything that the job asks of S3, errors that it counts with included."""
    told = partial(told_by, s3)
    at = {"Bucket": "results", "Key": "a/ü b"}
    gone = {"Bucket": "results", "Key": "a/gone"}
    path = folder / "file"
    path.write_bytes(SMALL)
    answers = [
        told(lambda: s3.get_object(**gone)),
        told(lambda: s3.head_object(**gone)),
        told(lambda: s3.download_file("results", "a/gone", str(folder / "none"))),
        told(lambda: s3.put_object(**at, Body=SMALL, IfNoneMatch="*")),
        told(lambda: s3.put_object(**at, Body=b"", IfNoneMatch="*")),
        told(lambda: s3.head_object(**at)),
        told(lambda: s3.get_object(**at)),
        told(lambda: s3.get_object(**at, Range="bytes=3-5")),
        told(lambda: s3.get_object(**at, Range="bytes=8-99")),
        told(lambda: s3.get_object(**at, Range="bytes=10-12")),
        told(lambda: s3.get_object(**at, IfMatch='"another"')),
        told(lambda: s3.head_object(**at, IfMatch='"another"')),
        told(lambda: s3.upload_file(str(path), "results", "a/file")),
        told(lambda: s3.download_file("results", "a/file", str(folder / "copy"))),
        (folder / "copy").read_bytes(),
    ]
    to = {"Bucket": "results", "Key": "b"}

    def joined(*bodies: bytes) -> Any:
        upload = to | {"UploadId": s3.create_multipart_upload(**to)["UploadId"]}
        parts = []
        for number, body in enumerate(bodies, 1):
            if body is SMALL:
                source = {"CopySource": at, "CopySourceRange": "bytes=2-4"}
                made = s3.upload_part_copy(**upload, PartNumber=number, **source)["CopyPartResult"]
            else:
                made = s3.upload_part(**upload, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": made["ETag"]})
        return upload, {"MultipartUpload": {"Parts": parts}}

    upload, parts = joined(LARGE, SMALL)
    answers.append(told(lambda: s3.get_object(**to)))  # nothing is there before it is complete
    s3.complete_multipart_upload(**upload, **parts)
    answers.append(s3.get_object(**to)["Body"].read() == LARGE + SMALL[2:5])
    upload, parts = joined(SMALL, LARGE)
    answers.append(told(lambda: s3.complete_multipart_upload(**upload, **parts)))
    s3.abort_multipart_upload(**upload)
    answers.append(told(lambda: s3.abort_multipart_upload(**upload)))

    def keys(prefix: str) -> list[str]:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket="results", Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    answers += [keys(""), keys("a/"), keys("none")]
    s3.delete_objects(
        Bucket="results", Delete={"Objects": [{"Key": "a/file"}, {"Key": "gone"}], "Quiet": True}
    )
    return [*answers, keys("")]


def test_the_fake_answers_as_moto_does(aws: str, tmp_path: Path) -> None:
    for folder in ("fake", "moto"):
        (tmp_path / folder).mkdir()
    expected = transcript(boto3.client("s3"), tmp_path / "moto")
    assert transcript(FakeS3(), tmp_path / "fake") == expected


def test_the_fake_knows_no_call_that_the_job_does_not_make() -> None:
    with pytest.raises(AttributeError):
        FakeS3().copy_object()
