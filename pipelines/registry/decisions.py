"""Who decided what about the model's versions, when and why: records that are only ever added.

    decisions/<model package group>/<YYYYmmddTHHMMSSffffffZ>-<8 hex>.json    in the models bucket

`lambdas/approve.py` writes them, too.

A decision takes effect first (in the registry, or as the ceiling) and is recorded then. So no
record tells of something that never was, as it would where AWS refuses the change, or the machine
goes off before it. The other way round nothing is lost: a change without a record is told from the
place where it took effect, which holds the reason as well (`Models.history`).
"""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

from pipelines.aws import Aws
from pipelines.errors import UserError

MOST_OF_A_REASON = 1024  # characters that the registry keeps of one

_SENTENCES = {
    "rolled back": "rolled back to version {}",
    "rollback lifted": "rollback to version {} lifted",
}


@dataclass(frozen=True)
class Decision:
    """Something that was decided about a version; what is not known is empty.

    Attributes
    ----------
    at: ISO 8601 in UTC.
    what: "approved", "rejected", "rolled back", "rollback lifted", "approved automatically", "kept
        for a person" (by the automatic approval).
    version: 0 where it is not known.
    who: an ARN.
    is_recorded: False if only its effect tells of it: it was made elsewhere, such as in a console.
    """

    at: str
    what: str
    version: int
    who: str = ""
    why: str = ""
    is_recorded: bool = True

    @property
    def sentence(self) -> str:
        if not self.version:
            return self.what
        return _SENTENCES.get(self.what, f"version {{}} {self.what}").format(self.version)

    @property
    def line(self) -> str:
        """All of it, for people."""
        is_told = self.what.endswith(" automatically")  # by whom
        who = f"  by {self.who}" if self.who and not is_told else ""
        why = f": {self.why}" if self.why else ""
        return f"{self.at}  {self.sentence}{who}{why}"


class Decisions:
    """The records of one deployment's model."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def new(self, what: str, version: int, why: str) -> Decision:
        """A decision that whoever calls makes now; it is not recorded yet."""
        who = str(self._aws.client("sts").get_caller_identity()["Arn"])
        return Decision(iso(datetime.now(timezone.utc)), what, version, who, why)

    def add(self, decision: Decision) -> None:
        """Records a decision; what is there is never overwritten."""
        document = asdict(decision)
        del document["is_recorded"]
        name = f"{datetime.now(timezone.utc):%Y%m%dT%H%M%S%fZ}-{secrets.token_hex(4)}.json"
        key, body = self._prefix + name, json.dumps(document, ensure_ascii=False).encode()
        try:
            self._s3.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=body,
                ContentType="application/json",
                IfNoneMatch="*",
            )
        except self._s3.exceptions.ClientError as error:
            # Of a put whose answer was lost, the client's own second try meets the first.
            is_taken = error.response["Error"]["Code"] == "PreconditionFailed"
            if not (is_taken and self._body(key) == body):
                raise

    def all(self) -> list[Decision]:
        """What is recorded, oldest first."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix
        )
        listed = [one for page in pages for one in page.get("Contents", [])]
        with ThreadPoolExecutor(8) as pool:
            bodies = pool.map(self._body, [one["Key"] for one in listed])
            found = [
                _parsed(body) or Decision(iso(one["LastModified"]), "an unreadable record", 0)
                for one, body in zip(listed, bodies, strict=True)
            ]
        return sorted(found, key=lambda one: one.at)

    @property
    def _bucket(self) -> str:
        return self._aws.settings.bucket("models")

    @property
    def _prefix(self) -> str:
        return decisions_prefix(self._aws.settings.model_package_group)

    def _body(self, key: str) -> bytes:
        body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return body


def decisions_prefix(group: str) -> str:
    """Where the records of a model package group lie: a contract with `lambdas/layout.py`."""
    return f"decisions/{group}/"


def reason(given: str, what: str) -> str:
    """A reason as it is kept, in one line; `what` needs it.

    Raises
    ------
    UserError
        There is none, or it is too long for the registry.
    """
    given = " ".join(given.split())
    if not given:
        raise UserError(f"{what} needs its reason: add --why, it is kept for the others")
    if len(given) > MOST_OF_A_REASON:
        raise UserError(
            f"The reason has {len(given)} characters, expected at most {MOST_OF_A_REASON}"
        )
    return given


def iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def _parsed(body: bytes) -> Decision | None:
    """A decision as it was recorded, None if it is not readable."""
    try:
        document: dict[str, Any] = json.loads(body)
        at, what, version = document["at"], document["what"], document["version"]
        datetime.fromisoformat(at.replace("Z", "+00:00"))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if type(version) is not int or not isinstance(what, str):
        return None
    return Decision(at, what, version, str(document.get("who", "")), str(document.get("why", "")))
