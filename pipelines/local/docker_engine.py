"""The engine that runs a container in its real image, through Docker's API (Docker or podman).

Each container carries the label of its local cloud, so that what a crash leaves is found at the
next start. It gets no capabilities and no new privileges, whatever its job says. It is on the
network of this machine, where the local cloud is, unless it asks for none.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from requests.exceptions import RequestException

from pipelines.errors import UserError
from pipelines.images import image, known_targets
from pipelines.local.docker_connection import Connection, connect
from pipelines.local.docker_folders import OWN_LABEL, SECURITY, Folders
from pipelines.local.engines import GRACE_SECONDS, ContainerError, Ended, Engine, Task, ignored
from pipelines.local.environments import outdated
from pipelines.local.lines import Lines

STATE_LABEL = "claimflow.state"
FOLDER_LABEL = "claimflow.folder"  # of the task: it tells a person which job this is
USED = "containers"  # a file of the state folder: containers were run, and not cleared since
_KILL_SECONDS = 60.0  # until the engine has done away with a container
_HOME = {"HOME": "/tmp"}  # noqa: S108 - what any user can write
_NOT_FOUND = 127  # as a shell says it
_FAULTS = (DockerException, RequestException)  # of the engine's client


class DockerEngine(Engine):
    """Runs images of this machine."""

    name = "docker"

    def __init__(
        self,
        project: str,
        state: Path,
        grace: float = GRACE_SECONDS,
        connection: Connection | None = None,
    ) -> None:
        """
        Raises
        ------
        UserError
            The engine does not answer, or not to this user.
        """
        self._project = project
        self._label = f"{STATE_LABEL}={state}"
        self._state = str(state)
        self._used = state / USED
        self._grace = grace
        self._connection = connection or connect()
        self._folders = Folders(self._connection.is_rootless)
        _tell_missing(self._connection)

    def run(self, task: Task, log: Callable[[str], None], stop: threading.Event) -> Ended:
        self._used.touch()
        try:
            with (
                closing(self._connection.open()) as api,
                self._container(api, task, log) as identifier,
            ):
                return self._follow(api, identifier, task, log, stop)
        except _FAULTS as error:
            raise ContainerError(f"the container engine: {_sentence(error)}") from error

    def clear(self) -> None:
        with closing(self._connection.open()) as api, suppress(*_FAULTS):
            is_clear = True
            for found in api.containers(all=True, filters={"label": self._label}):
                try:
                    self._remove(api, found["Id"])
                except _FAULTS:  # the next start tries again
                    is_clear = False
            if is_clear:
                self._used.unlink(missing_ok=True)

    # A container's life.

    @contextmanager
    def _container(self, api: Any, task: Task, log: Callable[[str], None]) -> Iterator[str]:
        """A container that has not been started, and is gone at the end."""
        found = self._image(api, task.image)
        user = self._folders.lend(task.mounts, task.limits.user)
        try:
            identifier = self._create(api, found, task, user, has_init=task.limits.has_init)
        except APIError as error:
            if "container-init" not in str(error):
                raise
            log("This engine has no init process (podman needs catatonit): the job runs without.")
            identifier = self._create(api, found, task, user, has_init=False)
        try:
            yield identifier
        finally:
            try:
                self._remove(api, identifier)
            except _FAULTS as error:  # it changes nothing of how the job ended; `clear` tries again
                log(f"The container engine did not remove the container: {_sentence(error)}")

    def _create(self, api: Any, found: str, task: Task, user: str, *, has_init: bool) -> str:
        limits, can = task.limits, self._connection
        memory = limits.memory * 2**20 if limits.memory and can.can_limit_memory else None
        host = api.create_host_config(
            mounts=[
                docker.types.Mount(one.path, str(one.folder), "bind", read_only=one.is_read_only)
                for one in task.mounts
            ],
            network_mode="host" if limits.has_network else "none",
            read_only=not limits.has_writable_root,
            tmpfs=dict(limits.tmpfs),
            mem_limit=memory,
            memswap_limit=memory if can.can_limit_swap else None,
            shm_size=f"{limits.shared_memory}m" if limits.shared_memory else None,
            cpuset_cpus=_listed(limits.cores) if can.can_bind_cores else None,
            ulimits=[
                docker.types.Ulimit(name=one.name, soft=one.soft, hard=one.hard)
                for one in limits.ulimits
            ],
            init=has_init or None,
            cap_drop=["ALL"],
            security_opt=list(SECURITY),
            userns_mode="host",  # the folders are owned by users of this machine
            log_config={"Type": "none"},  # the log is ours to keep
        )
        made = api.create_container(
            found,
            command=task.arguments or None,
            entrypoint=task.entrypoint,
            environment={**_HOME, **task.environment},
            user=user,
            host_config=host,
            labels={
                STATE_LABEL: self._state,
                FOLDER_LABEL: str(task.folder),
                **({OWN_LABEL: "yes"} if limits.user else {}),
            },
        )
        return str(made["Id"])

    def _follow(
        self,
        api: Any,
        identifier: str,
        task: Task,
        log: Callable[[str], None],
        stop: threading.Event,
    ) -> Ended:
        """Starts a container, hears what it prints, and waits for its end or brings it about."""
        try:  # podman makes the process when it is attached to, Docker when it starts
            printed = api.attach(identifier, stdout=True, stderr=True, stream=True)
            api.start(identifier)
        except APIError as error:
            if not _is_missing_command(error):
                raise
            log(_sentence(error))
            return Ended(_NOT_FOUND)
        reader = threading.Thread(target=Lines(log).hear_all, args=(printed,), daemon=True)
        reader.start()
        waiting = _Waiting(api, identifier)
        deadline = time.monotonic() + task.timeout
        stopped = timed_out = False
        while not (stopped or timed_out or waiting.ended.wait(0.05)):
            stopped = stop.is_set()
            timed_out = not stopped and time.monotonic() > deadline
        if stopped or timed_out:
            self._end(api, identifier, waiting.ended, log)
        code = waiting.code()
        reader.join(self._grace)
        state = api.inspect_container(identifier)["State"]
        return Ended(
            code,
            timed_out,
            stopped,
            bool(state.get("OOMKilled")),
            task.limits.memory if self._connection.can_limit_memory else None,
        )

    def _end(
        self, api: Any, identifier: str, ended: threading.Event, log: Callable[[str], None]
    ) -> None:
        with suppress(APIError):  # it ends at this moment
            api.kill(identifier, "SIGTERM")
        if not ended.wait(self._grace):
            log(ignored(self._grace))
            with suppress(APIError):
                api.kill(identifier, "SIGKILL")

    def _remove(self, api: Any, identifier: str) -> None:
        """Does away with a container, running or not, and makes its folders ours again."""
        with suppress(NotFound):
            described = api.inspect_container(identifier)
            if described["State"].get("Running"):  # podman would ask it to end first, for 10 s
                with suppress(APIError):
                    api.kill(identifier, "SIGKILL")
            api.remove_container(identifier, force=True, v=True)
            self._folders.take_back(api, described)

    # Images.

    def _image(self, api: Any, address: str) -> str:
        """The id of an image, by its address or by the name that `claimflow images build` gave it.

        Raises
        ------
        UserError
            This machine does not have it.
        """
        target, _, tag = address.rpartition("/")[2].partition(":")
        local = f"{self._project}/{target}:{tag}"
        for name in (address, local):
            with suppress(ImageNotFound):
                return str(api.inspect_image(name)["Id"])
        if target not in known_targets():
            raise UserError(
                f"Image {address} cannot run here: this machine does not have it; build or pull it"
            )
        if tag != image(target).tag:
            raise outdated(image(target), tag)
        raise UserError(
            f"Image {local} cannot run here: it is not built; "
            f"`claimflow images build {target}` builds it"
        )


class _Waiting:
    """Waits for the end of a container in a thread of its own."""

    def __init__(self, api: Any, identifier: str) -> None:
        self.ended = threading.Event()
        self._said: dict[str, Any] = {}
        self._fault: Exception | None = None
        threading.Thread(target=self._wait, args=(api, identifier), daemon=True).start()

    def code(self) -> int:
        """The exit code, waited for.

        Raises
        ------
        ContainerError
            The engine does not get rid of the container.
        DockerException, RequestException
            The engine has gone.
        """
        if not self.ended.wait(_KILL_SECONDS):
            raise ContainerError(f"the container was killed, but runs after {_KILL_SECONDS:.0f} s")
        if self._fault:
            raise self._fault
        return int(self._said["StatusCode"])

    def _wait(self, api: Any, identifier: str) -> None:
        try:
            self._said = api.wait(identifier, timeout=None)
        except Exception as error:  # of the connection; told by whoever asks for the code
            self._fault = error
        self.ended.set()


def _tell_missing(can: Connection) -> None:
    for is_there, what in ((can.can_limit_memory, "memory"), (can.can_bind_cores, "cores")):
        if not is_there:
            print(f"the container engine cannot limit a container's {what}", file=sys.stderr)


def _listed(cores: frozenset[int]) -> str | None:
    return ",".join(map(str, sorted(cores))) or None


def _is_missing_command(error: APIError) -> bool:
    text = str(error).lower()
    return "exec:" in text and ("not found" in text or "no such file" in text)


def _sentence(error: Exception) -> str:
    text = getattr(error, "explanation", None) or str(error)
    return " ".join(str(text).split())
