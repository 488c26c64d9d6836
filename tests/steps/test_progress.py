"""How far a training is: what descent tells, and what is printed of it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import steps.progress
from steps.container import Container
from steps.descent import Position, Split, descend
from steps.models.ngram import NgramHyperparameters
from steps.progress import EVERY, Progress
from steps.train import train
from tests.steps.small_models import UNTRACKED, claims, training_job
from tests.steps.test_descent import EVERY as ROWS
from tests.steps.test_descent import task


def test_every_step_of_every_epoch_of_every_descent_is_told_in_order() -> None:
    seen: list[Position] = []
    settings = NgramHyperparameters(epochs=2, patience=2, learning_rate=0.1, batch_size=80)
    split = Split(ROWS, ROWS[:0])
    descend(task(descents=2), split, settings, lambda _: None, stepped=seen.append)
    every = itertools.product((1, 2), (1, 2), (1, 2, 3))
    assert seen == [Position(descent, 2, epoch, step, 3) for descent, epoch, step in every]


class Clock:
    """A clock that goes on by what each step takes, in seconds."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(steps.progress, "time", made)
    return made


def printed(
    clock: Clock, capsys: pytest.CaptureFixture[str], each: Iterator[float]
) -> list[tuple[float, str]]:
    """When what was printed while steps took so long."""
    progress, lines = Progress(), []
    for step, seconds in enumerate(each, 1):
        clock.now += seconds
        progress.show(Position(2, 3, 1, step, 5000))
        lines += [(clock.now, line) for line in capsys.readouterr().out.splitlines()]
    return lines


@pytest.mark.parametrize("seconds", [1e-3, 0.03, 0.4, 1.7])
def test_a_line_is_printed_about_every_second_however_long_a_step_takes(
    clock: Clock, capsys: pytest.CaptureFixture[str], seconds: float
) -> None:
    took = max(60 * seconds, 20.0)
    steps_ = itertools.repeat(seconds, int(took / seconds))
    lines = printed(clock, capsys, steps_)
    times = [when for when, _ in lines]
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert all(EVERY <= gap <= EVERY + seconds + 1e-6 for gap in gaps)
    assert times[0] == pytest.approx(1000 + seconds)  # the first at once
    assert clock.now - times[-1] <= max(EVERY, seconds)
    assert lines[0][1] == "step=1 of=5000 epoch=1 descent=2 descents=3"


def test_a_pause_within_a_step_keeps_no_later_line_back(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    steps_ = [*itertools.repeat(0.01, 1000), 30.0, *itertools.repeat(0.01, 1000)]
    after = [when for when, _ in printed(clock, capsys, iter(steps_)) if when > 1040]
    assert after[0] < 1042
    assert len(after) >= 5


def test_a_training_prints_how_far_it_is_if_asked_to_and_learns_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained(name: str, is_watched: bool) -> tuple[list[str], bytes]:
        job = training_job(tmp_path / name, claims(300), epochs="2")
        train(replace(job, shows_progress=is_watched), UNTRACKED)
        lines = capsys.readouterr().out.splitlines()
        return lines, (job.model / "model-0000.params").read_bytes()

    plain, learnt = trained("plain", is_watched=False)
    told, as_much = trained("watched", is_watched=True)
    position = re.compile(r"step=\d+ of=\d+ epoch=\d descent=\d descents=3")
    assert [line for line in told if position.fullmatch(line)]
    assert not any(line.startswith("step=") for line in plain)
    assert learnt == as_much


@pytest.mark.parametrize("said", [None, "", "0", "yes", "1"])
def test_a_job_shows_progress_where_its_environment_asks_for_it(said: str | None) -> None:
    environment = {} if said is None else {"CLAIMFLOW_PROGRESS": said}
    assert Container.from_environment(environment).shows_progress == (said == "1")
