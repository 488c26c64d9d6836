"""boto3's clients, with time-outs and retries that fit into a function's minute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from lambdas.log import log

if TYPE_CHECKING:
    from mypy_boto3_batch import BatchClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sagemaker import SageMakerClient
    from mypy_boto3_sqs import SQSClient

# Conditional writes: boto3 refuses the parameters before 1.35.69 (November 2024).
CONDITIONS = {"IfMatch", "IfNoneMatch"}

# Throttling and passing faults are tried again by botocore, with jitter.
RETRYING = Config(
    connect_timeout=3, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 5}
)
# SubmitJob has no idempotency token: a request sent again because its answer was lost would be a
# second job. So botocore sends it once; see `lambdas.jobs`.
ONCE = Config(
    connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 1}
)


class OldSdkError(Exception):
    """The runtime's boto3 does not know conditional writes: nothing can be claimed safely."""


def s3() -> S3Client:
    """S3, able to write on a condition.

    Raises
    ------
    OldSdkError: boto3 is too old. The functions are deployed with Python 3.13, whose runtime has a
        newer one; a runtime pinned to an old version, or a layer, may not.
    """
    client: S3Client = boto3.client("s3", config=RETRYING)
    check_conditional_writes(client)
    return client


def check_conditional_writes(client: Any) -> None:
    """Raises OldSdkError, after one clear log line, if PutObject takes no conditions."""
    known = client.meta.service_model.operation_model("PutObject").input_shape.members
    missing = sorted(CONDITIONS - set(known))
    if missing:
        reason = f"boto3 {boto3.__version__} does not know {' and '.join(missing)} of PutObject"
        todo = "deploy on a newer Lambda runtime, or with a layer that holds boto3 1.35.69 or newer"
        log("boto3-too-old", reason=reason, todo=todo)
        raise OldSdkError(f"{reason}: {todo}")


def sagemaker() -> SageMakerClient:
    client: SageMakerClient = boto3.client("sagemaker", config=RETRYING)
    return client


def sqs() -> SQSClient:
    client: SQSClient = boto3.client("sqs", config=RETRYING)
    return client


def sns() -> Any:
    return boto3.client("sns", config=RETRYING)


def batch() -> BatchClient:
    """For requests that only read."""
    client: BatchClient = boto3.client("batch", config=RETRYING)
    return client


def batch_once() -> BatchClient:
    """For SubmitJob."""
    client: BatchClient = boto3.client("batch", config=ONCE)
    return client
