"""The pipeline's Champion step: the model approved today, which a challenger has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from lambdas import clients
from lambdas.log import log
from lambdas.registry import Registry
from lambdas.settings import ChampionSettings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NO_CHAMPION = "no-champion.json"


class ChampionRequest(TypedDict):
    """The step's inputs."""

    model_package_group: str
    no_champion_uri: str


class Champion(TypedDict):
    """The step's outputs: flat primitives, all that the service lets a Lambda step return.

    `uri` is the champion's `model.tar.gz`, or the prefix that holds `no-champion.json`.
    """

    uri: str
    arn: str
    version: int


def handler(event: ChampionRequest, _context: object) -> Champion:
    """The entry point that Lambda calls."""
    s3 = clients.s3()
    registry = Registry(
        clients.sagemaker(),
        s3,
        ChampionSettings.from_environment().models_bucket,
        event["model_package_group"],
    )
    champion = find_champion(event, registry, s3)
    log("champion", group=event["model_package_group"], **champion)
    return champion


def find_champion(request: ChampionRequest, registry: Registry, s3: S3Client) -> Champion:
    """The newest approved model of the group that is not above the ceiling: the one that predicts.

    Without one, the Evaluate step still needs an input that exists: an object is made to lie under
    `no_champion_uri`, the same however often, and that prefix is the answer.
    """
    model = registry.newest_approved()
    if model is not None:
        return Champion(uri=model.artifact_uri, arn=model.arn, version=model.version)
    bucket, _, prefix = request["no_champion_uri"].removeprefix("s3://").partition("/")
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    s3.put_object(Bucket=bucket, Key=prefix + NO_CHAMPION, Body=b'{"champion": null}\n')
    return Champion(uri=f"s3://{bucket}/{prefix}", arn="none", version=0)
