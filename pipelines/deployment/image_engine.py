"""docker or podman, whichever is there, as a program that builds, shows and pushes images."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Sequence

from pipelines.deployment.image_origin import origin
from pipelines.errors import UserError
from pipelines.images import ROOT, Image

ENGINES = ("docker", "podman")
PLATFORM = "linux/amd64"  # what SageMaker's and Batch's instances are, whatever machine builds
# The time of everything in an image, so that the same inputs give the same layers: the first second
# that a zip file can hold.
EPOCH = "315532800"

# A step of the Dockerfile, as podman ("STEP 2/5: RUN x", "[3/6] STEP 1/3: FROM y") and BuildKit
# ("#8 [build 2/5] RUN x") announce it.
_STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP \d+/\d+: (.+)|^#\d+ \[(?:\S+ )?\d+/\d+\] (.+)")
_BUILD_VARIABLES = {
    "DOCKER_BUILDKIT": "1",  # Docker before 23 asks for it, for `RUN --mount`
    "BUILDKIT_PROGRESS": "plain",
    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",  # they would make it an OCI index
    "SOURCE_DATE_EPOCH": EPOCH,
}
_REASONS = (
    ("permission denied", "you may not use it: join its group and log in anew, or run podman"),
    ("cannot connect", "its daemon does not run: start it (systemctl start docker), or run podman"),
    ("is the docker daemon running", "its daemon does not run: start it, or run podman"),
)

Tell = Callable[[str], None]


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
        step, last = "the start", deque[str](maxlen=20)
        with (
            tempfile.NamedTemporaryFile(
                "w", prefix="claimflow-build-", suffix=".log", delete=False
            ) as log,
            subprocess.Popen(
                [self.program, *self._build_words(described, name)],
                env={**self._environment, **_BUILD_VARIABLES},
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

    def _build_words(self, described: Image, name: str) -> list[str]:
        words = ["build", "--platform", PLATFORM, "--target", described.target, "--tag", name]
        for key, value in origin(described).items():
            words += ["--build-arg", f"{key}={value}"]
        if self.program == "podman":
            # Docker's format, because SageMaker takes no manifests in OCI's
            # (aws/amazon-sagemaker-feedback#180).
            words += ["--format", "docker", "--timestamp", EPOCH]
        return [*words, "--file", str(ROOT / "containers" / "Dockerfile"), str(ROOT)]

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
