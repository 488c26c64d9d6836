"""Raises again the events that a crash may have swallowed: on AWS a queue keeps them, here it is
memory.

An upload that has no job is announced once more. Whoever has it already drops the event,
as the prediction path does with every duplicate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lambdas import layout
from pipelines.settings import Settings


def replay_uploads(settings: Settings, s3: Any, events: Any) -> int:
    """Announces the uploads without a submission, and returns how many there were."""
    bucket, results = settings.bucket("predictions"), settings.bucket("results")
    submitted = {
        one["Key"]
        for one in _objects(s3, results, layout.SUBMISSIONS)
        if _has_job(s3, results, one["Key"])
    }
    versions = s3.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=layout.INCOMING
    )
    count = 0
    for one in (version for page in versions for version in page.get("Versions", [])):
        identifier = layout.upload_id(bucket, one["Key"], one["VersionId"])
        if layout.submission_key(identifier) in submitted:
            continue
        thing = {
            "key": one["Key"],
            "size": one["Size"],
            "etag": one["ETag"].strip('"'),
            "version-id": one["VersionId"],
        }
        events.put_events(
            Entries=[
                {
                    "Source": "aws.s3",
                    "DetailType": "Object Created",
                    "Detail": json.dumps({"bucket": {"name": bucket}, "object": thing}),
                }
            ]
        )
        count += 1
    return count


def _has_job(s3: Any, bucket: str, key: str) -> bool:
    """Whether a submission got as far as its job; one that is only claimed is announced again."""
    return bool(json.loads(s3.get_object(Bucket=bucket, Key=key)["Body"].read()).get("job_id"))


def _objects(s3: Any, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])
