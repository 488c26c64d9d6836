"""The stacks in the local cloud: their templates resolved, their resources made through the API.

What was made is noted in the parameter store, a parameter for each stack, so that a later
deployment knows what has changed. moto forgets both at its end; the start of the local cloud makes
them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from pipelines.deployment.deploy import Change
from pipelines.deployment.stacks import Plan, Planned, Stack, parameters, plans
from pipelines.images import addresses
from pipelines.local.resource_types import MAKERS, NOT_HERE
from pipelines.settings import Settings

Client = Callable[[str], Any]


def create_resources(settings: Settings, client: Client) -> None:
    """Makes what is not there yet, and changes what has changed."""
    for stack in LocalStacks(settings, client).planned():
        stack.apply()


@dataclass(frozen=True)
class Made:
    """What is noted of a resource."""

    type: str
    name: str
    digest: str  # of its properties
    properties: dict[str, Any]  # those that its removal needs


class LocalStack:
    """One stack, as it is and as it is to be."""

    def __init__(self, plan: Plan, client: Client, notes: Notes) -> None:
        self.stack: Stack = plan.stack
        self.outputs = plan.outputs
        self._client = client
        self._notes = notes
        self._wanted = {
            one.id: one for one in plan.resources if _is_here(one.type, plan.stack.room)
        }
        self._before = notes.read(self.stack)

    @property
    def changes(self) -> list[Change]:
        """What `apply` would do."""
        added = [
            Change("Add", one.id, one.type, one.name)
            for one in self._wanted.values()
            if one.id not in self._before
        ]
        modified = [
            Change("Modify", one.id, one.type, one.name)
            for one in self._wanted.values()
            if one.id in self._before and self._before[one.id].digest != _digest(one)
        ]
        removed = [
            Change("Remove", identifier, made.type, made.name)
            for identifier, made in self._before.items()
            if identifier not in self._wanted
        ]
        return [*added, *modified, *removed]

    def apply(self) -> None:
        changed = {one.id for one in self.changes}
        for identifier, made in reversed(self._before.items()):
            if identifier not in self._wanted:
                self._remove(identifier, made)
        for resource in self._wanted.values():
            if resource.id in changed:
                make, _ = MAKERS[resource.type]
                make(self._client, resource)
        if changed:
            self._notes.write(
                self.stack,
                {
                    one.id: Made(one.type, one.name, _digest(one), _for_removal(one))
                    for one in self._wanted.values()
                },
            )

    def remove(self) -> None:
        """Removes what was made, the last first."""
        for identifier, made in reversed(self._before.items()):
            self._remove(identifier, made)
        self._notes.delete(self.stack)

    def _remove(self, identifier: str, made: Made) -> None:
        _, remove = MAKERS[made.type]
        remove(self._client, Planned(identifier, made.type, made.name, made.properties, False))


class LocalStacks:
    """All stacks of a deployment in the local cloud."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._client: Client = cache(client)
        self._notes = Notes(settings, self._client)

    def planned(self) -> list[LocalStack]:
        """The stacks in their order."""
        values = parameters(self._settings, addresses(self._settings))
        queue_host = self._client("sqs").meta.endpoint_url
        return [
            LocalStack(plan, self._client, self._notes)
            for plan in plans(self._settings, values, queue_host)
        ]


class Notes:
    """What was made, by stack and id."""

    def __init__(self, settings: Settings, client: Client) -> None:
        self._settings = settings
        self._ssm = client("ssm")

    def read(self, stack: Stack) -> dict[str, Made]:
        try:
            found = self._ssm.get_parameter(Name=self._name(stack))
        except self._ssm.exceptions.ParameterNotFound:
            return {}
        return {name: Made(**one) for name, one in json.loads(found["Parameter"]["Value"]).items()}

    def write(self, stack: Stack, made: dict[str, Made]) -> None:
        value = json.dumps({name: asdict(one) for name, one in made.items()})
        self._ssm.put_parameter(
            Name=self._name(stack), Value=value, Type="String", Tier="Advanced", Overwrite=True
        )

    def delete(self, stack: Stack) -> None:
        try:
            self._ssm.delete_parameter(Name=self._name(stack))
        except self._ssm.exceptions.ParameterNotFound:
            return

    def _name(self, stack: Stack) -> str:
        return f"/claimflow/stacks/{stack.name(self._settings)}"


def _is_here(kind: str, room: str) -> bool:
    if kind in MAKERS:
        return True
    if kind not in NOT_HERE:
        raise ValueError(f"{room}/stack.yaml: the local cloud knows nothing of the type {kind}")
    return False


def _digest(resource: Planned) -> str:
    """Of everything that makes it what it is; of a function its code, too."""
    text = json.dumps([resource.name, resource.properties], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _for_removal(resource: Planned) -> dict[str, Any]:
    if resource.type != "AWS::Lambda::EventSourceMapping":
        return {}
    return {name: resource.properties[name] for name in ("EventSourceArn", "FunctionName")}
