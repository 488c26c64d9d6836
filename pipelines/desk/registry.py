"""The registry as the pages show it: versions side by side, and which of them predicts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.aws import Aws
from pipelines.registry.models import PENDING, Models, ModelVersion
from pipelines.registry.serving import Ceiling


@dataclass(frozen=True)
class Registry:
    """The newest versions with their figures; `total` counts the older ones, too."""

    versions: list[ModelVersion]
    total: int
    predicting: ModelVersion | None
    ceiling: Ceiling | None

    @property
    def pending(self) -> list[ModelVersion]:
        return [one for one in self.versions if one.approval == PENDING]

    def predicts(self, version: ModelVersion) -> bool:
        return self.predicting is not None and version.version == self.predicting.version

    def is_held_back(self, version: ModelVersion) -> bool:
        return self.ceiling is not None and self.ceiling.holds_back(
            version.version, version.approval
        )

    def can_go_back_to(self, version: ModelVersion) -> bool:
        """Whether a rollback to this version would change which one predicts."""
        return version.approval == "Approved" and not self.predicts(version)


def read_registry(aws: Aws, most: int) -> Registry:
    """The newest versions, and always the one that predicts."""
    models = Models(aws)
    listed = models.versions()
    ceiling = models.serving.ceiling()
    predicting = models.predicting(listed)
    shown = listed[:most]
    if predicting and predicting not in shown:
        shown.append(predicting)
    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(lambda one: models.read(one.arn), shown))
    now = next((one for one in versions if predicting and one.arn == predicting.arn), None)
    return Registry(versions, len(listed), now, ceiling)
