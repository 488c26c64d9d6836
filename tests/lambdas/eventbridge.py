"""Events as EventBridge writes them, as bodies of queue messages."""

from __future__ import annotations

import json
from typing import Any

UPLOADS, RESULTS, GROUP = "uploads", "results", "claims"


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


def state_change(arn: str, status: str = "Approved", group: str = GROUP) -> str:
    """The body of a message with EventBridge's event of a model package's new state."""
    return json.dumps(
        {
            "version": "0",
            "id": "844e2571-85d4-695f-b930-0153b71dcb42",
            "detail-type": "SageMaker Model Package State Change",
            "source": "aws.sagemaker",
            "detail": {
                "ModelPackageGroupName": group,
                "ModelPackageVersion": 1,
                "ModelPackageArn": arn,
                "ModelPackageStatus": "Completed",
                "ModelApprovalStatus": status,
            },
        }
    )
