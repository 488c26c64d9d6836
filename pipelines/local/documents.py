"""What the local cloud remembers: JSON documents, kept in memory and written through to files.

Every write replaces the file in one step, so that a crash leaves the old document or the new one.
"""

from __future__ import annotations

import hashlib
import json
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONGEST_NAME = 180
Document = dict[str, Any]


class Documents:
    """Documents by kind and id. Readers get copies; whoever changes one puts it back."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Document]] = {}
        for path in sorted(root.glob("*/*.json")):
            kept = json.loads(path.read_text("utf-8"))
            self._kinds.setdefault(path.parent.name, {})[kept["key"]] = kept["document"]

    def get(self, kind: str, key: str) -> Document | None:
        with self._lock:
            document = self._kinds.get(kind, {}).get(key)
            return None if document is None else _copy(document)

    def all(self, kind: str) -> list[Document]:
        with self._lock:
            return [_copy(document) for document in self._kinds.get(kind, {}).values()]

    def find(self, kind: str, is_wanted: Callable[[Document], bool]) -> list[Document]:
        """Copies of those that are wanted; the others are not copied, which is what takes time."""
        with self._lock:
            documents = self._kinds.get(kind, {}).values()
            return [_copy(document) for document in documents if is_wanted(document)]

    def put(self, kind: str, key: str, document: Document) -> None:
        with self._lock:
            self._kinds.setdefault(kind, {})[key] = _copy(document)
            self._write(kind, key, document)

    def change(self, kind: str, key: str, change: Callable[[Document], None]) -> Document:
        """Changes one document, with nobody in between, and returns a copy of what it is now."""
        with self._lock:
            document = self._kinds[kind][key]
            change(document)
            self._write(kind, key, document)
            return _copy(document)

    def delete(self, kind: str, key: str) -> None:
        with self._lock:
            self._kinds.get(kind, {}).pop(key, None)
            self._path(kind, key).unlink(missing_ok=True)

    def _path(self, kind: str, key: str) -> Path:
        name = urllib.parse.quote(key, safe="")
        if len(name) > LONGEST_NAME:  # the names of pipelines are longer than those of files may be
            name = f"{name[:100]}-{hashlib.sha256(key.encode()).hexdigest()}"
        return self._root / kind / f"{name}.json"

    def _write(self, kind: str, key: str, document: Document) -> None:
        kept = {"key": key, "document": document}
        write_atomically(self._path(kind, key), json.dumps(kept).encode())


def _copy(document: Document) -> Document:
    """What a restart would read back; several times as fast as `copy.deepcopy`."""
    copied: Document = json.loads(json.dumps(document))
    return copied


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a crash, sees all of it or nothing."""
    temporary = path.with_name(f"{path.name}.{threading.get_ident()}.part")
    try:
        temporary.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
    temporary.replace(path)
