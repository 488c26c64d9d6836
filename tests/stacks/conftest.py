"""The four stacks of a deployment, resolved: names are exact, what only AWS gives is a stand-in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.deployment.stacks import ROOMS, find_stack, parameters, plans
from pipelines.settings import Settings

EVERYTHING = {
    "UseMlflowServer": "true",
    "UseGpu": "true",
    "GpuImage": "gpu-image@sha256:1",
    "EndpointZones": "2",
    "NoticeEmail": "claims@example.com",
    "GithubRepository": "example/claims",
    "RetrainSchedule": "rate(7 days)",
    "ApproveAccuracy": "0.95",
    "DeployRoleArn": "arn:aws:iam::123456789012:role/deploys",
}


@dataclass(frozen=True)
class Found:
    """One resource of a deployment."""

    room: str
    id: str
    type: str
    properties: dict[str, Any]
    template: dict[str, Any]  # as its template has it

    def __str__(self) -> str:
        return f"{self.room}/{self.id}"


@dataclass(frozen=True)
class Deployed:
    """All resources of a deployment."""

    resources: list[Found]

    def of(self, kind: str) -> list[Found]:
        """The resources of a type, of which there has to be one."""
        found = [one for one in self.resources if one.type == kind]
        assert found, f"there is no {kind}"
        return found

    def one(self, name: str) -> Found:
        """A resource by its logical id."""
        (found,) = [one for one in self.resources if one.id == name]
        return found

    def documents(self) -> list[tuple[Found, dict[str, Any]]]:
        """Each policy document of a role, trust apart."""
        roles = [
            (role, policy["PolicyDocument"])
            for role in self.of("AWS::IAM::Role")
            for policy in role.properties["Policies"]
        ]
        more = [one for one in self.resources if one.type == "AWS::IAM::RolePolicy"]
        return roles + [(one, one.properties["PolicyDocument"]) for one in more]


def deploy(settings: Settings, **options: str) -> Deployed:
    """What a fresh account gets."""
    images = {"gluon-cpu": "gluon@sha256:0", "validate": "validate@sha256:0"}
    values = {**parameters(settings, images), **options}
    return Deployed(
        [
            Found(
                plan.stack.room,
                one.id,
                one.type,
                one.properties,
                find_stack(plan.stack.room).document["Resources"][one.id],
            )
            for plan in plans(settings, values)
            for one in plan.resources
        ]
    )


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(
        project="claimflow", stage="prod", account="123456789012", region="eu-central-1"
    )


@pytest.fixture(scope="session")
def everything(settings: Settings) -> Deployed:
    """With every option on."""
    return deploy(settings, **EVERYTHING)


@pytest.fixture(scope="session")
def least(settings: Settings) -> Deployed:
    """With the defaults."""
    return deploy(settings)


@pytest.fixture(params=ROOMS)
def room(request: pytest.FixtureRequest) -> str:
    return str(request.param)
