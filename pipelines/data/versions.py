"""Data versions: what one moment's training has read, and how two of them differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal

from pipelines.errors import UserError

Set = Literal["train", "test"]
SETS: tuple[Set, ...] = ("train", "test")
FORMAT = 1  # of a manifest


@dataclass(frozen=True)
class LabelledFile:
    """A file in `labelled/` as it is now."""

    set: Set
    key: str
    etag: str
    bytes: int
    added_at: datetime


@dataclass(frozen=True)
class PinnedFile:
    """A file of a version; `rows` is None for what is no CSV."""

    key: str
    version_id: str
    etag: str
    sha256: str
    bytes: int
    rows: int | None
    added_at: str
    copy: str


@dataclass(frozen=True)
class Manifest:
    """A data version: its files in the order in which they are merged."""

    version: str
    made_at: str
    train: tuple[PinnedFile, ...]
    test: tuple[PinnedFile, ...]

    def files(self, name: Set) -> tuple[PinnedFile, ...]:
        return self.train if name == "train" else self.test

    def holds(self, file: LabelledFile) -> bool:
        """Whether a file of `labelled/` is in it, as it is now."""
        return any((one.key, one.etag) == (file.key, file.etag) for one in self.files(file.set))

    def document(self) -> dict[str, Any]:
        """For `--json`: as it lies in the bucket."""
        return {"format": FORMAT, **asdict(self)}


@dataclass(frozen=True)
class SetDiff:
    """How a set differs between two versions; files are told apart by their content."""

    added: tuple[PinnedFile, ...]
    removed: tuple[PinnedFile, ...]
    is_reordered: bool  # the same files in another order: of a claim, another label may win

    @property
    def is_changed(self) -> bool:
        return bool(self.added or self.removed or self.is_reordered)

    def document(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "rows_added": row_count(self.added),
            "rows_removed": row_count(self.removed),
            "is_changed": self.is_changed,
        }


def parsed(body: bytes, address: str) -> Manifest:
    """The version that a manifest in the bucket is of.

    Raises
    ------
    UserError
        It is damaged, or of another format.
    """
    try:
        document = json.loads(body)
        if document["format"] != FORMAT:
            raise UserError(
                f"{address} is of format {document['format']}, expected {FORMAT}: use the version "
                "of claimflow that made it"
            )
        names = [field.name for field in fields(PinnedFile)]
        train, test = (
            tuple(PinnedFile(**{name: one[name] for name in names}) for one in document[set_])
            for set_ in SETS
        )
        return Manifest(document["version"], document["made_at"], train, test)
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{address} is damaged: restore an earlier version of it") from None


def diff(old: Manifest, new: Manifest) -> dict[Set, SetDiff]:
    """How the sets of two versions differ."""
    return {name: _set_diff(old.files(name), new.files(name)) for name in SETS}


def row_count(files: Sequence[PinnedFile]) -> int:
    """The rows of all files that are CSV."""
    return sum(one.rows or 0 for one in files)


def _set_diff(old: Sequence[PinnedFile], new: Sequence[PinnedFile]) -> SetDiff:
    added, removed = _beyond(old, new), _beyond(new, old)
    stays = [
        [one.sha256 for one in files if one not in changed]
        for files, changed in ((old, removed), (new, added))
    ]
    return SetDiff(added, removed, is_reordered=stays[0] != stays[1])


def _beyond(some: Sequence[PinnedFile], more: Sequence[PinnedFile]) -> tuple[PinnedFile, ...]:
    """The files of `more` whose content `some` does not have, or not as often."""
    left = Counter(one.sha256 for one in some)
    beyond = []
    for one in more:
        left[one.sha256] -= 1
        if left[one.sha256] < 0:
            beyond.append(one)
    return tuple(beyond)
