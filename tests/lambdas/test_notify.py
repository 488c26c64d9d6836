"""Each upload that is settled, or whose job failed, is told to people once and in plain words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas import layout, messages, notices, notify
from lambdas.notices import Place
from lambdas.notify import Notifier, handler
from lambdas.settings import NotifySettings
from tests.lambdas.eventbridge import RESULTS, UPLOADS, created, job_change

ID = "0123456789abcdef" * 2
PREFIX = f"results/may/a b.csv/{ID}/"
MANIFEST: dict[str, Any] = {
    "outcome": "succeeded",
    "reason": "",
    "upload_id": ID,
    "bucket": UPLOADS,
    "key": "incoming/may/a b.csv",
    "model_package_version": 3,
    "rows_in": 1000,
    "predicted": 990,
    "rejected": 10,
    "for_review": 40,
    "predictions": f"{PREFIX}predictions.csv",
    "rejects": f"{PREFIX}rejects.csv",
    "report": f"{PREFIX}report.html",
}
FAILED = {**MANIFEST, "outcome": "failed", "reason": "no column 'text'; the columns are: a, b"}
PLACE = Place("aws", "eu-west-1", RESULTS)


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 60_000


@pytest.fixture
def inbox(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What subscribers of the topic have received: their messages, each once."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic = sns.create_topic(Name="notices")["TopicArn"]
    url = sqs.create_queue(QueueName="inbox")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    for name, value in {
        "TOPIC_ARN": topic,
        "RESULTS_BUCKET": RESULTS,
        "JOB_QUEUE": "predict",
        "DEAD_LETTER_QUEUE_URL": sqs.create_queue(QueueName="dead")["QueueUrl"],
        "MAX_RECEIVES": "5",
        "DEPLOYMENT": "claimflow-dev",
    }.items():
        monkeypatch.setenv(name, value)
    notify._notifier.cache_clear()

    def received() -> list[dict[str, Any]]:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]

    yield received
    notify._notifier.cache_clear()


def put(key: str, body: Any) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    boto3.client("s3").put_object(Bucket=RESULTS, Key=key, Body=content)


def deliver(body: str, receives: int = 1) -> list[str]:
    message = {
        "messageId": "1",
        "body": body,
        "attributes": {"ApproximateReceiveCount": str(receives)},
        "eventSourceARN": "arn:aws:sqs:eu-west-1:123456789012:claimflow-dev-notices",
    }
    answer = handler({"Records": [message]}, Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def written(prefix: str = PREFIX) -> str:
    return created(f"{prefix}manifest.json", bucket=RESULTS)


def metrics(capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found: dict[str, float] = {}
    for line in lines:
        if "_aws" in line:
            (directive,) = line["_aws"]["CloudWatchMetrics"]
            found |= {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
    return found


def record(attempt: int = 1) -> None:
    """A submission as `lambdas.submit` leaves it."""
    put(
        f"submissions/{ID}.json",
        {
            "upload_id": ID,
            "bucket": UPLOADS,
            "key": "incoming/may/a b.csv",
            "version": "v1",
            "etag": "e1",
            "size": 5,
            "results_bucket": RESULTS,
            "results_prefix": layout.prefix_of_attempt(PREFIX, attempt),
            "model_package_arn": "arn",
            "model_package_version": 3,
            "job_name": layout.job_name(ID, attempt),
            "claimed_at": "2026-01-01T00:00:00+00:00",
            "claimed_until": "2026-01-01T00:01:00+00:00",
            "job_id": "job",
            "submitted_at": "2026-01-01T00:00:01+00:00",
            "attempt": attempt,
        },
    )


def test_how_far_the_predictions_drift_is_measured_where_it_can_be(
    inbox: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    reference = {"labels": {"a": 5, "b": 5}, "confidence_histogram": []}
    drifted = {**MANIFEST, "labels": {"a": 990}, "reference": reference}
    put(f"{PREFIX}manifest.json", drifted)
    assert deliver(written()) == []
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (line,) = [one for one in lines if "PredictionDrift" in one]
    assert line["PredictionDrift"] == 0.5
    assert line["Deployment"] == "claimflow-dev"
    assert line["_aws"]["CloudWatchMetrics"] == [
        {
            "Namespace": "claimflow",
            "Dimensions": [["Deployment"]],
            "Metrics": [{"Name": "PredictionDrift", "Unit": "None"}],
        }
    ]
    assert deliver(written()) == [], "a duplicate"
    assert "PredictionDrift" not in metrics(capsys)
    for number, other in enumerate(({"reference": None}, {"predicted": 199}), 2):
        prefix = f"{PREFIX}retry-{number}/"
        put(f"{prefix}manifest.json", {**drifted, **other})
        assert deliver(written(prefix)) == []
        assert "JobsSucceeded" in (found := metrics(capsys))
        assert "PredictionDrift" not in found


@pytest.mark.parametrize("labels", [["a"], {"a": "b"}])
def test_labels_that_cannot_be_counted_are_a_damaged_manifest(
    inbox: Callable[[], list[dict[str, Any]]], labels: Any
) -> None:
    reference = {"labels": {"a": 5}, "confidence_histogram": []}
    put(f"{PREFIX}manifest.json", {**MANIFEST, "labels": labels, "reference": reference})
    assert deliver(written()) == ["1"]


def test_people_are_told_in_plain_words_that_a_file_was_classified(
    inbox: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"{PREFIX}manifest.json", MANIFEST)
    assert deliver(written()) == []
    (message,) = inbox()
    assert message["Subject"] == "Classified: a b.csv"
    assert message["MessageAttributes"]["Outcome"]["Value"] == "succeeded"
    assert message["MessageAttributes"]["UploadId"]["Value"] == ID
    text = message["Message"]
    for line in (
        'The file "a b.csv" has been classified.',
        "  1,000 rows in the file",
        "    990 classified",
        "     40 of these for a person to look at",
        "     10 rejected, because they could not be read",
        f"  s3://results/{PREFIX}report.html",
        f"  s3://results/{PREFIX}predictions.csv",
        f"  s3://results/{PREFIX}rejects.csv",
        "  https://eu-west-1.console.aws.amazon.com/s3/object/results?region=eu-west-1"
        f"&prefix=results/may/a%20b.csv/{ID}/report.html",
        "Model: version 3",
    ):
        assert line in text.splitlines(), text
    assert metrics(capsys) == {
        "JobsSucceeded": 1,
        "RowsPredicted": 990,
        "RowsRejected": 10,
        "RowsForReview": 40,
    }


def test_without_rejects_none_are_pointed_to_and_older_manifests_have_no_report(
    inbox: Callable[[], list[dict[str, Any]]],
) -> None:
    older = {name: MANIFEST[name] for name in MANIFEST if name != "report"}
    put(f"{PREFIX}manifest.json", {**older, "rejected": 0})
    assert deliver(written()) == []
    (message,) = inbox()
    assert "rejects.csv" not in message["Message"]
    assert "report" not in message["Message"]


def test_people_are_told_why_a_file_could_not_be_classified_and_what_to_do(
    inbox: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    put(f"{PREFIX}manifest.json", FAILED)
    assert deliver(written()) == []
    (message,) = inbox()
    assert message["Subject"] == "Not classified: a b.csv"
    assert "  no column 'text'; the columns are: a, b" in message["Message"].splitlines()
    assert "upload it again" in message["Message"]
    assert metrics(capsys) == {"JobsFailed": 1}


def test_a_job_that_failed_without_a_manifest_is_told(
    inbox: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    record()
    body = job_change(f"predict-{ID}", container={"reason": "OutOfMemoryError: Container killed"})
    assert deliver(body) == []
    (message,) = inbox()
    assert message["Subject"] == "Not classified yet: a b.csv"
    text = message["Message"]
    assert "Essential container in task exited; OutOfMemoryError: Container killed" in text
    assert f"claimflow predictions retry {ID}" in text
    assert "batch/home?region=eu-west-1#jobs/detail/4c7599ae-0a82-49aa-ba5a-4727fcce14a8" in text
    assert metrics(capsys) == {"JobsFailed": 1}
    assert deliver(body) == []
    assert inbox() == [], "once"


def test_a_job_that_failed_with_a_manifest_is_told_by_its_manifest(
    inbox: Callable[[], list[dict[str, Any]]],
) -> None:
    record()
    put(f"{PREFIX}manifest.json", FAILED)
    assert deliver(job_change(f"predict-{ID}")) == []
    assert inbox() == []
    assert deliver(written()) == []
    assert len(inbox()) == 1


@pytest.mark.parametrize("newest", [1, 2, 3])
def test_a_job_of_any_attempt_is_judged_by_its_own_manifest(
    inbox: Callable[[], list[dict[str, Any]]], newest: int
) -> None:
    record(newest)
    put(f"{PREFIX}manifest.json", FAILED)
    assert deliver(job_change(f"predict-{ID}-2")) == []
    assert len(inbox()) == 1
    assert deliver(job_change(f"predict-{ID}")) == []
    assert inbox() == []


def test_events_that_come_again_are_told_once_and_each_attempt_is_told(
    inbox: Callable[[], list[dict[str, Any]]],
) -> None:
    put(f"{PREFIX}manifest.json", FAILED)
    put(f"{PREFIX}retry-2/manifest.json", MANIFEST)
    for _ in range(2):
        assert deliver(written()) == []
        assert deliver(written(f"{PREFIX}retry-2/")) == []
    subjects = [message["Subject"] for message in inbox()]
    assert sorted(subjects) == ["Classified: a b.csv", "Not classified: a b.csv"]
    found = boto3.client("s3").list_objects_v2(Bucket=RESULTS, Prefix="notices/")["Contents"]
    assert [one["Key"] for one in found] == [
        f"notices/{ID}/1-failed.json",
        f"notices/{ID}/2-succeeded.json",
    ]


def test_dying_before_the_marker_tells_twice_rather_than_never(
    inbox: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{PREFIX}manifest.json", MANIFEST)
    s3 = notify._notifier()[0]._s3

    def refuse(**_: Any) -> None:
        raise RuntimeError("no")

    with monkeypatch.context() as dying:
        dying.setattr(s3, "put_object", refuse)
        assert deliver(written()) == ["1"]
    assert deliver(written()) == []
    assert len(inbox()) == 2


@pytest.mark.parametrize(
    "body",
    [
        created("incoming/a.csv"),
        created(f"{PREFIX}predictions.csv", bucket=RESULTS),
        created(f"{PREFIX}manifest.json", bucket="another"),
        written().replace("Object Created", "Object Deleted"),
        job_change(f"predict-{ID}", status="SUCCEEDED"),
        job_change("someone-elses"),
        job_change(f"predict-{ID}", jobQueue="arn:aws:batch:eu-west-1:1:job-queue/another"),
        job_change(f"predict-{ID}", arrayProperties={"index": 3}),
        job_change(f"predict-{ID}"),  # no record: the job of no upload
        json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}),
        written(),  # the manifest has been removed
    ],
)
def test_what_is_not_for_us_is_ignored(
    inbox: Callable[[], list[dict[str, Any]]], body: str
) -> None:
    assert deliver(body) == []
    assert inbox() == []


def test_the_parent_of_an_array_tells(inbox: Callable[[], list[dict[str, Any]]]) -> None:
    record()
    assert deliver(job_change(f"predict-{ID}", arrayProperties={"size": 4})) == []
    assert len(inbox()) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"outcome": "perhaps"}',
        b'{"outcome": "succeeded"}',
        b'{"outcome": "failed"}',
    ],
)
def test_a_manifest_that_cannot_be_read_ends_as_a_dead_letter(
    inbox: Callable[[], list[dict[str, Any]]], body: bytes
) -> None:
    put(f"{PREFIX}manifest.json", body)
    assert deliver(written()) == ["1"]
    assert deliver(written(), receives=5) == []
    assert inbox() == []
    (letter,) = boto3.client("sqs").receive_message(
        QueueUrl=boto3.client("sqs").get_queue_url(QueueName="dead")["QueueUrl"],
        MessageAttributeNames=["All"],
    )["Messages"]
    attributes = {name: one["StringValue"] for name, one in letter["MessageAttributes"].items()}
    assert attributes["Source"] == "claimflow-dev-notices"
    assert attributes["UploadId"] == ID
    assert attributes["Reason"].startswith("UnreadableManifestError: ")


@pytest.mark.parametrize("body", ["", "[]", job_change("x").replace('"jobQueue"', '"queue"')])
def test_a_broken_event_is_a_dead_letter_at_once(
    inbox: Callable[[], list[dict[str, Any]]], body: str
) -> None:
    assert deliver(body) == []
    assert inbox() == []


TEXT = st.text(max_size=2000)


@given(key=TEXT, reason=TEXT, name=st.text(min_size=1, max_size=300))
def test_whatever_a_file_is_called_the_message_fits_sns_and_forges_no_line(
    key: str, reason: str, name: str
) -> None:
    prefix = layout.results_prefix(f"incoming/{name}".encode(errors="ignore").decode(), ID)
    known = {**MANIFEST, "key": key, "reason": reason, "predictions": f"{prefix}predictions.csv"}
    for notice in (
        notices.classified(known, prefix, PLACE),
        notices.unreadable(known, prefix, PLACE),
        notices.job_failed(key, ID, "job", reason, PLACE),
    ):
        assert notice.subject.isascii() and notice.subject.isprintable()
        assert 0 < len(notice.subject) < 100
        assert len(notice.text.encode()) <= 262_144
        plain = notices.classified(MANIFEST, PREFIX, PLACE).text
        assert all(line.isprintable() for line in notice.text.split("\n")), plain
    assert len(notices.unreadable(known, prefix, PLACE).text.split("\n")) == len(
        notices.unreadable(FAILED, PREFIX, PLACE).text.split("\n")
    )


@pytest.mark.parametrize(
    ("topic", "host"),
    [
        ("arn:aws:sns:eu-west-1:123456789012:x", "eu-west-1.console.aws.amazon.com"),
        ("arn:aws-cn:sns:cn-north-1:123456789012:x", "cn-north-1.console.amazonaws.cn"),
        ("arn:aws-us-gov:sns:us-gov-west-1:1:x", "us-gov-west-1.console.amazonaws-us-gov.com"),
    ],
)
def test_links_lead_to_the_console_of_the_topics_partition(topic: str, host: str) -> None:
    assert Place.of_topic(topic, RESULTS).file("a").startswith(f"https://{host}/s3/object/")


def test_the_local_cloud_has_no_console_to_link_to() -> None:
    place = Place.of_topic("arn:aws:sns:eu-west-1:123456789012:x", RESULTS, has_console=False)
    told = notices.classified(MANIFEST, PREFIX, place).text
    told += notices.job_failed("incoming/a.csv", ID, "job-1", "killed", place).text
    assert "https://" not in told
    assert f"  s3://{RESULTS}/{PREFIX}report.html\n" in told
    assert "  job-1\n" in told


def test_the_function_knows_by_its_endpoint_that_it_is_in_the_local_cloud(
    inbox: Callable[[], list[dict[str, Any]]],
) -> None:
    local = {**os.environ, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    settings = NotifySettings.from_environment(local)
    notifier = Notifier(settings, boto3.client("s3"), boto3.client("sns"), messages.utc_now)
    put(f"{PREFIX}manifest.json", MANIFEST)
    notifier.handle(written(), messages.utc_now())
    assert "https://" not in inbox()[0]["Message"]
