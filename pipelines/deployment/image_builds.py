"""Builds and pushes the images with whichever of docker and podman is there.

The tag is a digest of what goes into an image (pipelines/images.py), so what has not changed is
neither built nor pushed again. An image is built under a name without a registry: that needs no
account; pushing gives it its address.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.aws import Aws
from pipelines.deployment.image_engine import Engine, Tell
from pipelines.errors import UserError
from pipelines.images import Image, image, known_targets, pushed_digest, targets_of
from pipelines.settings import Settings


@dataclass(frozen=True)
class Status:
    """Where the image of a target is."""

    target: str
    tag: str
    is_built: bool | None  # None: there is no engine to ask
    digest: str | None  # in the registry


def build(engine: Engine, settings: Settings, tell: Tell, targets: Sequence[str] = ()) -> None:
    """Builds what is not there yet of these targets, or of all that the settings ask for.

    Raises
    ------
    UserError
        There is no such target, or it cannot be built.
    """
    for target in targets:
        check_target(target)
    for target in targets or targets_of(settings):
        described = image(target)
        name = local_name(settings, described)
        if engine.has(name):
            tell(f"{name}: is built")
        else:
            tell(f"{name}: building")
            engine.build(described, name, tell)


def check_target(target: str) -> None:
    """Refuses a target that the Dockerfile does not have."""
    known = known_targets()
    if target not in known:
        raise UserError(f"image {target!r} does not exist, expected one of: {', '.join(known)}")


def push(engine: Engine, aws: Aws, tell: Tell, targets: Sequence[str] = ()) -> dict[str, str]:
    """Pushes what the registry does not have of these targets, or of all that the settings ask for,
    built first where needed; digests by target."""
    settings, ecr = aws.settings, aws.client("ecr")
    digests: dict[str, str] = {}
    is_logged_in = False
    for target in targets or targets_of(settings):
        described = image(target)
        repository = f"{settings.project}/{target}"
        found = pushed_digest(ecr, repository, described.tag)
        if found is None:
            build(engine, settings, tell, [target])
            if not is_logged_in:
                _login(engine, ecr)
                is_logged_in = True
            tell(f"{described.uri(settings)}: pushing")
            engine.push(local_name(settings, described), described.uri(settings))
            found = pushed_digest(ecr, repository, described.tag)
        else:
            tell(f"{described.uri(settings)}: is in the registry")
        if found is None:
            raise UserError(
                f"{described.uri(settings)} was pushed, but the registry does not have it: "
                f"is {engine.program} logged in to another one?"
            )
        digests[target] = found
    return digests


def status(engine: Engine | None, settings: Settings, ecr: object | None) -> list[Status]:
    """Where the images of this source tree are."""
    found = []
    for target in targets_of(settings):
        described = image(target)
        built = engine.has(local_name(settings, described)) if engine else None
        repository = f"{settings.project}/{target}"
        digest = pushed_digest(ecr, repository, described.tag) if ecr else None
        found.append(Status(target, described.tag, built, digest))
    return found


def local_name(settings: Settings, described: Image) -> str:
    """What an image is called on the machine that builds it."""
    return f"{settings.project}/{described.target}:{described.tag}"


def _login(engine: Engine, ecr: object) -> None:
    granted = ecr.get_authorization_token()["authorizationData"][0]  # type: ignore[attr-defined]
    user, _, password = base64.b64decode(granted["authorizationToken"]).decode().partition(":")
    engine.login(granted["proxyEndpoint"].removeprefix("https://"), user, password)
