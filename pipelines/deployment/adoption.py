"""Taking over what an earlier deployment left.

What holds data outlives its stack, and keeps its name: a new stack cannot make it. CloudFormation
can import it, with a template of nothing else; the update that follows brings it into step.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.aws import Aws
from pipelines.deployment.stacks import Plan, Planned
from pipelines.errors import UserError

# What an import must say of a resource: what is required, and what could not be changed afterwards.
# The rest is left to the update.
IMPORTED = {
    "AWS::ECR::Repository": ("RepositoryName", "EncryptionConfiguration"),
    "AWS::KMS::Key": ("KeyPolicy",),
    "AWS::S3::Bucket": ("BucketName",),
    "AWS::SageMaker::ModelPackageGroup": ("ModelPackageGroupName", "ModelPackageGroupDescription"),
}


@dataclass(frozen=True)
class Leftover:
    """A resource of a stack that is there although the stack is not."""

    resource: Planned
    identifier: dict[str, str]  # by which CloudFormation finds it

    @property
    def name(self) -> str:
        (name,) = self.identifier.values()
        return name


class Leftovers:
    """What is left of a deployment whose stack is gone."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws

    def of(self, plan: Plan) -> list[Leftover]:
        """Those of one stack.

        Raises
        ------
        UserError
            Something is in the way that is not this deployment's to take.
        """
        finders = {
            "AWS::ECR::Repository": self._repository,
            "AWS::IAM::OIDCProvider": self._provider,
            "AWS::S3::Bucket": self._bucket,
            "AWS::SageMaker::ModelPackageGroup": self._group,
        }
        kept = [one for one in plan.resources if one.keeps]
        found = [
            Leftover(one, identifier)
            for one in kept
            if one.type in finders and (identifier := finders[one.type](one))
        ]
        key_id = self._key_of([one.name for one in found if one.resource.type == "AWS::S3::Bucket"])
        keys = [one for one in kept if one.type == "AWS::KMS::Key" and key_id]
        return [*(Leftover(one, {"KeyId": key_id}) for one in keys), *found]

    def _bucket(self, resource: Planned) -> dict[str, str]:
        from botocore.exceptions import ClientError

        try:
            self._aws.client("s3").head_bucket(
                Bucket=resource.name, ExpectedBucketOwner=self._aws.settings.account
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return {}
            if error.response["Error"]["Code"] == "403":
                raise UserError(
                    f"The bucket {resource.name} is somebody else's, or may not be looked at "
                    "(s3:ListBucket): choose another project or stage, or ask for the permission"
                ) from None
            raise
        return {"BucketName": resource.name}

    def _repository(self, resource: Planned) -> dict[str, str]:
        ecr = self._aws.client("ecr")
        try:
            ecr.describe_repositories(repositoryNames=[resource.name])
        except ecr.exceptions.RepositoryNotFoundException:
            return {}
        return {"RepositoryName": resource.name}

    def _group(self, resource: Planned) -> dict[str, str]:
        found = self._aws.client("sagemaker").list_model_package_groups(NameContains=resource.name)
        for one in found["ModelPackageGroupSummaryList"]:
            if one["ModelPackageGroupName"] == resource.name:
                return {"ModelPackageGroupArn": one["ModelPackageGroupArn"]}
        return {}

    def _provider(self, resource: Planned) -> dict[str, str]:
        host = resource.properties["Url"].removeprefix("https://")
        found = self._aws.client("iam").list_open_id_connect_providers()
        if any(one["Arn"].endswith(f"/{host}") for one in found["OpenIDConnectProviderList"]):
            raise UserError(
                f"The account has an identity provider for {host} already, and can have one only: "
                "set create_identity_provider = false under [deployment] in claimflow.toml"
            )
        return {}

    def _key_of(self, buckets: list[str]) -> str:
        """The id of the key that the buckets are encrypted with; empty where there is none."""
        for name in buckets:
            key = bucket_key(self._aws.client("s3"), name)
            if key is None:
                continue
            known = self._aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]
            if known["KeyState"] == "PendingDeletion":
                key_id = known["KeyId"]
                raise UserError(
                    f"The key of the bucket {name} is about to be deleted: "
                    f"`aws kms cancel-key-deletion --key-id {key_id}` and "
                    f"`aws kms enable-key --key-id {key_id}`, then deploy again"
                )
            return str(known["KeyId"])
        return ""


def bucket_key(s3: Any, bucket: str) -> str | None:
    """The key of ours that a bucket is encrypted with, if it is."""
    found = s3.get_bucket_encryption(Bucket=bucket)
    (rule,) = found["ServerSideEncryptionConfiguration"]["Rules"]
    key: str | None = rule["ApplyServerSideEncryptionByDefault"].get("KMSMasterKeyID")
    return key


def import_template(leftovers: list[Leftover]) -> str:
    """A template of what is imported, and of nothing else."""
    resources = {
        one.resource.id: {
            "Type": one.resource.type,
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                name: one.resource.properties[name] for name in IMPORTED[one.resource.type]
            },
        }
        for one in leftovers
    }
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": resources})


def to_import(leftovers: list[Leftover]) -> list[dict[str, Any]]:
    """What is imported, as CreateChangeSet takes it."""
    return [
        {
            "ResourceType": one.resource.type,
            "LogicalResourceId": one.resource.id,
            "ResourceIdentifier": one.identifier,
        }
        for one in leftovers
    ]
