"""The step Validate: judges the labelled claims before any training is paid for.

Reads the inputs `train` and `test`; writes `validation.json` and Great Expectations' Data Docs
(`data_docs/index.html`) to the output `validation`, also when the data does not pass.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from steps.container import Container, run_step
from steps.errors import InputError
from steps.table import Table, fingerprints, read_table, sort_labels
from steps.tracking import TrackingSettings, tracking
from steps.validation_settings import ValidationSettings

INPUTS = {"training": "train", "test": "test"}  # by what the report calls them


def main() -> int:
    tracked = TrackingSettings.from_environment()
    return run_step(lambda container: validate(container, sys.argv[1:], tracked))


def validate(
    container: Container, arguments: Sequence[str], tracking_settings: TrackingSettings
) -> None:
    """Judges the data by the settings in `arguments` and writes the report.

    Raises
    ------
    InputError
        When the data cannot be read or a check that blocks fails: all reasons in one sentence.
    """
    settings = ValidationSettings.from_arguments(arguments)
    output = container.processing("validation")
    output.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "success": False,
        "message": None,
        "settings": asdict(settings),
        "datasets": {},
        "checks": [],
    }
    with tracking(container, "Validate", tracking_settings) as run:
        run.log_params(report["settings"])
        try:
            _judge(container, settings, output, report)
            report["success"] = True
        except InputError as error:
            report["message"] = str(error)
            raise
        finally:
            path = output / "validation.json"
            path.write_text(json.dumps(report, indent=2, ensure_ascii=False), "utf-8")
            run.log_metrics(_metrics(report))
            run.log_artifact(path)


def _judge(
    container: Container, settings: ValidationSettings, output: Path, report: dict[str, Any]
) -> None:
    """Adds what it finds to the report; raises InputError when the data does not pass."""

    def load(name: str) -> tuple[Table, dict[str, str]]:
        folder = container.processing(name)
        table = read_table(folder, settings.text_column, settings.label_column)
        return table, fingerprints(folder)

    with ThreadPoolExecutor() as pool:
        loading = {dataset: pool.submit(load, name) for dataset, name in INPUTS.items()}
        # Great Expectations takes seconds to import: the files are read meanwhile.
        from steps.judge import judge

    tables: dict[str, Table] = {}
    reasons = []
    for dataset, loaded in loading.items():
        try:
            tables[dataset], files = loaded.result()
        except InputError as error:
            sentence, figures = f"{dataset} set: {error}", {}
            reasons.append(sentence)
        else:
            report["datasets"][dataset] = _described(tables[dataset], settings) | {"files": files}
            sentence = f"{dataset} set has {len(tables[dataset]):,} rows"
            figures = {"rows": len(tables[dataset])}
        report["checks"].append(
            {
                "name": "readable",
                "dataset": dataset,
                "passed": dataset in tables,
                "severity": "critical",
                "sentence": sentence,
                "figures": figures,
            }
        )
    if reasons:
        raise InputError("; ".join(reasons))

    outcomes = judge(tables["training"], tables["test"], settings, output / "data_docs")
    report["checks"] += [asdict(outcome) for outcome in outcomes]
    for outcome in outcomes:
        verdict = "passed" if outcome.passed else "FAILED" if outcome.blocks else "warning"
        print(f"{verdict}: {outcome.name}: {outcome.sentence}")
    reasons = [outcome.sentence for outcome in outcomes if outcome.blocks]
    if reasons:
        raise InputError(f"The data did not pass validation: {'; '.join(reasons)}.")


def _described(table: Table, settings: ValidationSettings) -> dict[str, Any]:
    """The number of rows, in all and by label."""
    counts = Counter(table.labels)
    labels = {label: counts[label] for label in sort_labels(counts) if label}
    return {
        "rows": len(table),
        "labels": labels if settings.are_labels(table.labels) else None,
    }


def _metrics(report: dict[str, Any]) -> dict[str, float]:
    failed = Counter(check["severity"] for check in report["checks"] if not check["passed"])
    rows = {f"{name}_rows": data["rows"] for name, data in report["datasets"].items()}
    return {"failures": failed["critical"], "warnings": failed["warning"], **rows}


if __name__ == "__main__":
    sys.exit(main())
