"""MLflow's tracking server beside the local cloud: SQLite and artifacts in the state folder."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from pipelines.local import supervise

STOP_SECONDS = 10


def start_tracking_server(state: Path, port: int) -> subprocess.Popen[bytes]:
    """Starts the server on a loopback port; it ends with the process that started it.

    It takes some seconds until it answers: whoever logs to it waits, or goes on without.
    """
    folder = state / "mlflow"
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "server.log").open("ab")
    command = [
        *(sys.executable, "-m", "mlflow", "server"),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
        *("--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
    ]
    return subprocess.Popen(
        [sys.executable, "-S", supervise.__file__, *command],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env={
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            # It would start four more processes, for jobs of large language models.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        },
    )


def stop_tracking_server(server: subprocess.Popen[bytes]) -> None:
    """Ends the server at once: on SIGTERM it waits without a bound for a request that never ends.

    The supervisor kills it, and what it has started, when its standard input closes.
    """
    assert server.stdin is not None
    server.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_SECONDS)
