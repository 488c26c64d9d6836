"""A thousand small uploads at once: each is predicted and told of exactly once, nothing is left.

Everything is real but the start of the jobs' processes: the front, the rules, the queue, the
function in its processes, Batch, and the prediction job with a model that was trained here.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lambdas.layout import upload_id
from tests.local.local_cloud import ACCOUNT, IMAGE, REGION, Cloud, Document
from tests.steps.small_models import archived, claims, trained

UPLOADS = 1000
TWICE_PUT = 25  # keys that are put once more: another version, another upload
STALLED_SECONDS = 90.0  # without any progress: a busy machine is slow, but never still
LOOK_SECONDS = 3.0  # asking all the time would slow down what is waited for
PREFIX = "t-test"
PREDICTIONS, RESULTS, MODELS = (
    f"{PREFIX}-{purpose}-{ACCOUNT}-{REGION}" for purpose in ("predictions", "results", "models")
)
QUEUES = ("uploads", "notices", "dead")
TOLD = "told"  # a queue that listens to the topic


@dataclass(frozen=True)
class Put:
    """An upload, and what has to become of it."""

    key: str
    version: str
    rows: int
    rejected: int

    @property
    def id(self) -> str:
        return upload_id(PREDICTIONS, self.key, self.version)


@pytest.fixture(scope="module")
def soaked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cloud, list[Put], str]]:
    """A cloud that has had its thousand uploads, and the model that was approved."""
    folder = tmp_path_factory.mktemp("soak")
    archived(trained(folder / "training", claims(200), bits="14"), folder / "model")
    cloud = Cloud(folder / "state", "soak_process.py")
    model = approve(cloud, folder / "model" / "model.tar.gz")
    # Whoever meets a claim comes again after this time: six minutes are long for a test.
    cloud.client("sqs").set_queue_attributes(
        QueueUrl=address(cloud, f"{PREFIX}-uploads"), Attributes={"VisibilityTimeout": "20"}
    )
    listen(cloud)
    begin = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        puts = list(pool.map(lambda number: put(cloud, number), range(UPLOADS)))
        puts += pool.map(lambda number: put(cloud, number), range(TWICE_PUT))
    uploaded = time.monotonic()
    for one in puts[::10]:
        announce_again(cloud, one)
    wait_until(cloud, lambda seen: seen.told >= len(puts) and seen.queued == 0)
    told = time.monotonic()
    for one in puts[::50]:
        announce_again(cloud, one)
    wait_until(cloud, lambda seen: seen.queued == 0)
    print(
        f"{len(puts)} uploads: put in {uploaded - begin:.0f} s, all told of after "
        f"{told - begin:.0f} s; {cpu_seconds(cloud):.0f} s of the local cloud's CPU",
        file=sys.stderr,
    )
    yield cloud, puts, model
    cloud.stop()


def put(cloud: Cloud, number: int) -> Put:
    """Puts a file of a few claims; of some a row is broken."""
    rows, rejected = 1 + number % 7, number % 3 == 0
    lines = [f"{number},the pump rattles and squeaks {row}" for row in range(rows)]
    lines += ["one,column,too many"] * rejected
    body = "\n".join(["id,text", *lines, ""])
    key = f"incoming/batch {number % 10}/claims+{number} ü.csv"
    answer = cloud.client("s3").put_object(Bucket=PREDICTIONS, Key=key, Body=body.encode())
    return Put(key, answer["VersionId"], rows, int(rejected))


def announce_again(cloud: Cloud, one: Put) -> None:
    """S3 tells at least once: sometimes twice."""
    thing = {"key": one.key, "version-id": one.version, "etag": "0", "size": 1}
    entry = {
        "Source": "aws.s3",
        "DetailType": "Object Created",
        "Detail": json.dumps({"bucket": {"name": PREDICTIONS}, "object": thing}),
    }
    cloud.client("events").put_events(Entries=[entry])


@dataclass(frozen=True)
class Progress:
    """What can be seen from outside."""

    jobs: int
    told: int  # uploads with a marker of their notice
    queued: int  # messages for the functions


def progress(cloud: Cloud) -> Progress:
    jobs = len(list((cloud.state / "documents" / "batch-jobs").glob("*.json")))
    queued = sum(count(cloud, f"{PREFIX}-{queue}") for queue in ("uploads", "notices"))
    return Progress(jobs, len(keys(cloud, "notices/")), queued)


def wait_until(cloud: Cloud, is_done: Callable[[Progress], bool]) -> None:
    """Waits as long as there is progress, which the test's output shows."""
    begin = changed = time.monotonic()
    before = None
    while not is_done(seen := progress(cloud)):
        now = time.monotonic()
        if seen != before:
            before, changed = seen, now
            print(f"{now - begin:4.0f} s: {seen}", file=sys.stderr)
        assert now - changed < STALLED_SECONDS, f"no progress: {seen}\n{last_words(cloud)}"
        time.sleep(LOOK_SECONDS)


def last_words(cloud: Cloud) -> str:
    return "\n".join(cloud.log.read_text("utf-8").splitlines()[-20:])


def listen(cloud: Cloud) -> None:
    """Lets a queue hear what people are told."""
    url = cloud.client("sqs").create_queue(QueueName=TOLD)["QueueUrl"]
    cloud.client("sns").subscribe(
        TopicArn=f"arn:aws:sns:{REGION}:{ACCOUNT}:{PREFIX}-notices",
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:{TOLD}",
    )
    cloud.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "600"})


def heard(cloud: Cloud) -> list[Document]:
    """The attributes of all notices."""
    sqs, url = cloud.client("sqs"), address(cloud, TOLD)
    found: list[Document] = []
    while messages := sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=0
    ).get("Messages"):
        found += [json.loads(one["Body"])["MessageAttributes"] for one in messages]
    return [{name: one["Value"] for name, one in attributes.items()} for attributes in found]


def approve(cloud: Cloud, archive: Path) -> str:
    cloud.client("s3").upload_file(str(archive), MODELS, "runs/soak/model/model.tar.gz")
    created = cloud.client("sagemaker").create_model_package(
        ModelPackageGroupName=PREFIX,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [
                {"Image": IMAGE, "ModelDataUrl": f"s3://{MODELS}/runs/soak/model/model.tar.gz"}
            ],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )
    return str(created["ModelPackageArn"])


def cpu_seconds(cloud: Cloud) -> float:
    """What the process of the local cloud itself has used; its workers and jobs not counted."""
    fields = Path(f"/proc/{cloud.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def address(cloud: Cloud, queue: str) -> str:
    return str(cloud.client("sqs").get_queue_url(QueueName=queue)["QueueUrl"])


def count(cloud: Cloud, queue: str) -> int:
    """Messages in a queue, those that are under way included."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = cloud.client("sqs").get_queue_attributes(
        QueueUrl=address(cloud, queue), AttributeNames=names
    )
    return sum(int(found["Attributes"][name]) for name in names)


def keys(cloud: Cloud, prefix: str) -> list[str]:
    pages = (
        cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=RESULTS, Prefix=prefix)
    )
    return [one["Key"] for page in pages for one in page.get("Contents", [])]


def manifests(cloud: Cloud) -> list[str]:
    return [key for key in keys(cloud, "results/") if key.endswith("/manifest.json")]


def read(cloud: Cloud, key: str) -> Document:
    return dict(json.loads(cloud.read(f"s3://{RESULTS}/{key}")))


Soaked = tuple[Cloud, list[Put], str]


def test_each_upload_has_one_manifest_and_it_is_right(soaked: Soaked) -> None:
    cloud, puts, model = soaked
    found = {one["upload_id"]: one for one in (read(cloud, key) for key in manifests(cloud))}
    assert found.keys() == {one.id for one in puts}
    for one in puts:
        manifest = found[one.id]
        seen = (manifest["key"], manifest["version"], manifest["predicted"], manifest["rejected"])
        assert seen == (one.key, one.version, one.rows, one.rejected)
        assert (manifest["outcome"], manifest["model_package_arn"]) == ("succeeded", model)


def test_each_upload_had_one_job_and_it_ran_once(soaked: Soaked) -> None:
    cloud, puts, _ = soaked
    pages = (
        cloud.client("batch")
        .get_paginator("list_jobs")
        .paginate(
            jobQueue=f"{PREFIX}-predict",
            filters=[{"name": "JOB_NAME", "values": ["predict-*"]}],
        )
    )
    jobs = [one for page in pages for one in page["jobSummaryList"]]
    assert Counter(one["jobName"] for one in jobs) == {f"predict-{one.id}": 1 for one in puts}
    assert {one["status"] for one in jobs} == {"SUCCEEDED"}
    submitted = [read(cloud, key) for key in keys(cloud, "submissions/")]
    assert {one["job_id"] for one in submitted} == {one["jobId"] for one in jobs}
    described: list[Any] = []
    for start in range(0, len(jobs), 100):
        some = [one["jobId"] for one in jobs[start : start + 100]]
        described += cloud.client("batch").describe_jobs(jobs=some)["jobs"]
    assert {len(one["attempts"]) for one in described} == {1}


def test_people_are_told_of_each_upload_once(soaked: Soaked) -> None:
    cloud, puts, _ = soaked
    notices = heard(cloud)
    assert Counter(one["UploadId"] for one in notices) == {one.id: 1 for one in puts}
    assert {one["Outcome"] for one in notices} == {"succeeded"}
    assert len(keys(cloud, "notices/")) == len(puts)


def test_nothing_is_left_in_a_queue(soaked: Soaked) -> None:
    cloud, _, _ = soaked
    assert {queue: count(cloud, f"{PREFIX}-{queue}") for queue in QUEUES} == dict.fromkeys(
        QUEUES, 0
    )
    assert keys(cloud, "waiting/") == []
