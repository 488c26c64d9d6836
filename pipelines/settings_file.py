"""`claimflow.toml`: settings for all stages at the top, and for one stage in its table.

project = "claims"
[deployment]
log_days = 30

[stages.prod]
account = "111122223333"
min_accuracy = 0.85
[stages.prod.deployment]
log_days = 365
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic_settings import PydanticBaseSettingsSource

from pipelines.errors import UserError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS_FILE = "claimflow.toml"


class SettingsFile(PydanticBaseSettingsSource):
    """The file in the current folder as a source of settings, for the stage that is chosen."""

    def get_field_value(self, *_: Any) -> tuple[Any, str, bool]:
        return None, "", False  # all fields come from __call__

    def __call__(self) -> dict[str, Any]:
        path = Path(SETTINGS_FILE)
        if not path.is_file():
            return {}
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise UserError(f"{SETTINGS_FILE} cannot be read: {error}") from None
        stages = document.pop("stages", {})
        _check(stages, set(self.settings_cls.model_fields))
        usual = document.get("stage", self.settings_cls.model_fields["stage"].default)
        stage = self.current_state.get("stage", usual)
        if stages and stage not in {*stages, usual}:
            raise UserError(
                f"{SETTINGS_FILE}: there is no stage {stage}; {nearest(stage, [*stages, usual])}"
            )
        return {**_merged(document, stages.get(stage, {})), "stage": stage}


def _check(stages: Any, known: set[str]) -> None:
    """All stages, not only the chosen one: a slip in `prod` is found while one works on `dev`."""
    if not isinstance(stages, dict) or not all(isinstance(one, dict) for one in stages.values()):
        raise UserError(f"{SETTINGS_FILE}: stages: expected a table for each, as [stages.prod]")
    for stage, table in stages.items():
        for name in table:
            if name not in known - {"stage"}:
                raise UserError(
                    f"{SETTINGS_FILE}: [stages.{stage}]: there is no setting {name}; "
                    f"{nearest(name, known)}"
                )


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables are merged, everything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if both else value
    return merged


def nearest(name: str, known: Collection[str]) -> str:
    """What to say about a name that is not known."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
