"""What a deployment holds is listed, refused, and (when that is wanted) all of it taken out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from click.testing import CliRunner

from pipelines.aws import Aws
from pipelines.cli import claimflow
from pipelines.deployment import destroy
from pipelines.deployment.deploy import Deployer, StackError
from pipelines.deployment.destroy import Contents, delete_stack, delete_stacks
from pipelines.deployment.stacks import STACKS, parameters, plans
from pipelines.settings import Settings
from tests.conftest import make_buckets
from tests.pipelines.test_deploy import IMAGES, Scripted, ScriptedAws, event

SPECIFICATION = {
    "Containers": [{"Image": "image", "ModelDataUrl": "s3://b/model.tar.gz"}],
    "SupportedContentTypes": ["text/csv"],
    "SupportedResponseMIMETypes": ["text/csv"],
}


def contents_of(place: Aws) -> Contents:
    return Contents(place, list(plans(place.settings, parameters(place.settings, IMAGES))))


@pytest.fixture
def full(empty_aws: str) -> Aws:
    """A deployment without stacks that holds objects and images, under a key. moto deletes no
    models: see tests/local/test_resources.py."""
    place = Aws(Settings(project="t", region="eu-west-1"))
    bucket = place.settings.bucket("results")
    make_buckets(bucket)
    key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    boto3.client("s3").put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    boto3.client("s3").put_object(Bucket=bucket, Key="a", Body=b"four")
    ecr = boto3.client("ecr")
    ecr.create_repository(repositoryName="t/gluon-cpu")
    for tag in ("one", "two", "three"):
        kind = "application/vnd.docker.distribution.manifest.v2+json"
        document = {"schemaVersion": 2, "mediaType": kind, "config": {"digest": f"sha256:{tag}"}}
        manifest = json.dumps(document)
        ecr.put_image(repositoryName="t/gluon-cpu", imageManifest=manifest, imageTag=tag)
    return place


@pytest.fixture
def with_models(full: Aws) -> Aws:
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="t-dev")
    for _ in range(2):
        boto3.client("sagemaker").create_model_package(
            ModelPackageGroupName="t-dev", InferenceSpecification=SPECIFICATION
        )
    return full


def test_everything_that_holds_data_is_counted(with_models: Aws) -> None:
    found = {one.kind: (one.name, one.count) for one in contents_of(with_models).holdings()}
    assert found == {
        "bucket": (with_models.settings.bucket("results"), 1),
        "images": ("t/gluon-cpu", 3),
        "models": ("t-dev", 2),
    }


def test_without_a_word_nothing_is_deleted(
    with_models: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAIMFLOW_PROJECT", "t")
    refused = CliRunner().invoke(claimflow, ["destroy", "--yes"])
    assert refused.exit_code == 1
    for said in ("3 images", "2 versions", "1 version of objects", "--delete-data"):
        assert said in refused.output
    other = CliRunner().invoke(claimflow, ["destroy", "--delete-data"], input="t-prod\n")
    assert other.exit_code == 1
    assert "nothing is changed" in other.output
    assert len(contents_of(with_models).holdings()) == 3


def test_all_goes_with_its_key_although_the_stacks_are_gone(
    full: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(destroy, "IMAGES_AT_ONCE", 2)  # so that there is more than one request
    said: list[str] = []
    delete_stacks(Deployer(full, pause=0), contents_of(full), full, said.append)
    assert contents_of(full).holdings() == []
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert boto3.client("ecr").describe_repositories()["repositories"] == []
    (key,) = boto3.client("kms").list_keys()["Keys"]
    known = boto3.client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]
    assert known["KeyState"] == "PendingDeletion"
    assert "cancel-key-deletion" in said[-1], "the way back"


def test_another_stage_keeps_the_images_that_it_made(full: Aws) -> None:
    values = {**parameters(full.settings, IMAGES), "CreateRepositories": "false"}
    contents = Contents(full, list(plans(full.settings, values)))
    contents.delete(lambda _line: None)
    contents.remove_kept()
    (repository,) = boto3.client("ecr").describe_repositories()["repositories"]
    assert repository["repositoryName"] == "t/gluon-cpu"


class Going(Scripted):
    """A CloudFormation that records what it is told, in order."""

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> Any:
            self.called.append(name)
            if name == "update_termination_protection":
                self.called[-1] += f" {given['EnableTerminationProtection']}"
            return {}

        return call

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        return [{"StackEvents": self.more["events"] if "delete_stack" in self.called else []}]


def test_the_protection_is_lifted_and_then_the_stack_deleted() -> None:
    going = Going(["CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_COMPLETE"], events=[])
    said: list[str] = []
    assert delete_stack(Deployer(ScriptedAws(going), pause=0), STACKS[1], said.append)
    assert going.called == ["update_termination_protection False", "delete_stack"]
    assert said == ["claimflow-dev-batch: deleted"]


def test_a_stack_that_is_not_there_is_no_error() -> None:
    going = Going([None], events=[])
    assert not delete_stack(Deployer(ScriptedAws(going), pause=0), STACKS[1], lambda _line: None)
    assert going.called == []


def test_what_keeps_a_stack_from_going_is_told() -> None:
    reason = "The security group is in use"
    going = Going(
        ["CREATE_COMPLETE", "DELETE_IN_PROGRESS", "DELETE_FAILED"],
        events=[event("JobSecurityGroup", "DELETE_FAILED", reason)],
    )
    with pytest.raises(StackError, match=f"JobSecurityGroup .* failed: {reason}"):
        delete_stack(Deployer(ScriptedAws(going), pause=0), STACKS[1], lambda _line: None)
