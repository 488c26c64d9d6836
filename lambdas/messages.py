"""A batch of queue messages: which are done, which come again, which go to the dead letters.

A message that fails is delivered again after the queue's visibility time-out. At its last delivery,
or at once if trying again cannot help, the function itself puts it into the dead-letter queue, with
the reason. The queue's redrive policy stands behind that for a function that crashes: its letters
have no reason.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Protocol

from lambdas.log import log

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

LONGEST_REASON = 500  # characters

Answer = dict[str, list[dict[str, str]]]


class HopelessError(Exception):
    """Delivering the message again cannot help: it goes to the dead letters at once."""


class LambdaContext(Protocol):
    """What of Lambda's context object is used here."""

    def get_remaining_time_in_millis(self) -> int: ...


class Handler(Protocol):
    """Handles messages one by one."""

    def now(self) -> datetime: ...

    def handle(self, body: str, deadline: datetime) -> None:
        """Handles one message. Whatever it raises, the message may be handled again."""

    def upload_id(self, body: str) -> str:  # noqa: ARG002 - most are about no upload
        """The upload that a message is about; empty where it is not known, whatever the body."""
        return ""


class DeadLetters:
    """The dead-letter queue."""

    def __init__(self, sqs: SQSClient, url: str, max_receives: int) -> None:
        self._sqs = sqs
        self._url = url
        self._max_receives = max_receives

    def take(self, message: dict[str, Any], error: Exception, upload_id: str) -> bool:
        """Puts a message that failed into the queue, unless it is to be delivered again."""
        received = int(message.get("attributes", {}).get("ApproximateReceiveCount", 1))
        if received < self._max_receives and not isinstance(error, HopelessError):
            return False
        attributes = {
            "Reason": one_line(f"{type(error).__name__}: {error}", LONGEST_REASON),
            "Source": str(message.get("eventSourceARN", "unknown")).rpartition(":")[2],
            "UploadId": upload_id,
        }
        self._sqs.send_message(
            QueueUrl=self._url,
            MessageBody=message["body"],
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in attributes.items()
                if value  # SQS refuses an empty one
            },
        )
        return True


def handle_batch(
    event: dict[str, Any], context: LambdaContext, handler: Handler, dead_letters: DeadLetters
) -> Answer:
    """Handles each message of an event from SQS; the answer names those that come again."""
    deadline = handler.now() + timedelta(milliseconds=context.get_remaining_time_in_millis())
    failures = []
    for message in event["Records"]:
        if not _is_done(message, deadline, handler, dead_letters):
            failures.append({"itemIdentifier": message["messageId"]})
    return {"batchItemFailures": failures}


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def one_line(text: str, longest: int) -> str:
    """Text of strangers on one line: what does not print becomes a space, what is long is cut.

    So it also holds no character that SQS refuses: those are control characters and surrogates.
    """
    printable = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(printable.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _is_done(
    message: dict[str, Any], deadline: datetime, handler: Handler, dead_letters: DeadLetters
) -> bool:
    """Whatever fails here, and of whatever kind: one message must not hold up the others."""
    try:
        handler.handle(message["body"], deadline)
        return True
    except Exception as error:
        upload_id = _upload_id(handler, message["body"])
        _log_failure("failed", message, upload_id, error)
        try:
            is_dead = dead_letters.take(message, error, upload_id)
        except Exception as refused:  # then the queue's redrive policy has to do it
            _log_failure("dead-letter-refused", message, upload_id, refused)
            return False
        if is_dead:
            _log_failure("dead-letter", message, upload_id, error)
        return is_dead


def _upload_id(handler: Handler, body: str) -> str:
    """A message that no handler can read must not bring down the batch either."""
    try:
        return handler.upload_id(body)
    except Exception:
        return ""


def _log_failure(event: str, message: dict[str, Any], upload_id: str, error: Exception) -> None:
    log(
        event,
        message_id=message["messageId"],
        receives=message.get("attributes", {}).get("ApproximateReceiveCount"),
        upload_id=upload_id,
        error=type(error).__name__,
        reason=one_line(str(error), LONGEST_REASON),
    )
