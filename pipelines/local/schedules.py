"""EventBridge's scheduled rules, `rate(15 minutes)`, whose targets are Lambda functions.

The rules and targets are moto's, which fires none of them. The time of a rule counts from the start
of the local cloud. Functions that make up for the time in which nothing ran are called at once.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from pipelines.local.documents import Document
from pipelines.local.functions import Functions
from pipelines.schedule_expressions import cron, rate_seconds

LOOK_SECONDS = 5.0  # between two looks at the rules; the shortest rate is a minute
MINUTE = 60


class Schedules:
    """Fires rules while it is open."""

    def __init__(
        self,
        functions: Functions,
        client: Callable[[str], Any],
        now: Callable[[], float] = time.time,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._functions = functions
        self._client = client
        self._now = now
        self._look_seconds = look_seconds
        self._looked: dict[tuple[str, str], float] = {}  # (name, expression) → from when it counts
        self._not_understood: set[str] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._at_once: Mapping[str, str] = {}

    def start(self, at_once: Mapping[str, str] | None = None) -> None:
        """Fires from now on; the rules that there are for these functions (by ARN) at once, with
        these inputs in place of their own."""
        self._at_once = at_once or {}
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(self._look_seconds)

    def _run(self) -> None:
        events = self._client("events")
        is_first = True
        while not self._closed.is_set():
            try:
                self._look(events, is_first)
                is_first = False
            except (ClientError, HTTPClientError) as error:  # the server is going down
                print(f"schedules: {error}", file=sys.stderr, flush=True)
            self._closed.wait(self._look_seconds)

    def _look(self, events: Any, is_first: bool) -> None:
        """Fires what is due."""
        now, there = self._now(), {}
        for rule in _rules(events):
            expression = rule.get("ScheduleExpression")
            if not expression or rule["State"] != "ENABLED":
                continue
            key = (rule["Name"], expression)
            since = self._looked.get(key, now)
            is_due, there[key] = self._due(expression, since, now)
            if is_due or is_first:
                for target in events.list_targets_by_rule(Rule=rule["Name"])["Targets"]:
                    self._fire(rule, target, is_due)
        self._looked = there  # a rule that was removed or changed begins anew

    def _due(self, expression: str, since: float, now: float) -> tuple[bool, float]:
        """Whether a rule fires, and from when on its time counts then."""
        seconds, times = rate_seconds(expression), cron(expression)
        if seconds is not None:
            is_due = now - since >= seconds
            return is_due, now if is_due else since
        if times is not None:
            minutes = range(int(since // MINUTE) + 1, int(now // MINUTE) + 1)
            moments = (datetime.fromtimestamp(one * MINUTE, timezone.utc) for one in minutes)
            return any(times.fires_in(one) for one in moments), now
        if expression not in self._not_understood:
            self._not_understood.add(expression)
            print(f"schedules: {expression} never fires here", file=sys.stderr, flush=True)
        return False, now

    def _fire(self, rule: Document, target: Document, is_due: bool) -> None:
        function = target["Arn"]
        given = target.get("Input") if is_due else self._at_once.get(function)
        if ":lambda:" not in function or not (is_due or given):
            return
        payload = given or json.dumps(_scheduled_event(rule["Arn"]))
        threading.Thread(
            target=self._invoke, args=(function, payload.encode()), daemon=True
        ).start()

    def _invoke(self, function: str, payload: bytes) -> None:
        """What the function has to say about an error is in its own log."""
        answer = self._functions.invoke(function, payload)
        if answer is None or answer.error:
            reason = "there is no such function" if answer is None else answer.payload.decode()
            print(f"schedules: {function}: {reason}", file=sys.stderr, flush=True)


def _rules(events: Any) -> Iterator[Document]:
    for page in events.get_paginator("list_rules").paginate():
        yield from page["Rules"]


def _scheduled_event(rule: str) -> Document:
    """What a target without an input gets (EventBridge user guide, "Scheduled Event")."""
    _, _, _, region, account, _ = rule.split(":", 5)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": account,
        "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [rule],
        "detail": {},
    }
