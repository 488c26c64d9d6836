"""AWS Batch's array jobs and dependencies: a parent that waits, and children that run."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.batch_work import QUEUE, define, describe, finish, log, submit
from tests.local.local_cloud import Cloud, Document, unique, wait_for

HOLD = (
    "import os, pathlib, sys, time; place = pathlib.Path(sys.argv[1])\n"
    "place.joinpath(os.environ['AWS_BATCH_JOB_ID']).touch()\n"
    "while not place.joinpath('go').exists(): time.sleep(.05)"
)
TWO_CORES = pytest.mark.skipif(
    len(os.sched_getaffinity(0)) < 2, reason="two cores are needed to run two jobs at once"
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder where held jobs say that they run, and are told to end."""
    yield tmp_path
    (tmp_path / "go").touch()


def submit_array(cloud: Cloud, definition: str, size: int, **more: Any) -> str:
    return submit(cloud, definition, arrayProperties={"size": size}, **more)


def children(cloud: Cloud, parent: str, **more: Any) -> list[Document]:
    pages = (
        cloud.client("batch")
        .get_paginator("list_jobs")
        .paginate(arrayJobId=parent, PaginationConfig={"PageSize": 2}, **more)
    )
    return [dict(one) for page in pages for one in page["jobSummaryList"]]


def test_each_child_knows_its_index_and_the_parent_ends_with_the_last(cloud: Cloud) -> None:
    script = (
        "import os; e = os.environ; print(e['AWS_BATCH_JOB_ARRAY_INDEX'],"
        " e['AWS_BATCH_JOB_ARRAY_SIZE'], e['AWS_BATCH_JOB_ID'], e['AWS_BATCH_JQ_NAME'])"
    )
    parent = submit_array(cloud, define(cloud, script), 3, jobName=unique("array"))
    job = finish(cloud, parent)
    assert job["status"] == "SUCCEEDED"
    assert job["arrayProperties"] == {
        "size": 3,
        "statusSummary": {
            **dict.fromkeys(("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"), 0),
            "SUCCEEDED": 3,
            "FAILED": 0,
        },
    }
    assert job["attempts"] == [], "the parent itself runs nothing"
    for index in range(3):
        child = describe(cloud, f"{parent}:{index}")
        assert child["arrayProperties"] == {"index": index, "statusSummary": {}}
        assert child["jobArn"] == f"{job['jobArn']}:{index}"
        assert child["jobName"] == job["jobName"]
        assert child["stoppedAt"] <= job["stoppedAt"]
        assert log(cloud, child["container"]["logStreamName"]) == [
            f"{index} 3 {parent}:{index} {QUEUE}"
        ]


def test_one_failed_child_fails_the_parent_when_all_have_ended(cloud: Cloud) -> None:
    script = "import os; raise SystemExit(os.environ['AWS_BATCH_JOB_ARRAY_INDEX'] == '0')"
    parent = submit_array(cloud, define(cloud, script), 3)
    job = finish(cloud, parent)
    assert (job["status"], job["statusReason"]) == ("FAILED", "Array Child Job failed")
    summary = job["arrayProperties"]["statusSummary"]
    assert (summary["SUCCEEDED"], summary["FAILED"]) == (2, 1)
    assert [one["jobId"] for one in children(cloud, parent, jobStatus="FAILED")] == [f"{parent}:0"]
    assert len(children(cloud, parent, jobStatus="SUCCEEDED")) == 2
    assert children(cloud, parent) == [], "those that run"


def test_each_child_is_tried_again_by_the_strategy(cloud: Cloud) -> None:
    script = (
        "import os; e = os.environ\n"
        "raise SystemExit(e['AWS_BATCH_JOB_ARRAY_INDEX'] == '1' and"
        " e['AWS_BATCH_JOB_ATTEMPT'] == '1')"
    )
    parent = submit_array(cloud, define(cloud, script), 2, retryStrategy={"attempts": 2})
    assert finish(cloud, parent)["status"] == "SUCCEEDED"
    assert [len(describe(cloud, f"{parent}:{i}")["attempts"]) for i in (0, 1)] == [1, 2]


@TWO_CORES
def test_children_run_side_by_side_and_the_parent_waits(cloud: Cloud, place: Path) -> None:
    parent = submit_array(cloud, define(cloud, HOLD, str(place)), 3)
    running = {f"{parent}:0", f"{parent}:1"}
    wait_for(lambda: running <= {path.name for path in place.iterdir()})
    job = describe(cloud, parent)
    assert job["status"] == "PENDING"
    if len(os.sched_getaffinity(0)) == 2:
        summary = job["arrayProperties"]["statusSummary"]
        assert (summary["RUNNING"], summary["RUNNABLE"]) == (2, 1)
        assert {one["jobId"] for one in children(cloud, parent)} == running
    listed = cloud.client("batch").list_jobs(jobQueue=QUEUE, jobStatus="PENDING")
    (summary,) = [one for one in listed["jobSummaryList"] if one["jobId"] == parent]
    assert summary["arrayProperties"]["size"] == 3
    (place / "go").touch()
    assert finish(cloud, parent)["status"] == "SUCCEEDED"


@TWO_CORES
@pytest.mark.parametrize("vcpus", ["0.25", "1", "2"])
def test_a_job_has_as_many_cores_as_vcpus(cloud: Cloud, vcpus: str) -> None:
    script = "import os; print(len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])"
    job = finish(cloud, submit(cloud, define(cloud, script, vcpus=vcpus)))
    cores = "2" if vcpus == "2" else "1"
    assert log(cloud, job["container"]["logStreamName"]) == [f"{cores} {cores}"]


def test_terminating_the_parent_ends_every_child(cloud: Cloud, place: Path) -> None:
    parent = submit_array(cloud, define(cloud, HOLD, str(place), retryStrategy={"attempts": 5}), 5)
    wait_for(lambda: list(place.iterdir()))
    cloud.client("batch").terminate_job(jobId=parent, reason="not needed")
    job = finish(cloud, parent)
    assert (job["status"], job["arrayProperties"]["statusSummary"]["FAILED"]) == ("FAILED", 5)
    for index in range(5):
        child = describe(cloud, f"{parent}:{index}")
        assert (child["statusReason"], child["isTerminated"]) == ("not needed", True)
        assert len(child["attempts"]) <= 1


def test_cancelling_the_parent_lets_running_children_end(cloud: Cloud, place: Path) -> None:
    parent = submit_array(cloud, define(cloud, HOLD, str(place)), 6)
    wait_for(lambda: (place / f"{parent}:0").exists())
    cloud.client("batch").cancel_job(jobId=parent, reason="enough")
    time.sleep(0.1)
    assert describe(cloud, f"{parent}:5")["isCancelled"]
    (place / "go").touch()
    job = finish(cloud, parent)
    summary = job["arrayProperties"]["statusSummary"]
    assert summary["SUCCEEDED"] >= 1 and summary["FAILED"] >= 1
    assert describe(cloud, f"{parent}:0")["status"] == "SUCCEEDED"
    assert describe(cloud, f"{parent}:5")["statusReason"] == "enough"


def test_terminating_one_child_leaves_the_others(cloud: Cloud, place: Path) -> None:
    parent = submit_array(cloud, define(cloud, HOLD, str(place)), 2)
    wait_for(lambda: (place / f"{parent}:0").exists())
    cloud.client("batch").terminate_job(jobId=f"{parent}:0", reason="by hand")
    assert finish(cloud, f"{parent}:0")["statusReason"] == "by hand"
    (place / "go").touch()
    assert finish(cloud, parent)["status"] == "FAILED"
    assert describe(cloud, f"{parent}:1")["status"] == "SUCCEEDED"


def test_a_job_waits_for_those_that_it_depends_on(cloud: Cloud, place: Path) -> None:
    first = submit_array(cloud, define(cloud, HOLD, str(place)), 2)
    second = submit(cloud, define(cloud, ""), dependsOn=[{"jobId": first}])
    wait_for(lambda: (place / f"{first}:0").exists())
    assert describe(cloud, second)["status"] == "PENDING"
    (place / "go").touch()
    assert finish(cloud, second)["status"] == "SUCCEEDED"
    assert describe(cloud, first)["stoppedAt"] <= describe(cloud, second)["startedAt"]
    late = submit_array(cloud, define(cloud, ""), 2, dependsOn=[{"jobId": first}])
    assert finish(cloud, late)["status"] == "SUCCEEDED"


def test_a_job_fails_with_those_that_it_depends_on(cloud: Cloud) -> None:
    first = submit(cloud, define(cloud, "raise SystemExit(2)"))
    second = submit_array(cloud, define(cloud, ""), 2, dependsOn=[{"jobId": first}])
    third = submit(cloud, define(cloud, ""), dependsOn=[{"jobId": second}])
    for job in (second, third):
        found = finish(cloud, job)
        assert (found["status"], found["statusReason"]) == ("FAILED", "Dependent Job failed")
        assert "startedAt" not in found


def test_a_job_that_waits_for_others_can_be_cancelled(cloud: Cloud, place: Path) -> None:
    first = submit(cloud, define(cloud, HOLD, str(place)))
    second = submit(cloud, define(cloud, ""), dependsOn=[{"jobId": first}])
    cloud.client("batch").cancel_job(jobId=second, reason="changed my mind")
    assert describe(cloud, second)["statusReason"] == "changed my mind"
    (place / "go").touch()
    assert finish(cloud, first)["status"] == "SUCCEEDED"
    assert describe(cloud, second)["status"] == "FAILED"


def test_a_list_is_of_a_queue_or_of_an_array(cloud: Cloud) -> None:
    batch = cloud.client("batch")
    for given in ({}, {"jobQueue": QUEUE, "arrayJobId": "x"}):
        with pytest.raises(ClientError, match="one of jobQueue and arrayJobId"):
            batch.list_jobs(**given)
    assert children(cloud, "nothing") == []
    name = unique("array")
    parent = submit_array(cloud, define(cloud, ""), 2, jobName=name)
    finish(cloud, parent)
    filters = [{"name": "JOB_NAME", "values": [name]}]
    found = batch.list_jobs(jobQueue=QUEUE, filters=filters)["jobSummaryList"]
    assert [one["jobId"] for one in found] == [parent], "children are listed by their array alone"


# A crash of the local cloud, in a life of its own.


def test_an_array_goes_on_after_a_crash(tmp_path: Path) -> None:
    place = tmp_path / "marks"
    place.mkdir()
    first = Cloud(tmp_path / "state")
    try:
        script = (
            "import os, pathlib, sys, time; e = os.environ; place = pathlib.Path(sys.argv[1])\n"
            "name = e['AWS_BATCH_JOB_ARRAY_INDEX'] + '-' + e['AWS_BATCH_JOB_ATTEMPT']\n"
            "place.joinpath(name).touch()\n"
            "while name in ('1-1', '2-1') and not place.joinpath('go').exists(): time.sleep(.05)"
        )
        again = {
            "attempts": 2,
            "evaluateOnExit": [
                {"onStatusReason": "Host EC2*", "action": "RETRY"},
                {"onReason": "*", "action": "EXIT"},
            ],
        }
        definition = define(first, script, str(place), retryStrategy=again)
        parent = submit_array(first, definition, 5)
        after = submit(first, define(first, ""), dependsOn=[{"jobId": parent}])
        wait_for(lambda: describe(first, f"{parent}:0")["status"] == "SUCCEEDED")
        wait_for(lambda: (place / "1-1").exists())
    finally:
        first.crash()
    # As if it had died while it made the children: the last one is not there yet.
    (kept,) = (tmp_path / "state" / "documents" / "batch-jobs").glob("*%3A4.json")
    kept.unlink()
    second = Cloud(tmp_path / "state")
    try:
        (place / "go").touch()
        job = finish(second, parent)
        assert job["status"] == "SUCCEEDED"
        assert job["arrayProperties"]["statusSummary"]["SUCCEEDED"] == 5
        reasons = [
            [one["statusReason"] for one in describe(second, f"{parent}:{i}")["attempts"]]
            for i in (0, 1)
        ]
        done = "Essential container in task exited"
        assert reasons == [[done], ["Host EC2 (local cloud) terminated.", done]]
        assert finish(second, after)["status"] == "SUCCEEDED"
    finally:
        second.stop()


# What EventBridge is told.


@pytest.fixture
def told(cloud: Cloud) -> Iterator[Any]:
    """The events that a pattern lets through, as (status, index) in their order."""
    sqs, events = cloud.client("sqs"), cloud.client("events")
    rules: list[str] = []

    def rule(detail: Document) -> Any:
        name = unique("rule")
        url = sqs.create_queue(QueueName=name)["QueueUrl"]
        found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        pattern = {
            "source": ["aws.batch"],
            "detail-type": ["Batch Job State Change"],
            "detail": detail,
        }
        events.put_rule(Name=name, EventPattern=json.dumps(pattern), State="ENABLED")
        events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": found["Attributes"]["QueueArn"]}])
        rules.append(name)

        def received(count: int) -> list[Document]:
            got: list[Document] = []

            def more() -> bool:
                messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
                got.extend(json.loads(one["Body"]) for one in messages.get("Messages", []))
                return len(got) >= count

            wait_for(more)
            time.sleep(0.2)  # one too many would come now
            more()
            return got

        return received

    yield rule
    for name in rules:
        events.remove_targets(Rule=name, Ids=["q"])
        events.delete_rule(Name=name)


def test_every_change_of_a_status_is_an_event(cloud: Cloud, told: Any) -> None:
    name = unique("job")
    received = told({"jobName": [name]})
    job = submit(cloud, define(cloud, "raise SystemExit(1)"), jobName=name)
    finish(cloud, job)
    events = received(4)
    statuses = [one["detail"]["status"] for one in events]
    assert statuses == ["RUNNABLE", "STARTING", "RUNNING", "FAILED"]
    last = events[-1]
    assert last["source"] == "aws.batch"
    assert last["resources"] == [last["detail"]["jobArn"]]
    assert last["detail"] == describe(cloud, job)


def test_a_parent_and_its_children_have_events_and_a_rule_can_tell_them_apart(
    cloud: Cloud, told: Any
) -> None:
    name = unique("array")
    detail = {"jobName": [name], "status": ["FAILED"]}
    all_of_them = told(detail)
    parents = told({**detail, "arrayProperties": {"index": [{"exists": False}]}})
    parent = submit_array(cloud, define(cloud, "raise SystemExit(1)"), 2, jobName=name)
    finish(cloud, parent)
    failed = {one["detail"]["jobId"] for one in all_of_them(3)}
    assert failed == {parent, f"{parent}:0", f"{parent}:1"}
    assert [one["detail"]["jobId"] for one in parents(1)] == [parent]
