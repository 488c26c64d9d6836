"""The docker engine as far as it needs no engine: what it is asked for, and what goes wrong."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NoReturn

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.local import docker_connection
from pipelines.local.batch_limits import limits_of, mounts_of
from pipelines.local.cloud import engine_of
from pipelines.local.docker_connection import Connection, connect
from pipelines.local.docker_engine import DockerEngine
from pipelines.local.engines import ContainerError, Ended, Limits, Mount, Task, Ulimit
from pipelines.local.lines import Lines
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


# What a job definition says.


def container(**more: Any) -> dict[str, Any]:
    return {"image": "i", "command": [], "resourceRequirements": [], **more}


def test_a_job_definition_s_limits_reach_the_container() -> None:
    requirements = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
    linux = {
        "initProcessEnabled": True,
        "sharedMemorySize": 64,
        "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["noexec", "nodev"]}],
    }
    given = container(
        resourceRequirements=requirements,
        user="10001",
        readonlyRootFilesystem=True,
        linuxParameters=linux,
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
    )
    assert limits_of(given, frozenset({0, 3})) == Limits(
        cores=frozenset({0, 3}),
        memory=4096,
        shared_memory=64,
        user="10001",
        has_init=True,
        tmpfs={"/run": "size=16m,noexec,nodev"},
        ulimits=(Ulimit("nofile", 10, 20),),
    )


def test_a_job_definition_that_limits_nothing_leaves_the_container_its_root() -> None:
    limits = limits_of(container(memory=512), frozenset())
    assert limits == Limits(memory=512, has_writable_root=True)


def test_a_volume_is_a_folder_of_the_job_wherever_it_lies_on_a_host(tmp_path: Path) -> None:
    points = [
        {"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False},
        {"sourceVolume": "models", "containerPath": "/models", "readOnly": True},
    ]
    assert mounts_of(container(mountPoints=points, readonlyRootFilesystem=True), tmp_path) == (
        Mount("/tmp", tmp_path / "scratch"),
        Mount("/models", tmp_path / "models", is_read_only=True),
    )
    assert (tmp_path / "scratch").is_dir()


def test_tmp_is_the_job_s_folder_only_where_it_could_be_written_on_aws(tmp_path: Path) -> None:
    (temporary,) = mounts_of(container(), tmp_path)
    assert temporary.path == "/tmp"
    assert temporary.folder.is_dir()
    assert temporary.folder.is_relative_to(tmp_path)
    assert mounts_of(container(readonlyRootFilesystem=True), tmp_path) == ()
    linux = {"tmpfs": [{"containerPath": "/tmp", "size": 16}]}
    assert mounts_of(container(linuxParameters=linux), tmp_path) == ()


def test_a_volume_for_reading_only_cannot_be_written_by_way_of_tmp(tmp_path: Path) -> None:
    points = [{"sourceVolume": "models", "containerPath": "/models", "readOnly": True}]
    models, temporary = mounts_of(container(mountPoints=points), tmp_path)
    assert temporary.path == "/tmp"
    assert not models.folder.is_relative_to(temporary.folder)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "", "a b", ".tmp"])
def test_a_volume_cannot_lead_out_of_the_job_s_folder(tmp_path: Path, name: str) -> None:
    points = [{"sourceVolume": name, "containerPath": "/x"}]
    with pytest.raises(ContainerError, match="sourceVolume"):
        mounts_of(container(mountPoints=points), tmp_path / "job")
    assert list(tmp_path.iterdir()) == []


def test_nothing_runs_privileged() -> None:
    with pytest.raises(ContainerError, match="privileged"):
        limits_of(container(privileged=True), frozenset())


# How it ended.


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        (Ended(0), ""),
        (Ended(1), ""),
        (Ended(137, stopped=True), ""),
        (Ended(137, timed_out=True), ""),
        (Ended(137, memory=2048), "most likely because it needed more memory than the 2,048 MiB"),
        (Ended(137, is_out_of_memory=True, memory=64), "killed, because it needed more memory"),
        (Ended(1, is_out_of_memory=True, memory=64), "the 64 MiB that it had"),
        (Ended(137), "more memory than this machine has ("),
    ],
)
def test_a_kill_says_what_is_known_of_its_reason(ended: Ended, said: str) -> None:
    assert said in ended.kill
    assert bool(ended.kill) == bool(said)


@given(st.text(), st.data())
def test_lines_are_those_of_a_text_file_however_they_come(text: str, data: st.DataObject) -> None:
    content = text.encode("utf-8", "surrogatepass")
    cuts = data.draw(st.lists(st.integers(0, len(content)), max_size=6).map(sorted))
    pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    heard: list[str] = []
    Lines(heard.append).hear_all(pieces)
    expected = io.TextIOWrapper(io.BytesIO(content), "utf-8", errors="replace")
    assert heard == [line.rstrip("\n") for line in expected]


# What the engine of a quiet machine never does.


class FakeApi:
    """Docker's API with one container, which prints nothing and ends as it is told to."""

    def __init__(self, **state: Any) -> None:
        self.state = {"ExitCode": 0, "OOMKilled": False, **state}
        self.made: dict[str, Any] = {}
        self.removed: list[str] = []
        self.fault: Exception | None = None
        self.stuck: set[str] = set()

    def close(self) -> None: ...

    def inspect_image(self, _name: str) -> dict[str, str]:
        return {"Id": "sha256:1"}

    def create_host_config(self, **given: Any) -> dict[str, Any]:
        return given

    def create_container(self, _image: str, **given: Any) -> dict[str, str]:
        self.made = given
        return {"Id": "c1"}

    def attach(self, _identifier: str, **_: Any) -> Iterator[bytes]:
        return iter(())

    def start(self, _identifier: str) -> None: ...

    def wait(self, _identifier: str, **_: Any) -> dict[str, int]:
        if self.fault:
            raise self.fault
        return {"StatusCode": self.state["ExitCode"]}

    def inspect_container(self, _identifier: str) -> dict[str, Any]:
        return {"State": self.state, "Config": {"Labels": {}}, "Mounts": []}

    def containers(self, **_: Any) -> list[dict[str, str]]:
        return [{"Id": "c1"}, {"Id": "c2"}]

    def remove_container(self, identifier: str, **_: Any) -> None:
        if identifier in self.stuck:
            raise APIError("409 Client Error", explanation="it is\nbusy")
        self.removed.append(identifier)


class FakeConnection(Connection):
    api: FakeApi

    def open(self) -> FakeApi:
        return self.api


def engine_with(api: FakeApi, tmp_path: Path, **can: bool) -> DockerEngine:
    known = {"can_limit_memory": True, "can_limit_swap": True, "can_bind_cores": True, **can}
    connection = FakeConnection("unix:///x", "1.41", is_podman=True, is_rootless=True, **known)
    object.__setattr__(connection, "api", api)
    return DockerEngine("claimflow", tmp_path, connection=connection)


def run(engine: DockerEngine, tmp_path: Path, log: Callable[[str], None] = str) -> Ended:
    limits = Limits(memory=128, cores=frozenset({0, 1}))
    task = Task("i", [], None, {}, tmp_path, 10, (), limits)
    return engine.run(task, log, threading.Event())


def test_an_engine_that_knows_of_the_kill_for_memory_is_believed(tmp_path: Path) -> None:
    api = FakeApi(ExitCode=137, OOMKilled=True)
    ended = run(engine_with(api, tmp_path), tmp_path)
    assert ended == Ended(137, is_out_of_memory=True, memory=128)
    host = api.made["host_config"]
    assert (host["mem_limit"], host["memswap_limit"], host["cpuset_cpus"]) == (2**27, 2**27, "0,1")


def test_what_an_engine_cannot_limit_is_told_and_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rootless engine may govern neither memory nor cores."""
    api = FakeApi(ExitCode=137)
    cannot = {"can_limit_memory": False, "can_limit_swap": False, "can_bind_cores": False}
    engine = engine_with(api, tmp_path, **cannot)
    assert "cannot limit a container's memory" in capsys.readouterr().err
    assert "this machine has" in run(engine, tmp_path).kill
    host = api.made["host_config"]
    assert (host["mem_limit"], host["memswap_limit"], host["cpuset_cpus"]) == (None, None, None)


def test_an_engine_that_goes_while_a_container_runs_is_one_line_and_it_is_removed(
    tmp_path: Path,
) -> None:
    api = FakeApi()
    api.fault = APIError("500 Server Error", explanation="the service\nis shutting down")
    with pytest.raises(ContainerError, match="the service is shutting down"):
        run(engine_with(api, tmp_path), tmp_path)
    assert api.removed == ["c1"]


def test_a_container_that_cannot_be_removed_changes_nothing_of_how_the_job_ended(
    tmp_path: Path,
) -> None:
    api, said = FakeApi(ExitCode=3), list[str]()
    api.stuck = {"c1"}
    assert run(engine_with(api, tmp_path), tmp_path, said.append).exit_code == 3
    assert said == ["The container engine did not remove the container: it is busy"]


def test_a_container_that_cannot_be_removed_keeps_no_other_and_is_tried_again(
    tmp_path: Path,
) -> None:
    api, mark = FakeApi(), tmp_path / "containers"
    engine = engine_with(api, tmp_path)
    mark.touch()
    api.stuck = {"c1"}
    engine.clear()
    assert api.removed == ["c2"]
    assert mark.exists()
    api.stuck = set()
    engine.clear()
    assert not mark.exists()
