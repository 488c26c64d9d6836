"""Runs Great Expectations over labelled claims.

Its results and its Data Docs keep counts only: no text of a claim and no label gets into them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig

from steps.expectations import Check, Figures, Suites
from steps.table import Table
from steps.validation_settings import CHECKS, ValidationSettings

# Without the values that failed: they are texts of claims.
_RESULT_FORMAT = {"result_format": "BASIC", "partial_unexpected_count": 0}


@dataclass(frozen=True)
class Outcome:
    """One check of one table, judged."""

    name: str
    dataset: str  # training, test, classes or texts
    passed: bool
    severity: str  # critical: a failure blocks; warning: it does not
    sentence: str  # for people: what is there, and what is tolerated
    figures: Figures

    @property
    def blocks(self) -> bool:
        return not self.passed and self.severity == "critical"


def judge(
    merged: Table, training: Table, test: Table, settings: ValidationSettings, data_docs: Path
) -> list[Outcome]:
    """The outcome of every check, in the order of CHECKS; their Data Docs go to `data_docs`.

    `training` is `merged` without the claims of the test set: what there is to learn from.
    """
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    context.add_data_docs_site("claims", _site(data_docs))
    source = context.data_sources.add_pandas("claims")
    outcomes = []
    for dataset, (frame, checks) in Suites(settings, merged, training, test).all().items():
        batch = source.add_dataframe_asset(dataset).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(
            gx.ExpectationSuite(dataset, expectations=[check.expectation for check in checks])
        )
        validation = context.validation_definitions.add(
            gx.ValidationDefinition(name=dataset, data=batch, suite=suite)
        )
        run = validation.run(batch_parameters={"dataframe": frame}, result_format=_RESULT_FORMAT)
        results = {result.expectation_config.meta["check"]: result for result in run.results}
        outcomes += [_outcome(dataset, check, results[check.name]) for check in checks]
    context.build_data_docs(site_names=["claims"])
    return sorted(outcomes, key=lambda outcome: list(CHECKS).index(outcome.name))


def _outcome(dataset: str, check: Check, result: Any) -> Outcome:
    if result.exception_info.get("raised_exception", True):
        raise RuntimeError(f"the check {check.name} of the table {dataset} could not be made")
    figures = {
        name: value
        for name, value in result.result.items()
        if name.endswith(("_count", "_percent")) or name == "observed_value"
    }
    return Outcome(
        name=check.name,
        dataset=dataset,
        passed=bool(result.success),
        severity=str(check.expectation.severity.value),
        sentence=check.sentence(figures),
        figures=figures,
    )


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {
            "class_name": "TupleFilesystemStoreBackend",
            "base_directory": str(folder.absolute()),
        },
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
