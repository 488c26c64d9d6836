"""Lambda functions from their zips, and the queues that feed them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.local_cloud import (
    ACCOUNT,
    REGION,
    Cloud,
    create_function,
    unique,
    wait_for,
    zipped,
)

ECHO = "import os\ndef handler(event, context): return {'event': event, 'pid': os.getpid()}"


def call(cloud: Cloud, function: str, payload: Any = None) -> tuple[Any, str | None]:
    """The parsed answer, and the kind of error if it is one."""
    answer = cloud.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(payload).encode()
    )
    return json.loads(answer["Payload"].read()), answer.get("FunctionError")


def test_a_function_gets_its_event_its_environment_and_a_context(cloud: Cloud) -> None:
    source = (
        "import os\nprint('this is for the log')\n"
        "def handler(event, context):\n"
        "    left = context.get_remaining_time_in_millis()\n"
        "    return [event, os.environ['TABLE'], context.function_name, 0 < left <= 10_000,"
        " bool(context.aws_request_id), 'AWS_ENDPOINT_URL' in os.environ]"
    )
    name = create_function(cloud, source, TABLE="t")
    answer, error = call(cloud, name, {"ü": [1, None]})
    assert error is None
    assert answer == [{"ü": [1, None]}, "t", name, True, True, True]
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
    assert call(cloud, arn)[1] is None


@pytest.mark.parametrize(
    ("source", "message", "kind"),
    [
        ("def handler(event, context): raise ValueError('no row')", "no row", "ValueError"),
        ("def other(event, context): pass", "handler", "AttributeError"),
        ("import nothing_like_it", "nothing_like_it", "ModuleNotFoundError"),
        ("def handler(event, context): return {1, 2}", "not JSON serializable", "TypeError"),
        ("import os\ndef handler(event, context): os._exit(3)", "Runtime exited", "Runtime"),
    ],
)
def test_an_error_of_a_function_is_told(cloud: Cloud, source: str, message: str, kind: str) -> None:
    name = create_function(cloud, source)
    for _ in range(2):  # the first error does not spoil the second call
        answer, error = call(cloud, name)
        assert error == "Unhandled"
        assert message in answer["errorMessage"] and answer["errorType"].startswith(kind)


def test_a_function_that_takes_too_long_is_ended_and_works_again(cloud: Cloud) -> None:
    source = "import time\ndef handler(event, context): time.sleep(event); return 'done'"
    name = create_function(cloud, source, timeout=1)
    answer, error = call(cloud, name, 30)
    assert error == "Unhandled" and "Task timed out after 1 seconds" in answer["errorMessage"]
    assert call(cloud, name, 0) == ("done", None)


def test_a_warm_process_is_used_again_until_the_code_changes(cloud: Cloud) -> None:
    name = create_function(cloud, ECHO)
    first, second = (call(cloud, name)[0]["pid"] for _ in range(2))
    assert first == second
    client = cloud.client("lambda")
    client.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(event, context): return 'new'")
    )
    assert call(cloud, name) == ("new", None)
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"X": "1"}})
    assert call(cloud, name) == ("new", None)


def test_what_a_function_prints_is_in_its_log(cloud: Cloud) -> None:
    name = create_function(cloud, "def handler(event, context): print('3 rows')")
    call(cloud, name)
    logs, group = cloud.client("logs"), f"/aws/lambda/{name}"

    def messages() -> list[str]:
        (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])
        return [event["message"] for event in events["events"]]

    wait_for(lambda: "3 rows" in messages())
    assert any(line.startswith("REPORT RequestId: ") for line in messages())


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"FunctionName": "nobody"}, "ResourceNotFoundException"),
        ({"FunctionName": "t-test-submit", "Payload": b"{"}, "InvalidRequestContentException"),
        (
            {"FunctionName": "t-test-submit", "InvocationType": "Event"},
            "InvalidParameterValueException",
        ),
    ],
)
def test_a_wrong_invocation_is_refused(cloud: Cloud, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("lambda").invoke(**arguments)
    assert refused.value.response["Error"]["Code"] == code


# Queues.


class Queue:
    """A queue with a dead-letter queue."""

    def __init__(self, cloud: Cloud, receives: int = 2) -> None:
        self.sqs = cloud.client("sqs")
        self.dead, dead_arn = self._make()
        redrive = {"deadLetterTargetArn": dead_arn, "maxReceiveCount": receives}
        self.url, self.arn = self._make(VisibilityTimeout="1", RedrivePolicy=json.dumps(redrive))

    def _make(self, **attributes: str) -> tuple[str, str]:
        url = self.sqs.create_queue(QueueName=unique("q"), Attributes=attributes)["QueueUrl"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return url, found["Attributes"]["QueueArn"]

    def send(self, *bodies: str) -> None:
        entries = [{"Id": str(i), "MessageBody": body} for i, body in enumerate(bodies)]
        self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)

    def dead_letters(self) -> list[str]:
        found = self.sqs.receive_message(
            QueueUrl=self.dead, MaxNumberOfMessages=10, VisibilityTimeout=0
        )
        return sorted(message["Body"] for message in found.get("Messages", []))

    def is_empty(self) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return {int(value) for value in found["Attributes"].values()} == {0}


NOTES = """
import boto3
def note(body):
    boto3.client("s3").put_object(Bucket="{bucket}", Key="{prefix}/" + body, Body=b"")
"""


@pytest.fixture
def seen(cloud: Cloud) -> tuple[str, str]:
    """A bucket and prefix where functions note what they saw."""
    bucket = unique("seen")
    cloud.client("s3").create_bucket(Bucket=bucket)
    return bucket, "seen"


def notes(cloud: Cloud, seen: tuple[str, str]) -> list[str]:
    return sorted(cloud.keys(f"s3://{seen[0]}/{seen[1]}"))


def feed(cloud: Cloud, queue: Queue, source: str, seen: tuple[str, str], **more: Any) -> str:
    name = create_function(cloud, NOTES.format(bucket=seen[0], prefix=seen[1]) + source)
    mapping = cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=queue.arn, FunctionName=name, BatchSize=10, **more
    )
    return str(mapping["UUID"])


PARTIAL = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}


def test_only_the_failures_of_a_batch_come_again_and_end_as_dead_letters(
    cloud: Cloud, seen: tuple[str, str]
) -> None:
    queue = Queue(cloud)
    # Longer than a first invocation takes: nothing comes again while it is under way.
    cloud.client("sqs").set_queue_attributes(
        QueueUrl=queue.url, Attributes={"VisibilityTimeout": "5"}
    )
    queue.send("good", "bad", "fine")
    source = (
        "def handler(event, context):\n"
        "    for one in event['Records']:\n"
        "        tries = one['attributes']['ApproximateReceiveCount']\n"
        "        note(one['body'] + tries)\n"
        "    bad = [one['messageId'] for one in event['Records'] if one['body'] == 'bad']\n"
        "    return {'batchItemFailures': [{'itemIdentifier': one} for one in bad]}"
    )
    feed(cloud, queue, source, seen, **PARTIAL)
    wait_for(lambda: queue.dead_letters() == ["bad"])
    wait_for(lambda: notes(cloud, seen) == ["bad1", "bad2", "fine1", "good1"])
    assert queue.is_empty()


@pytest.mark.parametrize(
    "source",
    [
        "def handler(event, context): raise RuntimeError",
        "def handler(event, context): return {'batchItemFailures': [{'itemIdentifier': 'other'}]}",
        "def handler(event, context): return {'batchItemFailures': [{}]}",
        "def handler(event, context): return ['what']",
    ],
)
def test_a_batch_without_a_proper_answer_comes_again_whole(
    cloud: Cloud, seen: tuple[str, str], source: str
) -> None:
    queue = Queue(cloud, receives=1)
    queue.send("a", "b")
    feed(cloud, queue, source, seen, **PARTIAL)
    wait_for(lambda: queue.dead_letters() == ["a", "b"])


def test_several_batches_of_a_queue_are_under_way_at_a_time(
    cloud: Cloud, seen: tuple[str, str]
) -> None:
    queue = Queue(cloud, receives=5)
    source = (
        "import time\n"
        "def handler(event, context):\n"
        "    begin = time.time(); time.sleep(1)\n"
        "    note(f'{begin}_{time.time()}')"
    )
    name = create_function(cloud, NOTES.format(bucket=seen[0], prefix=seen[1]) + source)
    cloud.client("sqs").set_queue_attributes(
        QueueUrl=queue.url, Attributes={"VisibilityTimeout": "30"}
    )
    queue.send("a", "b", "c")
    cloud.client("lambda").create_event_source_mapping(
        EventSourceArn=queue.arn,
        FunctionName=name,
        BatchSize=1,
        ScalingConfig={"MaximumConcurrency": 2},
    )
    wait_for(lambda: len(notes(cloud, seen)) == 3)
    spans = sorted(tuple(map(float, one.split("_"))) for one in notes(cloud, seen))
    assert spans[1][0] < spans[0][1], "the second began before the first had ended"
    assert spans[2][0] >= min(spans[0][1], spans[1][1]), "two at a time, not three"


def test_a_concurrency_that_aws_refuses_is_refused(cloud: Cloud) -> None:
    with pytest.raises(ClientError, match="MaximumConcurrency 1001 must be between 2 and 1000"):
        cloud.client("lambda").create_event_source_mapping(
            EventSourceArn=f"arn:aws:sqs:{REGION}:{ACCOUNT}:t-test-uploads",
            FunctionName="t-test-submit",
            ScalingConfig={"MaximumConcurrency": 1001},
        )


def test_without_partial_answers_a_batch_is_done_when_the_function_returns(
    cloud: Cloud, seen: tuple[str, str]
) -> None:
    queue = Queue(cloud)
    source = "def handler(event, context): note(event['Records'][0]['body']); return ['what']"
    uuid = feed(cloud, queue, source, seen)
    queue.send("a")
    wait_for(lambda: notes(cloud, seen) == ["a"])
    wait_for(queue.is_empty)
    client = cloud.client("lambda")
    listed = client.list_event_source_mappings(EventSourceArn=queue.arn)["EventSourceMappings"]
    assert [one["UUID"] for one in listed] == [uuid]
    assert client.get_event_source_mapping(UUID=uuid)["EventSourceArn"] == queue.arn
    client.delete_event_source_mapping(UUID=uuid)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        client.get_event_source_mapping(UUID=uuid)


def test_an_upload_reaches_a_function_through_eventbridge_and_a_queue(
    cloud: Cloud, seen: tuple[str, str]
) -> None:
    bucket, queue, rule = unique("uploads"), Queue(cloud), unique("rule")
    s3, events = cloud.client("s3"), cloud.client("events")
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
    events.put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue.arn}])
    source = (
        "import json\n"
        "def handler(event, context):\n"
        "    for one in event['Records']:\n"
        "        note(json.loads(one['body'])['detail']['object']['key'])"
    )
    feed(cloud, queue, source, seen)
    cloud.put("text\na\n", "incoming/a b+c.csv", bucket)
    wait_for(lambda: len(notes(cloud, seen)) == 1)
    assert notes(cloud, seen)[0].startswith("incoming/a")


@pytest.mark.parametrize(
    ("function", "queue"), [("nobody", "t-test-uploads"), ("t-test-submit", "nowhere")]
)
def test_a_mapping_of_what_does_not_exist_is_refused(
    cloud: Cloud, function: str, queue: str
) -> None:
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    with pytest.raises(ClientError, match=r"nobody|nowhere"):
        cloud.client("lambda").create_event_source_mapping(
            EventSourceArn=arn, FunctionName=function
        )
