"""The line as a user drives it: commands on a state folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.data.sample import SamplePaths, write_sample

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Line:
    """A state folder of its own, and the commands run on it."""

    folder: Path
    sample: SamplePaths
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to find this line."""
        return {
            **os.environ,  # the first start installs: it may need a proxy or certificates
            "PYTHONPATH": str(ROOT),
            "CLAIMFLOW_STATE": str(self.folder / "state"),
            **self.variables,
        }

    def run(self, *arguments: str, code: int = 0) -> str:
        """Runs a command, expects its exit code and returns what it printed, errors included."""
        done = self._run(arguments, code, subprocess.STDOUT)
        return done.stdout

    def _run(
        self, arguments: tuple[str, ...], code: int, errors: int
    ) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "pipelines.cli", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=300,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            said = (error.stdout or b"").decode(errors="replace")
            pytest.fail(f"{arguments} stands still after\n{said}\n{self.standstill()}")
        said = done.stdout + (done.stderr or "")
        assert done.returncode == code, said
        assert "Traceback" not in said
        return done

    def standstill(self) -> str:
        """What every process of this local cloud does, and where its threads are."""
        mine = f"CLAIMFLOW_STATE={self.folder / 'state'}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if mine in (process / "environ").read_bytes() or str(self.folder) in command:
                    state = re.findall(r"State:\s+(.*)", (process / "status").read_text())
                    found.append(f"{process.name} {state} {command[:200]}")
                    if "pipelines.local.server" in command or "entrypoint.py" in command:
                        os.kill(int(process.name), signal.SIGUSR1)
        time.sleep(2)  # until they have written
        logs = [self.folder / "state" / "local.log", self.folder / "state/mlflow/server.log"]
        logs += sorted(self.folder.glob("state/logs/**/*.jsonl"), key=os.path.getmtime)[-3:]
        for log in filter(Path.exists, logs):
            tail = log.read_text(errors="replace").splitlines()[-120:]
            found += [f"--- {log.name}", *(line[:300] for line in tail)]
        return "\n".join(found)

    def json(self, *arguments: str, code: int = 0) -> Any:
        """What a command prints for programs, which read its standard output alone."""
        done = self._run((*arguments, "--json"), code, subprocess.PIPE)
        return json.loads(done.stdout)

    def up(self) -> None:
        self.run("local", "up")
        exports = self.run("local", "env")
        self.variables = dict(re.findall(r"export (\w+)='?([^'\n]*)'?", exports))

    def start(self, *arguments: str) -> str:
        """Starts an execution on the sample and returns its ARN."""
        files = ["--train", str(self.sample.train), "--test", str(self.sample.test)]
        started: str = self.json("pipeline", "start", *files, *arguments)["execution"]
        return started

    def steps(self, execution: str) -> dict[str, dict[str, Any]]:
        return {step["name"]: step for step in self.json("pipeline", "steps", execution)}

    def client(self, service: str) -> Any:
        """A boto3 client of this cloud, with the user's key."""
        import boto3

        return boto3.client(
            service,
            endpoint_url=self.variables["AWS_ENDPOINT_URL"],
            region_name=self.variables["AWS_REGION"],
            aws_access_key_id=self.variables["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.variables["AWS_SECRET_ACCESS_KEY"],
        )


@contextlib.contextmanager
def new_line(folder: Path) -> Iterator[Line]:
    """A line in an empty folder; its local cloud is ended at last."""
    (folder / "state").mkdir()
    # The environments of the images are the same for all: they are made once for a checkout.
    kept = ROOT / ".claimflow" / "environments"
    kept.mkdir(parents=True, exist_ok=True)
    (folder / "state" / "environments").symlink_to(kept)
    line = Line(folder, write_sample(folder / "data"))
    try:
        yield line
    finally:
        line.run("local", "down")
