"""The supervisor of a job's process: whatever happens, nothing is left running."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from pipelines.local import supervise
from tests.local.local_cloud import is_alive, pid_of, wait_for

SLEEP = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-S", supervise.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("milliseconds", [0, 5, 10, 15, 20, 25, 30, 40, 60])
def test_a_stop_at_any_moment_of_the_start_leaves_no_orphan(
    tmp_path: Path, milliseconds: int
) -> None:
    process = start(sys.executable, "-S", "-c", SLEEP, str(tmp_path / "pid"))
    time.sleep(milliseconds / 1000)
    process.send_signal(signal.SIGTERM)
    process.wait(20)
    time.sleep(0.1)  # an orphan would have pid_of its pid by now
    pid = pid_of(tmp_path / "pid")
    assert pid is None or not is_alive(pid)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 15)", 143),
    ],
)
def test_the_exit_code_is_the_one_a_shell_would_give(script: str, code: int) -> None:
    process = start(sys.executable, "-S", "-c", script)
    process.wait(20)
    assert process.returncode == code


def test_the_command_ends_when_whoever_started_it_is_gone(tmp_path: Path) -> None:
    process = start(sys.executable, "-S", "-c", SLEEP, str(tmp_path / "pid"))
    pid = wait_for(partial(pid_of, tmp_path / "pid"))
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 137
    assert not is_alive(pid)
