"""Each upload gets exactly one job, whatever the queue delivers and wherever the function dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from moto.core.config import default_user_config

from lambdas import layout, submit
from lambdas.submit import handler
from tests.lambdas.eventbridge import GROUP, RESULTS, UPLOADS, created, state_change

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
def clock(aws: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
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
    }.items():
        monkeypatch.setenv(name, value)
    submit._submitter.cache_clear()
    clock = Clock()
    submit._submitter().now = clock
    yield clock
    submit._submitter.cache_clear()


def deliver(*bodies: str, seconds: float = 60) -> list[str]:
    """Delivers messages as one batch; the answer is which of them failed."""
    records = [
        {"messageId": str(number), "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
        for number, body in enumerate(bodies)
    ]
    answer = handler({"Records": records}, Context(seconds))
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


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
    live = getattr(submit._submitter(), client)
    if client == "_submissions":
        live = live._s3
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
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver("not JSON", created(KEY), created("elsewhere/a.csv")) == ["0"]
    assert jobs() == [f"predict-{ID}"]


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


def test_an_approval_between_the_look_and_the_marker_is_not_missed(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    submissions = submit._submitter()._submissions
    wait = submissions.wait

    def approved_meanwhile(upload: Any) -> None:
        deliver(state_change(register()))
        wait(upload)

    monkeypatch.setattr(submissions, "wait", approved_meanwhile)
    assert deliver(created(KEY)) == []
    assert jobs() == [f"predict-{ID}"]
    assert objects("waiting/") == {}


def test_an_approval_that_the_registry_does_not_list_yet_comes_again(clock: Clock) -> None:
    deliver(created(KEY))
    assert deliver(state_change("arn:early")) == ["0"]
    assert list(objects("waiting/")) == [f"waiting/{ID}.json"]


def test_one_waiting_upload_that_fails_does_not_hold_up_the_others(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver(created(KEY), created("incoming/b.csv"))
    arn = register()
    batch = submit._submitter()._batch
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
    ("_submissions", "put_object", 0, False),  # before the claim
    ("_submissions", "put_object", 0, True),  # between claim and submit
    ("_batch", "submit_job", 0, True),  # between submit and record
    ("_submissions", "put_object", 1, False),
    ("_submissions", "put_object", 1, True),  # between record and the end
    ("_submissions", "delete_object", 0, True),
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
        die(dying, "_submissions", "put_object", 0, after=True)
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
    submissions = submit._submitter()._submissions
    read = submissions.read

    def overtaken(upload: str) -> Any:
        stored = read(upload)
        monkeypatch.setattr(submissions, "read", read)
        assert deliver(created(KEY)) == []
        return stored

    monkeypatch.setattr(submissions, "read", overtaken)
    assert deliver(created(KEY)) == ["0"]
    assert jobs() == [f"predict-{ID}"]


def test_of_two_that_take_over_a_dead_claim_one_submits(
    clock: Clock, register: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register()
    with monkeypatch.context() as dying:
        die(dying, "_submissions", "put_object", 0, after=True)
        with pytest.raises(DeadError):
            deliver(created(KEY))
    clock.advance(minutes=6)
    submissions = submit._submitter()._submissions
    read = submissions.read

    def overtaken(upload: str) -> Any:
        stored = read(upload)
        monkeypatch.setattr(submissions, "read", read)
        assert deliver(created(KEY)) == []
        return stored

    monkeypatch.setattr(submissions, "read", overtaken)
    assert deliver(created(KEY)) == ["0"]
    assert jobs() == [f"predict-{ID}"]


def test_with_too_little_time_left_nothing_is_begun(
    clock: Clock, register: Callable[..., str]
) -> None:
    register()
    assert deliver(created(KEY), seconds=5) == ["0"]
    assert objects("") == {}


def test_a_lost_answer_of_submit_job_is_not_sent_again_by_the_client(clock: Clock) -> None:
    assert submit._submitter()._batch.meta.config.retries["total_max_attempts"] == 1
