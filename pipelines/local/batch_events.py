"""What AWS Batch tells EventBridge: an event for each change of a job's status.

AWS Batch user guide, "Job state change events": the submission itself raises none, and the detail
is what DescribeJobs would answer. Children of an array job have events of their own.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import traceback
from typing import Any

from pipelines.local.documents import Document
from pipelines.local.moto_services import EventBus

MOST_ENTRIES = 10  # that PutEvents takes at once
CLOSING_SECONDS = 5.0


class BatchEvents:
    """Puts events on the bus in the order of the changes, without holding up the jobs."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._queue: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    def announce(self, job: Document) -> None:
        """Tells the status that a job has just got."""
        entry = {
            "Source": "aws.batch",
            "DetailType": "Batch Job State Change",
            "Resources": [job["jobArn"]],
            "Detail": json.dumps(job),
        }
        self._queue.put(entry)

    def close(self) -> None:
        """Sends what is left."""
        self._queue.put(None)
        self._thread.join(CLOSING_SECONDS)

    def _send(self) -> None:
        is_open = True
        while is_open:
            taken = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(taken) < MOST_ENTRIES:
                    taken.append(self._queue.get_nowait())
            entries = [entry for entry in taken if entry is not None]
            is_open = len(entries) == len(taken)
            try:
                if entries:
                    self._bus.put(entries)
            except Exception:  # the jobs go on, and so do later events; the server's log tells
                traceback.print_exc()
