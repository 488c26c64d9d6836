"""The engine that runs a container's command as a process of this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.local import supervise

# What a process of this machine needs to work at all; nothing else of the user's reaches a job.
_PASSED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SYSTEMROOT")


@dataclass(frozen=True)
class Task:
    """One container to run."""

    image: str  # the image's address
    arguments: list[str]
    entrypoint: list[str] | None
    environment: Mapping[str, str]
    folder: Path  # stands for /opt/ml, and is the working directory
    timeout: float  # seconds
    cores: frozenset[int] = frozenset()  # it is bound to; none: to no ones in particular


class Prepared(Protocol):
    """An image that is ready to run on this machine."""

    def command(self, arguments: list[str], entrypoint: list[str] | None) -> list[str]:
        """The command line for a container's arguments."""

    def variables(self) -> dict[str, str]:
        """The variables that the image sets."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    exit_code: int
    timed_out: bool = False
    stopped: bool = False


class ProcessEngine:
    """Runs images as processes, each in the environment that `prepare` finds for its address."""

    def __init__(self, prepare: Callable[[str], Prepared], grace: float = 30.0) -> None:
        self._prepare = prepare
        self._grace = grace  # seconds between SIGTERM and SIGKILL

    def run(self, task: Task, log: Callable[[str], None], stop: threading.Event) -> Ended:
        """Runs until the command ends, `stop` is set or the time is up.

        Raises
        ------
        UserError
            The image is not one that this machine can run.
        """
        place = self._prepare(task.image)
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        with _bound_to(task.cores):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-S",
                    supervise.__file__,
                    *place.command(task.arguments, task.entrypoint),
                ],
                env={**passed, **place.variables(), **task.environment},
                cwd=task.folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        reader = threading.Thread(target=_read, args=(process, log), daemon=True)
        reader.start()
        deadline = time.monotonic() + task.timeout
        stopped = timed_out = False
        while process.poll() is None:
            stopped = stop.wait(0.05)
            timed_out = not stopped and time.monotonic() > deadline
            if stopped or timed_out:
                self._end(process)
        reader.join(self._grace)  # a child in a session of its own may hold the pipe for ever
        return Ended(process.wait(), timed_out, stopped)

    def run_together(
        self, tasks: Sequence[tuple[Task, Callable[[str], None]]], stop: threading.Event
    ) -> tuple[int, Ended]:
        """Runs the containers of a job, each with what notes the lines of its log. The first that
        fails ends the others. Returns its place, or 0 if none fails, and how it ended.

        Raises
        ------
        UserError
            The image is not one that this machine can run.
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

    def _end(self, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self._grace)
        except subprocess.TimeoutExpired:
            assert process.stdin is not None
            process.stdin.close()  # the supervisor kills the command and all its children
            process.wait()


@contextlib.contextmanager
def _bound_to(cores: frozenset[int]) -> Iterator[None]:
    """Binds this thread to some cores for a while: a process that it starts then stays bound."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _read(process: subprocess.Popen[str], log: Callable[[str], None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        log(line.rstrip("\n"))
