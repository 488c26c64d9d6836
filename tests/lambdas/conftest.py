"""What the tests of the functions share."""

from __future__ import annotations

from collections.abc import Callable

import boto3
import pytest

from tests.conftest import make_buckets
from tests.lambdas.eventbridge import GROUP, MODELS, RESULTS, UPLOADS


@pytest.fixture
def aws(empty_aws: str) -> str:
    """The endpoint, empty but for three buckets, in the environment of a test's clients."""
    make_buckets(UPLOADS, RESULTS, MODELS)
    return empty_aws


@pytest.fixture
def register(aws: str) -> Callable[..., str]:
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
