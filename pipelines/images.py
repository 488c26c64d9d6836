"""The images, as `containers/Dockerfile` describes them.

The Dockerfile is the one source: the tag of an image is a digest of what goes into it, and the
local cloud runs a job with the very requirements, files, environment and entry point that are named
there. Only the plain forms that our Dockerfile uses are understood; anything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.instance_types import has_gpu

if TYPE_CHECKING:
    from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_BUILD_INPUTS = tuple(
    f"containers/{name}" for name in ("Dockerfile", "uv.txt", "build.txt", "prune.py", "sbom.py")
)
_PAIR = r'(\w+)=("[^"]*"|\S*)'
_ENV = re.compile(rf"({_PAIR}\s*)+")
# Instructions that no process of this machine needs.
_NOT_OURS = ("", "RUN", "WORKDIR", "USER", "HEALTHCHECK", "ARG", "LABEL")
TARGETS = ("validate", "gluon-cpu")  # what every deployment runs
GPU_TARGET = "gluon-gpu"  # what trains where the training's instance type has a GPU


@dataclass(frozen=True)
class Image:
    """One target of the Dockerfile."""

    target: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    environment: dict[str, str] = field(hash=False)
    files: dict[str, str] = field(
        hash=False
    )  # source below the repository → destination in the image

    @property
    def requirements(self) -> Path:
        """The locked requirements that the image installs."""
        return ROOT / "containers" / f"{self.target}.txt"

    @property
    def tag(self) -> str:
        """A digest of everything that goes into the image: the same content has the same tag."""
        return _content_tag(self)

    def uri(self, settings: Settings) -> str:
        return f"{settings.image_repository(self.target)}:{self.tag}"


def training_target(settings: Settings) -> str:
    """The image that trains.

    A pipeline parameter carries a value, not logic: the image is chosen when the definition is
    built, and a start with an instance type of the other sort is refused.
    """
    return GPU_TARGET if has_gpu(settings.training_instance_type) else "gluon-cpu"


def without_gpu(target: str) -> str:
    """The image whose packages a target runs with on a machine without a GPU: the build of MXNet
    for GPUs does not start without their driver."""
    return "gluon-cpu" if target == GPU_TARGET else target


def targets_of(settings: Settings) -> tuple[str, ...]:
    """The images that a deployment with these settings runs."""
    return tuple(dict.fromkeys((*TARGETS, training_target(settings))))


def addresses(settings: Settings, ecr: Any = None) -> dict[str, str]:
    """The address of each target's image: by digest where the repository has the image of this
    source tree, else (or without a client of the repository) by its tag."""
    return {target: _address(image(target), settings, ecr) for target in targets_of(settings)}


def pushed_digest(ecr: Any, repository: str, tag: str) -> str | None:
    """The digest that a repository knows a tag by; None where it has no such image."""
    try:
        found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except (ecr.exceptions.ImageNotFoundException, ecr.exceptions.RepositoryNotFoundException):
        return None
    return str(found["imageDetails"][0]["imageDigest"])


def _address(described: Image, settings: Settings, ecr: Any) -> str:
    repository = settings.image_repository(described.target)
    name = repository.partition("/")[2]
    digest = ecr and pushed_digest(ecr, name, described.tag)
    return f"{repository}@{digest}" if digest else described.uri(settings)


def source_files(source: str) -> list[Path]:
    """The files that `COPY source` takes, in a fixed order."""
    path = ROOT / source
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts)


def image(target: str) -> Image:
    """Reads one target of `containers/Dockerfile`.

    Raises
    ------
    KeyError
        No such target.
    ValueError
        An instruction in a form that is not understood here.
    """
    return _stages()[target]


def known_targets() -> list[str]:
    """All targets of `containers/Dockerfile`, those that are built on request included."""
    return [name for name, stage in _stages().items() if stage.command]


def _stages() -> dict[str, Image]:
    return _parse((ROOT / "containers" / "Dockerfile").read_text("utf-8"))


def _parse(text: str) -> dict[str, Image]:
    stages: dict[str, Image] = {}
    name = ""
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.startswith("#"):
            continue
        instruction, _, rest = line.strip().partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            parent = stages.get(base) or Image("", (), (), {}, {})
            stages[name] = Image(
                name,
                parent.entrypoint,
                parent.command,
                dict(parent.environment),
                dict(parent.files),
            )
            continue
        if not name:
            continue
        stage = stages[name]
        if instruction == "ENV" and _ENV.fullmatch(rest):
            for key, value in re.findall(_PAIR, rest):
                stage.environment[key] = value.strip('"')
        elif instruction in ("ENTRYPOINT", "CMD"):
            words = tuple(json.loads(rest))
            entrypoint = words if instruction == "ENTRYPOINT" else stage.entrypoint
            command = words if instruction == "CMD" else stage.command
            stages[name] = Image(name, entrypoint, command, stage.environment, stage.files)
        elif instruction == "COPY" and not rest.startswith("--"):
            *sources, destination = rest.split()
            for source in sources:
                stage.files[source] = destination
        elif instruction not in _NOT_OURS and not rest.startswith("--from="):
            raise ValueError(f"containers/Dockerfile: {line.strip()!r} is not understood here")
    return stages


def _content_tag(described: Image) -> str:
    digest = hashlib.sha256()
    requirements = described.requirements.relative_to(ROOT).as_posix()
    for source in [*_BUILD_INPUTS, requirements, *sorted(described.files)]:
        for path in source_files(source):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
