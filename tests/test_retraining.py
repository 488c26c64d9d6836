"""Retraining as people and CI drive it: from an empty state folder, through the command line, with
real steps on a local cloud of its own.

The tests of this file stand on each other and run in their order: a first model, the same again, a
better one, a worse one, a broken file, a rollback, a runner that dies.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.line import Line, new_line

FIRST_ROWS = 700  # of the training data: what comes later makes a better model
SHUFFLED = 0.6  # of the labels
SETTINGS = """
min_accuracy = 0.5
cache_days = 1

[deployment]
retrain_on_data = false  # here only those start a run who say so
"""


class Claims:
    """Files of labelled claims, made of the sample's training data."""

    def __init__(self, sample: Path, folder: Path) -> None:
        with sample.open(encoding="utf-8", newline="") as file:
            self.header, *self.rows = list(csv.reader(file))
        self._folder = folder

    def write(self, name: str, rows: Sequence[Sequence[str]]) -> Path:
        path = self._folder / name
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([self.header, *rows])
        return path

    def shuffled(self, share: float) -> list[list[str]]:
        """All rows, this share of the labels dealt out anew."""
        at = self.header.index("label")
        dealer = random.Random(7)
        chosen = [number for number in range(len(self.rows)) if dealer.random() < share]
        labels = [self.rows[number][at] for number in chosen]
        dealer.shuffle(labels)
        rows = [list(row) for row in self.rows]
        for number, label in zip(chosen, labels, strict=True):
            rows[number][at] = label
        return rows


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    os.environ.pop("GITHUB_STEP_SUMMARY", None)  # of the CI that runs this test
    folder = tmp_path_factory.mktemp("retraining")
    (folder / "claimflow.toml").write_text(SETTINGS, "utf-8")
    with new_line(folder) as line:
        line.up()
        yield line


@pytest.fixture(scope="module")
def claims(line: Line) -> Claims:
    return Claims(line.sample.train, line.folder)


def executions(line: Line) -> list[str]:
    return [one["PipelineExecutionArn"] for one in line.json("pipeline", "list")]


def labelled(line: Line) -> tuple[Any, str]:
    """A client of S3, and the bucket that the labelled data lies in."""
    s3 = line.client("s3")
    return s3, next(one["Name"] for one in s3.list_buckets()["Buckets"] if "-data-" in one["Name"])


def retrained(line: Line, *arguments: str) -> Any:
    """The report for programs; what is told on the way stands before it."""
    said = line.run("retrain", "--json", *arguments)
    return json.loads(said[said.index("{\n") :])


def started(line: Line, *arguments: str) -> subprocess.Popen[str]:
    """A `claimflow retrain` that runs, and has told of its execution."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", "retrain", *arguments],
        cwd=line.folder,
        env={**line.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for text in process.stdout:
        said.append(text)
        if text.startswith(("started execution", "execution ")):
            return process
    raise AssertionError("".join(said))


def test_without_labelled_data_one_line_says_how_to_add_some(line: Line) -> None:
    said = line.run("retrain", code=2).splitlines()[-1]
    assert said.startswith("error: ")
    assert "claimflow data add" in said


def test_the_first_training_is_registered_and_can_be_approved(line: Line, claims: Claims) -> None:
    line.run("data", "add", str(claims.write("first.csv", claims.rows[:FIRST_ROWS])))
    line.run("data", "add", "--test", str(line.sample.test))
    summary = line.folder / "summary.md"
    said = line.run("retrain", "--cause", "push", "--summary", str(summary))
    assert "version 1 is registered and waits for approval" in said
    told = summary.read_text("utf-8")
    assert "| cause | push |" in told
    assert "There is no champion yet." in told
    assert "| Train | 1 × ml.c5.2xlarge |" in told
    line.run("model", "approve", "1", "--why", "the first")


def test_the_same_commit_and_data_again_do_nothing(line: Line) -> None:
    before = executions(line)
    said = line.run("retrain", "--cause", "push")
    assert "nothing has changed" in said
    assert "version 1 is registered and is approved" in said
    assert executions(line) == before


def test_new_labelled_data_gives_a_better_model_with_its_comparison(
    line: Line, claims: Claims
) -> None:
    line.run("data", "add", str(claims.write("second.csv", claims.rows[FIRST_ROWS:])))
    found = retrained(line)
    assert (found["outcome"], found["decision"], found["version"]) == ("registered", "started", 2)
    assert any("data" in change for change in found["changes"])
    comparison = found["evaluation"]["comparison"]
    assert comparison["has_champion"]
    assert comparison["regression_high"] < 0, "better beyond noise"
    assert comparison["only_challenger_right"] > comparison["only_champion_right"]
    assert all(bar["passed"] for bar in found["bars"])
    line.run("model", "approve", "2", "--why", "better")


def test_a_model_of_wrong_labels_is_rejected_with_the_figures(line: Line, claims: Claims) -> None:
    line.run("data", "add", str(claims.write("worse.csv", claims.shuffled(SHUFFLED))))
    summary = line.folder / "rejected.md"
    said = line.run("retrain", "--summary", str(summary), code=3)
    assert "missed: " in said
    assert "of accuracy against the champion" in said
    assert "| AllowedRegression |" in summary.read_text("utf-8")
    assert "| worse |" in summary.read_text("utf-8")
    assert len(line.json("model", "list")) == 2


def test_what_was_rejected_is_not_trained_again_and_stays_rejected(line: Line) -> None:
    before = executions(line)
    said = line.run("retrain", code=3)
    assert "nothing has changed" in said
    assert "the model was rejected" in said
    assert executions(line) == before


def test_a_broken_file_stops_at_validate_before_training(line: Line) -> None:
    s3, bucket = labelled(line)
    s3.put_object(Bucket=bucket, Key="labelled/train/broken.csv", Body=b"text,amount\nleaks,3\n")
    said = line.run("retrain", code=1)
    assert "Failed at Validate" in said
    steps = {step["name"] for step in line.json("pipeline", "status")["steps"]}
    assert "Train" not in steps
    assert len(line.json("model", "list")) == 2
    s3.delete_object(Bucket=bucket, Key="labelled/train/broken.csv")


def test_a_rollback_serves_the_old_version(line: Line) -> None:
    line.run("model", "rollback", "1", "--why", "2 confuses fire and smoke")
    output = line.folder / "out"
    line.run("predict", str(line.sample.new_claims), "--output", str(output))
    with (output / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assert {row["model_version"] for row in csv.DictReader(file)} == {"1"}


@contextlib.contextmanager
def training_stands_still(line: Line) -> Iterator[None]:
    """Waits for a training and holds it, so that the run lasts as long as it is needed."""
    deadline = time.monotonic() + 120
    while not (held := training_processes(line.folder)):
        assert time.monotonic() < deadline, "nothing trains"
        time.sleep(0.02)
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)


def training_processes(folder: Path) -> list[int]:
    """The processes of a training job that works below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_below = (process / "cwd").resolve(strict=True).is_relative_to(folder.resolve())
            if is_below and b"TRAINING_JOB_NAME=" in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def test_a_runner_that_dies_leaves_a_run_that_the_next_call_picks_up(line: Line) -> None:
    before, versions = len(executions(line)), len(line.json("model", "list"))
    asked = ("-p", "Seed=5", "-p", "AllowedRegression=1")
    killed = started(line, *asked)
    with training_stands_still(line):
        killed.kill()
        killed.communicate()
        cancelled = started(line, *asked)
        cancelled.send_signal(signal.SIGTERM)
        said, _ = cancelled.communicate(timeout=30)
        assert cancelled.returncode == 143, said
        assert "is left to itself: a second `claimflow retrain` follows it" in said
        last = started(line, *asked)
    said, _ = last.communicate(timeout=120)
    assert last.returncode == 0, said
    assert f"version {versions + 1} is registered" in said
    assert len(executions(line)) == before + 1
