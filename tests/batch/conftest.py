"""What the tests of the job share."""

from __future__ import annotations

import boto3
import pytest

from batch.settings import JobSettings
from tests.batch.classifiers import ARTIFACT
from tests.conftest import make_buckets


@pytest.fixture
def aws(empty_aws: str) -> str:
    """The endpoint, empty but for three buckets, in the environment of a test's clients."""
    make_buckets("uploads", "results", "models")
    return empty_aws


@pytest.fixture
def job_settings(aws: str) -> JobSettings:
    """An approved model, and the settings of a job for it."""
    boto3.client("s3").put_object(Bucket="models", Key="7/model.tar.gz", Body=ARTIFACT)
    sagemaker = boto3.client("sagemaker")
    sagemaker.create_model_package_group(ModelPackageGroupName="claims")
    arn = sagemaker.create_model_package(
        ModelPackageGroupName="claims",
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [{"Image": "image", "ModelDataUrl": "s3://models/7/model.tar.gz"}],
            "SupportedContentTypes": ["text/csv"],
            "SupportedResponseMIMETypes": ["text/csv"],
        },
    )["ModelPackageArn"]
    return JobSettings(
        input_bucket="uploads",
        input_key="incoming/claims.csv",
        model_package_arn=arn,
        results_bucket="results",
        results_prefix="results/claims.csv/0123/",
        upload_id="0123",
        claimflow_code_version="abc",
    )
