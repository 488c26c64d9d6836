"""A container engine and our images in it, for the tests that need both.

Without an engine they are skipped, unless `CLAIMFLOW_REQUIRE_ENGINE` is set; `ci/containers` gives
a machine one, builds the images and runs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pipelines.deployment.image_builds import local_name
from pipelines.images import image
from pipelines.settings import Settings

if TYPE_CHECKING:
    from docker import DockerClient

# Read here: the tests take all settings out of the environment (tests/conftest.py).
IS_REQUIRED = bool(os.environ.get("CLAIMFLOW_REQUIRE_ENGINE"))
USER = 10001


@dataclass(frozen=True)
class Ran:
    """How a container ended, and all that it printed."""

    exit_code: int
    said: str


Run = Callable[..., Ran]


def missing(reason: str) -> NoReturn:
    """Skips a test, or fails it where an engine is required."""
    if IS_REQUIRED:
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def engine() -> DockerClient:
    """Docker's API, of Docker or podman."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        missing(f"no container engine answers (ci/containers makes one): {error}")
    return client


def name_of(target: str) -> str:
    """What the image of a target is called on the machine that built it."""
    return local_name(Settings(), image(target))


@pytest.fixture(scope="session")
def built(engine: DockerClient) -> Callable[[str], str]:
    """Finds the image of a target: what this source tree builds."""
    from docker.errors import ImageNotFound

    def find(target: str) -> str:
        try:
            engine.images.get(name_of(target))
        except ImageNotFound:
            missing(f"{name_of(target)} is not built: claimflow images build {target}")
        return name_of(target)

    return find


@pytest.fixture
def run(engine: DockerClient, built: Callable[[str], str]) -> Run:
    """Runs a container as tightly as AWS Batch does, without a network.

    `job` is a folder that is mounted as `/opt/ml`, and given to the container's user; `mounts` are
    folders to read from.
    """

    def run_it(
        target: str,
        *arguments: str,
        entrypoint: Sequence[str] | None = None,
        user: int = USER,
        job: Path | None = None,
        mounts: Mapping[Path, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        volumes: dict[str, Any] = {
            str(path): {"bind": place, "mode": "ro"} for path, place in (mounts or {}).items()
        }
        if job:
            volumes[str(job)] = {"bind": "/opt/ml", "mode": "rw"}
            if os.geteuid() == 0:
                for path in (job, *job.rglob("*")):
                    os.chown(path, user, user)
            else:
                user = os.geteuid()
        container = engine.containers.create(
            built(target),
            list(arguments),
            entrypoint=list(entrypoint) if entrypoint else None,
            user=str(user),
            environment=dict(environment or {}),
            volumes=volumes,
            read_only=True,
            tmpfs={"/tmp": ""},
            network_mode="none",
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit="2g",
        )
        try:
            container.start()
            code = container.wait(timeout=300)["StatusCode"]
            return Ran(code, container.logs().decode())
        finally:
            container.remove(force=True)

    return run_it
