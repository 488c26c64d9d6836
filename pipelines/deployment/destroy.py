"""Takes a deployment out of an account: what holds data, and how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.aws import Aws
from pipelines.counts import many
from pipelines.deployment.adoption import bucket_key
from pipelines.deployment.deploy import Deployer, StackError
from pipelines.deployment.stacks import STACKS, Plan, Stack
from pipelines.settings import Settings

KEY_DAYS = 30  # for which a key that is to go can still be kept
AT_ONCE = 1000  # versions in one request to S3
IMAGES_AT_ONCE = 100
GONE = (
    "NoSuchBucket",
    "ServerSideEncryptionConfigurationNotFoundError",
    "404",
    "RepositoryNotFoundException",
    "ResourceNotFound",
)

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Holding:
    """Something that holds data."""

    kind: str  # bucket, images or models
    name: str
    count: int
    size: int = 0  # bytes

    @property
    def sentence(self) -> str:
        if self.kind == "bucket":
            counted = f"{many(self.count, 'version')} of objects"
            return f"bucket {self.name}: {counted}, {_bytes(self.size)}"
        if self.kind == "images":
            return f"repository {self.name}: {many(self.count, 'image')}, {_bytes(self.size)}"
        return f"model registry {self.name}: {many(self.count, 'version')}"


class Contents:
    """What a deployment holds that no template can make again."""

    def __init__(self, aws: Aws, plans: list[Plan]) -> None:
        self._settings: Settings = aws.settings
        self._s3, self._ecr = aws.client("s3"), aws.client("ecr")
        self._sagemaker = aws.client("sagemaker")
        resources = [one for plan in plans for one in plan.resources]

        def names(kind: str) -> list[str]:
            return [one.name for one in resources if one.type == kind]

        self._buckets = names("AWS::S3::Bucket")
        self._repositories = names("AWS::ECR::Repository")
        self._groups = names("AWS::SageMaker::ModelPackageGroup")

    def holdings(self) -> list[Holding]:
        """Those that are not empty."""
        found = [
            *(self._in_bucket(name) for name in self._buckets),
            *(self._in_repository(name) for name in self._repositories),
            *(Holding("models", name, len(self._models(name))) for name in self._groups),
        ]
        return [one for one in found if one.count]

    def delete(self, tell: Tell) -> None:
        """Deletes the data: all versions, unfinished uploads, images, model versions."""
        for name in self._buckets:
            deleted = self._empty(name)
            if deleted:
                tell(f"bucket {name}: {many(deleted, 'version')} deleted")
        for name in self._repositories:
            images = [one["imageDigest"] for one in self._images(name)]
            for begin in range(0, len(images), IMAGES_AT_ONCE):
                chunk = images[begin : begin + IMAGES_AT_ONCE]
                self._ecr.batch_delete_image(
                    repositoryName=name, imageIds=[{"imageDigest": one} for one in chunk]
                )
        for name in self._groups:
            for arn in self._models(name):
                self._sagemaker.delete_model_package(ModelPackageName=arn)

    def key(self) -> str | None:
        """What the buckets are encrypted with; it outlives its stack as they do."""
        keys = (_unless_gone(partial(bucket_key, self._s3, name)) for name in self._buckets)
        return next((str(one) for one in keys if one), None)

    def remove_kept(self) -> None:
        """Removes what the stacks leave behind: they keep whatever may hold data."""
        for name in self._buckets:
            self._empty(name)  # logs of the deletion itself arrive late
            _unless_gone(partial(self._s3.delete_bucket, Bucket=name))
        for name in self._repositories:
            _unless_gone(partial(self._ecr.delete_repository, repositoryName=name))
        for name in self._groups:
            if self._group_is_there(name):
                self._sagemaker.delete_model_package_group(ModelPackageGroupName=name)

    def delete_pipeline(self) -> bool:
        """Deletes the pipeline, which no stack made; False where there is none."""
        try:
            self._sagemaker.delete_pipeline(
                PipelineName=self._settings.pipeline_name,
                ClientRequestToken=f"{time.time_ns():032d}",
            )
        except self._sagemaker.exceptions.ResourceNotFound:
            return False
        return True

    def _in_bucket(self, name: str) -> Holding:
        sizes = [one.get("Size", 0) for one in self._versions(name)]
        return Holding("bucket", name, len(sizes), sum(sizes))

    def _in_repository(self, name: str) -> Holding:
        sizes = [one.get("imageSizeInBytes", 0) for one in self._images(name)]
        return Holding("images", name, len(sizes), sum(sizes))

    def _empty(self, bucket: str) -> int:
        deleted, chunk = 0, []
        for version in self._versions(bucket):
            chunk.append({"Key": version["Key"], "VersionId": version["VersionId"]})
            if len(chunk) == AT_ONCE:
                deleted += self._delete_versions(bucket, chunk)
                chunk = []
        deleted += self._delete_versions(bucket, chunk) if chunk else 0
        for upload in _pages(self._s3, "list_multipart_uploads", "Uploads", Bucket=bucket):
            self._s3.abort_multipart_upload(
                Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
            )
        return deleted

    def _delete_versions(self, bucket: str, versions: list[dict[str, str]]) -> int:
        done = self._s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
        for error in done.get("Errors", []):
            raise StackError(f"{bucket}/{error['Key']} cannot be deleted: {error['Message']}")
        return len(versions)

    def _versions(self, bucket: str) -> Iterator[dict[str, Any]]:
        """Versions and delete markers."""
        yield from _pages(
            self._s3, "list_object_versions", "Versions", "DeleteMarkers", Bucket=bucket
        )

    def _images(self, repository: str) -> list[dict[str, Any]]:
        return list(_pages(self._ecr, "describe_images", "imageDetails", repositoryName=repository))

    def _models(self, group: str) -> list[str]:
        if not self._group_is_there(group):
            return []
        found = _pages(
            self._sagemaker,
            "list_model_packages",
            "ModelPackageSummaryList",
            ModelPackageGroupName=group,
        )
        return [one["ModelPackageArn"] for one in found]

    def _group_is_there(self, group: str) -> bool:
        found = self._sagemaker.list_model_package_groups(NameContains=group)
        groups = found["ModelPackageGroupSummaryList"]
        return any(one["ModelPackageGroupName"] == group for one in groups)


def delete_stack(deployer: Deployer, stack: Stack, tell: Tell) -> bool:
    """Deletes a stack, protected or not, and waits; False where there is none."""
    if deployer.state(stack) is None:
        return False
    deployer.delete(stack)
    tell(f"{stack.name(deployer.settings)}: deleted")
    return True


def delete_stacks(deployer: Deployer, contents: Contents, aws: Aws, tell: Tell) -> None:
    """All stacks in reverse order; what they keep goes after them, the key last of all."""
    key = deployer.outputs(STACKS[0]).get("KeyArn") or contents.key()
    *later, first = reversed(STACKS)
    for stack in later:
        delete_stack(deployer, stack, tell)
    contents.delete(tell)
    delete_stack(deployer, first, tell)
    contents.remove_kept()
    if key:
        key_id = key.rpartition("/")[2]
        aws.client("kms").schedule_key_deletion(KeyId=key_id, PendingWindowInDays=KEY_DAYS)
        tell(
            f"key {key}: will be deleted in {KEY_DAYS} days "
            f"(`aws kms cancel-key-deletion --key-id {key_id}` keeps it)"
        )


def _pages(client: Any, operation: str, *members: str, **arguments: Any) -> Iterator[Any]:
    """The items of all pages; none where what they would be in is not there."""

    def items() -> Iterator[Any]:
        for page in client.get_paginator(operation).paginate(**arguments):
            for member in members:
                yield from page.get(member, [])

    iterator = items()
    while True:
        item = _unless_gone(lambda: next(iterator, None))
        if item is None:
            return
        yield item


def _unless_gone(call: Callable[[], Any]) -> Any:
    from botocore.exceptions import ClientError

    try:
        return call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
        return None


def _bytes(size: int) -> str:
    return f"{size} bytes" if size < 100_000 else f"{size / 1e6:.1f} MB"
