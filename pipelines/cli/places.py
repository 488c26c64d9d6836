"""Where a command of the deployment works: which stage, and whether that is the local cloud."""

from __future__ import annotations

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pipelines.aws import Aws

stage_option = click.option(
    "--stage", metavar="NAME", help="The stage, as [stages.NAME] in claimflow.toml."
)
HEALTH = "/_claimflow/health"  # of the local cloud (pipelines/local/gateway.py)


@contextlib.contextmanager
def place_of(stage: str | None) -> Iterator[Aws]:
    """AWS as the environment names it, for one stage; its errors in one line."""
    from pipelines.aws import Aws, readable_errors
    from pipelines.settings import Settings

    settings = Settings.load(stage=stage)
    with readable_errors():
        yield Aws(settings)


def is_local_cloud(place: Aws) -> bool:
    """Whether the place says of itself that it is a local cloud."""
    endpoint: str = place.client("sts").meta.endpoint_url
    if not endpoint.startswith(("http://127.0.0.1:", "http://localhost:")):
        return False
    try:
        with urllib.request.urlopen(endpoint + HEALTH, timeout=5) as answer:  # noqa: S310
            return "state" in json.loads(answer.read())
    except (OSError, ValueError, TypeError):
        return False


def has_credentials() -> bool:
    """Whether boto3 finds credentials, without asking anybody whether they are right."""
    import boto3

    return boto3.Session().get_credentials() is not None
