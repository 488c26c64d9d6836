"""Logs of jobs and functions: CloudWatch Logs of the local cloud, and files that survive it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from pipelines.local.documents import write_atomically
from pipelines.local.moto_services import LogGroups

KEPT_SECONDS = 14 * 86_400  # CloudWatch Logs takes no older events; the files stay
_MARKER = ".group"  # holds the name of a folder's log group; no stream can have this name


class Logs:
    """Makes log streams, and brings them back after a restart."""

    def __init__(self, root: Path, groups: LogGroups) -> None:
        self._root = root
        self._groups = groups

    def open(self, group: str, stream: str) -> LogStream:
        """A new stream of a group; both are made where they are missing."""
        self._groups.create_stream(group, stream)
        path = self._root / group.strip("/") / f"{stream}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        marker = self._root / group.strip("/") / _MARKER
        if not marker.exists():
            marker.write_text(group, "utf-8")
        return LogStream(self._groups, group, stream, path)

    def restore(self) -> None:
        """Puts the kept streams back into CloudWatch Logs."""
        for marker in sorted(self._root.rglob(_MARKER)):
            group = marker.read_text("utf-8")
            for path in sorted(marker.parent.rglob("*.jsonl")):
                if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                    continue
                stream = path.relative_to(marker.parent).as_posix().removesuffix(".jsonl")
                self._groups.create_stream(group, stream)
                self._groups.put(group, stream, _read_events(path))


class LogStream:
    """One stream: lines go to its file and to CloudWatch Logs."""

    def __init__(self, groups: LogGroups, group: str, stream: str, path: Path) -> None:
        self.group = group
        self.stream = stream
        self._groups = groups
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock:
            event = {"timestamp": int(time.time() * 1000), "message": line or " "}
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()
            self._groups.put(self.group, self.stream, [event])

    def close(self) -> None:
        self._file.close()


def _read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a file; a last line that a crash cut short is left out, in the file too."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomically(path, whole)
    return [json.loads(line) for line in whole.splitlines()]
