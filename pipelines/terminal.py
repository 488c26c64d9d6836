"""What a terminal is shown while something takes time: bars, a spinner, colours. Anything else, a
file or a pipe, gets plain lines, and never a character that steers a terminal.

`NO_COLOR` takes the colours away (https://no-color.org), `FORCE_COLOR` gives them to pipes, too.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

import click

from pipelines.plain_text import plain
from pipelines.transfers import Tell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

LARGE = 16 << 20  # bytes: less is there before a bar is drawn
_DRAWN_EVERY = 0.1  # seconds


def is_live(stream: TextIO) -> bool:
    """Whether what was written to the stream can be drawn again in its place."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def colour() -> bool | None:
    """Whether the environment wants colours; None: as the stream is."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return False if os.environ.get("TERM") in ("dumb", "unknown") else None


def console(stream: TextIO) -> Console:
    """A console of rich that decides as we do."""
    from rich.console import Console

    wanted = colour()
    return Console(
        file=stream,
        force_terminal=is_live(stream) or wanted is True,
        no_color=wanted is False,
        emoji=False,
        highlight=False,
    )


def progress(name: str, size: int | None = None) -> contextlib.AbstractContextManager[Tell]:
    """Shows on standard error how many bytes of something are there, and how fast they come: a bar
    on a terminal, a line for every tenth elsewhere. Of a `size` that is not large, nothing."""
    if size is not None and size < LARGE:
        return contextlib.nullcontext(lambda _done, _total: None)
    return _drawn(plain(name)) if is_live(sys.stderr) else _lines(plain(name))


@contextlib.contextmanager
def _drawn(name: str) -> Iterator[Tell]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console(sys.stderr),
        redirect_stdout=False,
        redirect_stderr=False,
    ) as shown:
        task, drawn = shown.add_task(name, total=None), 0.0

        def tell(done: int, total: int) -> None:
            nonlocal drawn
            now = time.monotonic()
            if done == total or now > drawn + _DRAWN_EVERY:  # it is told far more often
                drawn = now
                shown.update(task, completed=done, total=total or None)

        yield tell


@contextlib.contextmanager
def _lines(name: str) -> Iterator[Tell]:
    began, told = time.monotonic(), 0

    def tell(done: int, total: int) -> None:
        nonlocal told
        tenth = 10 * done // total if total else 0
        if tenth > told:
            told = tenth
            rate = done / max(time.monotonic() - began, 1e-3)
            click.echo(
                f"{name}: {tenth * 10} % of {total / 1e6:.0f} MB, {rate / 1e6:.1f} MB/s", err=True
            )

    yield tell


class Spinner:
    """Shows on a terminal what goes on and for how long, beneath the lines that are said."""

    def __init__(self, shown: Progress | None = None) -> None:
        self._shown = shown

    def say(self, line: str) -> None:
        """A line on standard error, terminal or not."""
        if self._shown is None:
            click.echo(line, err=True)
        else:
            self._shown.console.print(line, markup=False, soft_wrap=True)

    def now(self, text: str, done: int = 0, of: int | None = None) -> None:
        """What goes on from now on, and how many of how many parts of it are done."""
        if self._shown is not None:
            task = self._shown.task_ids[0]
            self._shown.update(task, description=text, completed=done, total=of)


@contextlib.contextmanager
def spinner(text: str, has_bar: bool = False) -> Iterator[Spinner]:
    """What goes on at first, until it has ended; with a bar for what has parts."""
    if not is_live(sys.stderr):
        yield Spinner()
        return
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *((BarColumn(), TaskProgressColumn()) if has_bar else ()),
        TimeElapsedColumn(),
        console=console(sys.stderr),
        redirect_stdout=False,
        redirect_stderr=False,
        transient=True,
    ) as shown:
        shown.add_task(text, total=None)
        yield Spinner(shown)
