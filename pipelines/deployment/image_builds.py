"""Builds and pushes the images with whichever of docker and podman is there.

The tag is a digest of what goes into an image (pipelines/images.py), so what has not changed is
neither built nor pushed again. An image is built under a name without a registry: that needs no
account; pushing gives it its address.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from urllib.parse import urlsplit

from pipelines.aws import Aws
from pipelines.errors import UserError
from pipelines.images import ROOT, Image, image, known_targets, pushed_digest, targets_of
from pipelines.settings import Settings

ENGINES = ("docker", "podman")
PLATFORM = "linux/amd64"  # what SageMaker's and Batch's instances are, whatever machine builds
# The time of everything in an image, so that the same inputs give the same layers: the first second
# that a zip file can hold.
EPOCH = "315532800"

# A step of the Dockerfile, as podman ("STEP 2/5: RUN x", "[3/6] STEP 1/3: FROM y") and BuildKit
# ("#8 [build 2/5] RUN x") announce it.
_STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP \d+/\d+: (.+)|^#\d+ \[(?:\S+ )?\d+/\d+\] (.+)")
_REASONS = (
    ("permission denied", "you may not use it: join its group and log in anew, or run podman"),
    ("cannot connect", "its daemon does not run: start it (systemctl start docker), or run podman"),
    ("is the docker daemon running", "its daemon does not run: start it, or run podman"),
)

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

    def __init__(self, program: str, address: str = "") -> None:
        """
        Parameters
        ----------
        address: of docker's service, where it is not the one that the command finds itself.
            podman's command works without one, in the same store.
        """
        self.program = program
        self._environment = {**os.environ, **({"DOCKER_HOST": address} if address else {})}

    def trouble(self) -> str | None:
        """Why it cannot be used; None if it can."""
        question = "version" if self.program == "docker" else "info"  # docker's goes to the daemon
        asked = self._run(question)
        if asked.returncode == 0:
            return None
        said = asked.stderr.lower()
        for words, reason in _REASONS:
            if words in said:
                return reason
        return _last_line(asked.stderr)

    def has(self, name: str) -> bool:
        return self._run("image", "inspect", name).returncode == 0

    def build(self, described: Image, name: str, tell: Tell) -> None:
        """Builds one target, and tells each step of the Dockerfile as it comes.

        Raises
        ------
        UserError
            A step failed, or the disk is full. All that the engine said is in a file that it names.
        """
        words = ["build", "--platform", PLATFORM, "--target", described.target, "--tag", name]
        for key, value in origin(described).items():
            words += ["--build-arg", f"{key}={value}"]
        if self.program == "podman":
            # Docker's format, because SageMaker takes no manifests in OCI's
            # (aws/amazon-sagemaker-feedback#180).
            words += ["--format", "docker", "--timestamp", EPOCH]
        words += ["--file", str(ROOT / "containers" / "Dockerfile"), str(ROOT)]
        step, last = "the start", deque[str](maxlen=20)
        with (
            tempfile.NamedTemporaryFile(
                "w", prefix="claimflow-build-", suffix=".log", delete=False
            ) as log,
            subprocess.Popen(
                [self.program, *words],
                env={
                    **self._environment,
                    "DOCKER_BUILDKIT": "1",  # Docker before 23 asks for it, for `RUN --mount`
                    "BUILDKIT_PROGRESS": "plain",
                    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",  # they would make it an OCI index
                    "SOURCE_DATE_EPOCH": EPOCH,
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                found = _STEP.match(line)
                if found:
                    step = " ".join((found[1] or found[2]).split())
                    tell(f"{described.target}: {_short(step)}")
                elif line.strip():
                    last.append(line.strip())
        if process.returncode:
            raise UserError(_why(self.program, described.target, step, last, log.name))
        os.unlink(log.name)  # noqa: PTH108

    def layers(self, name: str) -> list[tuple[int, str]]:
        """The layers of an image, the lowest first: bytes, and the instruction that made it."""
        if self.program == "podman":  # its templates give sizes as text
            told = json.loads(self._asked("history", "--no-trunc", "--format", "json", name))
            found = [(int(one["size"]), str(one.get("CreatedBy", ""))) for one in told]
        else:
            form = "{{.Size}}\t{{.CreatedBy}}"
            words = ("--no-trunc", "--human=false", "--format", form)
            lines = self._asked("history", *words, name).splitlines()
            found = [(int(size), made) for size, _, made in (one.partition("\t") for one in lines)]
        return [(size, " ".join(made_by.split())) for size, made_by in found[::-1]]

    def inspect(self, name: str) -> str:
        """What the engine knows of an image, as JSON."""
        return self._asked("image", "inspect", name)

    def run(self, name: str, *command: str) -> str:
        """What a command in a container of an image prints; it may do nothing but read."""
        entrypoint, *arguments = command
        return self._asked(
            *("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "all"),
            *("--user", "10001", "--entrypoint", entrypoint, name, *arguments),
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
            [self.program, *words],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )

    def _asked(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode:
            raise UserError(f"{self.program} {words[0]}: {_last_line(done.stderr)}")
        return done.stdout

    def _must(self, *words: str) -> None:
        done = subprocess.run([self.program, *words], env=self._environment, check=False)
        code = done.returncode
        if code:
            raise UserError(f"{self.program} {words[0]} failed with {code}: see what it says above")


def find_engine(program: str | None = None, address: str = "") -> Engine:
    """The engine of this machine that can be used: the one that is asked for (and, for docker, at
    this address), else the first.

    Raises
    ------
    UserError
        There is none, or it cannot be used.
    """
    wanted = [program] if program else ENGINES
    there = [Engine(one, address) for one in wanted if shutil.which(one)]
    if not there:
        names = f"{program} is not" if program else f"Neither {' nor '.join(ENGINES)} is"
        raise UserError(f"{names} on the path: install one to build images")
    troubles = []
    for engine in there:
        trouble = engine.trouble()
        if trouble is None:
            return engine
        troubles.append(f"{engine.program} is installed, but {trouble}")
    raise UserError("; ".join(troubles))


def build(engine: Engine, settings: Settings, tell: Tell, targets: Sequence[str] = ()) -> None:
    """Builds what is not there yet of these targets, or of all that the settings ask for.

    Raises
    ------
    UserError
        There is no such target, or it cannot be built.
    """
    for target in targets:
        check_target(target)
    for target in targets or targets_of(settings):
        described = image(target)
        name = local_name(settings, described)
        if engine.has(name):
            tell(f"{name}: is built")
        else:
            tell(f"{name}: building")
            engine.build(described, name, tell)


def check_target(target: str) -> None:
    """Refuses a target that the Dockerfile does not have."""
    known = known_targets()
    if target not in known:
        raise UserError(f"image {target!r} does not exist, expected one of: {', '.join(known)}")


def origin(described: Image) -> dict[str, str]:
    """What the labels of an image say of where it comes from. It is no part of what the tag is made
    of: the commit of an image is the first one that had its content. (Arguments, not `--label`:
    podman 4.3 forgets that where all layers are there already.)"""
    revision = _git("rev-parse", "HEAD")
    if revision and _git("status", "--porcelain", "--", "containers", *described.files):
        revision += "-dirty"
    return {
        "VERSION": metadata.version("claimflow"),
        "REVISION": revision,
        "SOURCE": _public(_git("remote", "get-url", "origin")),
    }


def push(engine: Engine, aws: Aws, tell: Tell, targets: Sequence[str] = ()) -> dict[str, str]:
    """Pushes what the registry does not have of these targets, or of all that the settings ask for,
    built first where needed; digests by target."""
    settings, ecr = aws.settings, aws.client("ecr")
    digests: dict[str, str] = {}
    is_logged_in = False
    for target in targets or targets_of(settings):
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
    for target in targets_of(settings):
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


def _short(step: str) -> str:
    return step if len(step) <= 80 else f"{step[:79]}…"


def _why(program: str, target: str, step: str, last: Sequence[str], log: str) -> str:
    if any("no space left on device" in line.lower() for line in last):
        return (
            f"The disk is full, so {target} cannot be built ({_short(step)}): free some space, "
            f"for instance with {program} image prune, and build again"
        )
    lines = [line for line in last if "error" in line.lower()] or list(last) or ["no reason given"]
    return (
        f"{program} cannot build {target} at “{_short(step)}”: {lines[-1][:300]} (all of it: {log})"
    )


def _public(source: str) -> str:
    """The address of a repository without an account, a password or a token; nothing where it is
    a path of one machine, or of a form in which those are not sure to be found."""
    try:
        split = urlsplit(source)
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return ""
    if split.scheme not in ("https", "ssh") or not split.hostname or "@" in split.path:
        return ""
    return f"{split.scheme}://{split.hostname}{port}{split.path}"


def _git(*words: str) -> str:
    """What git says; nothing where there is no git, or no repository."""
    with contextlib.suppress(OSError):
        asked = subprocess.run(
            ["git", "-C", str(ROOT), *words],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip() if asked.returncode == 0 else ""
    return ""
