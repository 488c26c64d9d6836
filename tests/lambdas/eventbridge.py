"""Events as EventBridge writes them, as bodies of queue messages."""

from __future__ import annotations

import json
from typing import Any

UPLOADS, RESULTS, MODELS, GROUP = "uploads", "results", "models", "claims"


def created(key: str, etag: str = "e1", bucket: str = UPLOADS, **more: Any) -> str:
    """The body of a message with EventBridge's event of a new object."""
    found = {"key": key, "size": 5, "etag": etag, "sequencer": "617f08299329d189", **more}
    return json.dumps(
        {
            "version": "0",
            "id": "17793124-05d4-b198-2fde-7ededc63b103",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {"version": "0", "bucket": {"name": bucket}, "object": found},
        }
    )


def state_change(arn: str, status: str = "Approved", group: str = GROUP, version: int = 1) -> str:
    """The body of a message with EventBridge's event of a model package's new state."""
    return json.dumps(
        {
            "version": "0",
            "id": "844e2571-85d4-695f-b930-0153b71dcb42",
            "detail-type": "SageMaker Model Package State Change",
            "source": "aws.sagemaker",
            "detail": {
                "ModelPackageGroupName": group,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelApprovalStatus": status,
            },
        }
    )


def retry(upload: str, **more: Any) -> str:
    """The body of a message with which a person asks for another attempt."""
    return json.dumps(
        {
            "source": "claimflow",
            "detail-type": "Retry Upload",
            "detail": {"upload_id": upload, **more},
        }
    )


def notification(*keys: str, bucket: str = UPLOADS) -> str:
    """The body of a message with S3's own notification: keys are encoded like a query string."""
    return json.dumps(
        {
            "Records": [
                {
                    "eventSource": "aws:s3",
                    "eventName": "ObjectCreated:CompleteMultipartUpload",
                    "s3": {
                        "bucket": {"name": bucket},
                        "object": {"key": key, "size": 5, "eTag": "e1"},
                    },
                }
                for key in keys
            ]
        }
    )


def job_change(name: str, status: str = "FAILED", **more: Any) -> str:
    """The body of a message with EventBridge's event of a job's new state."""
    return json.dumps(
        {
            "version": "0",
            "id": "c8f9c4b5-76e5-d76a-f980-7011e206042b",
            "detail-type": "Batch Job State Change",
            "source": "aws.batch",
            "detail": {
                "jobName": name,
                "jobId": "4c7599ae-0a82-49aa-ba5a-4727fcce14a8",
                "jobQueue": "arn:aws:batch:eu-west-1:123456789012:job-queue/predict",
                "status": status,
                "statusReason": "Essential container in task exited",
                "container": {"exitCode": 1},
                **more,
            },
        }
    )


def alarm(name: str, state: str = "ALARM") -> str:
    """The body of a message with EventBridge's event of an alarm's new state."""
    return json.dumps(
        {
            "version": "0",
            "id": "c4c1c1c9-6542-e61b-6ef0-8c4d36933a92",
            "detail-type": "CloudWatch Alarm State Change",
            "source": "aws.cloudwatch",
            "detail": {
                "alarmName": name,
                "state": {"value": state, "reason": "Threshold Crossed"},
                "previousState": {"value": "OK"},
            },
        }
    )
