"""The model artifact: a flat folder of data, no code and no pickle, that proves its own integrity.

`model.json` tells what the model is, `model-symbol.json` and `model-0000.params` are Gluon's
exported network, `vocabulary.json` the words that some kinds know by number, and `manifest.json`
holds the sha256 sum of each of them.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
import tarfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steps.errors import InputError

FORMAT_VERSION = 1
INFO, MANIFEST = "model.json", "manifest.json"
SYMBOL, PARAMS = "model-symbol.json", "model-0000.params"
VOCABULARY = "vocabulary.json"  # of the kinds that have one
ARCHIVE = "model.tar.gz"

_FILES = frozenset({INFO, SYMBOL, PARAMS})
_ALL_FILES = _FILES | {VOCABULARY}
_UNPACKED_LIMIT = 4 << 30  # bytes
_MEMBER_LIMIT = 64
_PADDING = 1 << 20  # bytes after the last member, more than tar writes
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Decision:
    """How scores become a confidence (see `steps.decision`), and when a person should look."""

    temperature: float
    noise: float
    review_threshold: float  # predictions with less confidence are for review
    review_precision: float  # what the threshold was chosen to reach


@dataclass(frozen=True)
class Artifact:
    """An artifact whose sums were right."""

    folder: Path
    info: dict[str, Any]  # model.json as it stands
    kind: str
    labels: tuple[str, ...]
    decision: Decision


def write(folder: Path, info: dict[str, Any], export: Callable[[Path], None]) -> None:
    """Writes an artifact: `export` puts the network's two files into the folder it is given, and
    the vocabulary of a kind that has one.

    An interruption leaves no artifact: what was written is removed again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / VOCABULARY).unlink(missing_ok=True)  # another model's, which this may not have
    try:
        export(folder)
        described = {"format_version": FORMAT_VERSION, **info}
        (folder / INFO).write_text(_json(described), "utf-8")
        made = _FILES | ({VOCABULARY} if (folder / VOCABULARY).exists() else set())
        sums = {name: _sha256(folder / name) for name in sorted(made)}
        (folder / MANIFEST).write_text(_json({"sha256": sums}), "utf-8")
    except BaseException:
        for name in (MANIFEST, *_ALL_FILES):
            with suppress(OSError):
                (folder / name).unlink(missing_ok=True)
        raise


def read(folder: Path) -> Artifact:
    """Checks an artifact and tells what it is; nothing of it is loaded before.

    Raises InputError, naming the file, for one that is missing, damaged, not listed or malformed,
    and for a format version that is not ours.
    """
    sums = _object(folder / MANIFEST).get("sha256")
    if not isinstance(sums, dict):
        raise InputError(f"{MANIFEST} of the model lists no sha256 sums: train again")
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(_FILES - sums.keys()):
        raise InputError(f"{MANIFEST} of the model does not list {name}: train again")
    for name in sorted(sums.keys() - present):
        raise InputError(f"the model lacks {name[:100]!r}, which its {MANIFEST} lists: train again")
    for name in sorted(present - (sums.keys() & _ALL_FILES)):
        raise InputError(f"the model holds {name[:100]!r}, which does not belong there")
    for name, expected in sorted(sums.items()):
        if _sha256(folder / name) != expected:
            raise InputError(
                f"{name} of the model is damaged: its sha256 is not that of {MANIFEST}; "
                "fetch it again or train again"
            )
    return _described(folder, _object(folder / INFO))


def unpack(archive: Path, folder: Path) -> None:
    """Extracts a `model.tar.gz` into an existing folder.

    Only plain files at the top are taken: any other member, or more data than a model has, raises
    InputError.
    """
    left = _UNPACKED_LIMIT
    names: set[str] = set()
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
            for member in members:
                name = member.name.removeprefix("./")
                if member.isdir() and name in ("", "."):
                    continue
                if not member.isreg() or not _NAME.fullmatch(name) or name in names:
                    raise InputError(
                        f"{archive.name} holds {member.name[:100]!r}: expected plain files only, "
                        "each once and in no folder"
                    )
                names.add(name)
                left -= member.size
                if left < 0 or len(names) > _MEMBER_LIMIT:
                    raise InputError(
                        f"{archive.name} is too large: expected at most {_MEMBER_LIMIT} files "
                        f"and {_UNPACKED_LIMIT >> 30} GB"
                    )
                source = members.extractfile(member)
                if source is None:
                    raise InputError(f"{archive.name}: {name} cannot be read")
                with source, (folder / name).open("wb") as target:
                    while block := source.read(1 << 20):
                        target.write(block)
            stream.read(_PADDING)  # to its end, where gzip checks the sum
    except FileNotFoundError:
        raise InputError(f"there is no {archive.name} in {archive.parent.name}") from None
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{archive.name} is no readable tar archive with gzip: {error}") from error


def _described(folder: Path, info: dict[str, Any]) -> Artifact:
    """The artifact that `model.json` describes, its parts checked."""
    version = info.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"the model has format version {version!r}, this version reads {FORMAT_VERSION}: "
            "use the version that trained it, or train again"
        )
    try:
        labels = info["labels"]
        decision = Decision(**{name: float(value) for name, value in info["decision"].items()})
        kind = info["kind"]
        sound = (
            isinstance(kind, str)
            and len(labels) >= 2
            and all(isinstance(label, str) for label in labels)
            and len(set(labels)) == len(labels)
            and math.isfinite(decision.temperature)
            and decision.temperature > 0
            and 0 <= decision.noise < 1
            and math.isfinite(decision.review_threshold)
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"{INFO} of the model is malformed: train again")
    return Artifact(folder, info, kind, tuple(labels), decision)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the artifact."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if (path.parent / ARCHIVE).exists():
            raise InputError(
                f"the folder holds a packed model, {ARCHIVE}: expected what that holds, or "
                "Classifier.load_archive, which unpacks it"
            ) from None
        raise InputError(f"the model lacks {path.name}: it is no artifact of claimflow") from None
    except (OSError, ValueError, RecursionError):
        raise InputError(f"{path.name} of the model is not JSON: train again") from None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} of the model is not a JSON object: train again")
    return value


def _sha256(path: Path) -> str:
    if path.is_symlink() or not path.is_file():
        raise InputError(f"{path.name} of the model is no plain file")
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
