"""`docs/extending.md` is followed to the letter in a copy of the repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.documents import ROOT, blocks

DOCUMENT = ROOT / "docs" / "extending.md"
NEW_FILE = re.compile(r"New file `([\w./-]+)`:")
COPIED = ("batch", "ci", "containers", "docs", "lambdas", "pipelines", "steps", "tests")


def test_what_is_added_as_the_document_says_works(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for room in COPIED:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    tests = []
    for block in blocks(DOCUMENT):
        if block.language == "python":
            named = NEW_FILE.fullmatch(block.said)
            assert named, f"{block}: which file is this?"
            path = copy / named[1]
            assert not path.exists(), f"{block}: {named[1]} is there already"
            path.write_text(block.text, "utf-8")
        elif block.language == "diff":
            _run(["git", "apply", "--verbose", "-"], copy, block.text)
        elif block.is_commands:
            (command,) = block.commands
            program, *files = shlex.split(command)
            assert program == "pytest"
            tests += files
    assert len(tests) == 3
    # As it stands there each runs by itself; together they import MXNet and the SDK once.
    said = _run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *tests], copy)
    assert "passed" in said
    for check in ("ruff check", "ruff format --check"):
        _run([sys.executable, "-m", *check.split(), "--no-cache", *_python_files()], copy)


def _python_files() -> list[str]:
    return [found[1] for block in blocks(DOCUMENT) if (found := NEW_FILE.fullmatch(block.said))]


def _run(command: list[str], folder: Path, given: str | None = None) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
