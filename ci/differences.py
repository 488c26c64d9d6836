"""What a pull request changes in the pipeline and in the account, for a comment.

    python -m ci.differences origin/main --output differences.md

The definition of before is built by the code of before; the templates are read from there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipelines.definition_diff import markdown, template_differences, write_diff
from pipelines.deployment.templates import read_template

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 300


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ci.differences", description=__doc__)
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("--output", type=Path, help="append it to this file, too")
    given = parser.parse_args()
    try:
        with checkout(ROOT, given.base) as before:
            told = differences(before, ROOT)
    except subprocess.SubprocessError as error:
        print(f"error: {given.base}: {_last_line(error)}", file=sys.stderr)
        return 2
    print(told)
    if given.output:
        with given.output.open("a", encoding="utf-8") as file:
            file.write(told)
    return 0


def differences(before: Path, after: Path) -> str:
    """The differences of two checkouts as Markdown: the definition's, then each template's."""
    return "\n".join(
        ["## What this changes", "", _definitions(before, after), *_templates(before, after)]
    )


@contextlib.contextmanager
def checkout(repository: Path, commit: str) -> Iterator[Path]:
    """A folder with the files of a commit, for as long as it is needed."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", "--end-of-options", commit],  # noqa: S607
        cwd=repository,
        capture_output=True,
        check=True,
        timeout=SECONDS,
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(folder, filter="data")
        yield Path(folder)


def _definitions(before: Path, after: Path) -> str:
    texts = []
    for place in (before, after):
        try:
            texts.append(_definition(place))
        except subprocess.SubprocessError as error:
            which = "before" if place is before else "now"
            return (
                "### Pipeline definition\n\nIt cannot be compared: the code of "
                f"{which} does not build one here ({_last_line(error)}).\n"
            )
    return write_diff(*texts)


def _definition(place: Path) -> str:
    """The definition that the code in a folder builds, with that folder's settings."""
    done = subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "pipeline", "definition"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    return done.stdout


def _templates(before: Path, after: Path) -> Iterator[str]:
    """A section for each template that differs."""
    names = {path.relative_to(place) for place in (before, after) for path in _stacks(place)}
    changed = False
    for name in sorted(names):
        old, new = (_template(place / name) for place in (before, after))
        if old != new:
            changed = True
            yield markdown(f"`{name}`", template_differences(old, new))
    if not changed:
        yield markdown("Templates", [])


def _stacks(place: Path) -> Iterator[Path]:
    return place.glob("*/stack.yaml")


def _template(path: Path) -> dict[str, object]:
    return read_template(path) if path.exists() else {}


def _last_line(error: subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it took more than {SECONDS} s"
    said = getattr(error, "stderr", None) or ""
    lines = (said.decode() if isinstance(said, bytes) else said).strip().splitlines()
    return lines[-1] if lines else "no reason was given"


if __name__ == "__main__":
    sys.exit(main())
