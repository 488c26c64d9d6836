"""EventBridge's scheduled rules, `rate(15 minutes)`, whose targets are Lambda functions.

The rules and targets are moto's, which fires none of them. A rule that is there when the local
cloud starts fires at once: its last moment may have passed while nothing ran here.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError

from pipelines.local.documents import Document
from pipelines.local.functions import Functions

LOOK_SECONDS = 5.0  # between two looks at the rules; the shortest rate is a minute
_RATE = re.compile(r"rate\((?:(1) (minute|hour|day)|(\d+) (minutes|hours|days))\)")
_SECONDS = {"minute": 60, "hour": 3600, "day": 86_400}


class Schedules:
    """Fires rules while it is open."""

    def __init__(
        self,
        functions: Functions,
        client: Callable[[str], Any],
        now: Callable[[], float] = time.monotonic,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._functions = functions
        self._client = client
        self._now = now
        self._look_seconds = look_seconds
        self._fired: dict[tuple[str, str], float] = {}  # (name, expression) → when
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._first_input: str | None = None

    def start(self, first_input: str | None = None) -> None:
        """Fires the rules that there are, with this input in place of their own, and goes on."""
        self._first_input = first_input
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
            seconds = rate_seconds(rule.get("ScheduleExpression", ""))
            if seconds is None or rule["State"] != "ENABLED":
                continue
            key = (rule["Name"], rule["ScheduleExpression"])
            there[key] = self._fired.get(key, now)
            if is_first or now - there[key] >= seconds:
                there[key] = now
                targets = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
                self._fire(rule, targets, self._first_input if is_first else None)
        self._fired = there  # a rule that was removed or changed begins anew

    def _fire(self, rule: Document, targets: list[Document], given: str | None) -> None:
        for target in targets:
            if ":lambda:" not in target["Arn"]:
                continue
            payload = given or target.get("Input") or json.dumps(_scheduled_event(rule["Arn"]))
            threading.Thread(
                target=self._invoke, args=(target["Arn"], payload.encode()), daemon=True
            ).start()

    def _invoke(self, function: str, payload: bytes) -> None:
        """What the function has to say about an error is in its own log."""
        answer = self._functions.invoke(function, payload)
        if answer is None or answer.error:
            reason = "there is no such function" if answer is None else answer.payload.decode()
            print(f"schedules: {function}: {reason}", file=sys.stderr, flush=True)


def rate_seconds(expression: str) -> int | None:
    """The seconds of a rate expression, None for anything else (a `cron(…)`, or a mistake)."""
    found = _RATE.fullmatch(expression)
    if not found:
        return None
    value, unit = int(found[1] or found[3]), found[2] or found[4].removesuffix("s")
    return value * _SECONDS[unit] or None


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
