"""A deployment in the local cloud, where each role is enforced, and calls in a role's name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from botocore.config import Config

from pipelines.local.iam.access import Access
from pipelines.settings import Role
from tests.local.local_cloud import Cloud
from tests.privileges import calls
from tests.privileges.calls import SETTINGS, Asked

# Each option that makes a role, or widens one.
OPTIONS = {
    "CLAIMFLOW_DEPLOYMENT__GITHUB_REPOSITORY": "owner/name",
    "CLAIMFLOW_DEPLOYMENT__QUIET_SECONDS": "1",
    "CLAIMFLOW_DEPLOYMENT__RETRAIN_SCHEDULE": "rate(7 days)",
    "CLAIMFLOW_AUTOMATIC_APPROVAL_ACCURACY": "0.9",
}
# Calls that fail for a role that they pass on.
_SERVICES = {"create_training_job": "sagemaker", "create_pipeline": "sagemaker"}


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A deployment with a model, and something under each key that a role may read."""
    running = Cloud(tmp_path_factory.mktemp("privileges") / "state", **OPTIONS)
    sagemaker = running.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName=calls.OTHER_GROUP)
    for group in (calls.GROUP, calls.OTHER_GROUP):
        sagemaker.create_model_package(
            ModelPackageGroupName=group, InferenceSpecification=calls.SPECIFICATION
        )
    for bucket, key in calls.OBJECTS:
        running.client("s3").put_object(Bucket=bucket, Key=key, Body=b"x")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A deployment in which nothing has happened yet."""
    running = Cloud(tmp_path_factory.mktemp("own") / "state", **OPTIONS)
    yield running
    running.stop()


def key_of(cloud: Cloud, purpose: Role) -> str:
    """The access key of whoever has taken a role."""
    return Access(cloud.variables["AWS_ACCESS_KEY_ID"], {}).key(SETTINGS.role_arn(purpose))


@cache
def client_of(cloud: Cloud, purpose: Role, service: str) -> Any:
    return boto3.client(
        service,
        endpoint_url=cloud.endpoint,
        region_name=SETTINGS.region,
        aws_access_key_id=key_of(cloud, purpose),
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 0}, read_timeout=60),
    )


def ask(cloud: Cloud, purpose: Role, asked: Asked) -> None:
    """Calls as a role."""
    service = _SERVICES.get(asked.operation) or asked.action.partition(":")[0]
    role = SETTINGS.role_arn(purpose).rpartition("/")[2]
    arguments = {
        name: role if value == "{role}" else value for name, value in asked.arguments.items()
    }
    getattr(client_of(cloud, purpose, service), asked.operation)(**arguments)
