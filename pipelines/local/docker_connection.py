"""Where the container engine of this machine is, what it can do, and why it does not answer."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import Any

import docker
from docker.errors import DockerException
from requests.exceptions import RequestException

from pipelines.errors import UserError

_PREFIX = "unix://"
_SECONDS = 300  # an engine under load answers late, and a job is not to fail for that
_ELSE = "or leave out `--engine docker`: the engine process needs none"


@dataclass(frozen=True)
class Connection:
    """An engine that answers: Docker, or podman's service, which speaks the same API."""

    address: str
    version: str  # of the API
    is_podman: bool
    is_rootless: bool  # its root is whoever runs it
    can_limit_memory: bool
    can_limit_swap: bool
    can_bind_cores: bool

    def open(self) -> Any:
        """A client, to be closed by whoever asked for it."""
        return docker.APIClient(self.address, version=self.version, timeout=_SECONDS)


def connect() -> Connection:
    """Finds the engine: `DOCKER_HOST`, the context of the docker command; else Docker's own socket
    or podman's, whichever answers first.

    Raises
    ------
    UserError
        None is there, none answers, this user may not use it, or its containers would not be on
        the network of this machine.
    """
    if given := os.environ.get("DOCKER_HOST") or _host_of_context():
        return _connect(given)
    faults = []
    for path in (
        "/var/run/docker.sock",
        f"{os.environ.get('XDG_RUNTIME_DIR', '/nonexistent')}/podman/podman.sock",
        "/run/podman/podman.sock",
    ):
        if os.path.exists(path):  # noqa: PTH110 - Path's raises where a folder is root's alone
            try:
                return _connect(f"{_PREFIX}{path}")
            except UserError as error:
                faults.append(error)
    if faults:
        raise faults[0]
    raise UserError(
        "There is no container engine on this machine: install Docker, or podman and start its "
        f"service (`systemctl --user start podman.socket`), {_ELSE}"
    )


def _connect(address: str) -> Connection:
    _check_socket(address)
    try:
        client = docker.APIClient(address, version="auto", timeout=_SECONDS)
        try:
            said = client.info()
            version = str(client.api_version)
        finally:
            client.close()
    except (DockerException, RequestException) as error:
        raise UserError(f"The container engine at {address} does not answer: {error}") from error
    is_podman = "BuildahVersion" in said
    is_rootless = any("rootless" in one for one in said.get("SecurityOptions") or [])
    if said.get("OperatingSystem") == "Docker Desktop" or (is_rootless and not is_podman):
        raise UserError(
            f"The container engine at {address} is Docker Desktop or Docker without root, whose "
            "containers do not reach the local cloud, because their host network is not this "
            f"machine's: use podman, or Docker's own service with root, {_ELSE}"
        )
    return Connection(
        address,
        version,
        is_podman,
        is_rootless,
        bool(said.get("MemoryLimit")),
        bool(said.get("SwapLimit")),
        bool(said.get("CPUSet")),
    )


def _host_of_context() -> str | None:
    """The address that the docker command would use; None where it has no opinion."""
    name = os.environ.get("DOCKER_CONTEXT")
    try:
        context = docker.ContextAPI.get_context(name)
    except Exception as error:  # docker raises a bare one for a file that it cannot read
        said = " ".join(str(error).split())
        raise UserError(f"{said}: mend it, or name the engine in DOCKER_HOST, {_ELSE}") from error
    if context is None:
        if name:
            raise UserError(
                f"DOCKER_CONTEXT is {name}, but docker has no such context: "
                f"`docker context ls` shows those it has, {_ELSE}"
            )
        return None
    return None if context.Name == "default" else context.Host


def _check_socket(address: str) -> None:
    if not address.startswith(_PREFIX):
        raise UserError(
            f"The container engine is at {address}, expected {_PREFIX}… (DOCKER_HOST, or docker's "
            "context): it has to be on this machine, because the folders of the jobs are"
        )
    path = address.removeprefix(_PREFIX)
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(10)
            probe.connect(path)
    except PermissionError:
        raise UserError(
            f"You may not use the container engine at {path}: join its group (`sudo usermod -aG "
            f"docker $USER`, then log in anew), {_ELSE}"
        ) from None
    except OSError as error:
        raise UserError(
            f"No container engine answers at {path} ({error.strerror or error}): start Docker or "
            f"podman's service, {_ELSE}"
        ) from None
