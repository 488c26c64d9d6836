"""Lambda's event source mappings: what lies in an SQS queue goes to a function."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
import uuid

from pipelines.local.aws_json import Request, Response, ServiceError
from pipelines.local.documents import Document
from pipelines.local.functions import Functions
from pipelines.local.moto_services import Queues

POLL_SECONDS = 1  # that an empty queue keeps a poller waiting
PAUSE_SECONDS = 1.0  # after a fault
MOST_AT_ONCE = 1000  # invocations for one queue, on AWS


class EventSources:
    """Takes messages from SQS queues to functions, as Lambda's event source mappings do: a batch
    that the function answers is deleted, but for the failures that it reports; the rest comes
    again, and after the queue's limit of tries goes to its dead-letter queue. As many batches are
    under way at a time as `MaximumConcurrency` says, by default one for each core."""

    def __init__(self, functions: Functions, queues: Queues) -> None:
        self._functions = functions
        self._queues = queues
        self._mappings: dict[str, Document] = {}
        self._closed = threading.Event()

    def create(self, request: Request) -> Response:
        """Begins to take messages.

        Raises
        ------
        ServiceError
            The function or the queue does not exist, or a number is not one that AWS takes.
        """
        function = self._functions.find(request["FunctionName"])
        name = request["EventSourceArn"].rpartition(":")[2]
        scaling = request.get("ScalingConfig") or {}
        at_once = scaling.get("MaximumConcurrency", max(2, os.cpu_count() or 2))
        if not 2 <= at_once <= MOST_AT_ONCE:
            raise _invalid(f"MaximumConcurrency {at_once} must be between 2 and {MOST_AT_ONCE}")
        if not self._queues.has(name):
            raise _invalid(f"The queue {request['EventSourceArn']} does not exist")
        mapping = {
            "UUID": str(uuid.uuid4()),
            "EventSourceArn": request["EventSourceArn"],
            "FunctionArn": function.arn,
            "BatchSize": request.get("BatchSize", 10),
            "FunctionResponseTypes": request.get("FunctionResponseTypes", []),
            "ScalingConfig": scaling,
            "State": "Enabled",
            "LastModified": time.time(),
        }
        self._mappings[mapping["UUID"]] = mapping
        room = threading.Semaphore(at_once)
        threading.Thread(target=self._poll, args=(mapping, name, room), daemon=True).start()
        return mapping

    def get(self, uuid: str) -> Response:
        if uuid not in self._mappings:
            raise ServiceError("ResourceNotFoundException", f"No event source mapping {uuid}", 404)
        return self._mappings[uuid]

    def delete(self, uuid: str) -> Response:
        """Takes no more messages; the batches at hand are finished."""
        self.get(uuid)
        return {**self._mappings.pop(uuid), "State": "Deleting"}

    def all(self, query: dict[str, list[str]]) -> Response:
        """Those of a function or a queue, or all."""
        mappings = list(self._mappings.values())
        if "FunctionName" in query:
            arn = self._functions.find(query["FunctionName"][0]).arn
            mappings = [one for one in mappings if one["FunctionArn"] == arn]
        if "EventSourceArn" in query:
            mappings = [
                one for one in mappings if [one["EventSourceArn"]] == query["EventSourceArn"]
            ]
        return {"EventSourceMappings": mappings}

    def close(self) -> None:
        self._closed.set()

    def _is_open(self, mapping: Document) -> bool:
        return not self._closed.is_set() and mapping["UUID"] in self._mappings

    def _poll(self, mapping: Document, queue: str, room: threading.Semaphore) -> None:
        def hand_over(messages: list[Document]) -> None:
            try:
                done = self._deliver(mapping, messages)
                self._queues.delete(queue, done)
            except Exception:  # a fault of ours: the messages come again
                traceback.print_exc()
            finally:
                room.release()

        while self._is_open(mapping):
            room.acquire()  # first: a message that nobody has time for stays visible to others
            messages: list[Document] = []
            try:
                most = min(10, mapping["BatchSize"])
                messages = self._queues.receive(queue, most, POLL_SECONDS)
            except Exception:  # the queue is gone: it may be made again
                self._closed.wait(PAUSE_SECONDS)
            if messages and self._is_open(mapping):
                threading.Thread(target=hand_over, args=(messages,), daemon=True).start()
            else:
                room.release()

    def _deliver(self, mapping: Document, messages: list[Document]) -> list[str]:
        """Invokes the function and returns the receipts of the messages that are done."""
        source = mapping["EventSourceArn"]
        of_queue = {
            "eventSource": "aws:sqs",
            "eventSourceARN": source,
            "awsRegion": source.split(":")[3],
        }
        records = [{**message, **of_queue} for message in messages]
        answer = self._functions.invoke(
            mapping["FunctionArn"], json.dumps({"Records": records}).encode()
        )
        if answer is None or answer.error:
            return []
        failed: set[str] = set()
        if "ReportBatchItemFailures" in mapping["FunctionResponseTypes"]:
            try:
                result = json.loads(answer.payload) or {}
                failed = {one["itemIdentifier"] for one in result.get("batchItemFailures") or []}
            except (AttributeError, KeyError, TypeError):  # not an answer that says who failed
                return []
        if not failed <= {one["messageId"] for one in records}:
            return []  # as Lambda does: a failure that is none of the batch's fails all of it
        return [one["receiptHandle"] for one in records if one["messageId"] not in failed]


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterValueException", message)
