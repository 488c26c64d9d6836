from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.steps.small_models import claims, training_job

ROOT = Path(__file__).parents[2]


def run(place: Path, job: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(place / "entrypoint.py"), *arguments],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job)},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The entry point beside the packages, as the images hold them."""
    place = tmp_path_factory.mktemp("image")
    shutil.copy(ROOT / "containers" / "entrypoint.py", place)
    shutil.copytree(ROOT / "steps", place / "steps")
    return place


@pytest.mark.parametrize("arguments", [(), ("serve",), ("",)])
def test_an_unknown_command_is_one_line(
    image: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    ran = run(image, tmp_path, *arguments)
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "expected one of: train, validate, evaluate, predict" in ran.stderr


def test_train_runs_in_a_process_of_its_own(image: Path, tmp_path: Path) -> None:
    job = training_job(tmp_path, claims(200))
    ran = run(image, tmp_path, "train")
    assert ran.returncode == 0, ran.stderr
    assert (job.model / "manifest.json").exists()


def test_a_mistake_is_one_line_and_the_reason_that_sagemaker_shows(
    image: Path, tmp_path: Path
) -> None:
    training_job(tmp_path, claims(200), epoch="3")
    ran = run(image, tmp_path, "train")
    assert ran.returncode == 1
    assert ran.stderr == (
        "error: hyperparameter 'epoch' does not exist for kind 'ngram': did you mean 'epochs'?\n"
    )
    assert (tmp_path / "output" / "failure").read_text() in ran.stderr


def test_evaluate_gets_its_arguments(image: Path, tmp_path: Path) -> None:
    ran = run(image, tmp_path, "evaluate", "--text-column", "x", "--label-column", "x")
    assert ran.returncode == 1
    assert 'both name "x"' in json.dumps(ran.stderr).replace('\\"', '"')
