"""AWS Batch: jobs run their image's command, with attempts, time-outs and terminations."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.batch_work import QUEUE, define, describe, finish, log, submit
from tests.local.local_cloud import IMAGE, Cloud, Document, is_alive, script_file, unique, wait_for

LOSTS = {"onStatusReason": "Host EC2*", "action": "RETRY"}


def test_a_job_runs_and_its_log_can_be_read(cloud: Cloud) -> None:
    definition = define(cloud, "print('predicted 3 rows')")
    job = finish(cloud, submit(cloud, definition))
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert len(job["attempts"]) == 1
    stream = job["container"]["logStreamName"]
    assert stream.startswith(f"{definition}/default/")
    assert log(cloud, stream) == ["predicted 3 rows"]


def test_parameters_and_overrides_reach_the_command(cloud: Cloud) -> None:
    script = (
        "import json, os, sys; e = os.environ; print(json.dumps([sys.argv[1:], e['A'], e['B']]))"
    )
    definition = define(
        cloud, script, "Ref::input", "--n", "Ref::n", parameters={"n": "1", "input": "none"}
    )
    job = finish(
        cloud,
        submit(
            cloud,
            definition,
            parameters={"input": "s3://b/a b.csv"},
            containerOverrides={"environment": [{"name": "B", "value": "3"}]},
        ),
    )
    shown = json.loads(log(cloud, job["container"]["logStreamName"])[0])
    assert shown == [["s3://b/a b.csv", "--n", "1"], "1", "3"]
    # The definition stays as it was registered.
    kept = cloud.client("batch").describe_job_definitions(jobDefinitionName=definition)
    environment = kept["jobDefinitions"][0]["containerProperties"]["environment"]
    assert {"name": "B", "value": "2"} in environment


def test_a_job_knows_its_id_and_attempt_and_finds_nothing_of_the_one_before(
    cloud: Cloud, tmp_path: Path
) -> None:
    script = (
        "import os, sys; e = os.environ\n"
        "found = os.listdir(e['TMPDIR']) + [one for one in os.listdir() if one != '.tmp']\n"
        f"open('{tmp_path}/seen', 'a').write(e['AWS_BATCH_JOB_ATTEMPT'] + str(found))\n"
        "for folder in ('.', e['TMPDIR']): open(folder + '/left', 'w').close()\n"
        "raise SystemExit(e['AWS_BATCH_JOB_ATTEMPT'] == '1')"
    )
    job = finish(cloud, submit(cloud, define(cloud, script), retryStrategy={"attempts": 3}))
    assert job["status"] == "SUCCEEDED"
    assert (tmp_path / "seen").read_text() == "1[]2[]"
    assert [one["container"]["exitCode"] for one in job["attempts"]] == [1, 0]


@pytest.mark.parametrize(
    ("code", "rules", "attempts"),
    [
        (1, [], 3),
        (2, [{"onExitCode": "2", "action": "EXIT"}], 1),
        (1, [{"onExitCode": "2", "action": "EXIT"}], 3),
        (1, [LOSTS, {"onReason": "*", "action": "EXIT"}], 1),
        (75, [{"onExitCode": "7*", "action": "RETRY"}, {"onExitCode": "*", "action": "EXIT"}], 3),
    ],
)
def test_a_failed_job_is_tried_again_as_its_strategy_says(
    cloud: Cloud, code: int, rules: list[Document], attempts: int
) -> None:
    strategy = {"attempts": 3, **({"evaluateOnExit": rules} if rules else {})}
    definition = define(cloud, f"raise SystemExit({code})", retryStrategy=strategy)
    job = finish(cloud, submit(cloud, definition))
    assert (job["status"], len(job["attempts"])) == ("FAILED", attempts)
    assert job["container"]["exitCode"] == code
    assert job["statusReason"] == "Essential container in task exited"


@pytest.mark.parametrize(
    ("script", "image", "reason", "code"),
    [
        ("import time; time.sleep(60)", IMAGE, "Job attempt duration exceeded timeout", 143),
        ("import os; os.kill(os.getpid(), 9)", IMAGE, "OutOfMemoryError", 137),
        ("", "unknown:1", "CannotPullContainerError: Image unknown:1", None),
        ("", "broken:1", "CannotStartContainerError: OSError", None),
    ],
)
def test_a_job_that_fails_tells_why(
    cloud: Cloud, script: str, image: str, reason: str, code: int | None
) -> None:
    definition = define(cloud, script, image=image, timeout={"attemptDurationSeconds": 1})
    job = finish(cloud, submit(cloud, definition, retryStrategy={"attempts": 1}))
    assert job["status"] == "FAILED" and job["statusReason"].startswith(reason)
    assert job["container"].get("exitCode") == code


def test_a_job_that_ran_too_long_is_not_tried_again(cloud: Cloud) -> None:
    definition = define(cloud, "import time; time.sleep(60)", timeout={"attemptDurationSeconds": 1})
    job = finish(cloud, submit(cloud, definition, retryStrategy={"attempts": 3}))
    assert len(job["attempts"]) == 1


def test_a_command_that_does_not_exist_fails_with_127(cloud: Cloud) -> None:
    overrides = {"command": ["no-such-command"]}
    job = finish(cloud, submit(cloud, define(cloud, ""), containerOverrides=overrides))
    assert job["container"]["exitCode"] == 127
    assert log(cloud, job["container"]["logStreamName"]) == [
        "no-such-command: No such file or directory"
    ]


def test_terminate_ends_a_running_job_and_one_that_waits(cloud: Cloud, tmp_path: Path) -> None:
    script = (
        "import os, sys, time; open(sys.argv[1] + '/pid', 'w').write(str(os.getpid()));"
        "time.sleep(60)"
    )
    definition = define(cloud, script, str(tmp_path), retryStrategy={"attempts": 5})
    running, waiting = submit(cloud, definition), submit(cloud, define(cloud, ""))
    path = tmp_path / "pid"
    wait_for(lambda: path.exists() and path.read_text())
    batch = cloud.client("batch")
    if describe(cloud, waiting)["status"] == "RUNNABLE":  # where there is one slot only
        batch.terminate_job(jobId=waiting, reason="not needed")
        found = describe(cloud, waiting)
        assert (found["status"], found["statusReason"]) == ("FAILED", "not needed")
        assert "startedAt" not in found
    batch.cancel_job(jobId=running, reason="only those that wait")
    time.sleep(0.2)
    assert describe(cloud, running)["status"] == "RUNNING"
    batch.terminate_job(jobId=running, reason="by hand")
    job = finish(cloud, running)
    assert (job["status"], job["statusReason"]) == ("FAILED", "by hand")
    assert len(job["attempts"]) == 1
    assert not is_alive(int(path.read_text()))
    batch.terminate_job(jobId=running, reason="again")  # as on AWS, no error


def test_jobs_are_listed_by_status_and_by_name(cloud: Cloud) -> None:
    good, bad = define(cloud, ""), define(cloud, "raise SystemExit(1)")
    prefix = unique("Name")
    jobs = [submit(cloud, good, jobName=f"{prefix}-{i}") for i in range(3)]
    jobs.append(submit(cloud, bad, jobName=f"{prefix}-bad"))
    for job in jobs:
        finish(cloud, job)
    batch = cloud.client("batch")

    def listed(**more: Any) -> list[str]:
        pages = batch.get_paginator("list_jobs").paginate(
            jobQueue=QUEUE, PaginationConfig={"PageSize": 2}, **more
        )
        return [one["jobId"] for page in pages for one in page["jobSummaryList"]]

    by_name = {"filters": [{"name": "JOB_NAME", "values": [f"{prefix.lower()}-*"]}]}
    assert sorted(listed(**by_name)) == sorted(jobs)
    # As AWS says: with a filter the status is ignored.
    assert sorted(listed(**by_name, jobStatus="RUNNING")) == sorted(jobs)
    exact = {"filters": [{"name": "JOB_NAME", "values": [f"{prefix}-bad"]}]}
    assert listed(**exact) == [jobs[3]]
    assert jobs[3] in listed(jobStatus="FAILED") and jobs[3] not in listed(jobStatus="SUCCEEDED")
    of_definition = {"filters": [{"name": "JOB_DEFINITION", "values": [good]}]}
    assert sorted(listed(**of_definition)) == sorted(jobs[:3])
    assert not set(jobs) & set(listed())  # those that run


def test_a_name_of_a_definition_means_its_newest_revision(cloud: Cloud) -> None:
    name = define(cloud, "print('old')")
    cloud.client("batch").register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": IMAGE,
            "command": ["python", "-S", script_file("print('new')")],
            "resourceRequirements": [
                {"type": "VCPU", "value": "1"},
                {"type": "MEMORY", "value": "2048"},
            ],
        },
    )
    said = {
        given: log(cloud, finish(cloud, submit(cloud, given))["container"]["logStreamName"])
        for given in (name, f"{name}:1")
    }
    assert said == {name: ["new"], f"{name}:1": ["old"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobQueue": "nowhere"}, "Job queue nowhere does not exist"),
        ({"jobDefinition": "nothing"}, "Job definition nothing does not exist"),
        ({"jobName": "a b"}, "should match valid pattern"),
        ({"arrayProperties": {"size": 1}}, "Array size 1 must be between 2 and 10000"),
        ({"arrayProperties": {"size": 10_001}}, "Array size 10001 must be between 2 and 10000"),
        ({"dependsOn": [{"jobId": "x"}]}, "Job x in dependsOn not found"),
        ({"dependsOn": [{"jobId": "x"}] * 21}, "at most 20 jobs"),
        (
            {"dependsOn": [{"jobId": "x", "type": "N_TO_N"}]},
            "dependsOn of type N_TO_N is not known to the local cloud",
        ),
        ({"nodeOverrides": {"numNodes": 2}}, "nodeOverrides is not known to the local cloud"),
    ],
)
def test_a_wrong_submission_is_refused(cloud: Cloud, change: Document, message: str) -> None:
    given = {"jobName": "job", "jobQueue": QUEUE, "jobDefinition": "t-test-predict", **change}
    with pytest.raises(ClientError, match=message) as refused:
        cloud.client("batch").submit_job(**given)
    assert refused.value.response["Error"]["Code"] == "ClientException"
