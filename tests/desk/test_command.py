"""`claimflow desk` as a process: its address, its memory with large files, its end."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import MISUSED
from pipelines.cli.desk import _listening
from pipelines.errors import UserError
from tests.pipelines.deployment import SETTINGS, Deployment

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LARGE = 300 << 20
RESULT = 100 << 20
BLOCK = 1 << 20
BROWSER = """
import json, os, pathlib, sys, urllib.request
opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
told = {"arguments": " ".join(sys.argv), "status": opener.open(sys.argv[1], timeout=15).status}
folder = pathlib.Path(sys.argv[0]).parent
(folder / "part.json").write_text(json.dumps(told))
os.replace(folder / "part.json", folder / "said.json")
"""
MOST_MEMORY = 80 << 20  # that a large file may cost: two parts and what Python makes of them


@dataclass
class Served:
    """A desk in a process of its own, and the visitor's cookie and secret."""

    process: subprocess.Popen[str]
    port: int
    token: str
    cookie: str = ""
    secret: str = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body, {**self._headers, **headers})
        return connection.getresponse()

    def begin_file(self) -> HTTPConnection:
        """Sends the beginning of a large file; what has been received lies in several parts."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.putrequest("PUT", "/uploads?name=large.csv")
        for name, value in {**self._headers, "Content-Length": str(LARGE)}.items():
            connection.putheader(name, value)
        connection.endheaders()
        for block in zeros(20 * BLOCK):
            connection.send(block)
        return connection

    @property
    def _headers(self) -> dict[str, str]:
        cookie = {"Cookie": self.cookie} if self.cookie else {}
        origin = f"http://127.0.0.1:{self.port}"
        return {"Origin": origin, "X-CSRF-Token": self.secret, **cookie}

    def enter(self) -> None:
        answer = self.ask("GET", f"/?token={self.token}")
        self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
        page = self.ask("GET", "/try").read().decode()
        found = re.search(r'name="csrf" value="(\w+)"', page)
        assert found
        self.secret = found[1]

    @property
    def peak(self) -> int:
        """The most memory that it has had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) << 10


@contextlib.contextmanager
def desk(*arguments: str) -> Iterator[Served]:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "desk", "--port", "0", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{43})\n", said)
        assert found, (said, process.stderr and process.stderr.read())
        yield Served(process, int(found[1]), found[2])
    finally:
        process.kill()
        process.communicate()


def zeros(size: int) -> Iterator[bytes]:
    block = bytes(BLOCK)
    for _ in range(size // BLOCK):
        yield block


def test_large_files_go_through_in_constant_memory(deployment: Deployment) -> None:
    with desk() as served:
        served.enter()
        served.ask("PUT", "/uploads?name=small.csv", bytes(BLOCK)).read()  # all is imported
        before = served.peak
        answer = served.ask(
            "PUT", "/uploads?name=large.csv", zeros(LARGE), **{"Content-Length": str(LARGE)}
        )
        address = re.fullmatch(r'\{"address":"/uploads/(\w{32})"\}', answer.read().decode())
        assert address, answer.status
        upload = address[1]
        prefix = deployment.record(upload, deployment.submit("SUCCEEDED"))
        deployment.settle(upload, prefix)
        bucket = SETTINGS.bucket("predictions")
        head = deployment.s3.head_object(Bucket=bucket, Key="incoming/large.csv")
        assert head["ContentLength"] == LARGE
        deployment.put("results", f"{prefix}predictions.csv", bytes(RESULT))
        download = served.ask("GET", f"/uploads/{upload}/files/predictions.csv")
        assert download.headers["Content-Length"] == str(RESULT)
        size = 0
        while block := download.read(BLOCK):
            assert not block.strip(b"\0")
            size += len(block)
        assert size == RESULT
        assert served.peak - before < MOST_MEMORY


def test_a_file_that_breaks_off_leaves_nothing(deployment: Deployment) -> None:
    bucket = SETTINGS.bucket("predictions")
    with desk() as served:
        served.enter()
        connection = served.begin_file()
        connection.close()
        assert served.ask("GET", "/try").status == 200, "it goes on"
        for _ in range(100):
            if not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads"):
                break
            served.ask("GET", "/try").read()
    assert not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert "Contents" not in deployment.s3.list_objects_v2(Bucket=bucket)


def test_a_desk_that_ends_in_the_middle_of_a_file_leaves_nothing(deployment: Deployment) -> None:
    bucket = SETTINGS.bucket("predictions")
    with desk() as served:
        served.enter()
        connection = served.begin_file()
        while not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads"):
            time.sleep(0.1)
        served.process.send_signal(signal.SIGINT)
        assert connection.getresponse().status == 503
        _, said = served.process.communicate(timeout=60)
    assert served.process.returncode == 0
    assert "PUT /uploads 503 " in said
    assert "Traceback" not in said
    assert not deployment.s3.list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_it_listens_on_this_machine_alone_and_ends_quietly(deployment: Deployment) -> None:
    with desk("--stage", "dev") as served:
        assert served.ask("GET", "/").status == 403
        listening = Path("/proc/net/tcp").read_text()
        assert f"0100007F:{served.port:04X}" in listening
        assert f"00000000:{served.port:04X}" not in listening
        served.process.send_signal(signal.SIGINT)
        _, said = served.process.communicate(timeout=60)
    assert served.process.returncode == 0
    assert "the desk is closed" in said.splitlines()
    assert "Traceback" not in said
    assert served.token not in said


def test_the_browser_is_opened_on_a_desk_that_answers_and_is_not_told_the_token(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in the terminal, which holds who has called it until its page is there."""
    script = tmp_path / "browser"
    script.write_text(f"#!{sys.executable}\n{BROWSER}", "utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{script} %s")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "desk", "--port", "0"],
        cwd=ROOT,
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    try:
        with os.fdopen(ours) as terminal:
            token = terminal.readline().strip().partition("?token=")[2]
            said = tmp_path / "said.json"
            for _ in range(200):
                if said.exists():
                    break
                time.sleep(0.1)
            told = json.loads(said.read_text("utf-8"))
    finally:
        process.kill()
        process.communicate()
    assert len(token) == 43
    assert token not in told["arguments"]
    assert told["status"] == 200


def test_a_port_that_is_taken_is_one_line(empty_aws: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "desk", "--port", str(port)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == MISUSED
    assert done.stderr == (
        f"error: Port {port} is taken: give another one with --port, or 0 for any that is free\n"
    )
    assert done.stdout == ""


def test_a_port_that_may_not_be_used_is_not_said_to_be_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(UserError, match=r"^Port 80 cannot be used \(Permission denied\): give"):
        _listening(80)


def test_an_installed_package_has_every_template_and_static_file() -> None:
    folder = ROOT / "pipelines" / "desk"
    given = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = given["tool"]["setuptools"]["package-data"]["pipelines.desk"]
    packed = {path for pattern in patterns for path in folder.glob(pattern)}
    needed = {path for name in ("templates", "static") for path in (folder / name).rglob("*")}
    assert len(needed) > 10
    assert packed == needed
