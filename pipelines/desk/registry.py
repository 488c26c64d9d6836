"""The registry as the pages show it: versions side by side, and which of them predicts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.aws import Aws
from pipelines.registry.facts import FIGURES
from pipelines.registry.lineage import Lineages
from pipelines.registry.models import PENDING, Models, ModelVersion
from pipelines.registry.serving import Ceiling


@dataclass(frozen=True)
class Entry:
    """A version and what its evaluation found; without one, what the registry holds."""

    model: ModelVersion
    figures: dict[str, float]

    @property
    def number(self) -> int:
        return self.model.version


@dataclass(frozen=True)
class Registry:
    """The newest versions with their figures; `total` counts the older ones, too."""

    entries: list[Entry]
    total: int
    predicting: Entry | None
    ceiling: Ceiling | None

    @property
    def pending(self) -> list[Entry]:
        return [one for one in self.entries if one.model.approval == PENDING]

    def predicts(self, entry: Entry) -> bool:
        return self.predicting is not None and entry.number == self.predicting.number

    def is_held_back(self, entry: Entry) -> bool:
        return self.ceiling is not None and self.ceiling.holds_back(
            entry.number, entry.model.approval
        )

    def can_go_back_to(self, entry: Entry) -> bool:
        """Whether a rollback to this version would change which one predicts."""
        is_free = not self.predicts(entry) and not self.is_held_back(entry)
        return entry.model.approval == "Approved" and is_free


def read_registry(aws: Aws, most: int) -> Registry:
    """The newest versions, and always the one that predicts."""
    models = Models(aws)
    listed = models.versions()
    predicting = models.predicting(listed)
    shown = listed[:most]
    if predicting and predicting not in shown:
        shown.append(predicting)
    with ThreadPoolExecutor(8) as pool:
        entries = list(pool.map(lambda one: read_entry(aws, models.read(one.arn)), shown))
    now = next((one for one in entries if predicting and one.model.arn == predicting.arn), None)
    return Registry(entries, len(listed), now, models.serving.ceiling())


def read_entry(aws: Aws, model: ModelVersion) -> Entry:
    challenger = Lineages(aws).evaluation(model).get("challenger", {})
    figures = {name: challenger[name] for name in FIGURES if challenger.get(name) is not None}
    return Entry(model, figures or model.figures())
