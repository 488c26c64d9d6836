"""A prediction on this machine without any cloud: the image's own command in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.control import check_file
from pipelines.errors import UserError
from pipelines.images import image
from pipelines.local.environments import Environment, Environments
from pipelines.settings import Settings
from pipelines.xz import MAGIC, unpacked

TARGET = "gluon-cpu"


def predict_here(
    settings: Settings, file: Path, model: Path, folder: Path
) -> tuple[dict[str, Any], list[Path]]:
    """Predicts a file with the model in a folder; the manifest, and the files that were made.

    Raises
    ------
    UserError
        There is no such file or model, or the model cannot be used.
    """
    check_file(file)
    check_model(model)
    found = image_here(settings)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.json"
    before = _identity(manifest)
    with _plain(file) as plain:
        done = _run(found, plain, model, folder)
    if _identity(manifest) in (None, before):  # that of an earlier prediction tells nothing
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1].removeprefix("error: ") if lines else "no reason was given"
        raise UserError(f"{file} was not predicted (exit code {done.returncode}): {reason}")
    document: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
    names = (document["predictions"], document["rejects"], document["report"], manifest.name)
    return document, [folder / name for name in names if name]


def check_model(folder: Path) -> None:
    """Raises UserError where a folder has no model."""
    if not ((folder / "model.tar.gz").is_file() or (folder / "model.json").is_file()):
        raise UserError(
            f"{folder}: there is no model.tar.gz in this folder; "
            f"`claimflow model fetch VERSION --output {folder}` gets one"
        )


def image_here(settings: Settings) -> Environment:
    """The image whose commands work with models, ready to run here."""
    return Environments(settings.state / "environments").find(f"{TARGET}:{image(TARGET).tag}")


def variables_here(found: Environment) -> dict[str, str]:
    """What a command of the image sees of this machine: neither our keys nor our settings."""
    unknown = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "CLAIMFLOW_", "MLFLOW_", "PYTHON"))
    }
    return {**unknown, **found.variables()}


def _identity(path: Path) -> tuple[int, int] | None:
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_mtime_ns


def _run(
    found: Environment, file: Path, model: Path, folder: Path
) -> subprocess.CompletedProcess[str]:
    words = ["predict-file", "--model", str(model.resolve()), "--input", str(file.resolve())]
    return subprocess.run(
        found.command([*words, "--output", str(folder.resolve())]),
        cwd=found.code,
        env=variables_here(found),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def _plain(file: Path) -> Iterator[Path]:
    """The file as the job reads it: xz, which it does not know, is unpacked into another one, as an
    upload is, whatever it is called."""
    with file.open("rb") as packed:
        is_xz = packed.read(len(MAGIC)) == MAGIC
    if not (is_xz or file.name.endswith(".xz")):
        yield file
        return
    with tempfile.TemporaryDirectory(prefix="predict-") as temporary:
        plain = Path(temporary) / (file.name.removesuffix(".xz") or "xz")
        with file.open("rb") as packed, plain.open("wb") as target:
            for part in unpacked(iter(lambda: packed.read(1 << 20), b""), str(file)):
                target.write(part)
        yield plain
