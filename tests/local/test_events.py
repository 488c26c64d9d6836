"""What the front passes on to moto and others rely on: rules, topics, queues."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.local.local_cloud import ACCOUNT, REGION, Cloud, Document, unique, wait_for

MANIFEST = "results/claims.csv/0a1b/manifest.json"


def make_queue(cloud: Cloud, **attributes: str) -> tuple[str, str]:
    sqs = cloud.client("sqs")
    url = sqs.create_queue(QueueName=unique("q"), Attributes=attributes)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return url, found["Attributes"]["QueueArn"]


def receive(cloud: Cloud, url: str, count: int) -> list[str]:
    """The bodies of so many messages, each taken out of the queue."""
    sqs, bodies = cloud.client("sqs"), []

    def more() -> bool:
        found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        for message in found.get("Messages", []):
            bodies.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(bodies) >= count

    wait_for(more)
    return bodies


@pytest.fixture
def rule(cloud: Cloud) -> Iterator[Any]:
    """Makes a rule with a queue as its target; returns the queue's address."""
    events, names = cloud.client("events"), []

    def make(pattern: Document, **attributes: str) -> str:
        url, arn = make_queue(cloud, **attributes)
        names.append(unique("rule"))
        events.put_rule(Name=names[-1], EventPattern=json.dumps(pattern))
        events.put_targets(Rule=names[-1], Targets=[{"Id": "q", "Arn": arn}])
        return url

    yield make
    for name in names:
        events.remove_targets(Rule=name, Ids=["q"])
        events.delete_rule(Name=name)


def put(cloud: Cloud, source: str, detail: Document) -> None:
    entry = {"Source": source, "DetailType": "Test", "Detail": json.dumps(detail)}
    put = cloud.client("events").put_events(Entries=[entry])
    assert put["FailedEntryCount"] == 0


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ({"key": [{"prefix": "incoming/"}]}, {"key": "incoming/a"}, {"key": "other/incoming/"}),
        ({"key": [{"suffix": ".json"}]}, {"key": "a.json"}, {"key": "a.json.gz"}),
        ({"status": ["FAILED", "SUCCEEDED"]}, {"status": "FAILED"}, {"status": "RUNNING"}),
        ({"status": [{"anything-but": ["FAILED"]}]}, {"status": "RUNNING"}, {"status": "FAILED"}),
        (
            {"key": [{"anything-but": {"prefix": "tmp/"}}]},
            {"key": "results/a"},
            {"key": "tmp/a"},
        ),
        ({"key": [{"anything-but": {"suffix": ".tmp"}}]}, {"key": "a.csv"}, {"key": "a.tmp"}),
        ({"a": {"b": [{"exists": False}]}}, {"a": {"c": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": [{"exists": True}]}}, {"a": {"b": None}}, {"a": {}}),
        ({"n": [{"numeric": [">", 0, "<=", 5]}]}, {"n": 5}, {"n": 6}),
        ({"tags": ["x"]}, {"tags": ["w", "x"]}, {"tags": ["y"]}),
        ({"$or": [{"a": [1]}, {"b": [2]}]}, {"a": 0, "b": 2}, {"a": 2, "b": 1}),
        (
            {"object": {"key": [{"wildcard": "results/*/manifest.json"}]}},
            {"object": {"key": MANIFEST}},
            {"object": {"key": "results/claims.csv/0a1b/predictions.csv"}},
        ),
    ],
)
def test_a_rule_lets_through_what_its_pattern_says(
    cloud: Cloud, rule: Any, pattern: Document, yes: Document, no: Document
) -> None:
    source = unique("source")
    url = rule({"source": [source], "detail": pattern})
    for detail in (no, yes):  # in this order: what must not come would come first
        put(cloud, source, detail)
    (body,) = receive(cloud, url, 1)
    assert json.loads(body)["detail"] == yes


def test_a_pattern_with_prefix_and_suffix_catches_the_manifests(cloud: Cloud, rule: Any) -> None:
    # One field cannot have to fulfil two filters: EventBridge takes a list as alternatives.
    s3, bucket = cloud.client("s3"), unique("results")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    url = rule(
        {
            "source": ["aws.s3"],
            "detail-type": ["Object Created"],
            "detail": {
                "bucket": {"name": [bucket]},
                "object": {"key": [{"wildcard": "results/*/manifest.json"}]},
            },
        }
    )
    for key in ("results/a/1/predictions.csv", "submissions/1.json", MANIFEST):
        s3.put_object(Bucket=bucket, Key=key, Body=b"{}")
    (body,) = receive(cloud, url, 1)
    assert json.loads(body)["detail"]["object"]["key"] == MANIFEST


def test_a_schedule_and_a_disabled_rule_hear_no_events(cloud: Cloud, rule: Any) -> None:
    events, source = cloud.client("events"), unique("source")
    url, arn = make_queue(cloud)
    names = [unique("rule"), unique("rule")]
    pattern = json.dumps({"source": [source]})
    events.put_rule(Name=names[0], ScheduleExpression="rate(1 hour)")
    events.put_rule(Name=names[1], EventPattern=pattern, State="DISABLED")
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:t-test-champion"
    targets = [{"Id": "q", "Arn": arn}, {"Id": "f", "Arn": function}]
    for name in names:
        events.put_targets(Rule=name, Targets=targets)
    heard = rule({"source": [source]})
    try:
        put(cloud, source, {"a": 1})
        assert len(receive(cloud, heard, 1)) == 1
        names_of_counts = ["ApproximateNumberOfMessages"]
        found = cloud.client("sqs").get_queue_attributes(
            QueueUrl=url, AttributeNames=names_of_counts
        )
        assert found["Attributes"]["ApproximateNumberOfMessages"] == "0"
    finally:
        for name in names:
            events.remove_targets(Rule=name, Ids=["q", "f"])
            events.delete_rule(Name=name)


def test_a_queue_holds_an_event_back_for_its_delay(cloud: Cloud, rule: Any) -> None:
    source = unique("source")
    at_once = rule({"source": [source]})
    delayed = rule({"source": [source]}, DelaySeconds="2")
    sent = time.monotonic()
    put(cloud, source, {"a": 1})
    receive(cloud, at_once, 1)
    assert time.monotonic() - sent < 2, "this machine is too slow to tell"
    receive(cloud, delayed, 1)
    assert time.monotonic() - sent >= 1.9


def test_a_notice_reaches_a_queue_that_has_subscribed(cloud: Cloud) -> None:
    sns = cloud.client("sns")
    topic = sns.create_topic(Name=unique("notices"))["TopicArn"]
    url, arn = make_queue(cloud)
    raw_url, raw_arn = make_queue(cloud)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=raw_arn,
        Attributes={"RawMessageDelivery": "true"},
    )
    sns.publish(TopicArn=topic, Subject="done", Message="12 rows predicted – ü")
    (body,) = receive(cloud, url, 1)
    told = json.loads(body)
    assert (told["Type"], told["TopicArn"]) == ("Notification", topic)
    assert (told["Subject"], told["Message"]) == ("done", "12 rows predicted – ü")
    assert receive(cloud, raw_url, 1) == ["12 rows predicted – ü"]


def test_no_message_is_lost_or_doubled_among_many_senders_and_receivers(cloud: Cloud) -> None:
    """moto rebuilds the list of a queue's messages at each deletion."""
    url, _ = make_queue(cloud)
    sqs = cloud.client("sqs")
    seen: list[str] = []
    wanted = {f"{sender}-{i}" for sender in range(4) for i in range(60)}
    end = time.monotonic() + 30

    def send(sender: int) -> None:
        for i in range(0, 60, 10):
            entries = [{"Id": str(k), "MessageBody": f"{sender}-{i + k}"} for k in range(10)]
            sqs.send_message_batch(QueueUrl=url, Entries=entries)

    def take() -> None:
        while len(seen) < len(wanted) and time.monotonic() < end:
            found = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            for message in found.get("Messages", []):
                seen.append(message["Body"])
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(4)]
    threads += [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert sorted(seen) == sorted(wanted)
