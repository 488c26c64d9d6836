"""Explanations on this machine: the image's own command in its environment, kept warm."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pipelines.errors import UserError
from pipelines.explanation import Explanation, explained
from pipelines.local.environments import Environment
from pipelines.local.predict_here import check_model, image_here, variables_here
from pipelines.settings import Settings

LONGEST_TEXT = 1 << 20  # characters


class Explainer:
    """Explains texts with the model in a folder: `model.tar.gz`, or what that holds.

    A context manager. The process that loads the model starts at once, and nobody waits for it
    before the first text; it starts again when it has died. Threads may share an explainer: texts
    wait for each other. What the process prints is thrown away, so that no text reaches a log.

    Raises
    ------
    UserError
        There is no model in the folder, or the environment of the image cannot be made.
    """

    def __init__(self, settings: Settings, archive_folder: Path, timeout: float = 90.0) -> None:
        """`timeout`: seconds for one text, loading the model included."""
        check_model(archive_folder)
        self._image = image_here(settings)
        self._folder = archive_folder.resolve()
        self._timeout = timeout
        self._lock = threading.Lock()
        self._is_closed = False
        self._process = _Process(self._image, self._folder)

    def __enter__(self) -> Explainer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process for good: a text that it is at gets no answer."""
        self._is_closed = True
        while not self._lock.acquire(timeout=0.1):
            self._process.kill()  # again, where another one has just been started
        try:
            self._process.end()
        finally:
            self._lock.release()

    def explain(self, text: str) -> Explanation:
        """The label that the model gives the text, and which words spoke for and against it.

        Raises
        ------
        UserError
            The model cannot be used, the text is too long or takes too long, or the explainer was
            closed.
        """
        if len(text) > LONGEST_TEXT:
            raise UserError(
                f"the text has {len(text):,} characters: expected at most {LONGEST_TEXT:,}"
            )
        with self._lock:
            # That it was killed while it waited is known by its silence: a second try follows.
            answer = self._answer(text) or self._answer(text)
        if answer is None and self._is_closed:
            raise UserError("the text was not explained: its explainer was closed")
        if answer is None:
            raise UserError(
                "the process that explains has ended twice over this text: "
                "there may be too little memory for it"
            )
        return explained(text, answer)

    def _answer(self, text: str) -> dict[str, Any] | None:
        if self._is_closed:
            return None
        if self._process.has_ended:
            self._process = _Process(self._image, self._folder)
        return self._process.answer(text, self._timeout)


class _Process:
    """One process that loads the model."""

    def __init__(self, image: Environment, folder: Path) -> None:
        self.has_ended = False
        self._is_ready = False
        self._process = subprocess.Popen(
            image.command(["explain", "--model", str(folder)]),
            cwd=image.code,
            env=variables_here(image),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for us; it ends with its input
        )

    def answer(self, text: str, timeout: float) -> dict[str, Any] | None:
        """What it says of the text; None if it has ended without a word.

        Raises
        ------
        UserError
            The model cannot be used, or the time is over.
        """
        answer = None
        with self._killed_after(timeout) as is_late, contextlib.suppress(BrokenPipeError):
            self._await_model()
            self._write({"text": text})
            answer = self._read()
        if answer is None:
            self.end()
            if is_late.is_set():
                raise UserError(
                    f"the text was not explained within {timeout:.0f} s: try a shorter one"
                )
        return answer

    def kill(self) -> None:
        """Another thread may do so: whoever waits for an answer gets none."""
        self._process.kill()

    def end(self) -> None:
        self.has_ended = True
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # its loop ends
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    @contextlib.contextmanager
    def _killed_after(self, timeout: float) -> Iterator[threading.Event]:
        """Kills the process when the time is over, and says so by the event."""
        is_late = threading.Event()

        def kill() -> None:
            is_late.set()
            self._process.kill()

        timer = threading.Timer(timeout, kill)
        timer.start()
        try:
            yield is_late
        except BaseException:  # an answer that nobody reads would be taken for that of the next
            self._process.kill()
            self.end()
            raise
        finally:
            timer.cancel()

    def _await_model(self) -> None:
        if self._is_ready:
            return
        said = self._read()
        if said is None:
            raise BrokenPipeError
        if "error" in said:
            raise UserError(said["error"])
        self._is_ready = True

    def _write(self, document: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        # A line that was not ended is one that it died over.
        made: dict[str, Any] | None = json.loads(line) if line.endswith("\n") else None
        return made
