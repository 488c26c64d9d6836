"""Experiment tracking with MLflow that never costs the job anything but a line of warning.

MLflow takes seconds to import and a server may be slow or gone, so a process beside the job talks
to it (`steps/tracking_worker.py`): the job hands over messages and goes on. What the worker cannot
deliver within its time is dropped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from steps.container import Container

_WORKER = "steps.tracking_worker"
_CLOSING_SECONDS = 20.0  # on a busy machine; the worker's own limits are lower
_STOPPING_SECONDS = 5.0  # a job that is told to stop is killed if it takes long
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "3",
}


@dataclass(frozen=True)
class TrackingSettings:
    """Where runs are tracked, and for which version of the code."""

    uri: str = ""  # "" or "none": nowhere
    experiment: str = "claimflow"
    code_version: str = "unknown"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> TrackingSettings:
        """MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and CLAIMFLOW_CODE_VERSION."""
        return cls(
            environment.get("MLFLOW_TRACKING_URI", cls.uri),
            environment.get("MLFLOW_EXPERIMENT_NAME", cls.experiment),
            environment.get("CLAIMFLOW_CODE_VERSION", cls.code_version),
        )


class Run:
    """A step's run. Its methods return at once, and do nothing where tracking is off."""

    def __init__(self, messages: IO[str] | None) -> None:
        self._messages = messages

    def log_params(self, params: Mapping[str, object]) -> None:
        self._send({"do": "params", "params": {name: str(value) for name, value in params.items()}})

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        self._send({"do": "metrics", "metrics": dict(metrics), "step": step})

    def log_artifact(self, path: Path) -> None:
        """The file is read before the run ends."""
        self._send({"do": "artifact", "path": str(path.absolute())})

    def _send(self, message: Mapping[str, object]) -> None:
        if self._messages is None:
            return
        try:
            timed = {**message, "time": int(time.time() * 1000)}
            self._messages.write(json.dumps(timed) + "\n")
            self._messages.flush()
        except OSError:  # the worker is gone; closing says so
            self._messages = None


@contextmanager
def tracking(container: Container, step_name: str, settings: TrackingSettings) -> Iterator[Run]:
    """A run for this step, below the one of its pipeline execution if it has one.

    It ends as FINISHED, as KILLED when the job was stopped, as FAILED for any other exception.
    """
    if settings.uri.strip().lower() in ("", "none"):
        yield Run(None)
        return
    worker = subprocess.Popen(
        [sys.executable, "-m", _WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={
            **os.environ,
            **_QUIET,
            "MLFLOW_TRACKING_URI": settings.uri,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )
    run = Run(worker.stdin)
    run._send(
        {
            "do": "start",
            "step": step_name,
            "experiment": settings.experiment,
            "execution": container.execution_id(),
            "code_version": settings.code_version,
        }
    )
    status = "FAILED"
    try:
        yield run
        status = "FINISHED"
    except Exception:
        raise
    except BaseException:
        status = "KILLED"
        raise
    finally:
        run._send({"do": "end", "status": status})
        _close(worker, _STOPPING_SECONDS if status == "KILLED" else _CLOSING_SECONDS)


def _close(worker: subprocess.Popen[str], seconds: float) -> None:
    """Waits for the worker to deliver what it has, and says in one line if it could not."""
    try:
        trouble = worker.communicate(timeout=seconds)[0].strip()
        if worker.returncode and not trouble:
            trouble = "its process ended early"
    except subprocess.TimeoutExpired:
        worker.kill()
        trouble = "no answer in time"
    if trouble:
        print(f"warning: MLflow tracking was given up, the run is not affected: {trouble}")
