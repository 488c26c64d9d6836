"""A client that others wrote: the SageMaker SDK's own local mode trains in our image.

It writes a file for Docker Compose that mounts `/opt/ml`, and starts the image as it is: without an
argument, as root, on a network of its own.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from steps.classifier import Classifier
from tests.steps.small_models import claims, write_table


@pytest.fixture
def compose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Docker Compose: the plugin of docker, or the program of its own."""
    if shutil.which("docker") is None:  # the SDK asks it first, and breaks off where it is missing
        program = tmp_path / "bin" / "docker"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nexit 1\n", "utf-8")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    plugin = ["docker", "compose"]
    if subprocess.run([*plugin, "version"], capture_output=True, check=False).returncode == 0:
        return plugin
    if shutil.which("docker-compose") is None:
        pytest.skip("there is no Docker Compose, which the SDK's local mode needs")
    return ["docker-compose"]


@pytest.fixture
def local_job(
    compose: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of a job. Its containers and network, which the SDK leaves, go at the end."""
    monkeypatch.setenv("SAGEMAKER_VALIDATE_ROLE", "false")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    folder = tmp_path / "job"
    folder.mkdir()
    file = folder / "docker-compose.yaml"
    yield folder
    if file.exists():
        subprocess.run(
            [*compose, "-f", str(file), "down", "--timeout", "1"], capture_output=True, check=True
        )


def test_it_trains_a_model_that_our_classifier_loads(
    built: Callable[[str], str], local_job: Path, tmp_path: Path
) -> None:
    data = claims(200)
    write_table(data, tmp_path / "data" / "claims.csv")

    _train(built("gluon-cpu"), local_job, tmp_path / "data")

    model = Classifier.load_archive(local_job / "compressed_artifacts")
    predicted = [one.label for one in model.predict(data.texts)]
    right = sum(one == label for one, label in zip(predicted, data.labels, strict=True))
    assert right / len(predicted) > 0.9


def _train(image: str, folder: Path, data: Path) -> None:
    import boto3
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.train import ModelTrainer
    from sagemaker.train.configs import Compute, InputData
    from sagemaker.train.model_trainer import Mode

    without_telemetry: dict[str, Any] = {
        "SchemaVersion": "1.0",
        "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
    }
    ModelTrainer(
        training_mode=Mode.LOCAL_CONTAINER,
        training_image=image,
        role="arn:aws:iam::123456789012:role/local",
        sagemaker_session=Session(
            boto_session=boto3.Session("none", "none", region_name="eu-west-1"),
            default_bucket="none",
            sagemaker_config=without_telemetry,
        ),
        base_job_name="local",
        compute=Compute(instance_type="local_cpu", instance_count=1),
        hyperparameters={"epochs": "5", "seed": "1"},
        local_container_root=str(folder),
    ).train(input_data_config=[InputData(channel_name="train", data_source=str(data))], wait=True)
