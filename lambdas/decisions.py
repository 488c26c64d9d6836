"""What was decided about a version without a person: records that are only ever added.

The form is a contract with `pipelines/registry/decisions.py`, which records what people decide.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from lambdas import layout, objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

What = Literal["approved automatically", "kept for a person"]


@dataclass(frozen=True)
class Decision:
    """`at` is ISO 8601 in UTC, `why` one line."""

    at: str
    what: What
    version: int
    who: str
    why: str


def record(s3: S3Client, bucket: str, group: str, registered: datetime, decision: Decision) -> None:
    """Records a decision; once, however often it is called.

    So the key is made of what stays the same: the time at which the version was registered, the
    version and what was decided.
    """
    name = hashlib.sha256(f"{decision.version}\n{decision.what}".encode()).hexdigest()[:8]
    key = layout.decision_key(group, registered, name)
    objects.put_json(s3, bucket, key, asdict(decision), IfNoneMatch="*")
