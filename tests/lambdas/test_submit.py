"""Each upload gets exactly one job, whatever the queue delivers and wherever the function dies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError
from moto.batch.models import batch_backends
from moto.core.config import default_user_config

from lambdas import layout, submit
from lambdas.registry import Registry
from lambdas.submit import handler
from tests.lambdas.eventbridge import (
    GROUP,
    MODELS,
    RESULTS,
    UPLOADS,
    created,
    notification,
    retry,
    state_change,
)
from tests.lambdas.fakes import client_error

KEY = "incoming/a.csv"
ID = layout.upload_id(UPLOADS, KEY, "e1")


class Clock:
    """The time that the function sees."""

    def __init__(self) -> None:
        self.time = datetime.now(timezone.utc)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


class Context:
    """Lambda's context object, with the time a fresh invocation has."""

    def __init__(self, seconds: float = 60) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self._seconds * 1000)


class DeadError(BaseException):
    """The process is gone, as by kill -9: nothing in the code may catch it."""


@pytest.fixture
def clock(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The function with its queue and job definition, and its clock."""
    monkeypatch.setitem(default_user_config, "batch", {"use_docker": False})
    batch = boto3.client("batch")
    role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
    environment = batch.create_compute_environment(
        computeEnvironmentName="any", type="UNMANAGED", serviceRole=role["Role"]["Arn"]
    )["computeEnvironmentArn"]
    batch.create_job_queue(
        jobQueueName="predict",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    batch.register_job_definition(
        jobDefinitionName="predict",
        type="container",
        containerProperties={"image": "gluon", "vcpus": 1, "memory": 1024},
    )
    for name, value in {
        "MODEL_PACKAGE_GROUP": GROUP,
        "UPLOAD_BUCKET": UPLOADS,
        "RESULTS_BUCKET": RESULTS,
        "JOB_QUEUE": "predict",
        "JOB_DEFINITION": "predict",
        "TEXT_COLUMN": "claim",
        "MODELS_BUCKET": MODELS,
        "DEAD_LETTER_QUEUE_URL": boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"],
        "MAX_RECEIVES": "5",
        "SHARD_BYTES": "1000",
        "MAX_SHARDS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    submit._submitter.cache_clear()
    clock = Clock()
    monkeypatch.setattr(submit, "utc_now", clock)
    submit._submitter()[0]._jobs._sleep = lambda seconds: clock.advance(seconds=seconds)
    yield clock
    submit._submitter.cache_clear()


def deliver(*bodies: str, seconds: float = 60, receives: int = 1) -> list[str]:
    """Delivers messages as one batch; the answer is which of them failed."""
    records = [
        {
            "messageId": str(number),
            "body": body,
            "attributes": {"ApproximateReceiveCount": str(receives)},
            "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:claimflow-dev-uploads",
        }
        for number, body in enumerate(bodies)
    ]
    answer = handler({"Records": records}, Context(seconds))
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def dead_letters() -> list[tuple[str, dict[str, str]]]:
    """The body and the attributes of each dead letter."""
    answer = boto3.client("sqs").receive_message(
        QueueUrl=os.environ["DEAD_LETTER_QUEUE_URL"],
        MaxNumberOfMessages=10,
        MessageAttributeNames=["All"],
    )
    return [
        (
            letter["Body"],
            {name: value["StringValue"] for name, value in letter["MessageAttributes"].items()},
        )
        for letter in answer.get("Messages", [])
    ]


def raises(error: Exception) -> Callable[..., Any]:
    """A function that fails."""

    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def put_manifest(prefix: str, outcome: str) -> None:
    boto3.client("s3").put_object(
        Bucket=RESULTS, Key=f"{prefix}manifest.json", Body=json.dumps({"outcome": outcome}).encode()
    )


def submissions() -> Any:
    return submit._submitter()[0]._submissions


def jobs() -> list[str]:
    """The names of all jobs."""
    listed = boto3.client("batch").list_jobs(
        jobQueue="predict", filters=[{"name": "JOB_NAME", "values": ["predict-*"]}]
    )
    return sorted(job["jobName"] for job in listed["jobSummaryList"])


def objects(prefix: str) -> dict[str, dict[str, Any]]:
    """The JSON objects below a prefix of the results bucket."""
    s3 = boto3.client("s3")
    found = s3.list_objects_v2(Bucket=RESULTS, Prefix=prefix).get("Contents", [])
    return {
        each["Key"]: json.loads(s3.get_object(Bucket=RESULTS, Key=each["Key"])["Body"].read())
        for each in found
    }


def die(monkeypatch: pytest.MonkeyPatch, client: str, call: str, at: int, after: bool) -> None:
    """Lets the process die at the `at`-th such call: before it is sent, or `after`."""
    live = {"s3": submissions()._s3, "batch": submit._submitter()[0]._jobs._batch_once}[client]
    real, count = getattr(live, call), iter(range(1000))

    def dying(**arguments: Any) -> Any:
        now = next(count) == at
        if now and not after:
            raise DeadError
        answer = real(**arguments)
        if now:
            raise DeadError
        return answer

    monkeypatch.setattr(live, call, dying)


def test_an_upload_becomes_a_job_that_carries_all_it_needs(
    clock: Clock, register: Callable[..., str]
) -> None:
    arn = register()
    assert deliver(created(KEY)) == []
    (record,) = objects("submissions/").values()
    job = boto3.client("batch").describe_jobs(jobs=[record["job_id"]])["jobs"][0]
    environment = {each["name"]: each["value"] for each in job["container"]["environment"]}
    assert (
        environment.items()
        >= {
            "INPUT_BUCKET": UPLOADS,
            "INPUT_KEY": KEY,
            "INPUT_ETAG": "e1",
            "MODEL_PACKAGE_ARN": arn,
            "RESULTS_BUCKET": RESULTS,
            "RESULTS_PREFIX": f"results/a.csv/{ID}/",
            "UPLOAD_ID": ID,
            "TEXT_COLUMN": "claim",
        }.items()
    )
    assert "INPUT_VERSION" not in environment
    assert job["jobName"] == f"predict-{ID}"
    assert job["tags"]["claimflow:upload-id"] == ID


def test_the_record_tells_a_client_where_the_results_will_lie(
    clock: Clock, register: Callable[..., str]
) -> None:
    arn = register()
    deliver(created(KEY, **{"version-id": "v1"}))
    upload = layout.upload_id(UPLOADS, KEY, "v1")
    record = objects("submissions/")[f"submissions/{upload}.json"]
    assert (
        record.items()
        >= {
            "bucket": UPLOADS,
            "key": KEY,
            "version": "v1",
            "etag": "e1",
            "results_bucket": RESULTS,
            "results_prefix": f"results/a.csv/{upload}/",
            "model_package_arn": arn,
            "model_package_version": 1,
        }.items()
    )
    assert record["submitted_at"] == clock().isoformat()


@pytest.mark.parametrize("key", ["incoming/a b.csv", "incoming/1+1%20=2.csv", "incoming/ü/損.csv"])
def test_a_key_of_any_spelling_reaches_the_job_unchanged(
    clock: Clock, register: Callable[..., str], key: str
) -> None:
    register()
    assert deliver(created(key)) == []
    (record,) = objects("submissions/").values()
    job = boto3.client("batch").describe_jobs(jobs=[record["job_id"]])["jobs"][0]
    assert {"name": "INPUT_KEY", "value": key} in job["container"]["environment"]


def test_duplicates_in_one_batch_and_in_later_ones_submit_once(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver(created(KEY), created(KEY)) == []
    clock.advance(days=3)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]


def test_a_duplicate_does_not_move_an_upload_to_a_newer_model(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    deliver(created(KEY))
    register()
    deliver(created(KEY))
    assert objects("submissions/")[f"submissions/{ID}.json"]["model_package_version"] == 1


def test_each_content_of_an_overwritten_key_is_predicted(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver(created(KEY, etag="e1"), created(KEY, etag="e2")) == []
    assert len(jobs()) == 2


def test_one_bad_message_does_not_hold_up_the_others(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    bad = layout.upload_id(UPLOADS, "incoming/b.csv", "e1")
    stop_waiting = submissions().stop_waiting

    def fail_for_one(upload: str) -> None:
        if upload == bad:
            raise RuntimeError("no")
        stop_waiting(upload)

    with monkeypatch.context() as broken:
        broken.setattr(submissions(), "stop_waiting", fail_for_one)
        assert deliver(created("incoming/b.csv"), created(KEY), created("elsewhere/a.csv")) == ["0"]
    assert f"predict-{ID}" in jobs()


def test_an_upload_waits_for_a_model_and_its_approval_submits_it(
    clock: Clock, register: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    arn = register("PendingManualApproval")
    other = layout.upload_id(UPLOADS, "incoming/b.csv", "e1")
    assert deliver(created(KEY), created("incoming/b.csv"), created(KEY)) == []
    assert objects("waiting/")[f"waiting/{ID}.json"] == {
        "bucket": UPLOADS,
        "key": KEY,
        "version": "",
        "etag": "e1",
        "size": 5,
    }
    assert jobs() == []
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0]["event"] == "waiting"
    assert lines[0]["todo"] == f"approve a version of {GROUP}, and this upload is predicted"

    boto3.client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Approved"
    )
    assert deliver(state_change(arn)) == []
    assert jobs() == sorted([f"predict-{ID}", f"predict-{other}"])
    assert objects("waiting/") == {}
    assert deliver(state_change(arn), created(KEY)) == []
    assert len(jobs()) == 2


def test_an_approval_with_more_uploads_than_time_leaves_the_rest_to_the_sweep(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(*(created(f"incoming/{number}.csv") for number in range(3)))
    arn = register()
    stop_waiting = submissions().stop_waiting

    def slow(upload: str) -> None:
        stop_waiting(upload)
        clock.advance(seconds=30)

    monkeypatch.setattr(submissions(), "stop_waiting", slow)
    assert deliver(state_change(arn)) == []
    assert len(jobs()) == 2
    assert len(objects("waiting/")) == 1


def test_an_approval_that_has_no_time_at_all_comes_again(
    clock: Clock, register: Callable[..., str]
) -> None:
    deliver(created(KEY))
    assert deliver(state_change(register()), seconds=5) == ["0"]
    assert len(objects("waiting/")) == 1


def test_an_approval_between_the_look_and_the_marker_is_not_missed(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = submissions().wait

    def approved_meanwhile(upload: Any) -> None:
        deliver(state_change(register()))
        wait(upload)

    monkeypatch.setattr(submissions(), "wait", approved_meanwhile)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]
    assert objects("waiting/") == {}


def test_an_approval_that_the_registry_does_not_list_yet_comes_again(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(created(KEY))
    arn = register()
    monkeypatch.setattr(Registry, "newest_approved", lambda _registry: None)
    assert deliver(state_change(arn)) == ["0"]
    assert list(objects("waiting/")) == [f"waiting/{ID}.json"]


def test_one_waiting_upload_that_fails_does_not_hold_up_the_others(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(created(KEY), created("incoming/b.csv"))
    arn = register()
    batch = submit._submitter()[0]._jobs._batch_once
    real = batch.submit_job

    def refuse_one(**job: Any) -> Any:
        if job["jobName"] == f"predict-{ID}":
            raise RuntimeError("no")
        return real(**job)

    with monkeypatch.context() as broken:
        broken.setattr(batch, "submit_job", refuse_one)
        assert deliver(state_change(arn)) == ["0"]
    assert len(jobs()) == 1
    clock.advance(minutes=5)
    assert deliver(state_change(arn)) == []
    assert len(jobs()) == 2
    assert objects("waiting/") == {}


CRASHES = [
    ("s3", "put_object", 0, False),  # before the claim
    ("s3", "put_object", 0, True),  # between claim and submit
    ("batch", "submit_job", 0, True),  # between submit and record
    ("s3", "put_object", 1, False),
    ("s3", "put_object", 1, True),  # between record and the end
    ("s3", "delete_object", 0, True),
]


@pytest.mark.parametrize(("client", "call", "at", "after"), CRASHES)
@pytest.mark.parametrize("waited", [False, True])
def test_dying_between_any_two_calls_neither_loses_nor_doubles_an_upload(
    clock: Clock,
    register: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    call: str,
    at: int,
    after: bool,
    waited: bool,
) -> None:
    body = created(KEY)
    if waited:
        deliver(body)
    body = state_change(register()) if waited else (register(), body)[1]
    with monkeypatch.context() as dying:
        die(dying, client, call, at, after)
        with pytest.raises(DeadError):
            deliver(body)
    register()  # a newer model meanwhile must not change what was pinned
    clock.advance(minutes=6)
    assert deliver(body) == []
    assert jobs() == [f"predict-{ID}"]
    (record,) = objects("submissions/").values()
    job = boto3.client("batch").describe_jobs(jobs=[record["job_id"]])["jobs"][0]
    assert {"name": "MODEL_PACKAGE_ARN", "value": record["model_package_arn"]} in job["container"][
        "environment"
    ]
    assert objects("waiting/") == {}


def test_a_claim_of_an_invocation_that_may_live_is_left_alone(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    with monkeypatch.context() as dying:
        die(dying, "s3", "put_object", 0, after=True)
        with pytest.raises(DeadError):
            deliver(created(KEY))
    clock.advance(seconds=60)
    assert deliver(created(KEY)) == ["0"]
    assert jobs() == []
    clock.advance(seconds=11)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]


def test_of_two_that_claim_at_once_one_submits(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    read = submissions().read

    def overtaken(upload: str) -> Any:
        stored = read(upload)
        monkeypatch.setattr(submissions(), "read", read)
        assert deliver(created(KEY)) == []
        return stored

    monkeypatch.setattr(submissions(), "read", overtaken)
    assert deliver(created(KEY)) == ["0"]
    assert jobs() == [f"predict-{ID}"]


def test_of_two_that_take_over_a_dead_claim_one_submits(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    with monkeypatch.context() as dying:
        die(dying, "s3", "put_object", 0, after=True)
        with pytest.raises(DeadError):
            deliver(created(KEY))
    clock.advance(minutes=6)
    read = submissions().read

    def overtaken(upload: str) -> Any:
        stored = read(upload)
        monkeypatch.setattr(submissions(), "read", read)
        assert deliver(created(KEY)) == []
        return stored

    monkeypatch.setattr(submissions(), "read", overtaken)
    assert deliver(created(KEY)) == ["0"]
    assert jobs() == [f"predict-{ID}"]


def test_with_too_little_time_left_nothing_is_begun(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver(created(KEY), seconds=5) == ["0"]
    assert objects("") == {}


def test_a_lost_answer_of_submit_job_is_not_sent_again_by_the_client(clock: Clock) -> None:
    batch: Any = submit._submitter()[0]._jobs._batch_once
    assert batch.meta.config.retries["total_max_attempts"] == 1


# Dead letters.


@pytest.mark.parametrize(
    ("body", "upload"),
    [
        ("not JSON", None),
        (created(KEY).replace('"etag"', '"tag"'), None),
        (retry("short"), None),
        (retry(ID), ID),  # below: no model is approved
    ],
)
def test_what_can_never_be_handled_is_a_dead_letter_at_once(
    clock: Clock, register: Callable[..., str], body: str, upload: str | None
) -> None:
    arn = register()
    deliver(created(KEY))
    put_manifest(f"results/a.csv/{ID}/", "failed")
    boto3.client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected"
    )
    assert deliver(body) == []
    ((letter, attributes),) = dead_letters()
    assert letter == body
    assert attributes["Source"] == "claimflow-dev-uploads"
    assert attributes["Reason"].startswith(("MalformedEventError: ", "NoModelError: "))
    assert attributes.get("UploadId") == upload


def test_what_fails_at_its_last_delivery_is_a_dead_letter_with_its_reason(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    monkeypatch.setattr(submissions(), "read", raises(RuntimeError("a reason\non\x00 lines" * 99)))
    assert deliver(created(KEY), receives=4) == ["0"]
    assert dead_letters() == []
    assert deliver(created(KEY), receives=5) == []
    ((letter, attributes),) = dead_letters()
    assert letter == created(KEY)
    assert attributes["UploadId"] == ID
    assert attributes["Reason"].startswith("RuntimeError: a reason on lines")
    assert attributes["Reason"].isprintable()
    assert len(attributes["Reason"]) <= 500


def test_a_message_that_the_dead_letter_queue_refuses_is_left_to_the_redrive_policy(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submit._submitter()[1], "_url", "http://localhost:1/none")
    monkeypatch.setattr(submit._submitter()[1]._sqs, "send_message", raises(RuntimeError("no")))
    assert deliver("not JSON") == ["0"]


@pytest.mark.parametrize(
    "poison",
    [
        "[" * 100_000,
        created(KEY, size=1).replace('"size": 1', '"size": 1e999'),
        created(KEY, etag="\ud800"),
        created(KEY).replace("Object Created", "\\ud800"),
    ],
    ids=["nested", "infinite", "surrogate", "unknown"],
)
def test_a_poisonous_message_does_not_bring_down_the_others_of_its_batch(
    clock: Clock, register: Callable[..., str], poison: str
) -> None:
    register()
    assert deliver(poison, created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]


def test_a_message_that_cannot_even_be_named_fails_alone(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    real = submit.parse

    def fail_for_one(body: str, settings: Any) -> Any:
        if body == "poison":
            raise MemoryError
        return real(body, settings)

    monkeypatch.setattr(submit, "parse", fail_for_one)
    assert deliver("poison", created(KEY)) == ["0"]
    assert jobs() == [f"predict-{ID}"]


# Throttling.


@pytest.mark.parametrize("code", ["TooManyRequestsException", "ThrottlingException"])
def test_a_throttled_submission_is_sent_again(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    register()
    batch = submit._submitter()[0]._jobs._batch_once
    real, answers = batch.submit_job, [client_error(code, 429), client_error(code, 400)]

    def throttled(**job: Any) -> Any:
        if answers:
            raise answers.pop()
        return real(**job)

    monkeypatch.setattr(batch, "submit_job", throttled)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]


def test_throttling_is_waited_for_only_while_time_is_left(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    begun = clock()
    refused = raises(client_error("TooManyRequestsException", 429))
    monkeypatch.setattr(submit._submitter()[0]._jobs._batch_once, "submit_job", refused)
    assert deliver(created(KEY)) == ["0"]
    assert 30 < (clock() - begun).total_seconds() <= 55


@pytest.mark.parametrize(
    "error", [ReadTimeoutError(endpoint_url="batch"), client_error("ServerException", 500)]
)
def test_a_submission_whose_answer_is_lost_is_not_sent_again(
    clock: Clock,
    register: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    register()
    batch = submit._submitter()[0]._jobs._batch_once
    real = batch.submit_job

    def lost(**job: Any) -> Any:
        real(**job)
        raise error

    with monkeypatch.context() as broken:
        broken.setattr(batch, "submit_job", lost)
        assert deliver(created(KEY)) == ["0"]
    clock.advance(minutes=6)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]


# The size of a job.


@pytest.mark.parametrize(
    ("key", "size", "shards"),
    [
        ("incoming/a.csv", 1000, None),
        ("incoming/a.csv", 1001, 2),
        ("incoming/a.csv", 2000, 2),
        ("incoming/a.csv", 2001, 3),
        ("incoming/a.csv", 10**12, 4),
        ("incoming/a.csv.gz", 10**12, None),
        ("incoming/a.PARQUET", 10**12, None),
    ],
)
def test_a_large_file_becomes_an_array_job(
    clock: Clock,
    register: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    size: int,
    shards: int | None,
) -> None:
    register()
    sent: list[dict[str, Any]] = []
    batch = submit._submitter()[0]._jobs._batch_once

    def submit_job(**job: Any) -> dict[str, str]:
        sent.append(job)
        return {"jobId": "job"}

    monkeypatch.setattr(batch, "submit_job", submit_job)
    assert deliver(created(key, size=size)) == []
    (job,) = sent
    upload = layout.upload_id(UPLOADS, key, "e1")
    environment = {one["name"]: one["value"] for one in job["containerOverrides"]["environment"]}
    assert job.get("arrayProperties") == (shards and {"size": shards})
    assert environment.get("SHARDS") == (shards and str(shards))
    assert environment.get("SHARDS_PREFIX") == (shards and f"shards/{upload}/1/")
    (record,) = objects("submissions/").values()
    assert record["shards"] == (shards or 1)


# Records that cannot be read.


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not JSON",
        "[]",
        "null",
        "{}",
        '{"upload_id": "0"}',
        lambda record: {**record, "invented_later": 1},
        lambda record: {**record, "size": "5"},
        lambda record: {**record, "claimed_until": "yesterday"},
        lambda record: {**record, "claimed_until": "2026-01-01T00:00:00"},
        lambda record: {name: record[name] for name in list(record)[1:]},
    ],
)
def test_a_record_that_cannot_be_read_is_a_clear_failure_and_no_second_job(
    clock: Clock, register: Callable[..., str], capsys: pytest.CaptureFixture[str], body: Any
) -> None:
    register()
    deliver(created(KEY))
    if callable(body):
        body = json.dumps(body(objects("submissions/")[f"submissions/{ID}.json"]))
    boto3.client("s3").put_object(Bucket=RESULTS, Key=f"submissions/{ID}.json", Body=body.encode())
    capsys.readouterr()
    assert deliver(created(KEY)) == ["0"]
    (line,) = capsys.readouterr().out.splitlines()
    failure = json.loads(line)
    assert failure["error"] == "UnreadableRecordError"
    assert f"submissions/{ID}.json in the results bucket cannot be read" in failure["reason"]
    assert jobs() == [f"predict-{ID}"]


def test_a_record_of_the_version_before_retries_is_read(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    deliver(created(KEY))
    record = objects("submissions/")[f"submissions/{ID}.json"]
    old = {name: record[name] for name in record if name not in ("attempt", "shards", "claim")}
    boto3.client("s3").put_object(
        Bucket=RESULTS, Key=f"submissions/{ID}.json", Body=json.dumps(old).encode()
    )
    assert deliver(created(KEY)) == []
    put_manifest(record["results_prefix"], "failed")
    assert deliver(retry(ID)) == []
    assert objects("submissions/")[f"submissions/{ID}.json"]["attempt"] == 2


def test_one_damaged_marker_does_not_hold_up_the_other_uploads_that_wait(
    clock: Clock, register: Callable[..., str]
) -> None:
    deliver(created(KEY))
    boto3.client("s3").put_object(Bucket=RESULTS, Key=f"waiting/{'0' * 32}.json", Body=b"{")
    assert deliver(state_change(register())) == ["0"]
    assert jobs() == [f"predict-{ID}"]


# Retries.


def end_job(job_id: str, status: str) -> None:
    moto = batch_backends["123456789012"]["eu-west-1"]._jobs[job_id]
    moto.status = status


def test_a_retry_of_a_failed_upload_is_a_second_job_with_results_of_its_own(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    deliver(created(KEY))
    newer = register()
    put_manifest(f"results/a.csv/{ID}/", "failed")
    assert deliver(retry(ID)) == []
    assert jobs() == [f"predict-{ID}", f"predict-{ID}-2"]
    record = objects("submissions/")[f"submissions/{ID}.json"]
    assert record["attempt"] == 2
    assert record["results_prefix"] == f"results/a.csv/{ID}/retry-2/"
    assert record["model_package_arn"] == newer, "its model is pinned anew"
    job = boto3.client("batch").describe_jobs(jobs=[record["job_id"]])["jobs"][0]
    assert {"name": "RESULTS_PREFIX", "value": record["results_prefix"]} in job["container"][
        "environment"
    ]
    put_manifest(record["results_prefix"], "failed")
    assert deliver(retry(ID)) == []
    record = objects("submissions/")[f"submissions/{ID}.json"]
    assert record["results_prefix"] == f"results/a.csv/{ID}/retry-3/"


@pytest.mark.parametrize(
    ("status", "outcome", "again"),
    [
        ("RUNNING", None, False),
        ("RUNNING", "failed", True),
        ("FAILED", None, True),
        ("FAILED", "failed", True),
        ("FAILED", "succeeded", False),
        ("SUCCEEDED", "succeeded", False),
        ("SUCCEEDED", None, True),  # somebody has removed the results
    ],
)
def test_a_retry_counts_only_for_an_upload_that_has_failed(
    clock: Clock, register: Callable[..., str], status: str, outcome: str | None, again: bool
) -> None:
    register()
    deliver(created(KEY))
    (record,) = objects("submissions/").values()
    end_job(record["job_id"], status)
    if outcome:
        put_manifest(record["results_prefix"], outcome)
    assert deliver(retry(ID)) == []
    assert len(jobs()) == 1 + again
    assert dead_letters() == []


def test_a_job_that_succeeds_while_a_retry_looks_at_it_is_not_tried_again(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    deliver(created(KEY))
    (record,) = objects("submissions/").values()
    end_job(record["job_id"], "RUNNING")

    def then_it_ends(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*arguments: Any) -> Any:
            seen = look(*arguments)
            put_manifest(record["results_prefix"], "succeeded")
            end_job(record["job_id"], "SUCCEEDED")
            return seen

        return looked

    for place, name in ((submit._submitter()[0]._jobs, "state"), (submissions(), "outcome")):
        monkeypatch.setattr(place, name, then_it_ends(getattr(place, name)))
    assert deliver(retry(ID)) == []
    assert len(jobs()) == 1


def test_a_job_that_batch_has_forgotten_without_a_manifest_may_be_tried_again(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    deliver(created(KEY))
    monkeypatch.setattr(
        submit._submitter()[0]._jobs._batch, "describe_jobs", lambda **_: {"jobs": []}
    )
    assert deliver(retry(ID)) == []
    assert len(jobs()) == 1, "it is so new that Batch may not show it yet"
    clock.advance(days=8)
    assert deliver(retry(ID)) == []
    assert len(jobs()) == 2


def test_a_retry_that_names_its_attempt_and_is_delivered_twice_starts_one(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    deliver(created(KEY))
    put_manifest(f"results/a.csv/{ID}/", "failed")
    assert deliver(retry(ID, attempt=1)) == []
    put_manifest(f"results/a.csv/{ID}/retry-2/", "failed")
    assert deliver(retry(ID, attempt=1)) == []
    assert len(jobs()) == 2


def test_a_retry_of_what_was_never_submitted_is_dropped(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deliver(retry(ID)) == []
    assert json.loads(capsys.readouterr().out)["event"] == "dropped"
    assert dead_letters() == []


@pytest.mark.parametrize(
    ("client", "call", "at", "after"),
    [
        ("s3", "put_object", 0, False),
        ("s3", "put_object", 0, True),
        ("batch", "submit_job", 0, True),
        ("s3", "put_object", 1, False),
        ("s3", "put_object", 1, True),
    ],
)
def test_a_retry_that_dies_between_any_two_calls_submits_once(
    clock: Clock,
    register: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    client: str,
    call: str,
    at: int,
    after: bool,
) -> None:
    register()
    deliver(created(KEY))
    put_manifest(f"results/a.csv/{ID}/", "failed")
    with monkeypatch.context() as dying:
        die(dying, client, call, at, after)
        with pytest.raises(DeadError):
            deliver(retry(ID, attempt=1))
    clock.advance(minutes=6)
    assert deliver(retry(ID, attempt=1)) == []
    assert jobs() == [f"predict-{ID}", f"predict-{ID}-2"]
    (record,) = objects("submissions/").values()
    assert (record["attempt"], bool(record["job_id"])) == (2, True)


# The ceiling.


def test_an_upload_gets_the_newest_model_that_is_not_above_the_ceiling(
    clock: Clock, register: Callable[..., str]
) -> None:
    first = register()
    register()
    boto3.client("s3").put_object(
        Bucket=MODELS, Key=f"serving/{GROUP}.json", Body=b'{"ceiling": 1}'
    )
    deliver(created(KEY))
    (record,) = objects("submissions/").values()
    assert record["model_package_arn"] == first


def test_an_approval_above_the_ceiling_leaves_uploads_waiting(
    clock: Clock, register: Callable[..., str]
) -> None:
    boto3.client("s3").put_object(
        Bucket=MODELS, Key=f"serving/{GROUP}.json", Body=b'{"ceiling": 1}'
    )
    register("Rejected")
    deliver(created(KEY))
    assert deliver(state_change(register(), version=2)) == []
    assert list(objects("waiting/")) == [f"waiting/{ID}.json"]


def test_an_approval_that_was_taken_back_meanwhile_is_no_failure(
    clock: Clock, register: Callable[..., str]
) -> None:
    deliver(created(KEY))
    assert deliver(state_change(register("Rejected"))) == []
    assert list(objects("waiting/")) == [f"waiting/{ID}.json"]


# Several at once.


def test_the_records_of_one_notification_are_all_handled(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver(notification("incoming/a.csv", "incoming/b+c.csv")) == []
    keys = {record["key"] for record in objects("submissions/").values()}
    assert keys == {"incoming/a.csv", "incoming/b c.csv"}
