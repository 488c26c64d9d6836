"""README.md, docs/ and what else is documentation, as the tests read it.

A block without a language, or of `sh`, whose first word is a program holds commands; a block of
`text` below it is what they print. Comments of HTML, which a reader does not see, say the rest:

    <!-- needs: aws -->          the next block cannot be run here (see NEEDS)
    <!-- before: command -->     what a test does before the next block; a reader has done it
    <!-- exits: 3 -->            the exit code of the next block's last command
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.images import ROOT

DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "lambdas" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
NEEDS = {"aws", "browser", "data", "engine", "gpu", "time"}
PROGRAMS = frozenset(
    {
        *("claimflow", ".venv/bin/claimflow", "make", "aws", "git", "apt-get"),
        *("python", "python3", "pytest", ".", "export", "eval", "head", "ls", "cat"),
    }
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (\w+): (.*?) -->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block, with the marks that stand before it and the heading that it is below."""

    document: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict, hash=False)
    said: str = ""  # the line of text before it

    def __str__(self) -> str:
        return f"{self.document.name}:{self.line}"

    @property
    def is_commands(self) -> bool:
        words = self.text.split(maxsplit=1)
        return self.language in ("", "sh") and bool(words) and words[0] in PROGRAMS

    @property
    def commands(self) -> list[str]:
        """One for each line, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in joined.splitlines() if line.strip()]


def blocks(document: Path) -> Iterator[Block]:
    """All blocks of a document, in their order."""
    text = document.read_text("utf-8")
    end = 0
    for found in FENCE.finditer(text):
        before = text[end : found.start()]
        marks = dict(_MARK.findall(before))
        lines = [line for line in _MARK.sub("", before).splitlines() if line.strip()]
        yield Block(
            document,
            text.count("\n", 0, found.start()) + 1,
            found[1],
            found[2],
            marks,
            lines[-1] if lines else "",
        )
        end = found.end()


def sentences(document: Path) -> str:
    """What is not in a block."""
    return FENCE.sub("", document.read_text("utf-8"))
