"""What the tests of AWS Batch share: definitions made of small scripts, and jobs of them."""

from __future__ import annotations

from typing import Any

from tests.local.local_cloud import IMAGE, Cloud, Document, script_file, unique, wait_for

QUEUE = "t-test-predict"


def define(
    cloud: Cloud, script: str, *arguments: str, image: str = IMAGE, vcpus: str = "1", **more: Any
) -> str:
    """Registers a job definition that runs a Python script; its name."""
    name = unique("definition")
    cloud.client("batch").register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={
            "image": image,
            "command": ["python", "-S", script_file(script), *arguments],
            "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resourceRequirements": [
                {"type": "VCPU", "value": vcpus},
                {"type": "MEMORY", "value": "2048"},
            ],
        },
        **more,
    )
    return name


def submit(cloud: Cloud, definition: str, **more: Any) -> str:
    submitted = cloud.client("batch").submit_job(
        jobName=more.pop("jobName", unique("job")), jobQueue=QUEUE, jobDefinition=definition, **more
    )
    return str(submitted["jobId"])


def describe(cloud: Cloud, job: str) -> Document:
    (found,) = cloud.client("batch").describe_jobs(jobs=[job])["jobs"]
    return dict(found)


def finish(cloud: Cloud, job: str) -> Document:
    def ended() -> Document | None:
        found = describe(cloud, job)
        return found if found["status"] in ("SUCCEEDED", "FAILED") else None

    return dict(wait_for(ended))


def log(cloud: Cloud, stream: str) -> list[str]:
    events = cloud.client("logs").get_log_events(
        logGroupName="/aws/batch/job", logStreamName=stream, startFromHead=True
    )["events"]
    return [event["message"] for event in events]
