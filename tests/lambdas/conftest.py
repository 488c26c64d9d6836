"""What the tests of the functions share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import boto3
import pytest
from moto import mock_aws

from tests.conftest import make_buckets
from tests.lambdas.eventbridge import GROUP, MODELS, RESULTS, UPLOADS


@pytest.fixture(scope="session")
def make_client() -> Callable[..., Any]:
    """`boto3.client`, each client made once: to make them takes longer than all else in a test."""
    return cache(boto3.Session("testing", "testing", region_name="eu-west-1").client)


@pytest.fixture
def aws(make_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """AWS, empty but for three buckets: moto answers botocore's requests, without a server."""
    monkeypatch.setattr(boto3, "client", make_client)
    with mock_aws():
        make_buckets(UPLOADS, RESULTS, MODELS)
        yield


@pytest.fixture
def register(aws: None) -> Callable[..., str]:
    """Registers a version of the group's model and returns its ARN."""
    sagemaker = boto3.client("sagemaker")

    def register(status: str = "Approved", group: str = GROUP) -> str:
        groups = sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]
        if group not in [found["ModelPackageGroupName"] for found in groups]:
            sagemaker.create_model_package_group(ModelPackageGroupName=group)
        arn: str = sagemaker.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus=status,
            InferenceSpecification={
                "Containers": [{"Image": "image", "ModelDataUrl": "s3://models/model.tar.gz"}],
                "SupportedContentTypes": ["text/csv"],
                "SupportedResponseMIMETypes": ["text/csv"],
            },
        )["ModelPackageArn"]
        return arn

    return register
