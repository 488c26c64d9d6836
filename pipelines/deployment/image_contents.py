"""What an image holds and what of it weighs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.deployment.image_builds import check_target, local_name
from pipelines.deployment.image_engine import Engine
from pipelines.errors import UserError
from pipelines.images import image
from pipelines.settings import Settings

BILL = "/opt/claimflow/sbom.json"
# Sizes of what lies directly in site-packages, printed as JSON by the image's own Python.
_WEIGH = """
import json, os, sysconfig
top = sysconfig.get_path("purelib")
def weigh(path):
    if os.path.islink(path) or not os.path.isdir(path):
        return os.lstat(path).st_size
    return sum(weigh(one.path) for one in os.scandir(path))
print(json.dumps({one.name: weigh(one.path) for one in os.scandir(top)}))
"""


@dataclass(frozen=True)
class Contents:
    """What is known of one image; sizes in bytes."""

    name: str
    image_id: str
    digest: str | None  # the registry's, once it was pushed or pulled
    size: int
    labels: dict[str, str]
    layers: list[tuple[int, str]]  # the lowest first, with the instruction that made each
    packages: dict[str, int]  # what lies in site-packages, the heaviest first
    components: dict[str, int]  # of the bill of materials: how many of each kind


def contents(engine: Engine, settings: Settings, target: str) -> Contents:
    """Looks into the image of a target.

    Raises
    ------
    UserError
        It is not built.
    """
    name = _built(engine, settings, target)
    known = json.loads(engine.inspect(name))[0]
    weights = json.loads(engine.run(name, "python", "-c", _WEIGH))
    kinds = [
        one["bom-ref"].partition(":")[0] for one in json.loads(_bill(engine, name))["components"]
    ]
    return Contents(
        name=name,
        image_id=known["Id"].removeprefix("sha256:"),
        digest=_digest(known.get("RepoDigests") or ()),
        size=known["Size"],
        labels=known["Config"].get("Labels") or {},
        layers=[one for one in engine.layers(name) if one[0]],
        packages=dict(sorted(weights.items(), key=lambda one: -one[1])),
        components={kind: kinds.count(kind) for kind in sorted(set(kinds))},
    )


def save_bill(engine: Engine, settings: Settings, target: str, path: Path) -> None:
    """Copies the software bill of materials (CycloneDX, JSON) out of an image."""
    text = _bill(engine, _built(engine, settings, target))
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


def _digest(addresses: Iterable[str]) -> str | None:
    """The digest in ECR; podman gives an image that was never pushed one, too."""
    pushed = (one.partition("@")[2] for one in addresses if ".dkr.ecr." in one)
    return next(pushed, None)


def _built(engine: Engine, settings: Settings, target: str) -> str:
    check_target(target)
    name = local_name(settings, image(target))
    if not engine.has(name):
        raise UserError(f"{name} is not built: claimflow images build {target}")
    return name


def _bill(engine: Engine, name: str) -> str:
    return engine.run(name, "cat", BILL)
