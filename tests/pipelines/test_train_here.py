"""A training without pipeline and cloud: the image's own command, started from the command line."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli import predict as predict_command
from pipelines.cli.train import command
from pipelines.errors import UserError
from pipelines.local.environments import Environments
from pipelines.local.predict_here import TARGET
from pipelines.local.train_here import train_here
from pipelines.settings import Settings
from tests.image_here import environment_of_the_tests
from tests.steps.small_models import claims, write_table
from tests.terminals import on_a_terminal

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "code"
    code.mkdir()
    found = environment_of_the_tests(code)
    monkeypatch.setattr(Environments, "find", lambda _self, _uri: found)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing answers
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    write_table(claims(300), tmp_path / "labelled claims.csv")
    return tmp_path / "labelled claims.csv"


def train(file: Path, *more: str) -> Result:
    return CliRunner().invoke(command, ["--train", str(file), *more])


def test_a_trained_model_predicts(tmp_path: Path, labelled: Path) -> None:
    done = train(labelled, "--output", "model", "-p", "epochs=2")
    assert done.exit_code == 0, done.output
    assert "epoch=1 train_loss=" in done.stderr and "epoch=1" not in done.stdout
    assert "step=" not in done.output and "\x1b" not in done.output
    assert "ngram: 4 labels, 270 rows for training and 30 for validation" in done.stdout
    assert "validation accuracy" in done.stdout
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"model.tar.gz"}
    (tmp_path / "new.csv").write_text("text\nwater drips under the pump\n", "utf-8")
    given = [str(tmp_path / "new.csv"), "--model", "model", "--output", "out"]
    predicted = CliRunner().invoke(predict_command.command, given)
    assert predicted.exit_code == 0, predicted.output
    assert "leak" in (tmp_path / "out" / "predictions.csv").read_text("utf-8")


def test_programs_get_json_alone_and_columns_may_have_other_names(
    tmp_path: Path, labelled: Path
) -> None:
    body = labelled.read_bytes().replace(b"text,label", b"Claim text,cause", 1)
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(body))
    columns = ("--text-column", "Claim text", "--label-column", "cause")
    done = train(tmp_path / "c.csv.gz", *columns, "-p", "epochs=1", "-p", "smoothing=2", "--json")
    document = json.loads(done.stdout)
    assert document["model"] == "models/ngram/model.tar.gz"
    assert document["hyperparameters"]["smoothing"] == 2
    assert document["labels"] == ["electric", "finish", "leak", "noise"]
    assert 0 <= document["validation"]["validation_accuracy"] <= 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("-p", "smothing=1"), "'smothing' does not exist for kind 'ngram': did you mean"),
        (("-p", "epochs"), "expected NAME=VALUE"),
        (("--label-column", "cause"), "labelled claims.csv"),
    ],
)
def test_what_cannot_be_worked_with_is_one_line_and_leaves_nothing(
    tmp_path: Path, labelled: Path, more: tuple[str, ...], said: str
) -> None:
    done = train(labelled, "--output", "model", *more)
    assert isinstance(done.exception, UserError), done.output
    assert said in str(done.exception) and "\n" not in str(done.exception)
    assert "Traceback" not in done.output and "error" not in done.output
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file"),
        (b"text,label\na,b\n", "1 label"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "c.csv").write_bytes(content)
    done = train(tmp_path / "c.csv")
    assert isinstance(done.exception, UserError), done.output
    assert said in str(done.exception) and "\n" not in str(done.exception)
    assert not (tmp_path / "models").exists()


def test_that_files_are_of_this_machine_may_be_said(tmp_path: Path, labelled: Path) -> None:
    done = train(labelled, "--kind", "ngram", "--local-files", "-p", "epochs=1")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "models" / "ngram" / "model.tar.gz").exists()


@pytest.mark.parametrize("option", ["--output", "--checkpoints"])
@pytest.mark.parametrize("folder", ["taken", "taken/below"])
def test_a_folder_that_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, labelled: Path, option: str, folder: str
) -> None:
    (tmp_path / "taken").touch()
    done = train(labelled, option, folder)
    assert isinstance(done.exception, UserError), done.output
    assert str(done.exception).startswith(f"{folder}: ") and "epoch=" not in done.output


def test_a_kind_that_does_not_exist_is_refused_before_anything_runs(labelled: Path) -> None:
    done = train(labelled, "--kind", "transformer")
    assert done.exit_code == 2
    assert "'transformer' is not one of 'bert', 'cnn'" in done.output


def test_a_fault_of_ours_is_told_with_its_traceback_and_exit_code_1(
    tmp_path: Path, labelled: Path
) -> None:
    (tmp_path / "code" / "steps").unlink()
    (tmp_path / "code" / "steps.py").write_text("raise OSError('a fault of the disk')", "utf-8")
    done = train(labelled)
    assert done.exit_code == 1
    assert "OSError: a fault of the disk" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: the training failed with exit code 1"


# `claimflow`, in the environment of the tests.
SCRIPT = f"""
import sys
from pathlib import Path
from pipelines.cli import main
from pipelines.images import image
from pipelines.local.environments import Environment, Environments
found = Environment(image({TARGET!r}), Path(sys.prefix), Path("code").resolve())
Environments.find = lambda _self, _uri: found
main()
"""


@pytest.mark.parametrize(
    ("descents", "words"), [("1", "ngram: epoch 1 "), ("3", "ngram: descent 1 of 3, epoch 1 ")]
)
def test_a_terminal_is_shown_a_bar_of_how_far_the_training_is(
    labelled: Path, descents: str, words: str
) -> None:
    given = ["train", "--train", str(labelled), "-p", "epochs=1", "-p", f"descents={descents}"]
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    variables["TERM"] = "xterm-256color"
    shown = on_a_terminal([sys.executable, "-c", SCRIPT, *given], variables).decode()
    for each in ("ngram: reads and prepares", words, "epoch=1 train_loss=", "rows for training"):
        assert each in shown
    assert re.search(r"\d%", shown) and "step=" not in shown


def interrupted(file: Path, at: str) -> list[str]:
    """What a long training said that was interrupted as from a terminal, where SIGINT reaches all
    processes of the group, as soon as it said a line that begins so."""
    given = ("train", "--train", str(file), "-p", "epochs=1000", "-p", "patience=1000")
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *given, "--checkpoints", "kept"],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith(at):
            break
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    lines += process.stderr
    assert process.wait(30) == 130, lines
    assert time.monotonic() - began < 15
    return lines


def test_an_interrupted_training_ends_at_once_and_goes_on_from_its_checkpoint(
    tmp_path: Path, labelled: Path
) -> None:
    lines = interrupted(labelled, "epoch=3 ")
    assert "the same command goes on from kept\n" in lines and lines[-1] == "interrupted\n"
    assert "Traceback" not in "".join(lines)
    assert not (tmp_path / "models").exists()
    (checkpoint,) = (tmp_path / "kept").glob("*.npz")
    assert checkpoint.stat().st_size
    again = interrupted(labelled, "epoch=")
    (first, *_) = re.findall(r"^epoch=(\d+) ", "".join(again), re.MULTILINE)
    assert int(first) >= 3  # the figures of an epoch are printed before its checkpoint is written


# A training that is told to stop when its model is made and its checkpoint emptied.
ENDING = """
import os, signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, lambda *_: None)
(Path(os.environ["SAGEMAKER_BASE_DIR"]) / "model" / "model.json").write_text('{"kind": "ngram"}')
print("epoch=1", flush=True)
time.sleep(1)
"""


def test_an_interruption_that_comes_when_the_model_is_made_does_not_lose_it(
    tmp_path: Path, labelled: Path
) -> None:
    (tmp_path / "code" / "entrypoint.py").unlink()
    (tmp_path / "code" / "entrypoint.py").write_text(ENDING, "utf-8")

    def interrupt(_line: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    try:
        made = train_here(Settings.load(), labelled, {}, Path("model"), Path("kept"), interrupt)
    except KeyboardInterrupt:
        pytest.fail("it was taken for interrupted")
    assert made == {"kind": "ngram"}
    assert (tmp_path / "model" / "model.tar.gz").exists()
