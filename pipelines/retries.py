"""What failed, once more: failed uploads, and the messages in the dead-letter queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.aws import Aws
from pipelines.upload_state import Upload, UploadState

HELD_SECONDS = 300  # how long a dead letter is ours once it was read
MOST_LETTERS = 10_000


@dataclass(frozen=True)
class DeadLetter:
    """A message that could not be handled.

    Attributes
    ----------
    reason: as the function gave it; empty if SQS itself moved the message, because the function
        crashed or ran out of time.
    queue: the queue that it came from, by name; empty if nothing tells.
    upload_id: the upload that it is about; empty where that is not known.
    """

    body: str
    reason: str
    queue: str
    upload_id: str
    receipt: str

    @property
    def subject(self) -> str:
        """What it is, in a few words."""
        event = _event(self.body)
        name = str(event.get("detail-type") or "not an event")
        detail = event.get("detail")
        found = detail.get("object") if isinstance(detail, dict) else None
        key = found.get("key") if isinstance(found, dict) else None
        return f"{name} {key or self.upload_id}".strip()


class Retries:
    """Puts things back into the queues of one deployment."""

    def __init__(self, aws: Aws) -> None:
        self._settings = aws.settings
        self._sqs = aws.client("sqs")

    def retry(self, failed: UploadState) -> None:
        """Asks for a new attempt at a failed upload. The function drops what is not failed."""
        detail = {"upload_id": failed.upload.id, "attempt": failed.attempt}
        event = {"source": "claimflow", "detail-type": "Retry Upload", "detail": detail}
        self._sqs.send_message(
            QueueUrl=self._url(self._settings.upload_queue), MessageBody=json.dumps(event)
        )

    def announce(self, upload: Upload) -> None:
        """Tells the function of an upload that it has not handled, in the form of S3's event."""
        found = {"key": upload.key, "size": upload.size, "etag": upload.etag}
        if upload.version:
            found["version-id"] = upload.version
        detail = {"bucket": {"name": upload.bucket}, "object": found}
        event = {"source": "aws.s3", "detail-type": "Object Created", "detail": detail}
        self._sqs.send_message(
            QueueUrl=self._url(self._settings.upload_queue), MessageBody=json.dumps(event)
        )

    def dead_letters(self) -> list[DeadLetter]:
        """Every dead letter; each is hidden from others for some minutes, or until released."""
        letters: list[DeadLetter] = []
        for message in self._received():
            letters.append(self._letter(message))
            if len(letters) == MOST_LETTERS:
                break
        return letters

    def send_back(self, letter: DeadLetter) -> None:
        """Puts a letter into the queue that it came from, and takes it out of its own.

        In this order: interrupted in between, the message is there twice, which changes nothing.
        """
        self._sqs.send_message(QueueUrl=self._url(letter.queue), MessageBody=letter.body)
        self.discard(letter)

    def discard(self, letter: DeadLetter) -> None:
        """Deletes a letter."""
        self._sqs.delete_message(
            QueueUrl=self._url(self._settings.dead_letter_queue), ReceiptHandle=letter.receipt
        )

    def release(self, letter: DeadLetter) -> None:
        """Lets others see a letter again."""
        self._sqs.change_message_visibility(
            QueueUrl=self._url(self._settings.dead_letter_queue),
            ReceiptHandle=letter.receipt,
            VisibilityTimeout=0,
        )

    def _received(self) -> Iterator[dict[str, Any]]:
        url = self._url(self._settings.dead_letter_queue)
        while messages := self._sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            VisibilityTimeout=HELD_SECONDS,
            WaitTimeSeconds=1,  # long polling asks all of SQS's servers, not some
        ).get("Messages"):
            yield from messages

    def _letter(self, message: dict[str, Any]) -> DeadLetter:
        given = {
            name: value.get("StringValue", "")
            for name, value in message.get("MessageAttributes", {}).items()
        }
        # Where SQS moved the message itself, it says from where.
        moved_from = message.get("Attributes", {}).get("DeadLetterQueueSourceArn", "")
        queue = given.get("Source") or moved_from.rpartition(":")[2] or self._queue(message["Body"])
        return DeadLetter(
            body=message["Body"],
            reason=given.get("Reason", ""),
            queue=queue if queue in self._queues else "",
            upload_id=given.get("UploadId", ""),
            receipt=message["ReceiptHandle"],
        )

    def _queue(self, body: str) -> str:
        """The queue that an event of this kind goes through."""
        event = _event(body)
        detail = event.get("detail")
        bucket = detail.get("bucket") if isinstance(detail, dict) else None
        name = bucket.get("name") if isinstance(bucket, dict) else None
        if event.get("source") == "aws.batch" or name == self._settings.bucket("results"):
            return self._settings.notice_queue
        return self._settings.upload_queue if event.get("source") else ""

    @property
    def _queues(self) -> tuple[str, ...]:
        ours = self._settings
        return ours.upload_queue, ours.notice_queue, ours.labelled_queue, ours.registered_queue

    def _url(self, queue: str) -> str:
        url: str = self._sqs.get_queue_url(QueueName=queue)["QueueUrl"]
        return url


def _event(body: str) -> dict[str, Any]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}
