"""What is shown while something takes time: on a terminal, on a dumb one, and in a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminals import on_a_terminal

ROOT = Path(__file__).resolve().parents[2]
ESCAPE = b"\x1b"
COLOUR = re.compile(rb"\x1b\[[0-9;]*3[0-9]")
PROGRAM = """
import time

import sys
import click
from pipelines.cli import claimflow, main
from pipelines.execution_status import ExecutionStatus, StepStatus
from pipelines.follow import follow
from pipelines.terminal import progress, spinner

@click.command("show")
def show():
    with progress("a [x] file.csv\\x1b[31m", 40_000_000) as tell:
        for done in range(0, 40_000_001, 1_000_000):
            tell(done, 40_000_000)
            time.sleep(0.005)
    with progress("small.csv", 4) as tell:
        tell(4, 4)
    with spinner("waits") as shown:
        shown.say("one [x] :fire: line")
        shown.now("waits on")
    with spinner("begins", has_bar=True) as shown:
        for done in range(21):
            shown.now(f"part {done} [x]", done, 20)
            time.sleep(0.02)
    step = lambda state: StepStatus("Train", "TrainingJob", state)
    follow(ExecutionStatus("arn/run", s, "", [step(s)]) for s in ("Executing", "Succeeded"))
    click.echo(click.style("the end", fg="red"))

claimflow.get_command = lambda _context, _name: show
sys.argv = ["claimflow", "show"]
main()
"""


def environment(**variables: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "COLUMNS": "100", **variables}


def shown_live(**variables: str) -> bytes:
    """What the program writes on a terminal."""
    return on_a_terminal([sys.executable, "-c", PROGRAM], environment(**variables))


def in_a_pipe(**variables: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(**variables),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_a_terminal_gets_bars_and_tables_that_are_drawn_in_place_and_colours() -> None:
    shown = shown_live(TERM="xterm-256color")
    assert b"\x1b[1A" in shown or b"\x1b[2K" in shown  # a line that is drawn again
    assert COLOUR.search(shown)
    for part in (b"a [x] file.csv", b"40.0/40.0 MB", b"MB/s", b"one [x] :fire: line", b"waits on"):
        assert part in shown
    assert re.search(rb"part 1\d \[x\].* [5-9]\d%", shown)
    assert b"small.csv" not in shown
    assert b"csv\x1b[31m" not in shown


def test_no_color_takes_the_colours_away_and_leaves_the_bars() -> None:
    shown = shown_live(TERM="xterm-256color", NO_COLOR="1")
    assert not COLOUR.search(shown)
    assert b"\x1b[2K" in shown
    assert b"the end" in shown


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"TERM": "unknown"}])
def test_a_dumb_terminal_gets_plain_lines(variables: dict[str, str]) -> None:
    shown = shown_live(**variables)
    assert ESCAPE not in shown
    assert b"100 % of 40 MB" in shown
    assert b"Succeeded" in shown


@pytest.mark.parametrize("variables", [{}, {"TERM": "xterm-256color"}, {"NO_COLOR": "1"}])
def test_a_pipe_never_gets_an_escape_sequence(variables: dict[str, str]) -> None:
    shown = in_a_pipe(**variables)
    assert ESCAPE not in shown and b"\r" not in shown
    lines = shown.decode().splitlines()
    assert sum(line.startswith("a [x] file.csv") for line in lines) == 10
    assert not any("part" in line for line in lines)
    assert "one [x] :fire: line" in lines
    assert [line.split()[1] for line in lines if line.startswith("Train")] == [
        "Executing",
        "Succeeded",
    ]


def test_force_color_gives_a_pipe_colours_but_nothing_that_is_drawn_in_place() -> None:
    shown = in_a_pipe(FORCE_COLOR="1", TERM="xterm-256color")
    assert COLOUR.search(shown)
    assert not re.search(rb"\x1b\[\??[0-9]*[A-HJKhl]", shown) and b"\r" not in shown
    assert not COLOUR.search(in_a_pipe(FORCE_COLOR="1", NO_COLOR="1"))
