"""Logs of jobs and functions: CloudWatch Logs of the local cloud, and files that survive it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from pathlib import Path
from typing import Any

from pipelines.local.documents import write_atomically

FLUSH_SECONDS = 0.5
KEPT_SECONDS = 14 * 86_400  # CloudWatch Logs takes no older events; the files stay
_MARKER = ".group"  # holds the name of a folder's log group; no stream can have this name
_PAGE = 5000  # events that are sent at once


class Logs:
    """Makes log streams, and brings them back after a restart."""

    def __init__(self, root: Path, client: Any) -> None:
        self._root = root
        self._client = client

    def open(self, group: str, stream: str) -> LogStream:
        """A new stream of a group; both are made where they are missing."""
        self._create(group, stream)
        path = self._root / group.strip("/") / f"{stream}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        marker = self._root / group.strip("/") / _MARKER
        if not marker.exists():
            marker.write_text(group, "utf-8")
        return LogStream(self._client, group, stream, path)

    def restore(self) -> None:
        """Puts the kept streams back into CloudWatch Logs."""
        for marker in sorted(self._root.rglob(_MARKER)):
            group = marker.read_text("utf-8")
            for path in sorted(marker.parent.rglob("*.jsonl")):
                if path.stat().st_mtime < time.time() - KEPT_SECONDS:
                    continue
                stream = path.relative_to(marker.parent).as_posix().removesuffix(".jsonl")
                self._create(group, stream)
                _send(self._client, group, stream, _read_events(path))

    def _create(self, group: str, stream: str) -> None:
        errors = self._client.exceptions
        with contextlib.suppress(errors.ResourceAlreadyExistsException):
            try:
                self._client.create_log_stream(logGroupName=group, logStreamName=stream)
            except errors.ResourceNotFoundException:
                with contextlib.suppress(errors.ResourceAlreadyExistsException):
                    self._client.create_log_group(logGroupName=group)
                self._client.create_log_stream(logGroupName=group, logStreamName=stream)


class LogStream:
    """One stream: lines go to its file at once, and to CloudWatch Logs twice a second."""

    def __init__(self, client: Any, group: str, stream: str, path: Path) -> None:
        self.group = group
        self.stream = stream
        self._client = client
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._closed = threading.Event()
        self._flusher = threading.Thread(target=self._flush_regularly, daemon=True)
        self._flusher.start()

    def write(self, line: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": line or " "}
        with self._lock:
            self._waiting.append(event)
            self._file.write(json.dumps(event) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._closed.set()
        self._flusher.join()
        self._file.close()

    def _flush_regularly(self) -> None:
        while not self._closed.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        with self._lock:
            events, self._waiting = self._waiting, []
        _send(self._client, self.group, self.stream, events)


def _send(client: Any, group: str, stream: str, events: list[dict[str, Any]]) -> None:
    for start in range(0, len(events), _PAGE):
        client.put_log_events(
            logGroupName=group, logStreamName=stream, logEvents=events[start : start + _PAGE]
        )


def _read_events(path: Path) -> list[dict[str, Any]]:
    """The events of a file; a last line that a crash cut short is left out, in the file too."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomically(path, whole)
    return [json.loads(line) for line in whole.splitlines()]
