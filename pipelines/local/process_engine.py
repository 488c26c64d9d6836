"""The engine that runs a container's command as a process of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from pipelines.local import supervise
from pipelines.local.engines import GRACE_SECONDS, Ended, Engine, Task, ignored

# What a process of this machine needs to work at all; nothing else of the user's reaches a job.
_PASSED = ("HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SYSTEMROOT")

# What tells a program that a folder lies elsewhere than in a container.
_FOUND_BY = {"/opt/ml": "SAGEMAKER_BASE_DIR", "/tmp": "TMPDIR"}  # noqa: S108


class Prepared(Protocol):
    """An image that is ready to run on this machine."""

    def command(self, arguments: list[str], entrypoint: list[str] | None) -> list[str]:
        """The command line for a container's arguments."""

    def variables(self) -> dict[str, str]:
        """The variables that the image sets."""


class ProcessEngine(Engine):
    """Runs images as processes, each in the environment that `find` has for its address.

    What it runs never outlives it (`supervise.py`), so that nothing is left to clear.
    """

    name = "process"

    def __init__(
        self,
        find: Callable[[str], Prepared],
        grace: float = GRACE_SECONDS,
        prepare_all: Callable[[], None] | None = None,
    ) -> None:
        self._find = find
        self._grace = grace
        self._prepare_all = prepare_all

    def prepare(self) -> None:
        if self._prepare_all:
            self._prepare_all()

    def run(self, task: Task, log: Callable[[str], None], stop: threading.Event) -> Ended:
        place = self._find(task.image)
        passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
        found = {
            _FOUND_BY[one.path]: str(one.folder) for one in task.mounts if one.path in _FOUND_BY
        }
        with _bound_to(task.limits.cores):
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-S",
                    supervise.__file__,
                    *place.command(task.arguments, task.entrypoint),
                ],
                env={**passed, **place.variables(), **task.environment, **found},
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
                self._end(process, log)
        reader.join(self._grace)  # a child in a session of its own may hold the pipe for ever
        return Ended(process.wait(), timed_out, stopped)

    def _end(self, process: subprocess.Popen[str], log: Callable[[str], None]) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(self._grace)
        except subprocess.TimeoutExpired:
            log(ignored(self._grace))
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
