"""The fakes behave as moto or the local cloud does, for all that the functions use of AWS."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.core.config import default_user_config

from tests.lambdas.eventbridge import GROUP, RESULTS
from tests.lambdas.fakes import FakeBatch, FakePipeline, FakeS3, FakeSageMaker
from tests.local.local_cloud import Cloud, wait_for


@pytest.fixture(params=["fake", "moto"])
def s3(request: pytest.FixtureRequest, aws: None) -> Any:
    if request.param == "fake":
        return FakeS3(lambda: datetime.now(timezone.utc))
    client = boto3.client("s3")
    versioning: Any = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=RESULTS, VersioningConfiguration=versioning)
    return client


def status(request: Callable[..., Any], **arguments: Any) -> tuple[int, str]:
    """What a request is answered with."""
    try:
        request(**arguments)
    except ClientError as error:
        answer = error.response
        return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
    return 200, ""


def test_conditional_writes(s3: Any) -> None:
    def put(body: bytes = b"1", **condition: str) -> Any:
        return status(s3.put_object, Bucket=RESULTS, Key="k", Body=body, **condition)

    refused = (412, "PreconditionFailed")
    assert put(IfMatch='"0"')[0] == 404
    assert put(IfNoneMatch="*") == (200, "")
    assert put(IfNoneMatch="*") == refused
    etag = s3.get_object(Bucket=RESULTS, Key="k")["ETag"]
    assert put(b"2", IfMatch=etag) == (200, "")
    assert put(b"3", IfMatch=etag) == refused
    answer = s3.get_object(Bucket=RESULTS, Key="k")
    assert (answer["Body"].read(), answer["ETag"] == etag) == (b"2", False)
    s3.delete_object(Bucket=RESULTS, Key="k")
    assert put(IfNoneMatch="*") == (200, "")


def test_what_is_missing(s3: Any) -> None:
    with pytest.raises(s3.exceptions.NoSuchKey):
        s3.get_object(Bucket=RESULTS, Key="none")
    s3.delete_object(Bucket=RESULTS, Key="none")


def test_versions_are_read_and_copied_as_they_were(s3: Any) -> None:
    first = s3.put_object(Bucket=RESULTS, Key="k", Body=b"1")
    second = s3.put_object(Bucket=RESULTS, Key="k", Body=b"2")
    version = {"VersionId": first["VersionId"]}
    answer = s3.get_object(Bucket=RESULTS, Key="k", IfMatch=first["ETag"], **version)
    assert answer["Body"].read() == b"1"
    none = {"VersionId": "00000000-0000-0000-0000-000000000000"}
    assert status(s3.get_object, Bucket=RESULTS, Key="k", **none)[0] == 404
    refused = (412, "PreconditionFailed")
    assert status(s3.get_object, Bucket=RESULTS, Key="k", IfMatch=first["ETag"]) == refused

    def copy(etag: str, **version: str) -> tuple[int, str]:
        source = {"Bucket": RESULTS, "Key": "k", **version}
        more = {"CopySourceIfMatch": etag, "TaggingDirective": "REPLACE"}
        return status(s3.copy_object, Bucket=RESULTS, Key="c", CopySource=source, **more)

    assert copy(first["ETag"], **version) == (200, "")
    assert s3.get_object(Bucket=RESULTS, Key="c")["Body"].read() == b"1"
    assert copy(second["ETag"]) == (200, "")
    assert s3.get_object(Bucket=RESULTS, Key="c")["Body"].read() == b"2"
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=RESULTS, Prefix="k")
    listed = [one for page in pages for one in page["Versions"]]
    assert {one["VersionId"]: one["IsLatest"] for one in listed} == {
        first["VersionId"]: False,
        second["VersionId"]: True,
    }
    assert {one["ETag"] for one in listed} == {first["ETag"], second["ETag"]}


def test_listings(s3: Any) -> None:
    keys = ["a/1", "a/ü +", "b/1", "a/2"]
    before = datetime.now(timezone.utc).timestamp()
    for key in keys:
        s3.put_object(Bucket=RESULTS, Key=key, Body=b"")
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=RESULTS, Prefix="a/")
    found = [one for page in pages for one in page.get("Contents", [])]
    assert [one["Key"] for one in found] == ["a/1", "a/2", "a/ü +"]
    assert all(abs(one["LastModified"].timestamp() - before) < 60 for one in found)


def test_pages_of_versions(s3: Any) -> None:
    written = [
        (key, s3.put_object(Bucket=RESULTS, Key=key, Body=body)["VersionId"], len(body))
        for key, body in (("a/1", b"1"), ("a/ü +", b""), ("a/1", b"22"), ("b", b""))
    ]
    seen: list[tuple[str, str, int]] = []
    markers: dict[str, str] = {}
    while True:
        page = s3.list_object_versions(Bucket=RESULTS, Prefix="a/", MaxKeys=1, **markers)
        seen += [(one["Key"], one["VersionId"], one["Size"]) for one in page["Versions"]]
        if not page["IsTruncated"]:
            break
        markers = {
            "KeyMarker": page["NextKeyMarker"],
            "VersionIdMarker": page["NextVersionIdMarker"],
        }
    assert seen == [written[2], written[0], written[1]], "the newest of a key comes first"


@pytest.fixture(params=["fake", "moto"])
def batch(request: pytest.FixtureRequest, aws: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "fake":
        return FakeBatch()
    monkeypatch.setitem(default_user_config, "batch", {"use_docker": False})
    client = boto3.client("batch")
    role = boto3.client("iam").create_role(RoleName="batch", AssumeRolePolicyDocument="{}")
    environment = client.create_compute_environment(
        computeEnvironmentName="any", type="UNMANAGED", serviceRole=role["Role"]["Arn"]
    )["computeEnvironmentArn"]
    client.create_job_queue(
        jobQueueName="predict",
        state="ENABLED",
        priority=1,
        computeEnvironmentOrder=[{"order": 1, "computeEnvironment": environment}],
    )
    client.register_job_definition(
        jobDefinitionName="predict",
        type="container",
        containerProperties={"image": "gluon", "vcpus": 1, "memory": 1024},
    )
    return client


def test_jobs_are_found_by_name_and_a_name_may_be_there_twice(batch: Any) -> None:
    ids = [
        batch.submit_job(jobName=name, jobQueue="predict", jobDefinition="predict")["jobId"]
        for name in ("predict-1", "predict-1", "predict-12")
    ]
    filters = [{"name": "JOB_NAME", "values": ["predict-1"]}]
    pages = batch.get_paginator("list_jobs").paginate(jobQueue="predict", filters=filters)
    found = [job for page in pages for job in page["jobSummaryList"]]
    assert {(job["jobName"], job["jobId"]) for job in found} == {
        ("predict-1", ids[0]),
        ("predict-1", ids[1]),
    }
    described = batch.describe_jobs(jobs=[ids[2], "none"])["jobs"]
    assert [(job["jobId"], job["jobName"]) for job in described] == [(ids[2], "predict-12")]
    assert described[0]["status"]


@pytest.mark.parametrize("kind", ["fake", "moto"])
def test_approved_versions_are_listed_and_described(
    kind: str, register: Callable[..., str]
) -> None:
    client: Any = FakeSageMaker() if kind == "fake" else boto3.client("sagemaker")
    for number, approval in enumerate(("Approved", "Rejected", "Approved"), 1):
        if kind == "fake":
            client.versions[number] = approval
        else:
            register(approval)
    pages = client.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=GROUP, ModelApprovalStatus="Approved"
    )
    found = [one for page in pages for one in page["ModelPackageSummaryList"]]
    assert sorted(one["ModelPackageVersion"] for one in found) == [1, 3]
    arn = next(one["ModelPackageArn"] for one in found if one["ModelPackageVersion"] == 3)
    assert arn.endswith(f"model-package/{GROUP}/3")
    described = client.describe_model_package(ModelPackageName=arn)
    assert described["ModelApprovalStatus"] == "Approved"
    containers = described["InferenceSpecification"]["Containers"]
    assert containers[0]["ModelDataUrl"] == "s3://models/model.tar.gz"


@pytest.fixture(params=["fake", "local cloud"])
def sagemaker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A pipeline `claims` that fails like one whose model has missed a bar."""
    fails = {"Name": "ModelRejected", "Type": "Fail", "Arguments": {"ErrorMessage": "a bar"}}
    document = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Cause", "Type": "String", "DefaultValue": "manual"}],
        "Steps": [fails],
    }
    if request.param == "fake":
        yield FakePipeline(lambda: datetime.now(timezone.utc), definition=document)
        return
    cloud = Cloud(tmp_path / "state")
    role = "arn:aws:iam::123456789012:role/pipeline"
    client = cloud.client("sagemaker")
    client.create_pipeline(
        PipelineName="claims",
        PipelineDefinition=json.dumps(document),
        RoleArn=role,
        ClientRequestToken="c" * 32,
    )
    yield client
    cloud.stop()


def test_executions_are_started_once_and_tell_what_they_ran_with(sagemaker: Any) -> None:
    def start(token: str, cause: str) -> str:
        arn: str = sagemaker.start_pipeline_execution(
            PipelineName="claims",
            PipelineParameters=[{"Name": "Cause", "Value": cause}],
            ClientRequestToken=token * 64,
        )["PipelineExecutionArn"]
        return arn

    first = start("a", "push")
    second = start("b", "data")
    assert start("a", "another") == first != second

    def all_of(operation: str, member: str, **request: str) -> list[Any]:
        pages = sagemaker.get_paginator(operation).paginate(**request)
        return [one for page in pages for one in page[member]]

    def executions() -> list[Any]:
        request = {"PipelineName": "claims", "SortBy": "CreationTime", "SortOrder": "Descending"}
        return all_of("list_pipeline_executions", "PipelineExecutionSummaries", **request)

    if isinstance(sagemaker, FakePipeline):
        for one in sagemaker.executions.values():
            one.update(Status="Failed", Steps=["ModelRejected"])
    wait_for(lambda: all(one["PipelineExecutionStatus"] == "Failed" for one in executions()))
    newest, oldest = executions()
    assert (newest["PipelineExecutionArn"], oldest["PipelineExecutionArn"]) == (second, first)
    assert newest["StartTime"] >= oldest["StartTime"]
    stored = sagemaker.describe_pipeline(PipelineName="claims")["PipelineDefinition"]
    ran = sagemaker.describe_pipeline_definition_for_execution(PipelineExecutionArn=first)
    assert json.loads(ran["PipelineDefinition"]) == json.loads(stored)
    parameters = all_of(
        "list_pipeline_parameters_for_execution", "PipelineParameters", PipelineExecutionArn=first
    )
    assert parameters == [{"Name": "Cause", "Value": "push"}]
    steps = all_of(
        "list_pipeline_execution_steps", "PipelineExecutionSteps", PipelineExecutionArn=first
    )
    assert [one["StepName"] for one in steps] == ["ModelRejected"]
    with pytest.raises(ClientError, match="ValidationException"):
        sagemaker.start_pipeline_execution(
            PipelineName="claims",
            PipelineParameters=[{"Name": "None", "Value": "1"}],
            ClientRequestToken="d" * 64,
        )
