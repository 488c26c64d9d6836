"""Looks at machine and account before a deployment or a run does: one line for each thing."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from pipelines.aws import Aws
from pipelines.deployment.deploy import NEVER_MADE, Deployer
from pipelines.deployment.image_engine import ENGINES
from pipelines.deployment.stacks import STACKS
from pipelines.images import image, pushed_digest, targets_of

PYTHONS = ((3, 10), (3, 11))
HEALTHY = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
SPOT_ROLE = "AWSServiceRoleForEC2Spot"
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403")

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, how it is, and what to do about it."""

    level: Level
    what: str
    told: str
    remedy: str = ""

    @property
    def line(self) -> str:
        return f"{self.level:<8} {self.what:<22} {self.told}" + (
            f": {self.remedy}" if self.remedy else ""
        )


def examine(aws: Aws, is_local: bool) -> Iterator[Finding]:
    """All findings, each as soon as it is known. Without credentials only the machine's."""
    yield from _machine(is_local)
    known = _identity(aws)
    yield known
    if known.level == "error":
        return
    yield from _stacks(aws, is_local)
    yield from _buckets(aws)
    if is_local:
        yield Finding("ok", "images", "not needed: the local cloud runs the source tree")
        yield Finding("ok", "quotas", "not needed: the local cloud has none")
    else:
        yield from _images(aws)
        yield from _quotas(aws)
        yield _spot_role(aws)
    yield _pipeline(aws)
    yield _model(aws)


def _machine(is_local: bool) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] in PYTHONS:
        yield Finding("ok", "Python", version)
    else:
        yield Finding("error", "Python", version, "make the environment with 3.10 or 3.11")
    for package in ("boto3", "sagemaker"):
        try:
            yield Finding("ok", package, metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding(
                "error",
                package,
                "is not installed",
                "`make clean` and then `make demo` make the environment anew",
            )
    engine = next((one for one in ENGINES if shutil.which(one)), None)
    if engine:
        yield Finding("ok", "container engine", engine)
    elif is_local:
        yield Finding("ok", "container engine", "none; the local cloud needs none")
    else:
        remedy = "install docker or podman to build and push images"
        yield Finding("warning", "container engine", "none", remedy)


def _identity(aws: Aws) -> Finding:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        caller = aws.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        remedy = "`claimflow local up` for the local cloud, or credentials as for the aws command"
        return Finding("error", "credentials", _short(error), remedy)
    place = f"{caller['Arn']} in {aws.client('sts').meta.region_name}"
    wanted = aws.given.account
    if wanted not in (None, caller["Account"]):
        remedy = "use the right profile, or leave the setting account out"
        return Finding("error", "account", f"{place}, but the settings say {wanted}", remedy)
    return Finding("ok", "account", place)


def _stacks(aws: Aws, is_local: bool) -> Iterator[Finding]:
    if is_local:
        yield Finding("ok", "stacks", "made by the local cloud at its start")
        return
    deployer = Deployer(aws)
    for stack in STACKS:
        name = stack.name(aws.settings)
        state = _asked("cloudformation:DescribeStacks", deployer.state, stack)
        if isinstance(state, Unasked):
            yield Finding("warning", name, state.told, state.remedy)
        elif state is None:
            yield Finding("error", name, "not deployed", "`claimflow deploy`")
        elif state in HEALTHY:
            yield Finding("ok", name, state)
        elif state in NEVER_MADE or state == "REVIEW_IN_PROGRESS":
            yield Finding("error", name, state, "`claimflow deploy` makes it anew")
        elif state.endswith("_IN_PROGRESS"):
            yield Finding("warning", name, state, "it is being changed; look again later")
        else:
            remedy = f"`aws cloudformation describe-stack-events --stack-name {name}` says why"
            yield Finding("error", name, state, remedy)


def _buckets(aws: Aws) -> Iterator[Finding]:
    s3 = aws.client("s3")
    for purpose in ("data", "models", "predictions", "results"):
        name = aws.settings.bucket(purpose)
        asked = _asked("s3:ListBucket", s3.head_bucket, Bucket=name)
        if isinstance(asked, Unasked):
            yield Finding("error", f"bucket {purpose}", f"{name} {asked.told}", asked.remedy)
        else:
            yield Finding("ok", f"bucket {purpose}", name)


def _images(aws: Aws) -> Iterator[Finding]:
    ecr = aws.client("ecr")
    for target in targets_of(aws.settings):
        tag = image(target).tag
        repository = f"{aws.settings.project}/{target}"
        digest = _asked("ecr:DescribeImages", pushed_digest, ecr, repository, tag)
        if isinstance(digest, Unasked):
            yield Finding("warning", f"image {target}", digest.told, digest.remedy)
        elif digest is None:
            told = f"{repository}:{tag} is not in the registry"
            yield Finding("error", f"image {target}", told, "`claimflow images push`")
        else:
            yield Finding("ok", f"image {target}", f"{repository}@{digest}")


def _quotas(aws: Aws) -> Iterator[Finding]:
    settings = aws.settings
    kind = "spot training" if settings.use_spot else "training"
    wanted = {
        f"{settings.training_instance_type} for {kind} job usage",
        f"{settings.processing_instance_type} for processing job usage",
    }
    client = aws.client("service-quotas")
    asked = _asked("servicequotas:ListServiceQuotas", _found_quotas, client, wanted)
    if isinstance(asked, Unasked):
        yield Finding("warning", "quotas", asked.told, asked.remedy)
        return
    for name in sorted(wanted):
        if name not in asked:
            told, remedy = "no quota of this name", "is the instance type right?"
            yield Finding("warning", f"quota {name}", told, remedy)
        elif asked[name] < 1:
            remedy = "ask for 1 or more in Service Quotas, Amazon SageMaker"
            yield Finding("error", f"quota {name}", "is 0", remedy)
        else:
            yield Finding("ok", f"quota {name}", f"{asked[name]:.0f}")


def _found_quotas(client: Any, wanted: set[str]) -> dict[str, float]:
    """The values of the quotas by these names; it looks no further than it must."""
    found: dict[str, float] = {}
    for page in client.get_paginator("list_service_quotas").paginate(ServiceCode="sagemaker"):
        values = {one["QuotaName"]: float(one["Value"]) for one in page["Quotas"]}
        found |= {name: value for name, value in values.items() if name in wanted}
        if len(found) == len(wanted):
            break
    return found


def _spot_role(aws: Aws) -> Finding:
    """Amazon's own role that asks for spot machines; no stack can make it where it is there, and
    without it the prediction jobs wait for on-demand machines."""
    iam, what = aws.client("iam"), f"role {SPOT_ROLE}"
    asked = _asked("iam:GetRole", iam.get_role, RoleName=SPOT_ROLE)
    if not isinstance(asked, Unasked):
        return Finding("ok", what, "is there")
    if asked.code == "NoSuchEntity":
        remedy = "`aws iam create-service-linked-role --aws-service-name spot.amazonaws.com`"
        return Finding("warning", what, "is not there", remedy)
    return Finding("warning", what, asked.told, asked.remedy)


def _pipeline(aws: Aws) -> Finding:
    name = aws.settings.pipeline_name
    sagemaker = aws.client("sagemaker")
    asked = _asked("sagemaker:DescribePipeline", sagemaker.describe_pipeline, PipelineName=name)
    if not isinstance(asked, Unasked):
        return Finding("ok", "pipeline", name)
    if asked.code == "ResourceNotFound":
        return Finding("warning", "pipeline", "not stored yet", "`claimflow pipeline upsert`")
    return Finding("warning", "pipeline", asked.told, asked.remedy)


def _model(aws: Aws) -> Finding:
    from pipelines.registry.models import Models

    models = Models(aws)
    asked = _asked("sagemaker:ListModelPackages", lambda: models.predicting(models.versions()))
    if isinstance(asked, Unasked):
        return Finding("warning", "approved model", asked.told, asked.remedy)
    if asked is None:
        remedy = "uploads wait until one is: `claimflow model approve`"
        return Finding("warning", "approved model", "none", remedy)
    return Finding("ok", "approved model", f"version {asked.version}")


@dataclass(frozen=True)
class Unasked:
    """A question that was refused."""

    code: str
    told: str
    remedy: str


def _asked(permission: str, question: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """The answer, or how it was refused and the permission that it needs."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return question(*given, **named)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in DENIED:
            return Unasked(code, "could not be asked", f"it needs the permission {permission}")
        if code in ("404", "NoSuchBucket"):  # the latter where a bucket is needed to answer
            return Unasked(code, "is not there", "`claimflow deploy`")
        return Unasked(code, "could not be asked", _short(error))
    except BotoCoreError as error:
        return Unasked("", "could not be asked", _short(error))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())
