"""The local cloud with the docker engine, as a user drives it; the first test is the whole line."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.images import TARGETS, image
from pipelines.local.docker_connection import connect
from pipelines.local.docker_engine import FOLDER_LABEL, STATE_LABEL
from tests.line import Line, new_line
from tests.local.local_cloud import wait_for

WAIT = 240.0  # seconds; on a quiet machine everything here takes a few
GLUON = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/claimflow/gluon-cpu:{image('gluon-cpu').tag}"
ROLE = "arn:aws:iam::123456789012:role/claimflow-dev-training"
MODELS = "s3://claimflow-dev-models-123456789012-us-east-1"
SLEEPS = (
    "import os, signal, time; signal.signal(15, lambda *_: os._exit(143))\n"
    "while True: time.sleep(0.1)"
)


@pytest.fixture(scope="module")
def line(built: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    for target in TARGETS:
        built(target)
    with new_line(tmp_path_factory.mktemp("docker")) as line:
        line.run("local", "up", "--engine", "docker")
        line.up()  # no engine is asked for: any will do
        line.run("pipeline", "upsert")
        yield line
    assert containers(line) == []


def containers(line: Line) -> list[str]:
    """The folders of the jobs that have a container."""
    api = connect().open()
    try:
        state = (line.folder / "state").resolve()
        found = api.containers(all=True, filters={"label": f"{STATE_LABEL}={state}"})
        return [one["Labels"][FOLDER_LABEL] for one in found]
    finally:
        api.close()


def jobs_left(line: Line) -> list[Path]:
    state = line.folder / "state"
    return [*state.glob("jobs/*"), *state.glob("batch/*")]


def test_the_whole_line_runs_in_the_images_and_leaves_nothing_behind(line: Line) -> None:
    said = line.run("demo", "--engine", "docker")
    assert "jobs in containers" in said
    assert "200 rows in" in said
    assert line.json("local", "status")["engine"] == "docker"
    assert containers(line) == []
    assert jobs_left(line) == []


def test_both_engines_agree_to_the_last_digit(
    line: Line, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with new_line(tmp_path_factory.mktemp("process")) as other:
        assert "no account and no Docker" in other.run("demo", "--engine", "process")
    folders = [one.folder / "state" / "demo" for one in (line, other)]
    evaluations = [json.loads((one / "evaluation/evaluation.json").read_text()) for one in folders]
    for one in evaluations:
        one["challenger"]["model"]["versions"].pop("python")  # the image's, and this machine's
    assert evaluations[0] == evaluations[1]
    for name in ("predictions.csv", "rejects.csv"):
        contents = [(one / "predictions" / name).read_bytes() for one in folders]
        assert contents[0] == contents[1], name


def test_a_cloud_that_runs_keeps_its_engine(line: Line) -> None:
    said = line.run("local", "up", "--engine", "process", code=2)
    assert "has the engine docker, not process" in said
    assert "claimflow local down" in said
    assert said.count("\n") == 1
    assert "engine       docker" in line.run("local", "status")


def test_a_training_on_two_hosts_is_two_containers_that_find_each_other(line: Line) -> None:
    execution = line.start("-p", "TrainingInstanceCount=2", "-p", "Epochs=1")
    seen: set[str] = set()

    def is_over() -> bool:
        seen.update(Path(one).name for one in containers(line) if "-Train-" in one)
        return bool(line.json("pipeline", "status", execution)["status"] != "Executing")

    wait_for(is_over, WAIT)
    steps = line.steps(execution)
    assert steps["Train"]["status"] == "Succeeded", steps
    assert seen == {"ml", "algo-2"}


def training(line: Line, image_uri: str, script: str) -> str:
    """Starts a training job that runs a script; its name."""
    name = f"job-{uuid.uuid4().hex[:12]}"
    line.client("sagemaker").create_training_job(
        TrainingJobName=name,
        RoleArn=ROLE,
        AlgorithmSpecification={
            "TrainingImage": image_uri,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": ["python", "-c"],
            "ContainerArguments": [script],
        },
        OutputDataConfig={"S3OutputPath": f"{MODELS}/models"},
        ResourceConfig={
            "InstanceType": "ml.m5.large",
            "InstanceCount": 1,
            "VolumeSizeInGB": 1,
        },
        StoppingCondition={"MaxRuntimeInSeconds": 600},
    )
    return name


def ended(line: Line, name: str) -> dict[str, Any]:
    """The description of a training job at its end."""

    def job() -> dict[str, Any] | None:
        found = line.client("sagemaker").describe_training_job(TrainingJobName=name)
        return dict(found) if found["TrainingJobStatus"] != "InProgress" else None

    found: dict[str, Any] = wait_for(job, WAIT)
    return found


def test_a_stop_of_a_training_job_ends_its_container(line: Line) -> None:
    name = training(line, GLUON, SLEEPS)
    wait_for(lambda: containers(line), WAIT)
    line.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert ended(line, name)["TrainingJobStatus"] == "Stopped"
    assert containers(line) == []
    assert jobs_left(line) == []


def test_a_stop_of_an_execution_ends_the_container_of_its_step(line: Line) -> None:
    execution = line.start("-p", "Epochs=1000", "-p", "Seed=3")
    wait_for(lambda: [one for one in containers(line) if "-Train-" in one], WAIT)
    line.run("pipeline", "stop", execution)
    wait_for(lambda: line.json("pipeline", "status", execution)["status"] == "Stopped", WAIT)
    assert containers(line) == []


def test_a_job_whose_image_is_not_here_fails_with_the_remedy(line: Line) -> None:
    job = ended(line, training(line, GLUON.replace("gluon-cpu:", "gluon-cpu:0"), SLEEPS))
    assert job["TrainingJobStatus"] == "Failed"
    assert "claimflow pipeline upsert" in job["FailureReason"]


def batch_job(line: Line, memory: int, script: str) -> str:
    """Submits a Batch job that runs a script in the images' base; its id."""
    batch, name = line.client("batch"), f"job-{uuid.uuid4().hex[:12]}"
    batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": "docker.io/library/python:3.11-slim-bookworm",
            "command": ["python", "-c", script],
            "user": "10001",
            "readonlyRootFilesystem": True,
            "linuxParameters": {"initProcessEnabled": True},
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": str(memory)},
            ],
        },
    )
    queue = "claimflow-dev-predict"
    job = batch.submit_job(jobName=name, jobQueue=queue, jobDefinition=name)
    return str(job["jobId"])


def failed(line: Line, identifier: str) -> dict[str, Any]:
    """The description of a Batch job that has failed."""

    def job() -> dict[str, Any] | None:
        found = line.client("batch").describe_jobs(jobs=[identifier])["jobs"][0]
        assert found["status"] != "SUCCEEDED"
        return dict(found) if found["status"] == "FAILED" else None

    found: dict[str, Any] = wait_for(job, WAIT)
    return found


def test_a_batch_job_that_needs_more_memory_than_its_definition_gives_says_so(line: Line) -> None:
    job = failed(line, batch_job(line, 64, "x = bytearray(500 * 2**20)"))
    assert job["container"]["exitCode"] == 137
    assert job["statusReason"].startswith("OutOfMemoryError: Container killed")
    assert "the 64 MiB that it had" in job["statusReason"]


def test_a_batch_job_that_is_terminated_leaves_no_container(line: Line) -> None:
    identifier = batch_job(line, 128, SLEEPS)
    wait_for(lambda: containers(line), WAIT)
    line.client("batch").terminate_job(jobId=identifier, reason="not needed")
    assert failed(line, identifier)["statusReason"] == "not needed"
    assert containers(line) == []
    assert jobs_left(line) == []


@pytest.mark.parametrize("engine_name", ["docker", "process"])
def test_what_a_kill_leaves_is_removed_at_the_next_start_whatever_its_engine(
    line: Line, engine_name: str
) -> None:
    name = training(line, GLUON, SLEEPS)
    wait_for(lambda: containers(line), WAIT)
    os.kill(line.json("local", "status")["pid"], signal.SIGKILL)
    assert len(containers(line)) == 1, "a container outlives what started it"
    line.run("local", "up", "--engine", engine_name)
    assert containers(line) == []
    assert jobs_left(line) == []
    assert ended(line, name)["TrainingJobStatus"] == "Failed"
    assert line.json("local", "status")["engine"] == engine_name
