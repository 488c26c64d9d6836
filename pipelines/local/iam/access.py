"""Who calls the local cloud, and whether he may.

The user's own key may do everything. A role's key is derived from the user's by HMAC over the
role's ARN, so that whatever runs as the role can be told from it without a table that would have to
be kept; it may do what the role's policies allow.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.local.aws_json import ServiceError
from pipelines.local.iam.policies import Call, Decision, decide, tag_context

if TYPE_CHECKING:
    from pipelines.local.moto_bridge import Role

SESSION = "local"  # the session's name in the ARN of whoever acts as a role
_KEY_LETTERS = 16


@dataclass(frozen=True)
class Caller:
    """Who signed a request: the user, or a role by its ARN."""

    role: str | None = None

    @property
    def arn(self) -> str:
        """As STS and AWS's refusals write it."""
        assert self.role is not None
        account, name = self.role.split(":")[4], self.role.rpartition("/")[2]
        return f"arn:aws:sts::{account}:assumed-role/{name}/{SESSION}"


class Access:
    """Keys, and what they may."""

    def __init__(
        self,
        user_key: str,
        roles: Mapping[str, Role],
        tags_of: Callable[[str], Mapping[str, str] | None] = lambda _: None,
    ) -> None:
        self._user_key = user_key
        self._tags_of = tags_of  # a resource's ARN → its tags; None where nothing is known of them
        self._roles = roles  # by ARN
        self._seen: dict[str, str] = {}  # key → ARN

    def key(self, role: str) -> str:
        """The access key of a role."""
        digest = hmac.digest(self._user_key.encode(), role.encode(), hashlib.sha256)
        return f"ROLE{base64.b32encode(digest).decode()[:_KEY_LETTERS]}"

    def caller(self, key: str) -> Caller | None:
        """Who has this key; None for a stranger, which a role is that does not exist."""
        if hmac.compare_digest(key.encode(), self._user_key.encode()):
            return Caller()
        if key not in self._seen:
            self._seen = {self.key(role): role for role in self._roles}
        return Caller(self._seen[key]) if key in self._seen else None

    def require(self, caller: Caller, calls: Iterable[Call]) -> None:
        """Lets the calls pass, or raises what a service answers to whom they are not allowed.

        Raises
        ------
        ServiceError
            `AccessDeniedException` with AWS's sentence; the log says the same.
        """
        if caller.role is None:
            return
        for call in calls:
            decision = self.decide(caller.role, call)
            if not decision.allowed:
                message = (
                    f"User: {caller.arn} is not authorized to perform: {call.action} "
                    f"on resource: {call.resource} {decision.reason(call.action)}"
                )
                print(f"refused: {message}", file=sys.stderr, flush=True)
                raise ServiceError("AccessDeniedException", message, 403)

    def decide(self, role: str, call: Call) -> Decision:
        """What the policies of a role say to a call; a role that is gone may do nothing."""
        found = self._roles.get(role)
        if found is None:
            return Decision(allowed=False)
        tags = self._tags_of(call.resource)
        if tags is not None:
            context = {**call.context, **tag_context("aws:resourcetag/", tags)}
            call = Call(call.action, call.resource, context)
        return decide(found.policies, call)

    def can_be_assumed(self, role: str, service: str) -> bool:
        """Whether a role exists and lets a service, such as `lambda.amazonaws.com`, act as it."""
        found = self._roles.get(role)
        return found is not None and any(
            statement["Effect"] == "Allow"
            and isinstance(statement.get("Principal"), dict)
            and service in _many(statement["Principal"].get("Service", []))
            for statement in _many(json.loads(found.trust)["Statement"])
        )


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
