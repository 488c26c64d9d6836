"""The ceiling that a rollback sets: the newest approved version that is not above it predicts.

So a later approval does not undo a rollback. It is one object in the models bucket, which keeps the
object's versions, and with them who rolled back when and why. `lambdas/registry.py` reads it too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError


@dataclass(frozen=True)
class Ceiling:
    """The version above which none predicts, and who set it (an ARN), when (ISO 8601) and why."""

    version: int
    set_at: str
    set_by: str
    why: str

    @property
    def sentence(self) -> str:
        return (
            f"no version above {self.version} predicts: rolled back at {self.set_at} by "
            f"{self.set_by} ({self.why or 'no reason given'})"
        )


@dataclass(frozen=True)
class Decision:
    """Something that was decided about the versions; what is not known is empty."""

    at: str
    what: str
    who: str = ""
    why: str = ""


class Serving:
    """The ceiling of one deployment's model."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def ceiling(self) -> Ceiling | None:
        """The ceiling, None without one. Raises UserError if it is not readable."""
        body = self._read()
        found = _parsed(body) if body is not None else None
        if body is not None and found is None:
            bucket, key = self._place
            raise UserError(
                f"s3://{bucket}/{key} does not say a version as its ceiling; "
                "set it again with `claimflow model rollback VERSION --why …`"
            )
        return found

    def set(self, version: int, why: str) -> Ceiling:
        """Sets the ceiling, at once."""
        ceiling = Ceiling(version, iso(datetime.now(timezone.utc)), self._caller(), why)
        self._put(ceiling)
        return ceiling

    def lift(self, why: str) -> bool:
        """Lifts the ceiling; whether there was one.

        Its last version tells who lifted it and why: it is written before the object is deleted,
        and counts as the same ceiling until then.
        """
        body = self._read()
        if body is None:
            return False
        before = _parsed(body)
        if before is not None:  # one that cannot be read is lifted, too
            now = iso(datetime.now(timezone.utc))
            self._put(Ceiling(before.version, now, self._caller(), why), lifted=True)
        bucket, key = self._place
        self._s3.delete_object(Bucket=bucket, Key=key)
        return True

    def history(self) -> list[Decision]:
        """Every rollback, and how it was lifted, in no order."""
        bucket, key = self._place
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=key)
        decisions = []
        for one in (one for page in pages for one in page.get("Versions", [])):
            if one["Key"] != key:
                continue
            answer = self._s3.get_object(Bucket=bucket, Key=key, VersionId=one["VersionId"])
            body = answer["Body"].read()
            found = _parsed(body)
            if found is None:
                decisions.append(Decision(iso(one["LastModified"]), "an unreadable ceiling"))
                continue
            what = f"rolled back to version {found.version}"
            if json.loads(body).get("lifted"):
                what = f"rollback to version {found.version} lifted"
            decisions.append(Decision(found.set_at, what, found.set_by, found.why))
        return decisions

    @property
    def _place(self) -> tuple[str, str]:
        settings = self._aws.settings
        return settings.bucket("models"), serving_key(settings.model_package_group)

    def _read(self) -> bytes | None:
        bucket, key = self._place
        try:
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self._s3.exceptions.NoSuchKey:
            return None
        return body

    def _put(self, ceiling: Ceiling, **more: Any) -> None:
        bucket, key = self._place
        document = {
            "ceiling": ceiling.version,
            "set_at": ceiling.set_at,
            "set_by": ceiling.set_by,
            "why": ceiling.why,
            **more,
        }
        self._s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=json.dumps(document, ensure_ascii=False).encode(),
            ContentType="application/json",
        )

    def _caller(self) -> str:
        return str(self._aws.client("sts").get_caller_identity()["Arn"])


def serving_key(group: str) -> str:
    """Where the ceiling of a model package group lies: a contract with `lambdas/layout.py`."""
    return f"serving/{group}.json"


def iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def _parsed(body: bytes) -> Ceiling | None:
    """A ceiling as it was stored, None if it is not readable."""
    try:
        document = json.loads(body)
        version = document["ceiling"]
    except (ValueError, KeyError, TypeError):
        return None
    if type(version) is not int or version < 1:
        return None
    set_at, set_by, why = (str(document.get(name, "")) for name in ("set_at", "set_by", "why"))
    return Ceiling(version, set_at, set_by, why)
