"""The contract between SageMaker and a container: folders, hyperparameters, the message it leaves.

The code of a step never sees `/opt/ml`: it gets folders from a `Container` and returns. What the
contract says is in the Amazon SageMaker developer guide, "How Amazon SageMaker provides training
information" and "Create a processing container".
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from steps.errors import InputError

MESSAGE_LIMIT = 1024  # characters that SageMaker keeps of a failure reason


@dataclass(frozen=True)
class Container:
    """The folders of one job below its root (`/opt/ml` on SageMaker)."""

    root: Path
    meeting: str = ""  # `address:port` of the first of several hosts; empty: its name says it
    expects_gpu: bool = False  # its image is one for machines with a GPU
    shows_progress: bool = False  # somebody watches the job

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Container:
        """The job of this process; outside a container `SAGEMAKER_BASE_DIR` moves the root, and
        `CLAIMFLOW_MEETING` says where hosts meet whose names nobody resolves. An image for GPUs
        asks the machine for them by `NVIDIA_VISIBLE_DEVICES`. `CLAIMFLOW_PROGRESS` asks for lines
        on how far a training is, which nobody wants in a log that is kept."""
        return cls(
            Path(environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")),
            environment.get("CLAIMFLOW_MEETING", ""),
            environment.get("NVIDIA_VISIBLE_DEVICES", "none") not in ("", "none", "void"),
            environment.get("CLAIMFLOW_PROGRESS") == "1",
        )

    def channel(self, name: str) -> Path:
        """The folder of a training job's input channel."""
        return self.root / "input" / "data" / name

    def processing(self, name: str) -> Path:
        """The folder of a processing job's input or output."""
        return self.root / "processing" / name

    @property
    def model(self) -> Path:
        """What lies here when training ends becomes `model.tar.gz`."""
        return self.root / "model"

    @property
    def checkpoints(self) -> Path:
        """What lies here is kept on S3 while the job runs, and is back after an interruption."""
        return self.root / "checkpoints"

    def hyperparameters(self) -> dict[str, str]:
        """The training job's hyperparameters: SageMaker passes every value as text."""
        path = self.root / "input" / "config" / "hyperparameters.json"
        if not path.exists():
            return {}
        return {name: str(value) for name, value in json.loads(path.read_text("utf-8")).items()}

    def hosts(self) -> list[str]:
        """The names of all machines of this training job, in the same order on each."""
        return sorted(str(host) for host in self._resources()["hosts"])

    def current_host(self) -> str:
        """The name of this machine."""
        return str(self._resources()["current_host"])

    def _resources(self) -> dict[str, Any]:
        path = self.root / "input" / "config" / "resourceconfig.json"
        if not path.exists():
            return {"hosts": ["localhost"], "current_host": "localhost"}
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found

    def execution_id(self, environment: Mapping[str, str] = os.environ) -> str | None:
        """The pipeline execution that this job belongs to, read from the name that SageMaker
        Pipelines gives its jobs (`pipelines-<execution>-<step>-<random>`); None for a job on its
        own.

        It is not passed in the environment, because that would be part of the step's cache key.
        """
        name = environment.get("TRAINING_JOB_NAME", "")
        config = self.root / "config" / "processingjobconfig.json"
        if not name and config.exists():
            name = json.loads(config.read_text("utf-8")).get("ProcessingJobName", "")
        found = re.match(r"pipelines-([a-z0-9]{12})-", name)
        return found.group(1) if found else None

    def leave_message(self, text: str) -> None:
        """Leaves `text` where SageMaker looks for the reason of a failure (training:
        `output/failure`, processing: `output/message`)."""
        output = self.root / "output"
        output.mkdir(parents=True, exist_ok=True)
        for name in ("failure", "message"):
            (output / name).write_text(text[:MESSAGE_LIMIT], "utf-8")


class Stopped(BaseException):
    """SIGTERM arrived: the job was stopped, or its spot instance is being taken away."""


@contextmanager
def noted_stops() -> Iterator[Callable[[], bool]]:
    """Within it, SIGTERM is only noted: whoever must not be cut off anywhere asks often whether it
    came, and then raises `Stopped`. At the end that is raised in any case."""
    noted = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: noted.set())
    try:
        yield noted.is_set
    finally:
        signal.signal(signal.SIGTERM, before)
    if noted.is_set():
        raise Stopped


def run_step(step: Callable[[Container], None]) -> int:
    """Runs a step under the contract and returns its exit code: 0, 1 for an error (its reason left
    for SageMaker), 143 when it was told to stop."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    faulthandler.enable()  # a crash in native code leaves its place in the job's log, too
    faulthandler.register(signal.SIGUSR1)  # as does a job that hangs, when it is asked
    container = Container.from_environment()
    try:
        step(container)
    except InputError as error:
        container.leave_message(str(error))
        print(f"error: {error}", file=sys.stderr)
        return 1
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        return 143
    except Exception as error:  # a fault of ours: the traceback belongs in the job's log
        container.leave_message(f"{type(error).__name__}: {error}")
        traceback.print_exc()
        return 1
    return 0
