"""What a pull request is told about itself, from two real checkouts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ci import differences

DEFINITION = {"Parameters": [], "Steps": [{"Name": "Train", "Type": "Training", "Arguments": {}}]}
TEMPLATE = "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n    Properties: {DelaySeconds: 5}\n"


def write(folder: Path, instance_type: str, template: str = TEMPLATE) -> None:
    """A source tree that prints a definition and has a template."""
    definition = json.loads(json.dumps(DEFINITION))
    definition["Steps"][0]["Arguments"] = {"ResourceConfig": {"InstanceType": instance_type}}
    package = folder / "pipelines"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(f"print({json.dumps(definition)!r})\n", "utf-8")
    (package / "stack.yaml").write_text(template, "utf-8")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    done = subprocess.run(
        ["git", *identity, *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one commit, and something else in its working tree."""
    folder = tmp_path / "repository"
    write(folder, "ml.c5.2xlarge")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "first")
    return folder


def run(repository: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    output = repository.parent / "differences.md"
    monkeypatch.setattr(differences, "ROOT", repository)
    monkeypatch.setattr(sys, "argv", ["differences", "--output", str(output), *arguments])
    code = differences.main()
    return code, output.read_text("utf-8") if output.exists() else ""


def test_a_changed_instance_type_and_a_changed_template_are_told(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, "ml.p3.8xlarge", TEMPLATE.replace("5", "900"))
    code, told = run(repository, monkeypatch, "HEAD")
    assert code == 0
    assert "**step Train**: instance type `ml.c5.2xlarge` → `ml.p3.8xlarge`" in told
    assert "### `pipelines/stack.yaml`" in told
    assert "`DelaySeconds` `5` → `900`" in told


def test_a_pull_request_that_changes_neither_is_told_so(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, told = run(repository, monkeypatch, "HEAD")
    assert code == 0
    assert told.count("No difference.") == 2


def test_a_template_that_is_new_is_told(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "batch").mkdir()
    (repository / "batch" / "stack.yaml").write_text(TEMPLATE, "utf-8")
    assert "resource Queue (AWS::SQS::Queue)**: added" in run(repository, monkeypatch, "HEAD")[1]


def test_code_that_builds_no_definition_does_not_hide_the_templates(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, "ml.c5.2xlarge", TEMPLATE.replace("5", "900"))
    (repository / "pipelines" / "cli.py").write_text("raise SystemExit('no such thing')", "utf-8")
    code, told = run(repository, monkeypatch, "HEAD")
    assert code == 0
    assert "cannot be compared: the code of now does not build one here (no such thing)" in told
    assert "`DelaySeconds` `5` → `900`" in told


@pytest.mark.parametrize("base", ["nowhere", "--output=x"])
def test_a_base_that_is_no_commit_is_one_line(
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    base: str,
) -> None:
    assert run(repository, monkeypatch, "--", base)[0] == 2
    assert capsys.readouterr().err.count("\n") == 1
