"""A training on several hosts, which are processes of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from steps import artifact
from steps.container import Container
from steps.table import Table
from tests.steps.small_models import SMALL, claims, trained, training_job
from tests.steps.test_devices import EXACT, assert_close, parameters

ROOT = Path(__file__).parents[2]
HOSTS = ["algo-1", "algo-2"]
SECONDS = 60.0  # of a busy machine
ENDLESS = {"epochs": "1000", "patience": "1000"}


class Host:
    """One host of a training."""

    def __init__(self, name: str, container: Container, meeting: str) -> None:
        self.name, self.container = name, container
        config = container.root / "input" / "config" / "resourceconfig.json"
        config.write_text(json.dumps({"current_host": name, "hosts": HOSTS}), "utf-8")
        container.model.mkdir(exist_ok=True)
        container.checkpoints.mkdir(exist_ok=True)
        self.log = (container.root / "log").open("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "containers" / "entrypoint.py"), "train"],
            env={
                **os.environ,
                "SAGEMAKER_BASE_DIR": str(container.root),
                "CLAIMFLOW_MEETING": meeting,
                "PYTHONPATH": str(ROOT),
            },
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def said(self) -> str:
        self.log.flush()
        return Path(self.log.name).read_text("utf-8")

    def wait_for(self, line: str) -> None:
        deadline = time.monotonic() + SECONDS
        while line not in self.said():
            assert self.process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def end(self) -> int:
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.said()) from None

    def reason(self) -> str:
        return (self.container.root / "output" / "failure").read_text("utf-8")

    def model(self) -> list[str]:
        return sorted(path.name for path in self.container.model.iterdir())


Start = Callable[..., list[Host]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the hosts of a training in folders below another."""
    running: list[Host] = []

    def begin(root: Path, *tables: Table, **hyperparameters: str) -> list[Host]:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            meeting = f"127.0.0.1:{probe.getsockname()[1]}"
        jobs = [
            training_job(root / name, tables[place % len(tables)], **hyperparameters)
            for place, name in enumerate(HOSTS)
        ]
        made = [Host(name, job, meeting) for name, job in zip(HOSTS, jobs, strict=True)]
        running.extend(made)
        return made

    yield begin
    for host in running:
        host.process.kill()
        host.process.wait()
        host.log.close()


@pytest.mark.parametrize("kind", ["ngram", "textcnn", "lstm"])
def test_two_hosts_learn_what_one_learns_and_the_first_leaves_it(
    tmp_path: Path, start: Start, kind: str
) -> None:
    first, second = start(tmp_path / "two", claims(300), **EXACT[kind])
    one = trained(tmp_path / "one", claims(300), **EXACT[kind])
    assert (first.end(), second.end()) == (0, 0), first.said() + second.said()
    assert_close(one, first.container.model)
    assert second.model() == []
    info = [
        json.loads((model / artifact.INFO).read_text("utf-8"))
        for model in (one, first.container.model)
    ]
    assert info[0]["validation"].keys() == info[1]["validation"].keys()
    assert info[0]["validation"]["validation_accuracy"] == pytest.approx(
        info[1]["validation"]["validation_accuracy"], abs=0.04
    )
    assert "val_accuracy=" in first.said() and "val_accuracy=" not in second.said()


@pytest.mark.parametrize("gone", [0, 1])
def test_a_host_that_dies_ends_the_training_of_the_others_which_name_it(
    tmp_path: Path, start: Start, gone: int
) -> None:
    hosts = start(tmp_path, claims(300), **ENDLESS)
    hosts[0].wait_for("epoch=2")
    dead, other = hosts[gone], hosts[1 - gone]
    dead.process.kill()
    began = time.monotonic()
    assert other.end() == 1
    assert time.monotonic() - began < 10
    assert dead.name in other.reason() and "\n" not in other.reason()
    assert "Traceback" not in other.said()
    assert other.model() == []


def test_a_stop_ends_all_hosts_at_once(tmp_path: Path, start: Start) -> None:
    hosts = start(tmp_path, claims(300), **ENDLESS)
    hosts[0].wait_for("epoch=1")
    began = time.monotonic()
    for host in hosts:
        host.process.send_signal(signal.SIGTERM)
    codes = [host.end() for host in hosts]
    assert time.monotonic() - began < 20
    assert codes == [143, 143], [host.said() for host in hosts]


@pytest.mark.parametrize(
    ("number", "codes"), [(signal.SIGKILL, [1, -signal.SIGKILL]), (signal.SIGTERM, [143, 143])]
)
def test_a_training_whose_second_host_was_ended_goes_on_to_the_same_end(
    tmp_path: Path, start: Start, number: signal.Signals, codes: list[int]
) -> None:
    given = SMALL["textcnn"] | {"epochs": "8", "patience": "8"}
    whole = start(tmp_path / "whole", claims(300), **given)
    assert [host.end() for host in whole] == [0, 0]
    first, second = start(tmp_path / "cut", claims(300), **given)
    first.wait_for("epoch=2")
    second.process.send_signal(number)
    assert [first.end(), second.end()] == codes
    stored = first.container.checkpoints
    assert [path.suffix for path in stored.iterdir() if path.stat().st_size] == [".npz"]
    assert not any(second.container.checkpoints.iterdir())
    # As S3 brings it back to every host.
    shutil.copytree(stored, second.container.checkpoints, dirs_exist_ok=True)
    again = start(tmp_path / "cut", claims(300), **given)
    assert [host.end() for host in again] == [0, 0], again[0].said()
    assert "epoch=1 " not in again[0].said() and "epoch=8 " in again[0].said()
    expected, made = parameters(whole[0].container.model), parameters(again[0].container.model)
    assert all(np.array_equal(expected[name], made[name]) for name in expected)


def test_hosts_with_other_data_are_told_apart(tmp_path: Path, start: Start) -> None:
    hosts = start(tmp_path, claims(300), claims(300, seed=1))
    assert [host.end() for host in hosts] == [1, 1]
    for host in hosts:
        assert "algo-2" in host.reason() and "FullyReplicated" in host.reason()


def test_what_stops_every_host_is_said_as_on_one(tmp_path: Path, start: Start) -> None:
    hosts = start(tmp_path, claims(300, labels=("leak",)))
    assert [host.end() for host in hosts] == [1, 1]
    assert all("has 1 label" in host.reason() for host in hosts)
