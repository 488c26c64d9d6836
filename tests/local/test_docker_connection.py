"""Which container engine is used, and what a user is told where none answers."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pipelines.errors import UserError
from pipelines.local import docker_connection
from pipelines.local.cloud import engine_of
from pipelines.local.docker_connection import connect
from pipelines.settings import Settings
from tests.line import ROOT

# No engine answers.


def refuse(address: str) -> str:
    """What a user is told whose engine is at an address."""
    with pytest.raises(UserError) as caught, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", address)
        connect()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_engine_that_is_not_there_is_one_line_with_the_remedies(tmp_path: Path) -> None:
    said = refuse(f"unix://{tmp_path}/no.sock")
    assert "No such file" in said
    assert "start Docker or podman's service" in said
    assert "--engine docker" in said


def test_an_engine_whose_service_has_gone_is_told_apart(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    assert "Connection refused" in refuse(f"unix://{tmp_path}/left.sock")


def test_an_engine_that_is_not_this_user_s_to_use_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_to(*_: object) -> NoReturn:
        raise PermissionError(13, "Permission denied")  # root, who runs the tests, is never refused

    monkeypatch.setattr(docker_connection.socket.socket, "connect", connect_to)
    assert "join its group" in refuse(f"unix://{tmp_path}/docker.sock")


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:2375", "ssh://somebody@elsewhere"])
def test_an_engine_on_another_machine_is_refused_because_the_folders_are_here(address: str) -> None:
    assert "it has to be on this machine" in refuse(address)


def test_something_else_behind_the_socket_is_one_line(tmp_path: Path) -> None:
    path = str(tmp_path / "other.sock")

    def answer() -> None:
        for _ in range(2):  # the check that somebody listens, and the first request
            with listening.accept()[0] as connection:
                connection.recv(4096)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        assert "does not answer" in refuse(f"unix://{path}")


@pytest.mark.parametrize("command", [("local", "up"), ("demo",)])
def test_without_an_engine_nothing_is_started_and_the_user_is_told(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *command, "--engine", "docker"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "CLAIMFLOW_STATE": str(tmp_path / "state"),
            "DOCKER_HOST": f"unix://{tmp_path}/no.sock",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "start Docker or podman's service" in done.stderr
    assert not (tmp_path / "state" / "mlflow").exists()
    assert not (tmp_path / "state" / "ports.json").exists()


def test_what_containers_left_keeps_no_process_engine_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are removed when an engine answers again."""
    (tmp_path / "containers").touch()
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    assert engine_of(Settings(state=tmp_path)).name == "process"
    assert (tmp_path / "containers").exists()


# Which engine it is.


class Info:
    """An engine behind a socket that answers one question, as `docker info` does."""

    def __init__(self, path: Path, **said: Any) -> None:
        body = json.dumps({"SecurityOptions": [], "ApiVersion": "1.41", **said}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return "here"

            def log_message(self, *_: object) -> None: ...

        path.parent.mkdir(parents=True, exist_ok=True)
        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def __enter__(self) -> Info:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a user whose environment names no engine; podman's socket would lie in it."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def test_a_socket_in_a_folder_that_is_root_s_alone_is_not_there(
    nothing_named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = os.stat

    def stat(path: Any, *rest: Any, **more: Any) -> os.stat_result:
        if str(path).endswith(".sock"):
            raise PermissionError(13, "Permission denied")  # root is never refused
        return looked(path, *rest, **more)

    monkeypatch.setattr(os, "stat", stat)
    (nothing_named / "containers").touch()
    assert engine_of(Settings(state=nothing_named)).name == "process"
    with pytest.raises(UserError, match="There is no container engine on this machine"):
        connect()


def test_a_socket_that_does_not_answer_is_passed_over(
    nothing_named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    podman = nothing_named / "podman" / "podman.sock"
    looked, there = os.path.exists, {"/var/run/docker.sock", str(podman)}
    monkeypatch.setattr(os.path, "exists", lambda path: str(path) in there or looked(path))
    tried = docker_connection._check_socket

    def check(address: str) -> None:
        if address == "unix:///var/run/docker.sock":
            raise UserError("you may not use it")
        tried(address)

    monkeypatch.setattr(docker_connection, "_check_socket", check)
    with Info(podman, BuildahVersion="1.28.2"):
        found = connect()
    assert (found.address, found.is_podman) == (f"unix://{podman}", True)
    there.remove(str(podman))
    podman.unlink()
    monkeypatch.setattr(os.path, "exists", lambda path: str(path) in there)
    with pytest.raises(UserError, match="you may not use it"):
        connect()


ROOTLESS = ["name=seccomp,profile=default", "name=rootless"]


@pytest.mark.parametrize(
    "said", [{"OperatingSystem": "Docker Desktop"}, {"SecurityOptions": ROOTLESS}]
)
def test_an_engine_whose_host_network_is_not_this_machine_s_is_refused(
    tmp_path: Path, said: dict[str, Any]
) -> None:
    with Info(tmp_path / "d.sock", **said):
        assert "do not reach the local cloud" in refuse(f"unix://{tmp_path}/d.sock")


def test_podman_without_root_is_on_the_network_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/p.sock")
    with Info(tmp_path / "p.sock", SecurityOptions=ROOTLESS, BuildahVersion="1.28.2"):
        assert connect().is_rootless


def test_the_context_that_the_environment_names_is_the_docker_command_s(
    nothing_named: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = nothing_named / "contexts" / "meta" / hashlib.sha256(b"mine").hexdigest()
    context.mkdir(parents=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    address = f"unix://{nothing_named}/mine.sock"
    described = {"Name": "mine", "Metadata": {}, "Endpoints": {"docker": {"Host": address}}}
    (context / "meta.json").write_text(json.dumps(described))
    with Info(nothing_named / "mine.sock"):
        assert connect().address == address
    (context / "meta.json").write_text("{")
    with pytest.raises(UserError, match=r"context mine .* DOCKER_HOST") as caught:
        connect()
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("DOCKER_CONTEXT", "none")
    with pytest.raises(UserError, match="DOCKER_CONTEXT is none, but docker has no such context"):
        connect()
