"""What CI gives to `claimflow retrain`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci.retrain import arguments_of

ROOT = Path(__file__).resolve().parents[2]
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("environment", "cause"),
    [
        ({"GITHUB_EVENT_NAME": "push", "GITHUB_SHA": SHA}, "push"),
        ({"GITHUB_EVENT_NAME": "schedule", "GITHUB_SHA": SHA}, "schedule"),
        ({"GITHUB_EVENT_NAME": "workflow_dispatch", "GITHUB_SHA": SHA}, "manual"),
        (
            {
                "CODEBUILD_BUILD_ID": "claims:1",
                "CODEBUILD_RESOLVED_SOURCE_VERSION": SHA,
                "CODEBUILD_WEBHOOK_EVENT": "PUSH",
                "CODEBUILD_INITIATOR": "GitHub-Hookshot/1",
            },
            "push",
        ),
        (
            {
                "CODEBUILD_BUILD_ID": "claims:1",
                "CODEBUILD_RESOLVED_SOURCE_VERSION": SHA,
                "CODEBUILD_INITIATOR": "rule/weekly",
            },
            "schedule",
        ),
        (
            {
                "CODEBUILD_BUILD_ID": "claims:1",
                "CODEBUILD_RESOLVED_SOURCE_VERSION": SHA,
                "CODEBUILD_INITIATOR": "somebody",
            },
            "manual",
        ),
    ],
)
def test_commit_and_cause_are_found_in_the_environment(
    environment: dict[str, str], cause: str
) -> None:
    assert arguments_of(environment) == ["--cause", cause, "--commit", SHA]


def test_outside_ci_it_is_a_run_by_hand() -> None:
    assert arguments_of({}) == ["--cause", "manual"]


def test_what_a_person_gives_to_a_run_is_passed_on_word_by_word() -> None:
    given = {
        "RETRAIN_PARAMETERS": " Epochs=5\nMinAccuracy=0.9; ",
        "RETRAIN_AGAIN": "true",
        "RETRAIN_STAGE": "prod",
    }
    assert arguments_of(given)[2:] == [
        *("--stage", "prod"),
        *("--parameter", "Epochs=5"),
        *("--parameter", "MinAccuracy=0.9;"),
        "--again",
    ]


def test_what_was_not_given_is_left_out() -> None:
    unset = {"RETRAIN_PARAMETERS": "", "RETRAIN_AGAIN": "false", "RETRAIN_STAGE": ""}
    assert arguments_of(unset) == ["--cause", "manual"]


def test_a_mistake_of_ci_is_one_line_and_exit_code_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ci.retrain"],
        cwd=tmp_path,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "GITHUB_SHA": SHA,
            "RETRAIN_PARAMETERS": "Epochs",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "error: --parameter Epochs: expected NAME=VALUE\n"
