"""The workflows: thin, pinned, and with no more rights than they need. (`make lint` lints them.)"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
USES = re.compile(r"uses: (?P<action>[\w./-]+)@(?P<commit>[0-9a-f]{40}) # v\d+\.\d+\.\d+$")
Document = dict[Any, Any]


def read(name: str) -> Document:
    document: Document = yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text("utf-8"))
    return document


def steps(document: Document) -> list[Document]:
    return [step for job in document["jobs"].values() for step in job["steps"]]


def commands(document: Document) -> list[str]:
    return [step["run"] for step in steps(document) if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(path: Path) -> None:
    used = [line for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    assert used
    assert [line for line in used if not USES.search(line)] == []


def test_one_action_has_one_commit_everywhere() -> None:
    lines = [line for path in WORKFLOWS for line in path.read_text("utf-8").splitlines()]
    found = {match.group("action", "commit") for match in map(USES.search, lines) if match}
    assert found
    assert len(found) == len({action for action, _ in found})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_no_workflow_needs_a_stored_secret(path: Path) -> None:
    assert "secrets." not in path.read_text("utf-8")


def test_the_check_of_pull_requests_may_only_read() -> None:
    document = read("check.yml")
    assert document["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in document["jobs"].values())
    assert "pull_request_target" not in document[True]  # YAML takes the key `on` for true


def test_the_check_runs_what_ci_runs_on_a_clean_checkout() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    wanted = [line for line in script if line.startswith("make ")]
    assert wanted
    assert [one for one in commands(read("check.yml")) if one in wanted] == wanted


def test_retraining_may_take_a_role_and_read_the_code_and_nothing_else() -> None:
    document = read("retrain.yml")
    assert document["permissions"] == {}
    (job,) = document["jobs"].values()
    assert job["permissions"] == {"contents": "read", "id-token": "write"}


def test_a_retraining_is_never_cancelled_by_a_newer_one_and_ends_before_its_credentials() -> None:
    document = read("retrain.yml")
    assert document["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    (job,) = document["jobs"].values()
    (lifetime,) = [
        step["with"]["role-duration-seconds"]
        for step in job["steps"]
        if "role-duration-seconds" in step.get("with", {})
    ]
    assert job["timeout-minutes"] * 60 < lifetime
    role = yaml.safe_load(re.sub(r"!\w+", "", (ROOT / "ci" / "stack.yaml").read_text("utf-8")))
    assert lifetime <= role["Resources"]["CiRole"]["Properties"]["MaxSessionDuration"]


def test_what_a_person_gives_reaches_no_shell_as_code() -> None:
    assert [one for one in commands(read("retrain.yml")) if "${{" in one] == []


def test_codebuild_runs_the_same_as_the_workflow() -> None:
    document = yaml.safe_load((ROOT / "buildspec.yml").read_text("utf-8"))
    assert document["version"] == 0.2
    assert set(document["phases"]) <= {"install", "pre_build", "build", "post_build"}
    phases = document["phases"].values()
    ours = [command for phase in phases for command in phase["commands"]]
    workflow = " ".join(commands(read("retrain.yml")))
    shared = ("make .venv/.ready", ".venv/bin/python -m ci.retrain")
    assert all(any(one.startswith(what) for one in ours) and what in workflow for what in shared)
