"""Builds and pushes the images with whichever of docker and podman is there.

The tag is a digest of what goes into an image (pipelines/images.py), so what has not changed is
neither built nor pushed again. An image is built under a name without a registry: that needs no
account; pushing gives it its address.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.images import ROOT, TARGETS, Image, image, pushed_digest
from pipelines.settings import Settings

ENGINES = ("docker", "podman")
PLATFORM = "linux/amd64"  # what SageMaker's and Batch's instances are, whatever machine builds

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Status:
    """Where the image of a target is."""

    target: str
    tag: str
    is_built: bool | None  # None: there is no engine to ask
    digest: str | None  # in the registry


class Engine:
    """docker or podman, by its command line."""

    def __init__(self, program: str) -> None:
        self.program = program

    def has(self, name: str) -> bool:
        return self._run("image", "inspect", name).returncode == 0

    def build(self, described: Image, name: str) -> None:
        """Builds one target; what the engine prints is shown."""
        self._must(
            "build",
            *("--platform", PLATFORM),
            *("--target", described.target),
            *("--tag", name),
            *("--file", str(ROOT / "containers" / "Dockerfile")),
            str(ROOT),
        )

    def login(self, registry: str, user: str, password: str) -> None:
        done = self._run("login", "--username", user, "--password-stdin", registry, given=password)
        if done.returncode:
            raise UserError(f"{self.program} login {registry}: {_last_line(done.stderr)}")

    def push(self, name: str, address: str) -> None:
        self._must("tag", name, address)
        self._must("push", address)

    def _run(self, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *words], input=given, capture_output=True, text=True, check=False
        )

    def _must(self, *words: str) -> None:
        code = subprocess.run([self.program, *words], check=False).returncode
        if code:
            raise UserError(f"{self.program} {words[0]} failed with {code}: see what it says above")


def find_engine() -> Engine:
    """The engine of this machine.

    Raises
    ------
    UserError
        There is none.
    """
    for program in ENGINES:
        if shutil.which(program):
            return Engine(program)
    raise UserError(f"Neither {' nor '.join(ENGINES)} is on the path: install one to build images")


def build(engine: Engine, settings: Settings, tell: Tell, targets: Sequence[str] = TARGETS) -> None:
    """Builds what is not there yet."""
    for target in targets:
        described = image(target)
        name = local_name(settings, described)
        if engine.has(name):
            tell(f"{name}: is built")
        else:
            tell(f"{name}: building")
            engine.build(described, name)


def push(engine: Engine, aws: Aws, tell: Tell, targets: Sequence[str] = TARGETS) -> dict[str, str]:
    """Pushes what the registry does not have, built first where needed; digests by target."""
    settings, ecr = aws.settings, aws.client("ecr")
    digests: dict[str, str] = {}
    is_logged_in = False
    for target in targets:
        described = image(target)
        repository = f"{settings.project}/{target}"
        found = pushed_digest(ecr, repository, described.tag)
        if found is None:
            build(engine, settings, tell, [target])
            if not is_logged_in:
                _login(engine, ecr)
                is_logged_in = True
            tell(f"{described.uri(settings)}: pushing")
            engine.push(local_name(settings, described), described.uri(settings))
            found = pushed_digest(ecr, repository, described.tag)
        else:
            tell(f"{described.uri(settings)}: is in the registry")
        if found is None:
            raise UserError(
                f"{described.uri(settings)} was pushed, but the registry does not have it: "
                f"is {engine.program} logged in to another one?"
            )
        digests[target] = found
    return digests


def status(engine: Engine | None, settings: Settings, ecr: object | None) -> list[Status]:
    """Where the images of this source tree are."""
    found = []
    for target in TARGETS:
        described = image(target)
        built = engine.has(local_name(settings, described)) if engine else None
        repository = f"{settings.project}/{target}"
        digest = pushed_digest(ecr, repository, described.tag) if ecr else None
        found.append(Status(target, described.tag, built, digest))
    return found


def local_name(settings: Settings, described: Image) -> str:
    """What an image is called on the machine that builds it."""
    return f"{settings.project}/{described.target}:{described.tag}"


def _login(engine: Engine, ecr: object) -> None:
    granted = ecr.get_authorization_token()["authorizationData"][0]  # type: ignore[attr-defined]
    user, _, password = base64.b64decode(granted["authorizationToken"]).decode().partition(":")
    engine.login(granted["proxyEndpoint"].removeprefix("https://"), user, password)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no reason was given"
