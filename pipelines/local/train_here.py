"""A training on this machine without pipeline and without any cloud: the image's own command in its
environment, on the folders that SageMaker would make."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.control import check_file
from pipelines.errors import UserError
from pipelines.images import image
from pipelines.local.engines import Mount, Task
from pipelines.local.environments import Environments
from pipelines.local.job_containers import pack
from pipelines.local.job_instances import ML
from pipelines.local.predict_here import TARGET
from pipelines.local.process_engine import ProcessEngine
from pipelines.settings import Settings

_ERROR = "error: "  # what a step's last line begins with, where its input is at fault
_LONGEST = 30 * 24 * 3600.0  # seconds
_PROGRESS = "CLAIMFLOW_PROGRESS"  # what `steps.progress` reads
_POSITION = re.compile(r"step=(\d+) of=(\d+) epoch=(\d+) descent=(\d+) descents=(\d+)")


@dataclass(frozen=True)
class Position:
    """How far a training is. Everything counts from 1."""

    step: int
    steps: int
    epoch: int
    descent: int
    descents: int


class TrainingFailedError(Exception):
    """The training ended for a fault that is none of the user's; its log has told it."""


def train_here(
    settings: Settings,
    file: Path,
    hyperparameters: Mapping[str, str],
    folder: Path,
    checkpoints: Path | None,
    tell: Callable[[str], None],
    stepped: Callable[[Position], None] | None = None,
) -> dict[str, Any]:
    """Trains on a file, and leaves the artifact in a folder as `model.tar.gz`; its description.

    Parameters
    ----------
    checkpoints: a folder for what an interrupted training goes on from.
    tell: hears each line that the training prints.
    stepped: hears about every second how far it is.

    Raises
    ------
    UserError
        There is no such file, a folder cannot be written to, or file or hyperparameters cannot be
        worked with.
    KeyboardInterrupt
        It was interrupted, and has ended.
    TrainingFailedError
        It failed otherwise.
    """
    check_file(file)
    for one in filter(None, (folder, checkpoints)):
        _check_folder(one)  # not only when all the work is done
    tag = image(TARGET).tag
    found = Environments(settings.state / "environments").find(f"{TARGET}:{tag}")
    with tempfile.TemporaryDirectory(prefix="train-") as temporary, _interruption() as stop:
        root = Path(temporary)
        _make_folders(root, file, hyperparameters, checkpoints)
        said = _Lines(tell, stepped)
        watched = {_PROGRESS: "1"} if stepped else {}
        task = Task(
            image=TARGET,
            arguments=["train"],
            entrypoint=None,
            # The code's version is part of what tells one training's checkpoint from another's.
            environment={"CLAIMFLOW_CODE_VERSION": tag, **watched},
            folder=Path.cwd(),  # paths among the hyperparameters are the user's
            timeout=_LONGEST,
            mounts=(Mount(ML, root),),
        )
        # Ctrl-C reaches all processes of a terminal; those started here are told to end by SIGTERM,
        # and so come from a thread that lets no SIGINT through.
        block = (signal.SIG_BLOCK, {signal.SIGINT})
        with ThreadPoolExecutor(1, initializer=signal.pthread_sigmask, initargs=block) as pool:
            engine = ProcessEngine(lambda _image: found)
            ended = pool.submit(engine.run, task, said.hear, stop).result()
        if ended.stopped and ended.exit_code:  # else it came too late: the model is made
            raise KeyboardInterrupt
        if ended.exit_code:
            if said.error:
                raise UserError(said.error)
            raise TrainingFailedError(f"the training failed with exit code {ended.exit_code}")
        return _artifact(root / "model", folder)


def _check_folder(folder: Path) -> None:
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise UserError(f"{folder}: nothing can be written there, expected another folder")


class _Lines:
    """What a training prints; a last line that its input is at fault is kept back."""

    def __init__(
        self, tell: Callable[[str], None], stepped: Callable[[Position], None] | None
    ) -> None:
        self._tell, self._stepped = tell, stepped
        self.error = ""

    def hear(self, line: str) -> None:
        if self._stepped and (found := _POSITION.fullmatch(line)):
            self._stepped(Position(*map(int, found.groups())))
            return
        if self.error:
            self._tell(_ERROR + self.error)  # it was not the last
        self.error = line.removeprefix(_ERROR) if line.startswith(_ERROR) else ""
        if not self.error:
            self._tell(line)


def _make_folders(
    root: Path, file: Path, hyperparameters: Mapping[str, str], checkpoints: Path | None
) -> None:
    for part in ("input/config", "input/data/train", "output/data", "model"):
        (root / part).mkdir(parents=True)
    (root / "input" / "data" / "train" / file.name).symlink_to(file.resolve())
    written = json.dumps(dict(hyperparameters))
    (root / "input" / "config" / "hyperparameters.json").write_text(written, "utf-8")
    if checkpoints:
        checkpoints.mkdir(parents=True, exist_ok=True)
        (root / "checkpoints").symlink_to(checkpoints.resolve())


@contextlib.contextmanager
def _interruption() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, instead of ending this process on the spot."""
    stop = threading.Event()

    def set_it(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, set_it) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _artifact(model: Path, folder: Path) -> dict[str, Any]:
    """Packs a model; an earlier one in the folder is replaced in one step."""
    document: dict[str, Any] = json.loads((model / "model.json").read_text("utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "model.tar.gz"
    packed = model.parent / made.name
    pack([model], packed)
    unfinished = made.with_suffix(".part")
    shutil.copyfile(packed, unfinished)  # the temporary folder may lie on another disk
    unfinished.replace(made)
    return document
