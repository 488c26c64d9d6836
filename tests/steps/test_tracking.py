from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import steps.tracking
from steps.container import Container, Stopped
from steps.errors import InputError
from steps.tracking import TrackingSettings, tracking


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def processing_job(root: Path, name: str) -> Container:
    (root / "config").mkdir(parents=True)
    config = {"ProcessingJobName": name}
    (root / "config" / "processingjobconfig.json").write_text(json.dumps(config))
    return Container(root)


@pytest.mark.parametrize("uri", ["", "none", " None "])
def test_tracking_that_is_off_starts_nothing(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)
    with tracking(Container(tmp_path), "Train", TrackingSettings(uri)) as run:
        run.log_params({"a": 1})
        run.log_metrics({"b": 1.0})
        run.log_artifact(tmp_path)


def test_settings_come_from_the_environment() -> None:
    environment = {
        "MLFLOW_TRACKING_URI": "http://x",
        "MLFLOW_EXPERIMENT_NAME": "e",
        "CLAIMFLOW_CODE_VERSION": "v",
    }
    assert TrackingSettings.from_environment(environment) == TrackingSettings("http://x", "e", "v")
    assert TrackingSettings.from_environment({}) == TrackingSettings("", "claimflow", "unknown")


@pytest.mark.parametrize("listening", [False, True], ids=["down", "silent"])
def test_a_server_that_is_down_or_silent_costs_one_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], listening: bool
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if listening:  # it takes connections and never answers
            listener.listen()
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        with tracking(Container(tmp_path), "Train", TrackingSettings(uri)) as run:
            for epoch in range(1000):
                run.log_metrics({"loss": 0.1}, step=epoch)
        assert time.monotonic() - began < 20
    printed = capfd.readouterr()
    assert printed.out.startswith("warning: MLflow tracking was given up")
    assert printed.out.count("\n") == 1
    assert printed.err == ""


def test_a_worker_that_dies_costs_one_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps.tracking, "_WORKER", "steps.no_such_module")
    with tracking(Container(tmp_path), "Train", TrackingSettings("http://127.0.0.1:9")) as run:
        for epoch in range(100):
            run.log_metrics({"loss": 0.1}, step=epoch)
            time.sleep(0.01)
    assert capfd.readouterr().out == (
        "warning: MLflow tracking was given up, the run is not affected: its process ended early\n"
    )


def test_an_error_of_the_step_passes_a_dead_server(tmp_path: Path) -> None:
    settings = TrackingSettings(f"http://127.0.0.1:{free_port()}")
    with (
        pytest.raises(InputError, match="the step's own"),
        tracking(Container(tmp_path), "Train", settings),
    ):
        raise InputError("the step's own")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real tracking server on SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder}/runs.db", "--workers", "1"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                # Processes for its own jobs take seconds of both cores.
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            },
        )
    uri = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                ask(uri, "experiments/get?experiment_id=0")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield uri
    finally:
        process.terminate()
        process.wait(timeout=20)


def ask(uri: str, path: str, **body: object) -> Any:
    connection = http.client.HTTPConnection(uri.removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request(
            "POST" if body else "GET",
            f"/api/2.0/mlflow/{path}",
            json.dumps(body) if body else None,
            {"Content-Type": "application/json"},
        )
        response = connection.getresponse()
        assert response.status == 200
        return json.load(response)


def runs(uri: str, experiment: str) -> list[dict[str, Any]]:
    found = ask(uri, f"experiments/get-by-name?experiment_name={experiment}")
    number = found["experiment"]["experiment_id"]
    answer: dict[str, Any] = ask(uri, "runs/search", experiment_ids=[number])
    return list(answer.get("runs", []))


def wait_for_a_run(uri: str, experiment: str) -> None:
    for _ in range(300):
        with contextlib.suppress(AssertionError):  # there is no such experiment yet
            if runs(uri, experiment):
                return
        time.sleep(0.1)
    raise TimeoutError("no run in 30 seconds")


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


def test_steps_of_an_execution_share_a_parent(
    server: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = TrackingSettings(server, "shared-parent", "abc123")
    report = tmp_path / "report.json"
    report.write_text("{}")
    for step in ("Validate", "Evaluate"):
        job = processing_job(tmp_path / step, f"pipelines-abcdefghij12-{step}-x1y2")
        with tracking(job, step, settings) as run:
            run.log_params({"epochs": 3, "kind": "ngram"})
            for epoch in (1, 2):
                run.log_metrics({"loss": 1 / epoch}, step=epoch)
            run.log_artifact(report)
    assert capfd.readouterr().out == ""
    by_name = {run["info"]["run_name"]: run for run in runs(server, "shared-parent")}
    assert set(by_name) == {"abcdefghij12", "Validate", "Evaluate"}
    parent = by_name.pop("abcdefghij12")
    assert tags(parent)["claimflow.execution"] == "abcdefghij12"
    assert parent["info"]["status"] == "FINISHED"
    for child in by_name.values():
        assert tags(child)["mlflow.parentRunId"] == parent["info"]["run_id"]
        assert tags(child)["claimflow.code_version"] == "abc123"
        assert child["info"]["status"] == "FINISHED"
        params = {item["key"]: item["value"] for item in child["data"]["params"]}
        assert params == {"epochs": "3", "kind": "ngram"}
        run_id = child["info"]["run_id"]
        history = ask(server, f"metrics/get-history?run_id={run_id}&metric_key=loss")["metrics"]
        assert [(item["step"], item["value"]) for item in history] == [(1, 1.0), (2, 0.5)]
        files = ask(server, f"artifacts/list?run_id={run_id}")["files"]
        assert [file["path"] for file in files] == ["report.json"]


@pytest.mark.parametrize(
    ("error", "status"), [(InputError("bad"), "FAILED"), (Stopped(), "KILLED")]
)
def test_a_run_ends_as_its_step_does(
    server: str, tmp_path: Path, error: BaseException, status: str
) -> None:
    settings = TrackingSettings(server, f"ends-{status}")
    with pytest.raises(type(error)), tracking(Container(tmp_path), "Train", settings):
        wait_for_a_run(server, f"ends-{status}")
        raise error
    (run,) = runs(server, f"ends-{status}")
    assert run["info"]["status"] == status
    assert "mlflow.parentRunId" not in tags(run)  # a job on its own has no execution
