"""The environments of the images: one virtual environment for each, made from its locked
requirements.

What an image lacks is missed here too, and a process starts as fast as in the image.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import UserError
from pipelines.images import (
    ROOT,
    TARGETS,
    Image,
    image,
    known_targets,
    source_files,
    without_gpu,
)

IMAGE_CODE = "/opt/claimflow"  # where the Dockerfile puts the code


@dataclass(frozen=True)
class Environment:
    """An image, ready to run as processes of this machine."""

    image: Image
    python_folder: Path
    code: Path

    def command(self, arguments: list[str], entrypoint: list[str] | None = None) -> list[str]:
        """The command line that the image would run, with the paths of this machine."""
        own = () if entrypoint else self.image.command  # as in a container
        words = [*(entrypoint or self.image.entrypoint), *(arguments or own)]
        words = [word.replace(IMAGE_CODE, str(self.code), 1) for word in words]
        found = shutil.which(words[0], path=str(self.python_folder / "bin"))
        return [found or words[0], *words[1:]]

    def variables(self) -> dict[str, str]:
        """The variables that the image sets, with the paths of this machine."""
        own = {
            name: value.replace(IMAGE_CODE, str(self.code))
            for name, value in self.image.environment.items()
            if name != "PATH"
        }
        path = f"{self.python_folder / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**own, "PATH": path, "VIRTUAL_ENV": str(self.python_folder)}


class Environments:
    """The environments of this machine, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def find(self, uri: str) -> Environment:
        """The environment for the address of an image, made if it is not there yet.

        Raises
        ------
        UserError
            The image is none of ours, its requirements could not be installed, or the code has
            moved on from its tag.
        """
        target, _, tag = uri.rpartition("/")[2].partition(":")
        known = known_targets()
        if target not in known:
            raise UserError(
                f"Image {uri} cannot run as a process: the local cloud knows {', '.join(known)}"
            )
        return self._make(target, tag)

    def make_all(self) -> None:
        """Makes the environments that the first jobs would otherwise wait for."""
        for target in TARGETS:
            self._make(target, image(target).tag)

    def _make(self, target: str, tag: str) -> Environment:
        described = image(target)
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:  # among processes, and threads, of ours
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Environment(
                described,
                # A training for GPUs runs, too, and says in its log that there is none here.
                _install(image(without_gpu(target)), self._folder),
                _copy_code(described, tag, self._folder),
            )


def outdated(described: Image, tag: str) -> UserError:
    """What to tell of a tag that the code has moved on from."""
    return UserError(
        f"There is no image {described.target}:{tag}: the code is now {described.tag}; "
        "run `claimflow pipeline upsert` to use it"
    )


def _install(described: Image, folder: Path) -> Path:
    requirements = described.requirements
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = folder / f"{described.target}-{digest}"
    if (place / "complete").exists():
        return place
    print(f"making the environment of image {described.target} …", file=sys.stderr, flush=True)
    uv = [sys.executable, "-m", "uv", "--quiet"]
    sync = ["pip", "sync", "--require-hashes", "--python", str(place)]
    build = ["--build-constraints", str(ROOT / "containers" / "build.txt"), str(requirements)]
    for command in (["venv", "--clear", "--python", sys.executable, str(place)], [*sync, *build]):
        done = subprocess.run([*uv, *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines() or [f"uv ended with {done.returncode}"]
            raise UserError(
                f"The environment of image {described.target} cannot be made: "
                f"{reason[-1].strip()}; check the connection to the package index and try again"
            )
    (place / "complete").touch()
    return place


def _copy_code(described: Image, tag: str, folder: Path) -> Path:
    """A copy of the code that the image holds, so that an edit does not change a job that runs."""
    place = folder / f"{described.target}-code-{tag}"
    if place.exists():
        return place
    if tag != described.tag:
        raise outdated(described, tag)
    temporary = Path(f"{place}.{os.getpid()}.part")
    for source, destination in described.files.items():
        if not destination.startswith(IMAGE_CODE):
            continue  # what only the build of the image needs
        below = temporary / destination.removeprefix(IMAGE_CODE).strip("/")
        for path in source_files(source):
            root = ROOT / source
            target = below / (path.relative_to(root) if root.is_dir() else path.name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    temporary.replace(place)
    return place
