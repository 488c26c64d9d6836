"""The ceiling that a rollback sets: the newest approved version that is not above it predicts.

So a later approval does not undo a rollback. It is one object in the models bucket, and says itself
who rolled back when and why. `lambdas/registry.py` reads it too.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.registry.decisions import Decision, iso


@dataclass(frozen=True)
class Ceiling:
    """The version above which none predicts, and who set it (an ARN), when (ISO 8601) and why."""

    version: int
    set_at: str
    set_by: str
    why: str

    def holds_back(self, version: int, approval: str) -> bool:
        """Whether a version does not predict because of it."""
        return approval == "Approved" and version > self.version

    @property
    def sentence(self) -> str:
        return (
            f"no version above {self.version} predicts: rolled back at {self.set_at} by "
            f"{self.set_by} ({self.why or 'no reason given'})"
        )


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

    def is_set(self) -> bool:
        """Whether there is a ceiling, be it readable or not."""
        return self._read() is not None

    def set(self, decision: Decision) -> Ceiling:
        """Sets the ceiling, at once."""
        self._put(decision)
        return Ceiling(decision.version, decision.at, decision.who, decision.why)

    def lift(self, decision: Decision) -> None:
        """Lifts the ceiling.

        Its last version tells who lifted it and why: it is written before the object is deleted,
        and counts as the same ceiling until then.
        """
        if decision.version:  # 0 is one that cannot be read
            self._put(decision, lifted=True)
        bucket, key = self._place
        self._s3.delete_object(Bucket=bucket, Key=key)

    def history(self) -> list[Decision]:
        """Every rollback and how it was lifted, in no order, as far back as the bucket keeps an
        object's versions: those that were never recorded are known from here alone."""
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
                at, what = iso(one["LastModified"]), "an unreadable ceiling"
                decisions.append(Decision(at, what, 0, is_recorded=False))
                continue
            what = "rollback lifted" if json.loads(body).get("lifted") else "rolled back"
            decisions.append(
                Decision(found.set_at, what, found.version, found.set_by, found.why, False)
            )
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

    def _put(self, decision: Decision, **more: Any) -> None:
        bucket, key = self._place
        document = {
            "ceiling": decision.version,
            "set_at": decision.at,
            "set_by": decision.who,
            "why": decision.why,
            **more,
        }
        self._s3.put_object(
            Bucket=bucket,
            Key=key,
            Body=json.dumps(document, ensure_ascii=False).encode(),
            ContentType="application/json",
        )


def serving_key(group: str) -> str:
    """Where the ceiling of a model package group lies: a contract with `lambdas/layout.py`."""
    return f"serving/{group}.json"


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
