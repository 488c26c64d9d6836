"""The docker engine on Docker's API as a test has it: what is asked of it, and what goes wrong."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from docker.errors import APIError
from hypothesis import given
from hypothesis import strategies as st

from pipelines.local.docker_connection import Connection
from pipelines.local.docker_engine import DockerEngine
from pipelines.local.engines import ContainerError, Ended, Limits, Task
from pipelines.local.lines import Lines

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
