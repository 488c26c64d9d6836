"""Starts, finds and ends the process of the local cloud. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError
from pipelines.state_folder import private

START_SECONDS = 300  # the first start makes the environments of the images
STOP_SECONDS = 60
ALREADY_RUNS = 3  # the server's exit code


@dataclass(frozen=True)
class Running:
    """A local cloud that answers."""

    pid: int
    endpoint: str
    tracking: str  # MLflow's address, or "none"
    variables: dict[str, str]
    engine: str = "process"  # of one that an earlier version started

    def exports(self) -> str:
        """Shell lines that make `aws`, boto3 and claimflow use it."""
        values = {**self.variables, "CLAIMFLOW_MLFLOW_TRACKING_URI": self.tracking}
        lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
        # They would win over the address or the keys.
        return "\n".join([*lines, "unset AWS_PROFILE AWS_SESSION_TOKEN"])


def find(state: Path) -> Running | None:
    """The local cloud of a state folder, if it runs; whoever answers must say that it is that."""
    try:
        running = Running(**json.loads((state / "ready.json").read_text("utf-8")))
        health = f"{running.endpoint}/_claimflow/health"
        with urllib.request.urlopen(health, timeout=5) as answer:  # noqa: S310
            said = json.loads(answer.read())
    except (OSError, ValueError, TypeError):
        return None
    is_ours = said == {"pid": running.pid, "state": str(state.resolve())}
    return running if is_ours else None


def start(state: Path, tracking: bool = True, engine: str | None = None) -> Running:
    """Starts the local cloud in the background, or finds the one that runs.

    Parameters
    ----------
    engine: what must run its jobs; None: as the settings say, or as the one that runs was started.

    Raises
    ------
    UserError
        It did not come up; the reason is in its log. Or one with another engine runs.
    """
    running = find(state)
    if running:
        if engine not in (None, running.engine):
            raise UserError(
                f"The local cloud that runs has the engine {running.engine}, not {engine}: end it "
                "with `claimflow local down`, and start again"
            )
        return running
    log = private(state) / "local.log"
    with log.open("ab") as output:
        begin = output.tell()
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "pipelines.local.server", "--state", str(state.resolve())),
                "--tracking" if tracking else "--no-tracking",
                *(("--engine", engine) if engine else ()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a Ctrl-C of the client does not end it
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        running = find(state)
        if running:
            return running
        if process.poll() not in (None, ALREADY_RUNS):  # another start was faster: wait for it
            said = log.read_bytes()[begin:].decode(errors="replace").strip().splitlines()
            reason = said[-1] if said else f"it ended with {process.returncode}"
            raise UserError(f"The local cloud did not start: {reason} (its log: {log})")
        time.sleep(0.1)
    process.terminate()
    raise UserError(f"The local cloud did not answer within {START_SECONDS} s (its log: {log})")


def stop(state: Path) -> bool:
    """Ends the local cloud and what it runs; False where none runs."""
    running = find(state)
    if not running:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if _has_ended(running.pid):
            return True
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGKILL)
    return True


def _has_ended(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # our own child must be reaped, or it never goes
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
