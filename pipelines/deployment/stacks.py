"""The stacks of a deployment: which there are, in which order, with which parameters.

The templates lie in the rooms that they serve. A parameter gets its value from an output of the
same name of an earlier stack, or from the settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.deployment.lambda_package import code_key
from pipelines.deployment.resource_attributes import attribute_of
from pipelines.deployment.templates import Document, Resource, Template, read_template
from pipelines.deployment_settings import Deployment
from pipelines.errors import UserError
from pipelines.images import ROOT, image
from pipelines.settings import Settings
from pipelines.settings_file import nearest

ROOMS = ("pipelines", "batch", "lambdas", "ci")  # in the order in which they need each other


@dataclass(frozen=True)
class Stack:
    """The stack of one room."""

    room: str

    @property
    def path(self) -> Path:
        return ROOT / self.room / "stack.yaml"

    @property
    def document(self) -> Document:
        return read_template(self.path)

    def name(self, settings: Settings) -> str:
        return f"{settings.prefix}-{self.room}"

    def arguments(self, values: Mapping[str, str]) -> dict[str, str]:
        """Those of the values that the template has a parameter for.

        Raises
        ------
        UserError
            A parameter without a value: an earlier stack gives it, which is not there.
        """
        declared: Document = self.document.get("Parameters", {})
        for name, described in declared.items():
            if name not in values and "Default" not in described:
                raise UserError(
                    f"The stack {self.room} needs {name}, which an earlier one gives: "
                    f"deploy {', '.join(ROOMS[: ROOMS.index(self.room)])} first"
                )
        return {name: values[name] for name in declared if name in values}


STACKS = tuple(Stack(room) for room in ROOMS)


def find_stack(room: str) -> Stack:
    """One stack by the name of its room.

    Raises
    ------
    UserError
        There is no such stack.
    """
    if room not in ROOMS:
        raise UserError(f"There is no stack {room}; {nearest(room, ROOMS)}")
    return Stack(room)


def parameters(settings: Settings, images: Mapping[str, str]) -> dict[str, str]:
    """The parameters that follow from the settings and the images' addresses by target. The
    settings of `[deployment]` have the parameters' names: `log_days` is `LogDays`."""
    return {
        "Project": settings.project,
        "Stage": settings.stage,
        "GluonImage": images["gluon-cpu"],
        "ValidateImage": images["validate"],
        "CodeVersion": image("gluon-cpu").tag,
        "CodeKey": code_key(),
        "ApproveAccuracy": _text(settings.automatic_approval_accuracy),
        "ApproveRegression": _text(settings.automatic_approval_regression),
        **{
            parameter_name(name): _text(getattr(settings.deployment, name))
            for name in Deployment.model_fields
        },
    }


def parameter_name(setting: str) -> str:
    """The parameter that a setting of `[deployment]` goes to."""
    return "".join(word.capitalize() for word in setting.split("_"))


def pseudo_parameters(settings: Settings, stack: Stack) -> dict[str, str]:
    """What `AWS::AccountId` and its like stand for."""
    name = stack.name(settings)
    return {
        "AWS::AccountId": settings.known_account,
        "AWS::Region": settings.region,
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::StackName": name,
        "AWS::StackId": f"arn:aws:cloudformation:{settings.region}:{settings.known_account}:"
        f"stack/{name}/00000000-0000-0000-0000-000000000000",
    }


@dataclass(frozen=True)
class Planned:
    """A resource with all that can be known of it before it exists."""

    id: str
    type: str
    name: str  # its own, or one made of stack and id
    properties: Document
    keeps: bool

    @property
    def label(self) -> str:
        """The name, where it has one of its own."""
        return "" if self.name.endswith(f"-{self.id}") else self.name


class Plan:
    """A stack, resolved without CloudFormation: names and what follows from them are exact; what
    only AWS can give is a stand-in."""

    def __init__(
        self,
        settings: Settings,
        stack: Stack,
        values: Mapping[str, str],
        queue_host: str | None = None,
    ) -> None:
        self.stack = stack
        self._settings = settings
        self._queue_host = queue_host or f"https://sqs.{settings.region}.amazonaws.com"
        self._template = Template(
            stack.document,
            stack.arguments(values),
            pseudo_parameters(settings, stack),
            self._known,
        )
        self._described: dict[str, Resource] = {one.id: one for one in self._template.resources}

    @property
    def resources(self) -> list[Planned]:
        """Each after the ones that it needs."""
        return [
            Planned(
                one.id, one.type, self._name(one), self._template.resolve(one.properties), one.keeps
            )
            for one in self._described.values()
        ]

    @property
    def outputs(self) -> dict[str, str]:
        return self._template.outputs()

    def _known(self, identifier: str, attribute: str | None) -> str:
        resource = self._described.get(identifier)
        if resource is None:
            raise ValueError(
                f"{self.stack.room}/stack.yaml: {identifier} is needed, but its condition is false"
            )
        given = {
            "id": identifier,
            "name": self._name(resource),
            "account": self._settings.known_account,
            "region": self._settings.region,
            "queues": self._queue_host,
        }
        return attribute_of(resource.type, attribute).format(**given)

    def _name(self, resource: Resource) -> str:
        given = resource.name_property
        if given is None:
            return f"{self.stack.name(self._settings)}-{resource.id}"
        return str(self._template.resolve(resource.properties[given]))


def plans(
    settings: Settings, values: Mapping[str, str], queue_host: str | None = None
) -> Iterator[Plan]:
    """All stacks as a fresh account would get them."""
    outputs: dict[str, str] = {}
    for stack in STACKS:
        plan = Plan(settings, stack, {**values, **outputs}, queue_host)
        yield plan
        outputs |= plan.outputs


def _text(value: object) -> str:
    """As CloudFormation takes it: a list with commas, nothing as nothing."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else str(value)
