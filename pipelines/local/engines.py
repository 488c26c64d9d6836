"""What runs the containers of jobs: what an engine is given, and what it answers.

There are two: processes of this machine (`process_engine.py`), and the real images through Docker's
API (`docker_engine.py`). Nothing else in the local cloud knows which of them is at work.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.settings import EngineName

KILLED = 137  # the exit code after SIGKILL, as a shell says it
GRACE_SECONDS = 30.0  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Mount:
    """A folder of this machine that the container finds at a path of its own."""

    path: str
    folder: Path
    is_read_only: bool = False


@dataclass(frozen=True)
class Ulimit:
    """A limit of the kernel's, such as `nofile`."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True)
class Limits:
    """What a container may use and do; a process of this machine is only bound to its cores."""

    cores: frozenset[int] = frozenset()  # none: no ones in particular
    memory: int | None = None  # MiB; None: what this machine has
    shared_memory: int | None = None  # MiB of /dev/shm; None: the engine's default
    user: str = ""  # as Docker takes it; without one whoever runs the local cloud, but never root
    has_writable_root: bool = False
    has_network: bool = True
    has_init: bool = False  # a first process that passes signals on
    tmpfs: Mapping[str, str] = field(default_factory=dict)  # path → options of the mount
    ulimits: tuple[Ulimit, ...] = ()


@dataclass(frozen=True)
class Task:
    """One container to run."""

    image: str  # the image's address
    arguments: list[str]
    entrypoint: list[str] | None
    environment: Mapping[str, str]
    folder: Path  # a process works in it
    timeout: float  # seconds
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    timed_out: bool = False
    stopped: bool = False
    is_out_of_memory: bool = False  # for certain; that of a process is not known
    memory: int | None = None  # MiB that it had; None: what this machine has

    @property
    def kill(self) -> str:
        """Why it was killed, and what memory it had; empty where it was not."""
        if self.stopped or self.timed_out:
            return ""
        if self.exit_code != KILLED and not self.is_out_of_memory:
            return ""
        had = (
            f"the {self.memory:,} MiB that it had"
            if self.memory
            else f"this machine has ({_memory_of_machine():,} MiB)"
        )
        why = "because" if self.is_out_of_memory else "most likely because"
        return f"the container was killed, {why} it needed more memory than {had}"


def ignored(grace: float) -> str:
    """What the log says of a container that had to be killed at last."""
    return (
        f"It did not end within {grace:.0f} s of SIGTERM and was killed: "
        "let it end by itself when the signal comes"
    )


class ContainerError(Exception):
    """A container that could not be started, or was lost: one line."""


class Engine(ABC):
    """Runs the containers of jobs on this machine."""

    name: EngineName

    @abstractmethod
    def run(self, task: Task, log: Callable[[str], None], stop: threading.Event) -> Ended:
        """Runs until the container ends, `stop` is set or the time is up; then it is told to end by
        SIGTERM, and killed after a time of grace. `log` hears each line that it prints.

        Raises
        ------
        UserError
            The image is not one that this machine can run.
        ContainerError
            The container cannot be started, or the engine has gone.
        """

    def prepare(self) -> None:  # noqa: B027 - nothing to prepare is no fault
        """Makes what the first jobs would otherwise wait for.

        Raises
        ------
        UserError
            It cannot be made.
        """

    def clear(self) -> None:  # noqa: B027
        """Ends what still runs of this local cloud, that of an earlier process of it included."""

    def run_together(
        self, tasks: Sequence[tuple[Task, Callable[[str], None]]], stop: threading.Event
    ) -> tuple[int, Ended]:
        """Runs the containers of a job, each with what notes the lines of its log. The first that
        fails ends the others. Returns its place, or 0 if none fails, and how it ended.

        Raises
        ------
        UserError, ContainerError
            As `run`.
        """
        if len(tasks) == 1:
            return 0, self.run(*tasks[0], stop)
        end = threading.Event()
        running: list[Future[Ended]] = [Future() for _ in tasks]
        failed: list[int] = []  # in the order of time

        def run(place: int) -> None:
            try:
                ended = self.run(*tasks[place], end)
            except BaseException as error:
                end.set()
                running[place].set_exception(error)
                return
            if (ended.exit_code or ended.timed_out) and not end.is_set():
                failed.append(place)
                end.set()
            running[place].set_result(ended)

        for place in range(len(tasks)):  # no pool: its threads outlive the local cloud's end
            threading.Thread(target=run, args=(place,), daemon=True).start()
        while wait(running, timeout=0.05).not_done:
            if stop.is_set():
                end.set()
        ended = [one.result() for one in running]
        place = failed[0] if failed else 0
        return place, dataclasses.replace(ended[place], stopped=end.is_set() and not failed)


def _memory_of_machine() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
