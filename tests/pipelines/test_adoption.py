"""What an earlier deployment left is found, refused with the ways out, or imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from click.testing import CliRunner

from pipelines.aws import Aws
from pipelines.cli import claimflow
from pipelines.deployment.adoption import IMPORTED, Leftover, Leftovers, import_template, to_import
from pipelines.deployment.deploy import Change, ChangeSet, Deployer, StackError
from pipelines.deployment.stacks import STACKS, Plan, Stack, parameters, plans
from pipelines.errors import UserError
from pipelines.settings import Settings
from tests.conftest import make_buckets
from tests.pipelines.test_deploy import IMAGES, Scripted, ScriptedAws

PLACE = Settings(project="t", region="eu-west-1")


def plan_of(settings: Settings, number: int = 0, **more: str) -> Plan:
    return list(plans(settings, {**parameters(settings, IMAGES), **more}))[number]


@pytest.fixture
def left(empty_aws: str) -> Aws:
    """An account with a bucket under a key of its own, a repository and a model package group."""
    place = Aws(PLACE)
    bucket = place.settings.bucket("data")
    make_buckets(bucket)
    key = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    boto3.client("s3").put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": default}]
        },
    )
    boto3.client("ecr").create_repository(repositoryName="t/validate")
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="t-dev")
    boto3.client("sagemaker").create_model_package_group(ModelPackageGroupName="t-dev-2")
    return place


def found(place: Aws) -> dict[str, str]:
    return {one.resource.id: one.name for one in Leftovers(place).of(plan_of(place.settings))}


def test_a_fresh_account_has_nothing_left(empty_aws: str) -> None:
    assert found(Aws(PLACE)) == {}


def test_what_is_left_is_found_with_the_key_of_its_buckets(left: Aws) -> None:
    here = f"eu-west-1:{left.settings.account}"
    (key,) = boto3.client("kms").list_keys()["Keys"]
    assert found(left) == {
        "Key": key["KeyId"],
        "DataBucket": left.settings.bucket("data"),
        "ValidateRepository": "t/validate",
        "ModelPackageGroup": f"arn:aws:sagemaker:{here}:model-package-group/t-dev",
    }


def test_a_key_that_is_about_to_go_must_be_kept_first(left: Aws) -> None:
    (key,) = boto3.client("kms").list_keys()["Keys"]
    boto3.client("kms").schedule_key_deletion(KeyId=key["KeyId"], PendingWindowInDays=7)
    with pytest.raises(UserError, match=f"cancel-key-deletion --key-id {key['KeyId']}"):
        found(left)


def test_a_bucket_of_somebody_else_is_in_the_way() -> None:
    class Theirs(ScriptedAws):
        def client(self, _service: str) -> Any:
            return self

        def head_bucket(self, **_: Any) -> None:
            from botocore.exceptions import ClientError

            raise ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "HeadBucket")

    place = Theirs(Scripted([None]))
    plan = plan_of(place.settings)
    buckets = [one for one in plan.resources if one.type == "AWS::S3::Bucket"]
    with pytest.raises(UserError, match="somebody else's"):
        Leftovers(place)._bucket(buckets[0])


def test_an_account_has_one_identity_provider_for_github(empty_aws: str) -> None:
    place = Aws(PLACE)
    ci = plan_of(place.settings, 3, GithubRepository="example/claims")
    assert Leftovers(place).of(ci) == []
    boto3.client("iam").create_open_id_connect_provider(
        Url="https://token.actions.githubusercontent.com", ThumbprintList=["0" * 40]
    )
    with pytest.raises(UserError, match="create_identity_provider = false"):
        Leftovers(place).of(ci)
    own = plan_of(
        place.settings, 3, GithubRepository="example/claims", CreateIdentityProvider="false"
    )
    assert Leftovers(place).of(own) == []


def test_deploy_refuses_with_both_ways_out_and_makes_nothing(
    left: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAIMFLOW_PROJECT", "t")
    refused = CliRunner().invoke(claimflow, ["deploy", "--yes"])
    assert isinstance(refused.exception, UserError)
    (line,) = str(refused.exception).splitlines()
    for said in (
        left.settings.bucket("data"),
        "`claimflow deploy --adopt`",
        "`claimflow destroy --delete-data`",
        "create_repositories = false",
    ):
        assert said in line
    shown = CliRunner().invoke(claimflow, ["deploy", "--dry-run"])
    assert shown.exit_code == 0, shown.exception
    assert line in shown.output
    assert boto3.client("cloudformation").describe_stacks()["Stacks"] == []


def test_what_is_imported_is_identified_as_its_type_is(left: Aws) -> None:
    for one in Leftovers(left).of(plan_of(left.settings)):
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", one.resource.type).schema
        assert [f"/properties/{name}" for name in one.identifier] == schema["primaryIdentifier"]


def test_an_import_says_all_that_an_update_could_not_change(everything_kept: Plan) -> None:
    """Otherwise the update would replace the resource that was imported."""
    for one in everything_kept.resources:
        if one.type not in IMPORTED:
            continue
        schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", one.type).schema
        fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", [])}
        required = set(schema.get("required", []))
        assert (fixed | required) & set(one.properties) <= set(IMPORTED[one.type]), one


def test_all_that_outlives_its_stack_can_be_imported(everything_kept: Plan) -> None:
    assert {one.type for one in everything_kept.resources if one.keeps} == set(IMPORTED)


@pytest.fixture
def everything_kept() -> Plan:
    return plan_of(Settings(project="t", account="123456789012"))


def test_the_import_holds_what_is_left_and_stands_alone(left: Aws) -> None:
    leftovers = Leftovers(left).of(plan_of(left.settings))
    template = json.loads(import_template(leftovers))
    assert set(template["Resources"]) == {one["LogicalResourceId"] for one in to_import(leftovers)}
    for resource in template["Resources"].values():
        assert resource["DeletionPolicy"] == "Retain"  # CloudFormation asks for one
        assert not {"Ref", "Fn::GetAtt", "Fn::Sub"} & set(str(resource).split("'"))
    assert template["Resources"]["DataBucket"]["Properties"] == {
        "BucketName": left.settings.bucket("data")
    }


def test_an_import_is_a_change_set_of_its_own_and_its_end_is_a_success(left: Aws) -> None:
    asked: dict[str, Any] = {}

    class Importing(Scripted):
        def create_change_set(self, **given: Any) -> dict[str, Any]:
            asked.update(given)
            return {"Id": "arn:change-set"}

    change = {
        "ResourceChange": {
            "Action": "Import",
            "LogicalResourceId": "DataBucket",
            "ResourceType": "AWS::S3::Bucket",
            "PhysicalResourceId": left.settings.bucket("data"),
        }
    }
    scripted = Importing(
        [None, None, "IMPORT_IN_PROGRESS", "IMPORT_COMPLETE"],
        describe_change_set={"Status": "CREATE_COMPLETE", "Changes": [change]},
    )
    deployer = Deployer(ScriptedAws(scripted), pause=0)
    leftovers = Leftovers(left).of(plan_of(left.settings))
    change_set = deployer.prepare_import(STACKS[0], leftovers)
    assert change_set.is_new
    assert change_set.changes == [
        Change("Import", "DataBucket", "AWS::S3::Bucket", left.settings.bucket("data"))
    ]
    assert not change_set.changes[0].loses_data
    assert asked["ChangeSetType"] == "IMPORT"
    assert asked["ResourcesToImport"] == to_import(leftovers)
    assert asked["TemplateBody"] == import_template(leftovers)
    deployer.execute(STACKS[0], change_set, lambda _line: None)
    assert "execute_change_set" in scripted.called
    assert deployer.is_there(STACKS[0]), "so that what follows is an update"


@pytest.mark.parametrize("arguments", [["--adopt"], ["--adopt", "--yes"]])
def test_adopting_imports_before_it_makes_the_rest(
    left: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    did: list[str] = []
    change_set = ChangeSet("t-dev-pipelines", "arn", True, [Change("Import", "DataBucket", "x")])

    def imports(_deployer: Deployer, _stack: Stack, leftovers: list[Leftover]) -> ChangeSet:
        did.append(f"import {len(leftovers)}")
        return change_set

    def ends(*_: Any) -> None:
        raise StackError("as far as this goes")

    monkeypatch.setattr(Deployer, "prepare_import", imports)
    monkeypatch.setattr(Deployer, "execute", lambda *_: did.append("execute"))
    monkeypatch.setattr(Deployer, "prepare", ends)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLAIMFLOW_PROJECT", "t")
    done = CliRunner().invoke(claimflow, ["deploy", *arguments], input="y\n")
    assert did == ["import 4", "execute"]
    assert "1 imported" in done.output
    assert ("[y/N]" in done.output) == ("--yes" not in arguments)
