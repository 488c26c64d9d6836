"""The command `aws` itself against the local cloud."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.local.local_cloud import (
    BUCKET,
    Cloud,
    get,
    parameter,
    processing,
    register,
    unique,
    wait_for,
)


def _works() -> bool:
    found = shutil.which("aws")
    if not found:
        return False
    return subprocess.run([found, "--version"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _works(), reason="the command `aws` is not installed")


def aws(cloud: Cloud, *words: str) -> Any:
    """Runs the command and returns its parsed answer, or its text where that is no JSON."""
    done = subprocess.run(
        ["aws", *words],  # noqa: S607
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", ""),
            **cloud.variables,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_PAGER": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(done.stderr)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return done.stdout


def test_a_pipeline_is_started_followed_and_its_model_approved(
    cloud: Cloud, tmp_path: Path
) -> None:
    group = unique("group")
    cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName=group)
    name = cloud.create(
        processing("A", "import sys; print(sys.argv[1])", arguments=(get("Parameters.Word"),)),
        register("B", group, "s3://b/model.tar.gz", CustomerMetadataProperties={"a": "1"}),
        parameters=(parameter("Word", "String", "x"),),
    )
    listed = aws(cloud, "sagemaker", "list-pipelines", "--pipeline-name-prefix", name)
    assert [one["PipelineName"] for one in listed["PipelineSummaries"]] == [name]
    words = ("--pipeline-name", name, "--pipeline-parameters", "Name=Word,Value=hello")
    arn = aws(cloud, "sagemaker", "start-pipeline-execution", *words)["PipelineExecutionArn"]
    cloud.finish(arn)
    steps = aws(
        cloud, "sagemaker", "list-pipeline-execution-steps", "--pipeline-execution-arn", arn
    )
    found = {step["StepName"]: step for step in steps["PipelineExecutionSteps"]}
    assert {name: step["StepStatus"] for name, step in found.items()} == {
        "A": "Succeeded",
        "B": "Succeeded",
    }
    described = aws(
        cloud, "sagemaker", "describe-pipeline-execution", "--pipeline-execution-arn", arn
    )
    assert described["PipelineExecutionStatus"] == "Succeeded"
    package = found["B"]["Metadata"]["RegisterModel"]["Arn"]
    status = ("--model-package-arn", package, "--model-approval-status", "Approved")
    aws(cloud, "sagemaker", "update-model-package", *status)
    listed = aws(cloud, "sagemaker", "list-model-packages", "--model-package-group-name", group)
    (summary,) = listed["ModelPackageSummaryList"]
    assert summary["ModelApprovalStatus"] == "Approved"
    job = found["A"]["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    log_group = "/aws/sagemaker/ProcessingJobs"
    (stream,) = cloud.client("logs").describe_log_streams(
        logGroupName=log_group, logStreamNamePrefix=job
    )["logStreams"]
    place = ("--log-group-name", log_group, "--log-stream-name", stream["logStreamName"])
    events = aws(cloud, "logs", "get-log-events", *place)["events"]
    assert [event["message"] for event in events] == ["hello"]


def test_a_pipeline_is_stopped(cloud: Cloud) -> None:
    arn = cloud.start(cloud.create(processing("A", "import time; time.sleep(60)")))
    wait_for(lambda: "A" in cloud.steps(arn))
    aws(cloud, "sagemaker", "stop-pipeline-execution", "--pipeline-execution-arn", arn)
    assert cloud.finish(arn)["PipelineExecutionStatus"] == "Stopped"


def test_a_file_is_copied_and_jobs_are_listed(cloud: Cloud, tmp_path: Path) -> None:
    path, key = tmp_path / "claims é 1.csv", f"{unique('cli')}/claims é 1.csv"
    path.write_text("text\nmy phone is broken\n")
    aws(cloud, "s3", "cp", str(path), f"s3://{BUCKET}/{key}")
    assert cloud.read(f"s3://{BUCKET}/{key}") == path.read_text()
    back = tmp_path / "back.csv"
    aws(cloud, "s3", "cp", f"s3://{BUCKET}/{key}", str(back))
    assert back.read_text() == path.read_text()
    job = cloud.client("batch").submit_job(
        jobName=unique("cli"), jobQueue="t-test-predict", jobDefinition="t-test-predict"
    )["jobId"]
    batch = cloud.client("batch")
    wait_for(lambda: "stoppedAt" in batch.describe_jobs(jobs=[job])["jobs"][0])
    status = batch.describe_jobs(jobs=[job])["jobs"][0]["status"]
    words = ("--job-queue", "t-test-predict", "--job-status", status)
    listed = aws(cloud, "batch", "list-jobs", *words)["jobSummaryList"]
    assert job in [one["jobId"] for one in listed]


def test_a_refusal_names_what_is_wrong(cloud: Cloud) -> None:
    with pytest.raises(AssertionError, match=r"ResourceNotFound.*Pipeline 'nobody' does not exist"):
        aws(cloud, "sagemaker", "start-pipeline-execution", "--pipeline-name", "nobody")
