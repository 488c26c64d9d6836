"""What the local cloud itself asks of moto, by calls: a request to itself takes ten times as long.

With `moto_bridge.py` the only file that touches moto's internals.
"""

from __future__ import annotations

import contextlib
from typing import Any

from pipelines.local.documents import Document


class EventBus:
    """EventBridge's default bus."""

    def __init__(self, account: str, region: str) -> None:
        from moto.events.models import events_backends

        self._backend = events_backends[account][region]

    def put(self, entries: list[Document]) -> None:
        """Sends at most ten events, in the form of PutEvents."""
        self._backend.put_events(entries)


class LogGroups:
    """CloudWatch Logs."""

    def __init__(self, account: str, region: str) -> None:
        from moto.logs import exceptions
        from moto.logs.models import logs_backends

        self._backend = logs_backends[account][region]
        self._exists = exceptions.ResourceAlreadyExistsException
        self._missing = exceptions.ResourceNotFoundException

    def create_stream(self, group: str, stream: str) -> None:
        """Makes a stream of a group, both where they are missing."""
        with contextlib.suppress(self._exists):
            self._backend.create_log_group(group, {})
        with contextlib.suppress(self._exists):
            self._backend.create_log_stream(group, stream)

    def put(self, group: str, stream: str, events: list[Document]) -> None:
        """Appends to a stream; nothing where somebody has deleted it."""
        with contextlib.suppress(self._missing):
            self._backend.put_log_events(group, stream, events)


class BatchResources:
    """Batch's queues and job definitions."""

    def __init__(self, account: str, region: str) -> None:
        from moto.batch.models import batch_backends

        self._backend = batch_backends[account][region]

    def queue(self, name: str) -> Document | None:
        """A queue by name or ARN, as DescribeJobQueues shows it."""
        return next(iter(self._backend.describe_job_queues([name])), None)

    def definition(self, name: str) -> Document | None:
        """By ARN or `name:revision`, or the newest active revision of a name, as
        DescribeJobDefinitions shows it."""
        short, _, revision = name.rpartition("/")[2].partition(":")
        active = self._backend.describe_job_definitions(short, status="ACTIVE")
        wanted = [one for one in active if revision in ("", str(one.revision))]
        found: Any = max(wanted, key=lambda one: one.revision, default=None)
        return None if found is None else found.describe()


class Queues:
    """SQS's queues, by name."""

    def __init__(self, account: str, region: str) -> None:
        from moto.sqs.models import sqs_backends

        self._backend = sqs_backends[account][region]

    def has(self, name: str) -> bool:
        return name in self._backend.queues

    def receive(self, name: str, most: int, seconds: int) -> list[Document]:
        """Messages as Lambda hands them to a function, without what tells the queue; waits for the
        first of them."""
        visibility = self._backend.get_queue(name).visibility_timeout
        messages = self._backend.receive_message(name, most, seconds, visibility, ["All"])
        return [
            {
                "messageId": one.id,
                "receiptHandle": one.receipt_handle,
                "body": one.body,
                "attributes": {
                    "SenderId": one.sender_id,
                    "SentTimestamp": str(one.sent_timestamp),
                    "ApproximateReceiveCount": str(one.approximate_receive_count),
                    "ApproximateFirstReceiveTimestamp": str(
                        one.approximate_first_receive_timestamp
                    ),
                },
                "messageAttributes": one.message_attributes,
                "md5OfBody": one.body_md5,
            }
            for one in messages
        ]

    def delete(self, name: str, receipts: list[str]) -> None:
        entries = [{"Id": str(n), "ReceiptHandle": one} for n, one in enumerate(receipts)]
        self._backend.delete_message_batch(name, entries)
