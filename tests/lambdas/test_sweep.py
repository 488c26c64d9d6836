"""What nobody handled is found and announced again; what is handled is left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest

from lambdas import layout, sweep
from lambdas.events import Upload, parse
from lambdas.settings import SubmitSettings
from lambdas.sweep import State, Sweep
from tests.lambdas.eventbridge import GROUP, MODELS, RESULTS, UPLOADS
from tests.lambdas.world import World

SUBMIT = SubmitSettings(GROUP, MODELS, UPLOADS, RESULTS, "queue", "definition", "dead", 5)
NASTY = "incoming/a b+c%20/ü損.csv"


class Clock:
    """The time that the function sees: the real one, on which S3 stamps its objects, and later."""

    def __init__(self) -> None:
        self.later = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(timezone.utc) + self.later


class Context:
    def __init__(self, seconds: float = 600) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


@pytest.fixture
def clock(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    for name, value in {
        "MODEL_PACKAGE_GROUP": GROUP,
        "MODELS_BUCKET": MODELS,
        "UPLOAD_BUCKET": UPLOADS,
        "RESULTS_BUCKET": RESULTS,
        "UPLOAD_QUEUE_URL": boto3.client("sqs").create_queue(QueueName="uploads")["QueueUrl"],
        "MINIMUM_AGE_SECONDS": "900",
        "INCOMING_SUFFIXES": ".csv,/",
        "DEPLOYMENT": "claimflow-dev",
    }.items():
        monkeypatch.setenv(name, value)
    versioning: Any = {"Status": "Enabled"}
    boto3.client("s3").put_bucket_versioning(Bucket=UPLOADS, VersioningConfiguration=versioning)
    sweep._sweep.cache_clear()
    clock = Clock()
    sweep._sweep().now = clock
    yield clock
    sweep._sweep.cache_clear()


def put(key: str, body: bytes = b"text\n") -> Upload:
    answer = boto3.client("s3").put_object(Bucket=UPLOADS, Key=key, Body=body)
    return Upload(UPLOADS, key, answer.get("VersionId", ""), answer["ETag"].strip('"'), len(body))


def leave(key: str, document: Any = None) -> None:
    """An object in the results bucket."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    boto3.client("s3").put_object(Bucket=RESULTS, Key=key, Body=body)


def run(seconds: float = 600, **event: Any) -> dict[str, Any]:
    return sweep.handler(event, Context(seconds))


def announced() -> list[Upload]:
    """What the queue of uploads holds, as submit reads it; and empties it."""
    sqs = boto3.client("sqs")
    url = sqs.get_queue_url(QueueName="uploads")["QueueUrl"]
    found: list[Upload] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            (event,) = parse(message["Body"], SUBMIT)
            assert isinstance(event, Upload)
            found.append(event)
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(found, key=lambda upload: (upload.key, upload.version))


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = ("UnsettledUploads", "OldestWaitingSeconds")
    return {name: line[name] for line in lines for name in names if name in line}


@pytest.mark.parametrize("key", ["incoming/a.csv", NASTY, "incoming//leading.csv"])
def test_a_lost_upload_is_announced_as_the_very_upload_that_it_is(clock: Clock, key: str) -> None:
    upload = put(key)
    clock.later = timedelta(minutes=16)
    assert run() == {"announced": 1, "unsettled": 1, "complete": True}
    assert announced() == [upload]


def test_every_version_of_an_overwritten_key_counts(clock: Clock) -> None:
    versions = [put("incoming/a.csv", body) for body in (b"1", b"2", b"2")]
    boto3.client("s3").delete_object(Bucket=UPLOADS, Key="incoming/a.csv")  # a delete marker
    clock.later = timedelta(minutes=16)
    run()
    assert {upload.id for upload in announced()} == {upload.id for upload in versions}


def test_without_versioning_the_etag_names_the_upload(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = boto3.client("s3").list_object_versions
    put("incoming/a.csv")

    def unversioned(**request: Any) -> Any:  # as S3 answers for such a bucket
        page = versions(**request)
        return {**page, "Versions": [{**one, "VersionId": "null"} for one in page["Versions"]]}

    monkeypatch.setattr(sweep._sweep()._s3, "list_object_versions", unversioned)
    clock.later = timedelta(minutes=16)
    run()
    (upload,) = announced()
    assert upload.version == ""
    assert upload.id == layout.upload_id(UPLOADS, upload.key, upload.etag)


def test_a_young_upload_is_left_to_its_event(clock: Clock) -> None:
    put("incoming/a.csv")
    assert run() == {"announced": 0, "unsettled": 0, "complete": True}
    assert run(minimum_age_seconds=0)["announced"] == 1


@pytest.mark.parametrize("key", ["elsewhere/a.csv", "incoming/folder/", "incoming/a.pdf"])
def test_what_submit_would_ignore_is_ignored(clock: Clock, key: str) -> None:
    put(key, b"")
    clock.later = timedelta(minutes=16)
    assert run() == {"announced": 0, "unsettled": 0, "complete": True}


def test_an_upload_with_a_job_is_settled(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    leave(layout.submission_key(put("incoming/a.csv").id), {"job_id": "job"})
    clock.later = timedelta(minutes=16)
    assert run() == {"announced": 0, "unsettled": 0, "complete": True}
    assert metrics(capsys) == {"UnsettledUploads": 0, "OldestWaitingSeconds": 0}


@pytest.mark.parametrize("record", [{"job_id": ""}, {}, b"damaged", []])
def test_a_claim_without_a_job_is_announced_however_long_ago_it_was_read_first(
    clock: Clock, record: Any
) -> None:
    upload = put("incoming/a.csv")
    leave(layout.submission_key(upload.id), record)
    for days in (1, 2, 4, 6):
        clock.later = timedelta(days=days)
        assert run()["unsettled"] == 1
        assert announced() == [upload]
    leave(layout.submission_key(upload.id), {"job_id": "job"})
    assert run()["unsettled"] == 0


def test_a_claim_that_was_made_while_a_sweep_ran_is_found_by_the_next(clock: Clock) -> None:
    run()
    upload = put("incoming/a.csv")
    leave(layout.submission_key(upload.id), {"job_id": ""})
    assert run(minimum_age_seconds=0)["unsettled"] == 1


def test_each_record_is_read_once_and_not_at_each_sweep(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        upload = put(f"incoming/{number}.csv")
        leave(layout.submission_key(upload.id), {"job_id": "job"})
    clock.later = timedelta(minutes=16)
    run()
    read: list[str] = []
    real = Sweep._has_job

    def has_job(self: Sweep, upload_id: str) -> bool:
        read.append(upload_id)
        return real(self, upload_id)

    monkeypatch.setattr(Sweep, "_has_job", has_job)
    assert run() == {"announced": 0, "unsettled": 0, "complete": True}
    assert read == []


def test_an_upload_that_waits_rightly_counts_and_is_not_announced(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(layout.waiting_key(put("incoming/a.csv").id), {})
    clock.later = timedelta(hours=2)
    assert run() == {"announced": 0, "unsettled": 1, "complete": True}
    found = metrics(capsys)
    assert found["UnsettledUploads"] == 1
    assert 7200 <= found["OldestWaitingSeconds"] < 7260


def test_an_upload_that_waits_although_a_model_is_approved_is_announced(
    clock: Clock, register: Callable[..., str]
) -> None:
    upload = put("incoming/a.csv")
    leave(layout.waiting_key(upload.id), {})
    register()
    clock.later = timedelta(minutes=16)
    run()
    assert announced() == [upload]


def test_a_model_above_the_ceiling_lets_uploads_wait(
    clock: Clock, register: Callable[..., str]
) -> None:
    leave(layout.waiting_key(put("incoming/a.csv").id), {})
    register("Rejected")
    register()
    ceiling = layout.serving_key(GROUP)
    boto3.client("s3").put_object(Bucket=MODELS, Key=ceiling, Body=b'{"ceiling": 1}')
    clock.later = timedelta(minutes=16)
    assert run()["announced"] == 0


def test_what_fails_for_good_is_announced_ever_more_rarely() -> None:
    world = World()
    world.put("a.csv")
    for _ in range(96 * 7):  # a week
        world.advance(timedelta(minutes=15))
        world.finish(world.sweep())
    world.close()
    # After 15 and 30 minutes, 1, 2, 4, 8 and 16 hours, then daily.
    assert 11 <= len(world.sqs.sent["queue"]) <= 14


def test_with_a_minimum_age_of_nothing_all_is_announced_at_once(clock: Clock) -> None:
    put("incoming/a.csv")
    for _ in range(2):
        assert run(minimum_age_seconds=0)["announced"] == 1


def test_an_announcement_that_sqs_refuses_is_made_by_the_next_sweep(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [put(f"incoming/{number:02}.csv") for number in range(12)]
    clock.later = timedelta(minutes=16)
    sqs = sweep._sweep()._sqs
    real = sqs.send_message_batch

    def refuse_some(**request: Any) -> Any:
        entries = request["Entries"]
        answer = real(QueueUrl=request["QueueUrl"], Entries=entries[1:])
        failed = {"Id": entries[0]["Id"], "Code": "InternalError", "SenderFault": False}
        return {**answer, "Failed": [failed]}

    with monkeypatch.context() as broken:
        broken.setattr(sqs, "send_message_batch", refuse_some)
        assert run()["announced"] == 10
    assert len(sweep._sweep()._listed(layout.ANNOUNCED)) == 10
    run()
    assert len(sweep._sweep()._listed(layout.ANNOUNCED)) == 12
    assert {upload.id for upload in announced()} == {upload.id for upload in uploads}


def test_a_sweep_that_runs_out_of_time_goes_on_next_time_from_where_it_stopped(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    uploads = [put(f"incoming/ü {number}+.csv") for number in range(3)]
    uploads += [put("incoming/ü 1+.csv", b"another version")]
    sweep._sweep()._page_size = 1
    clock.later = timedelta(minutes=16)
    for number in range(1, 4):
        assert run(seconds=1) == {"announced": 1, "unsettled": number, "complete": False}
    assert metrics(capsys) == {}, "of a whole pass only"
    assert run(seconds=1) == {"announced": 1, "unsettled": 4, "complete": True}
    assert metrics(capsys)["UnsettledUploads"] == 4
    assert run()["unsettled"] == 4, "the next pass begins anew"
    assert {upload.id for upload in announced()} == {upload.id for upload in uploads}


@pytest.mark.parametrize("body", [b"damaged", b"[]", b'{"open_claims": 7}', b'{"later": 1}'])
def test_a_state_that_cannot_be_read_begins_again(clock: Clock, body: bytes) -> None:
    upload = put("incoming/a.csv")
    leave(layout.submission_key(upload.id), {"job_id": ""})
    leave(layout.SWEEP_STATE, body)
    clock.later = timedelta(minutes=16)
    assert run()["announced"] == 1
    stored = boto3.client("s3").get_object(Bucket=RESULTS, Key=layout.SWEEP_STATE)["Body"].read()
    assert json.loads(stored)["open_claims"] == [upload.id]
    assert State(**json.loads(stored)).key_marker == ""
