"""What README.md and docs/ show is run: their commands in order, their Python, their outputs.

All documents share one local cloud that has run `make demo`. Each has a folder of its own, in
which its blocks are run by one shell, as a reader would type them. What cannot be run here is
marked (see `tests/documents.py`) or is a target of make: CI calls `lint`, `demo` and `test`
itself. Those commands are at least parsed, by `tests/test_docs.py`.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.documents import DOCUMENTS, NEEDS, Block, blocks
from tests.line import ROOT, Line, new_line

pytestmark = pytest.mark.xdist_group("snippets")

FOLLOWED = ROOT / "docs" / "extending.md"  # by tests/test_extending.py
GOES_ON = "…"
# What shows for a moment, or not at all if all is quick.
PASSING = re.compile(r"\s*(\w+ +(Executing|Starting) .*|waiting for the trigger|Batch job .*)")
_RAN = re.compile(r"\n\x01(\d+) (\d+)\n(.*?)\n\x02(\d+)\n", re.DOTALL)
# Words with a digit, and ids of twelve letters that happen to have none.
CUT = re.compile(r"\S*…\S*")
CHANGING = re.compile(r"[\w.:,+-]*\d[\w.:,+%-]*|\b[a-z0-9]{12}\b")


@dataclass
class Session:
    """A local cloud of its own, and a folder for each document."""

    line: Line
    demo: str  # what `make demo` has printed
    folders: dict[Path, Path] = field(default_factory=dict)

    def folder(self, document: Path) -> Path:
        """The document's folder, as a checkout looks to its commands."""
        if document not in self.folders:
            made = self.line.folder / document.stem
            made.mkdir()
            (made / ".venv").symlink_to(sys.prefix)
            (made / ".claimflow").symlink_to(self.line.folder / "state")
            self.folders[document] = made
        return self.folders[document]

    def run(self, document: Path) -> list[Ran]:
        """Runs all blocks of a document that can be run."""
        folder = self.folder(document)
        self.line.up()
        wanted = [block for block in blocks(document) if can_run(block)]
        script = ["exec 2>&1"]
        for place, block in enumerate(wanted):
            if "before" in block.marks:
                script.append(f"{block.marks['before']} || echo '{place} has not been prepared'")
            for number, command in enumerate(_commands(block, folder)):
                script += [f"printf '\\n\\1%s %s\\n' {place} {number}", command]
                script.append("printf '\\n\\2%s\\n' $?")
        environment = {
            **self.line.environment,
            "PATH": f"{Path(sys.prefix) / 'bin'}:{self.line.environment['PATH']}",
        }
        del environment["CLAIMFLOW_STATE"]  # the folder has it where it usually is
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],  # noqa: S607 - as a user has it
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=600,
            check=False,
        )
        assert "has not been prepared" not in done.stdout, done.stdout
        found = _RAN.findall(done.stdout)
        return [
            Ran(wanted[int(place)], int(number), said, int(code))
            for place, number, said, code in found
        ]


@dataclass(frozen=True)
class Ran:
    """A command of a block, and what came of it."""

    block: Block
    number: int
    said: str
    code: int


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with new_line(tmp_path_factory.mktemp("snippets")) as line:
        first = Session(line, "")
        folder = first.folder(ROOT / "docs" / "tour.md")
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "demo"],
            cwd=folder,
            env={**line.environment, "CLAIMFLOW_STATE": ".claimflow"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        first.demo = done.stdout
        yield first


def can_run(block: Block) -> bool:
    return (
        block.document != FOLLOWED
        and "needs" not in block.marks
        and (block.is_commands or block.language == "python")
    )


@pytest.mark.parametrize(
    "document",
    [one for one in DOCUMENTS if any(can_run(block) for block in blocks(one))],
    ids=lambda path: path.stem,
)
def test_what_a_document_shows_works_and_prints_what_it_says(
    session: Session, document: Path
) -> None:
    ran = session.run(document)
    expected = [block for block in blocks(document) if can_run(block)]
    assert {one.block for one in ran} == set(expected), "the shell has ended early"
    wrong = []
    for block in expected:
        own = [one for one in ran if one.block == block]
        codes = [one.code for one in own]
        right = [0] * (len(own) - 1) + [int(block.marks.get("exits", "0"))]
        said = "\n".join(one.said for one in own)
        if codes != right or "Traceback" in said:
            wrong.append(f"{block}: exit codes {codes}\n{said}")
    assert not wrong, "\n\n".join(wrong)
    faults = [
        f"{block}: {fault}\n\n{said}"
        for block, said in _outputs(session, document, ran)
        if (fault := difference(block.text, said))
    ]
    assert not faults, "\n\n".join(faults)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_what_is_not_run_says_what_it_lacks(document: Path) -> None:
    for block in blocks(document):
        assert block.marks.get("needs", "aws") in NEEDS, block
        assert not block.is_commands or block.language in ("", "sh"), block


def test_a_line_that_is_printed_no_more_is_found() -> None:
    said = "Validate      Executing     0.1 s\nValidate      Succeeded     7.8 s\nDone in 3 s\n"
    assert not difference("Validate      Succeeded               9.1 s\nDone in 41 s\n", said)
    assert not difference("…\nDone in 41 s\n", said)
    assert "Done" in difference("Validate      Succeeded  9.1 s\nDone after 41 s\n", said)
    assert "Gone" in difference("Gone\n…\n", said)
    assert "Done" in difference("Done in 41 s\nValidate Succeeded 1 s\n", said)
    assert "before the end" in difference("Validate Succeeded 1 s\n", said)


def _commands(block: Block, folder: Path) -> list[str]:
    """What the shell runs for a block."""
    if block.language == "python":
        path = folder / f"snippet_{block.line}.py"
        path.write_text(block.text, "utf-8")
        return [f"{shlex.quote(sys.executable)} {path.name}"]
    return [":" if command.split()[0] == "make" else command for command in block.commands]


def _outputs(session: Session, document: Path, ran: list[Ran]) -> Iterator[tuple[Block, str]]:
    """The blocks that are an output, with what the block before them has really printed."""
    before: Block | None = None
    for block in blocks(document):
        if block.language == "text" and before is not None:
            said = [one.said for one in ran if one.block == before]
            if before.commands[0] == "make demo":
                yield block, session.demo
            elif said:
                yield block, "\n".join(said)
        before = block if block.is_commands else None


def difference(shown: str, said: str) -> str:
    """What a document shows but a command did not say, empty if there is no such line.

    A line `…` stands for any lines, and within a line for any text; numbers, ids and times may
    differ, and what shows for a moment is left out.
    """
    lines = [_plain(line) for line in said.splitlines() if not PASSING.fullmatch(line)]
    lines = [line for line in lines if line]
    place, may_skip = 0, False
    for line in filter(str.strip, shown.splitlines()):
        if line.strip() == GOES_ON:
            may_skip = True
            continue
        pattern = ".*".join(re.escape(part.strip()) for part in _plain(line).split(GOES_ON))
        pattern = pattern.replace(".*", r"\s*.*?\s*")
        fitting = (at for at in range(place, len(lines)) if re.fullmatch(pattern, lines[at]))
        found = next(fitting, None)
        if found is None or (found != place and not may_skip):
            return f"expected {line!r}, found {lines[place : place + 1]}"
        place, may_skip = found + 1, False
    if place < len(lines) and not may_skip:
        return f"ends before the end: {lines[place]!r}"
    return ""


def _plain(line: str) -> str:
    """A line without what is different each time; a word that is cut short stands for any text."""
    return " ".join(CHANGING.sub("#", CUT.sub(GOES_ON, line)).split())
