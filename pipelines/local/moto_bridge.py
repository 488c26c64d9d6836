"""The file that touches moto's internals (moto is pinned exactly for it and `moto_services.py`).

moto answers for S3, SQS, EventBridge, Lambda's and Batch's definitions, IAM, STS, ECR and logs. It
keeps everything in memory: here S3 is written to files after each change and read back at the
start. Object tags, ACLs and unfinished multipart uploads are not kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import itertools
import json
import logging
import shutil
import string
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from pipelines.local.documents import write_atomically

WsgiApplication = Callable[..., Iterable[bytes]]


@dataclass(frozen=True)
class FunctionCode:
    """What is needed to run a Lambda function."""

    zip: bytes
    sha256: str
    handler: str
    environment: dict[str, str]
    timeout: int  # seconds
    arn: str
    role: str  # ARN


@dataclass(frozen=True)
class Role:
    """What IAM has of a role: the texts of its policies, and of the one that says who may be it."""

    arn: str
    policies: tuple[str, ...]
    trust: str


def moto_application() -> WsgiApplication:
    """moto's server as a WSGI application."""
    # It logs every request; and it would check names of hosts against the network.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    from moto.server import DomainDispatcherApplication, create_backend_app

    _mend_speed()
    _mend_rules()
    _mend_queues()
    application: WsgiApplication = DomainDispatcherApplication(create_backend_app)
    return application


def request_handler() -> Any:
    """The handler that keeps a request's path as it was sent (S3 keys may hold anything)."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    return MotoRequestHandler


def function_code(account: str, region: str, name: str) -> FunctionCode | None:
    """The code of a function by name or ARN; None where there is no such function."""
    from moto.awslambda.exceptions import UnknownFunctionException
    from moto.awslambda.utils import get_backend

    try:
        function = get_backend(account, region).get_function(name)
    except UnknownFunctionException:
        return None
    return FunctionCode(
        zip=function.code_bytes,
        sha256=function.code_sha_256,
        handler=function.handler,
        environment=dict(function.environment_vars),
        timeout=int(function.timeout),
        arn=function.function_arn,
        role=function.role,
    )


class Roles(Mapping[str, Role]):
    """The roles of IAM by ARN, as they are at each moment."""

    def __init__(self, account: str) -> None:
        from moto.iam.models import iam_backends

        self._backend = iam_backends[account]["aws"]

    def __getitem__(self, arn: str) -> Role:
        name = arn.rpartition("/")[2]
        for role in list(self._backend.roles.values()):
            if role.name == name and role.arn == arn:
                attached = [
                    version.document
                    for policy in list(role.managed_policies.values())
                    for version in policy.versions
                    if version.is_default
                ]
                policies = (*role.policies.values(), *attached)
                return Role(arn, policies, role.assume_role_policy_document)
        raise KeyError(arn)

    def __iter__(self) -> Iterator[str]:
        return iter([role.arn for role in self._backend.roles.values()])

    def __len__(self) -> int:
        return len(self._backend.roles)


@cache  # once: a second time would wrap what is mended already
def _mend_speed() -> None:
    """What moto works out anew each time: its own modules and methods for each request (half of
    its time), a parser for each path of an event, all of a queue's attributes for each message, an
    identifier of a request by 52 single draws, the names of all S3 events for each event."""
    jsonpath: Any = importlib.import_module("jsonpath_ng.ext")
    from moto import backends
    from moto.core import responses
    from moto.moto_api._internal.moto_random import MotoRandom
    from moto.s3 import notifications
    from moto.sqs.models import SQSBackend

    modules = frozenset(backends.list_of_moto_modules())
    backends.list_of_moto_modules = lambda: modules
    responses.method_names_from_class = cache(responses.method_names_from_class)
    jsonpath.parse = lru_cache(1000)(jsonpath.parse)

    def is_kept(self: Any, queue_name: str, message: Any) -> bool:
        kept = float(self.get_queue(queue_name).message_retention_period)
        return bool(message.sent_timestamp / 1000 + kept > time.time())

    def random_string(
        self: Any, length: int = 20, include_digits: bool = True, lower_case: bool = False
    ) -> str:
        letters = string.ascii_letters + string.digits * include_digits
        drawn = "".join(self.choices(letters, k=length))
        return drawn.lower() if lower_case else drawn

    SQSBackend.is_message_valid_based_on_retention_period = is_kept
    MotoRandom.get_random_string = random_string
    notifications._detail_type = cache(notifications._detail_type)


@cache
def _mend_rules() -> None:
    """moto sends every event to the targets of a rule without a pattern, which is a schedule, and
    of one that is disabled; with a function as the target it even fails."""
    from moto.events.models import Rule

    send = Rule.send_to_targets

    def send_where_it_listens(self: Any, *arguments: Any, **more: Any) -> None:
        if self.state == "ENABLED" and self.event_pattern.get_pattern():
            send(self, *arguments, **more)

    Rule.send_to_targets = send_where_it_listens


@cache
def _mend_queues() -> None:
    """moto's queues lose messages: one that is sent while another is deleted may go with it, and
    one that is received while another is deleted may be there twice. Each queue has a lock, which
    moto takes for sending alone; here the others take it, too (whoever waits lets go of it)."""
    from moto.sqs.models import Queue, SQSBackend

    delete, receive = Queue.delete_message, SQSBackend.receive_message

    def delete_alone(self: Any, receipt_handle: str) -> None:
        with self._messages_lock:
            delete(self, receipt_handle)

    def receive_alone(self: Any, queue_name: str, *arguments: Any, **more: Any) -> Any:
        with self.get_queue(queue_name)._messages_lock:
            return receive(self, queue_name, *arguments, **more)

    Queue.delete_message = delete_alone
    SQSBackend.receive_message = receive_alone


class ObjectStore:
    """S3's buckets and objects as files: for each version of an object its bytes and a description.

    `<bucket>/bucket.json`, and `<bucket>/<digest of the key>/<n>.json`, n counting versions. Each
    description names the file of its bytes, so that a crash between the two writes does no harm.
    """

    def __init__(self, root: Path, account: str, region: str) -> None:
        from moto.s3.models import s3_backends

        self._root = root
        self._region = region
        self._backend = s3_backends[account]["aws"]
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], list[str]] = {}  # (bucket, key) → identities of versions
        self._described: dict[str, dict[str, Any]] = {}  # bucket → what its bucket.json holds

    def restore(self) -> None:
        """Reads back what the files hold. No event is raised for it."""
        for described in sorted(self._root.glob("*/bucket.json")):
            document = json.loads(described.read_text("utf-8"))
            name = document["name"]
            self._backend.create_bucket(name, document["region"])
            bucket = self._backend.buckets[name]
            bucket.versioning_status = document["versioning"]
            for folder in sorted(path for path in described.parent.iterdir() if path.is_dir()):
                versions = [self._read(path) for path in sorted(folder.glob("*.json"))]
                if versions:
                    key = versions[0].name
                    bucket.keys.setlist(key, versions)
                    self._kept[name, key] = [_identity(version) for version in versions]

    def keep(self, bucket_name: str, key: str | None) -> None:
        """Brings the files in step with memory, for one key or (None) the whole bucket."""
        with self._lock:
            bucket = self._backend.buckets.get(bucket_name)
            folder = self._root / bucket_name
            if bucket is None:
                shutil.rmtree(folder, ignore_errors=True)
                self._described.pop(bucket_name, None)
                for kept in [one for one in self._kept if one[0] == bucket_name]:
                    del self._kept[kept]
                return
            description = {
                "name": bucket_name,
                "region": bucket.region_name,
                "versioning": bucket.versioning_status,
            }
            if self._described.get(bucket_name) != description:
                write_atomically(folder / "bucket.json", json.dumps(description).encode())
                self._described[bucket_name] = description
            if key is not None:
                names = {key}
            else:
                names = {name for owner, name in self._kept if owner == bucket_name}
                names |= set(bucket.keys)
            for name in names:
                self._keep_key(folder, bucket_name, name, list(bucket.keys.getlist(name, []) or []))

    def _keep_key(self, folder: Path, bucket: str, key: str, versions: list[Any]) -> None:
        identities = [_identity(version) for version in versions]
        kept = self._kept.get((bucket, key), [])
        if identities == kept:
            return
        place = folder / hashlib.sha256(key.encode()).hexdigest()[:32]
        pairs = itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(identities, kept, strict=False)
        )
        common = len(list(pairs))
        for index in range(common, len(versions)):
            self._write(place / f"{index:06}.json", versions[index])
        for index in range(len(versions), len(kept)):
            (place / f"{index:06}.json").unlink(missing_ok=True)
        needed = {_bytes_name(identity) for identity in identities}
        for identity in kept[common:]:
            if _bytes_name(identity) not in needed:
                (place / _bytes_name(identity)).unlink(missing_ok=True)
        if not versions:
            with contextlib.suppress(OSError):
                place.rmdir()
            self._kept.pop((bucket, key), None)
        else:
            self._kept[bucket, key] = identities

    def _write(self, path: Path, version: Any) -> None:
        document: dict[str, Any] = {
            "key": version.name,
            "version": version.version_id,
            "modified": version.last_modified.isoformat(),
        }
        if hasattr(version, "value"):  # else a delete marker
            document |= {
                "bytes": _bytes_name(_identity(version)),
                "etag": version.etag.strip('"'),
                "versioned": version._is_versioned,
                "metadata": dict(version.metadata),
                "checksum_algorithm": version.checksum_algorithm,
                "checksum_value": version.checksum_value,
                "checksum_type": version.checksum_type,
                "checksum_parts": version.checksum_parts,
            }
            if not (path.parent / document["bytes"]).exists():
                write_atomically(path.parent / document["bytes"], version.value)
        write_atomically(path, json.dumps(document).encode())

    def _read(self, path: Path) -> Any:
        from moto.s3.models import FakeDeleteMarker, FakeKey

        document = json.loads(path.read_text("utf-8"))
        is_marker = "bytes" not in document
        key = FakeKey(
            name=document["key"],
            value=b"" if is_marker else (path.parent / document["bytes"]).read_bytes(),
            account_id=self._backend.account_id,
            region_name=self._region,
            etag=document.get("etag"),
            is_versioned=document.get("versioned", False),
            version_id=document["version"],
            bucket_name=path.parent.parent.name,
            checksum_value=document.get("checksum_value"),
            checksum_type=document.get("checksum_type"),
            checksum_parts=document.get("checksum_parts"),
        )
        if is_marker:
            key = FakeDeleteMarker(key)
            key._version_id = document["version"]
        else:
            key.checksum_algorithm = document["checksum_algorithm"]
            key.set_metadata(document["metadata"], replace=True)
        key.last_modified = datetime.fromisoformat(document["modified"])
        return key


def _bytes_name(identity: str) -> str:
    return f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.bin"


def _identity(version: Any) -> str:
    return f"{version.version_id} {version.last_modified.isoformat()}"
