"""The command line: quick to answer, one line for a mistake, exit codes that mean something."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipelines import cli
from pipelines.cli import claimflow

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("sagemaker", "boto3", "botocore", "mlflow", "moto", "mxnet", "pandas", "rich", "pydantic")
PROGRAM = 'import sys; sys.argv[0] = "claimflow"; from pipelines.cli import main; main()'


def paths(command: click.Command = claimflow, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Every command below a command, and itself."""
    yield list(path)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from paths(below, (*path, name))


COMMANDS = list(paths())


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("completes", [{}, {"_CLAIMFLOW_COMPLETE": "bash_complete"}])
def test_help_and_completion_import_nothing_heavy(
    completes: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys; sys.argv = ['claimflow', '--help']\n"
        "from pipelines.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('heavy:', sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "COMP_WORDS": "claimflow p",
            "COMP_CWORD": "1",
            **completes,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "heavy: []" in done.stdout


@pytest.mark.parametrize("command", COMMANDS[1:], ids=" ".join)
def test_every_help_text_has_an_example_that_the_command_takes(
    command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = CliRunner().invoke(claimflow, [*command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    told = shown.output.partition("Example:")[2].partition("\nOptions:")[0]
    # The part of a line that is a call: before what the shell does with it.
    calls = re.findall(r"(?<![\w-])claimflow( [^|>#)\n]+)", told)
    assert calls
    called: list[str] = []
    monkeypatch.setattr(click.Command, "invoke", lambda _, ctx: called.append(ctx.command_path))
    for call in calls:
        done = CliRunner().invoke(claimflow, shlex.split(call), prog_name="claimflow")
        assert done.exit_code == 0, f"claimflow{call}: {done.output}"
    assert any(path.startswith(" ".join(["claimflow", *command])) for path in called)


def completed(shell: str, line: str, folder: Path) -> list[str]:
    """What a shell is told when somebody presses the tab key at the end of a line."""
    words = line.split(" ")
    variables = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    if shell == "fish":
        variables["COMP_CWORD"] = words[-1]
    variables["_CLAIMFLOW_COMPLETE"] = f"{shell}_complete"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("claimflow pipel", "pipeline"),
        ("claimflow pipeline sta", "status"),
        ("claimflow pipeline status --wa", "--watch"),
        ("claimflow train --kind text", "textcnn"),
        ("claimflow completion z", "zsh"),
    ],
)
def test_shells_complete_commands_options_and_choices(
    shell: str, line: str, expected: str, tmp_path: Path
) -> None:
    assert expected in " ".join(completed(shell, line, tmp_path)).replace(",", " ").split()


def test_the_printed_completion_works_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "claimflow"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{PROGRAM}' \"$@\"\n", "utf-8")
    program.chmod(0o755)
    script = """
        eval "$(claimflow completion bash)"
        COMP_WORDS=(claimflow pipeline st) COMP_CWORD=2
        _claimflow_completion claimflow
        echo "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert set(done.stdout.split()) >= {"start", "stop", "status", "steps"}, done.stderr


def test_a_mistyped_command_gets_the_nearest_one(tmp_path: Path) -> None:
    done = run("pipelin", folder=tmp_path)
    assert done.returncode == 2
    assert "Did you mean pipeline?" in done.stderr


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"CLAIMFLOW_MIN_ACCURACY": "high"}, "setting min_accuracy"),
        ({"CLAIMFLOW_ACCOUNT": "12"}, "setting account"),
        ({"CLAIMFLOW_PROJECT": "p" * 16, "CLAIMFLOW_STAGE": "s" * 16}, "S3 allows 63"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    done = run("pipeline", "list", folder=tmp_path, **variables)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('projekt = "x"', "there is no setting projekt; did you mean project?"),
        ("not toml at all", "cannot be read"),
    ],
)
def test_a_settings_file_that_does_not_fit_is_one_line(
    tmp_path: Path, content: str, said: str
) -> None:
    (tmp_path / "claimflow.toml").write_text(content, "utf-8")
    done = run("pipeline", "list", folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ("pipeline", "list"),
        ("pipeline", "status"),
        ("model", "list"),
        ("predict", "claims.csv"),
    ],
    ids=" ".join,
)
def test_without_credentials_the_user_is_told_what_to_do(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "claims.csv").write_text("text\na\n", "utf-8")
    done = run(*command, folder=tmp_path, AWS_EC2_METADATA_DISABLED="true")
    assert done.returncode == 2
    assert "claimflow local up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_endpoint_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    done = run("model", "list", folder=tmp_path, AWS_ENDPOINT_URL="http://127.0.0.1:9", **keys)
    assert done.returncode == 2
    assert "http://127.0.0.1:9 does not answer" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("demo", "--train", "a.csv"), "needs --train and --test"),
        (("demo", "--train", "a.csv", "--test", "b.csv"), "a.csv: there is no such file"),
        (("local", "env"), "claimflow local up"),
        (("predict", "a.csv", "--model", "models/3"), "a.csv: there is no such file"),
        (("model", "rollback", "2"), "needs its reason"),
        (("data", "add", "a.csv"), "a.csv: there is no such file"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [("local", "up"), ("data", "sample", "file")], ids=lambda one: one[0]
)
def test_a_file_where_a_folder_belongs_is_one_line(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    done = run(*arguments, folder=tmp_path, CLAIMFLOW_STATE=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "file: File exists" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_sample_does_not_overwrite_a_users_file(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("mine", "utf-8")
    done = run("data", "sample", ".", folder=tmp_path)
    assert done.returncode == 2
    assert "name another folder" in done.stderr
    assert (tmp_path / "train.csv").read_text("utf-8") == "mine"
    assert run("data", "sample", "other", folder=tmp_path).returncode == 0
    assert run("data", "sample", "other", folder=tmp_path).returncode == 0, "the same again"


def test_local_status_tells_programs_that_nothing_runs(tmp_path: Path) -> None:
    done = run("local", "status", "--json", folder=tmp_path)
    assert done.returncode == 1
    assert '"running": false' in done.stdout


def test_what_a_stranger_has_named_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["claimflow", "retrain", "-p", "\x1b[31mEpochs\n"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    said = capsys.readouterr().err
    assert said.startswith("error: --parameter \N{REPLACEMENT CHARACTER}[31mEpochs")
    assert said.count("\n") == 1
