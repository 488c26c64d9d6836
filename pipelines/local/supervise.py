"""Runs one command and ends it when whoever started it is gone: `supervise.py COMMAND …`.

The standard input is a pipe from the local cloud that nothing is ever written to. It closes when
the local cloud ends, however it ends; then the command and its children are killed, so that a crash
leaves nothing behind. What a command leaves running when it ends is killed too, as in a container.
Runs in any Python, with the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading


def main() -> int:
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: object) -> None:
        if child is None:
            early.append(number)  # it comes while the command starts
        else:
            child.send_signal(number)

    # Before the command starts: a signal that ended this process alone would leave it an orphan.
    signal.signal(signal.SIGTERM, forward)
    try:
        child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        print(f"{sys.argv[1]}: {error.strerror}", flush=True)
        return 127  # as a shell says it
    for number in early:
        child.send_signal(number)
    threading.Thread(target=_kill_when_alone, args=(child.pid,), daemon=True).start()
    code = child.wait()
    _kill_group(child.pid)
    return 128 - code if code < 0 else code  # as a shell says it: 137 for SIGKILL


def _kill_when_alone(group: int) -> None:
    while os.read(0, 1):
        pass
    _kill_group(group)


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
