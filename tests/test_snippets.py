"""What README.md and docs/ show is run: their commands in order, their Python, their outputs.

All documents share one local cloud that has run `make demo`. Each has a folder of its own, in
which its blocks are run by one shell, as a reader would type them. What cannot be run here is
marked (see `tests/documents.py`) or is a target of make: CI calls `lint`, `demo` and `test`
itself. Those commands are at least parsed, by `tests/test_docs.py`.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from steps.artifact import unpack
from tests.documents import DOCUMENTS, NEEDS, Block, blocks
from tests.line import ROOT, Line, new_line

FOLLOWED = ROOT / "docs" / "extending.md"  # by tests/test_extending.py
TOUR = ROOT / "docs" / "tour.md"
FORMATS = ROOT / "docs" / "file-formats.md"
GOES_ON = "…"
PATIENCE = 900  # seconds, for a machine that others use as well
# What shows for a moment, or not at all if all is quick.
PASSING = re.compile(
    r"\s*(\w+ +(Executing|Starting) .*|waiting for .*|claimed by the trigger|Batch job .*)"
)
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
    ran: dict[Path, list[Ran]] = field(default_factory=dict)

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
        """Runs all blocks of a document that can be run; once, whoever asks."""
        if document not in self.ran:
            self.ran[document] = self._run(document)
        return self.ran[document]

    def _run(self, document: Path) -> list[Ran]:
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
            timeout=PATIENCE,
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
        folder = first.folder(TOUR)
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "demo"],
            cwd=folder,
            env={**line.environment, "CLAIMFLOW_STATE": ".claimflow"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
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
    # The tour first: it shows what the commands print where nobody has worked yet.
    sorted(
        (one for one in DOCUMENTS if any(can_run(block) for block in blocks(one))),
        key=lambda one: one != TOUR,
    ),
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


def test_each_field_of_our_files_is_described_and_no_other(
    session: Session, tmp_path: Path
) -> None:
    session.run(TOUR)
    folder = session.folder(TOUR)
    unpack(folder / "model" / "model.tar.gz", tmp_path)
    objects = _objects(session, "runs/", "versions/", "decisions/")
    real = {
        "manifest.json": (folder / "results" / "manifest.json").read_bytes(),
        "model.json": (tmp_path / "model.json").read_bytes(),
        "versions/manifest.json": objects["versions/*/manifest.json"],
        "decision.json": objects["decisions/*"],
        **{
            name: objects[f"runs/*/{name}"]
            for name in ("evaluation.json", "statistics.json", "validation.json")
        },
    }
    text = FORMATS.read_text("utf-8")
    tables = dict(re.findall(r"<!-- keys: (\S+) -->\n\n((?:\|.*\n)+)", text))
    assert set(tables) == set(real)
    for name, table in tables.items():
        described = dict(re.findall(r"^\| `([^`]+)` \| ?(.*?) ?\| ", table, re.MULTILINE))
        assert not fields_at_odds(described, json.loads(real[name])), name
    columns = dict(re.findall(r"<!-- columns: (\S+) -->\n\n((?:\|.*\n)+)", text))
    for name, table in columns.items():
        header = (folder / "results" / name).read_text("utf-8").splitlines()[0].split(",")
        told = re.findall(r"^\| `(\w+)`", table, re.MULTILINE)
        assert header[-len(told) :] == told, name


def test_a_field_too_many_and_one_too_few_are_found() -> None:
    described = {"rows": "rows", "labels.<label>": "rows", "files[].key": "text", "more": ""}
    document = {"rows": 1, "labels": {"a.b": 2}, "files": [{"key": "x"}], "more": {"of": {"it": 1}}}
    assert not fields_at_odds(described, document)
    assert fields_at_odds(described, {**document, "new": 1}) == {"new"}
    assert fields_at_odds(described, {**document, "files": [{}]}) == {"files[].key"}


def fields_at_odds(described: dict[str, str], document: Any) -> set[str]:
    """Fields that are described but not there, and the other way round.

    A field that is described without a type stands for all that is below it.
    """
    patterns = {name: tuple(name.replace("[]", ".[]").split(".")) for name in described}

    def fits(path: tuple[str, ...], name: str) -> bool:
        pattern = patterns[name]
        if len(path) < len(pattern) or (described[name] and len(path) > len(pattern)):
            return False
        pairs = zip(pattern, path, strict=False)
        return all(part == key or part.startswith("<") for part, key in pairs)

    paths = set(_paths(document))
    unknown = {path for path in paths if not any(fits(path, name) for name in patterns)}
    missing = {name for name in patterns if not any(fits(path, name) for path in paths)}
    return missing | {".".join(path) for path in unknown}


def _paths(value: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of all values of a document; those of a list are one place."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from _paths(one, (*above, key))
    elif isinstance(value, list) and value:
        for one in value:
            yield from _paths(one, (*above, "[]"))
    elif value not in ({}, []):
        yield above


def _objects(session: Session, *prefixes: str) -> dict[str, bytes]:
    """The newest object of each kind below the prefixes, whatever the bucket; what lies between the
    first and the last part of its key is `*`."""
    session.line.up()
    s3 = session.line.client("s3")
    listed = [
        {**one, "Bucket": bucket["Name"]}
        for bucket in s3.list_buckets()["Buckets"]
        for prefix in prefixes
        for one in s3.list_objects_v2(Bucket=bucket["Name"], Prefix=prefix).get("Contents", [])
    ]
    newest: dict[str, bytes] = {}
    for one in sorted(listed, key=lambda one: one["LastModified"]):
        first, _, last = one["Key"].partition("/")
        name = "*" if first == "decisions" else f"*/{last.rpartition('/')[2]}"
        body = s3.get_object(Bucket=one["Bucket"], Key=one["Key"])["Body"]
        newest[f"{first}/{name}"] = body.read() if one["Size"] < 1 << 20 else b""
    return newest


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
