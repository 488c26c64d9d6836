"""The cores of this machine, lent to jobs: who came first is served first."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection

Run = Callable[[frozenset[int]], None]  # the cores that it may use → its whole work


class Cores:
    """Runs each piece of work in a thread of its own, as soon as there are cores for it."""

    def __init__(self, cores: Collection[int] | None = None) -> None:
        self._free = sorted(cores if cores is not None else available_cores())
        self.count = len(self._free)
        self._waiting: deque[tuple[int, Run]] = deque()
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closed = False

    def lend(self, count: int, run: Run) -> None:
        """Queues work for `count` cores, or for the whole machine where that has fewer."""
        with self._lock:
            self._waiting.append((min(max(count, 1), self.count), run))
            self._start()

    def close(self) -> None:
        """Forgets what waits; what runs goes on."""
        with self._lock:
            self._closed = True
            self._waiting.clear()

    def join(self, seconds: float | None = None) -> bool:
        """Waits for what runs; whether all of it has ended."""
        end = None if seconds is None else time.monotonic() + seconds
        for thread in list(self._threads):
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return not self._threads

    def _start(self) -> None:
        while not self._closed and self._waiting and self._waiting[0][0] <= len(self._free):
            count, run = self._waiting.popleft()
            lent, self._free = frozenset(self._free[:count]), self._free[count:]
            thread = threading.Thread(target=self._run, args=(lent, run), daemon=True)
            self._threads.add(thread)
            thread.start()

    def _run(self, lent: frozenset[int], run: Run) -> None:
        try:
            run(lent)
        finally:
            with self._lock:
                self._threads.remove(threading.current_thread())
                self._free = sorted({*self._free, *lent})
                self._start()


def available_cores() -> frozenset[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
