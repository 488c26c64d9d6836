"""Where the container engine of this machine is, what it can do, and why it does not answer."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
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
    is_rootless: bool  # its root is whoever runs it
    can_limit_memory: bool
    can_limit_swap: bool
    can_bind_cores: bool

    def open(self) -> Any:
        """A client, to be closed by whoever asked for it."""
        return docker.APIClient(self.address, version=self.version, timeout=_SECONDS)


def connect() -> Connection:
    """Finds the engine: `DOCKER_HOST`, the context of the docker command, Docker's own socket,
    podman's.

    Raises
    ------
    UserError
        None is there, none answers, or this user may not use it.
    """
    address = _address()
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
    return Connection(
        address,
        version,
        any("rootless" in one for one in said.get("SecurityOptions") or []),
        bool(said.get("MemoryLimit")),
        bool(said.get("SwapLimit")),
        bool(said.get("CPUSet")),
    )


def _address() -> str:
    if given := os.environ.get("DOCKER_HOST"):
        return given
    context = docker.ContextAPI.get_current_context()
    if context is not None and context.Name != "default" and context.Host:
        return str(context.Host)
    sockets = [
        Path("/var/run/docker.sock"),
        Path(os.environ.get("XDG_RUNTIME_DIR", "/nonexistent")) / "podman/podman.sock",
        Path("/run/podman/podman.sock"),
    ]
    for path in sockets:
        if path.exists():
            return f"{_PREFIX}{path}"
    raise UserError(
        "There is no container engine on this machine: install Docker, or podman and start its "
        f"service (`systemctl --user start podman.socket`), {_ELSE}"
    )


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
