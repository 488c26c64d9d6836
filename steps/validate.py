"""The step Validate: judges the labelled claims before any training is paid for.

Reads the inputs `train` and `test`; writes `validation.json` and Great Expectations' Data Docs
(`data_docs/index.html`) to the output `validation`, also when the data does not pass. When it does,
`train.csv` in the output `training` is what to learn from: all files of `train` in one, where a
later file's label of the same claim has replaced the earlier, without the claims of the test set.
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
from steps.merge import merge, without_texts_of
from steps.table import Table, fingerprints, joined, read_tables, sort_labels, write_table
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
        "merged": None,
        "checks": [],
    }
    with tracking(container, "Validate", tracking_settings) as run:
        run.log_params(report["settings"])
        try:
            training = _judged(container, settings, output, report)
            _write_training(container.processing("training"), training, settings)
            report["success"] = True
        except InputError as error:
            report["message"] = str(error)
            raise
        finally:
            path = output / "validation.json"
            path.write_text(json.dumps(report, indent=2, ensure_ascii=False), "utf-8")
            run.log_metrics(_metrics(report))
            run.log_artifact(path)


def _judged(
    container: Container, settings: ValidationSettings, output: Path, report: dict[str, Any]
) -> Table:
    """The training set, merged and without the claims of the test set. Adds what it finds to the
    report; raises InputError when the data does not pass."""

    def load(name: str) -> tuple[list[Table], dict[str, str]]:
        folder = container.processing(name)
        tables = read_tables(folder, settings.text_column, settings.label_column)
        return tables, fingerprints(folder)

    with ThreadPoolExecutor() as pool:
        loading = {dataset: pool.submit(load, name) for dataset, name in INPUTS.items()}
        # Great Expectations takes seconds to import: the files are read meanwhile.
        from steps.judge import judge

    files: dict[str, list[Table]] = {}
    reasons = []
    for dataset, loaded in loading.items():
        try:
            files[dataset], sums = loaded.result()
        except InputError as error:
            sentence, figures = f"{dataset} set: {error}", {}
            reasons.append(sentence)
        else:
            table = joined(files[dataset])
            report["datasets"][dataset] = _described(table, settings) | {"files": sums}
            sentence = f"{dataset} set has {len(table):,} rows"
            figures = {"rows": len(table)}
        report["checks"].append(
            {
                "name": "readable",
                "dataset": dataset,
                "passed": dataset in files,
                "severity": "critical",
                "sentence": sentence,
                "figures": figures,
            }
        )
    if reasons:
        raise InputError("; ".join(reasons))

    test = joined(files["test"])
    merged = merge(files["training"])
    training = without_texts_of(merged, test)
    report["merged"] = _accounted(files["training"], merged, training)
    print(_sentence(report["merged"]))
    outcomes = judge(merged, training, test, settings, output / "data_docs")
    report["checks"] += [asdict(outcome) for outcome in outcomes]
    for outcome in outcomes:
        verdict = "passed" if outcome.passed else "FAILED" if outcome.blocks else "warning"
        print(f"{verdict}: {outcome.name}: {outcome.sentence}")
    reasons = [outcome.sentence for outcome in outcomes if outcome.blocks]
    if reasons:
        raise InputError(f"The data did not pass validation: {'; '.join(reasons)}.")
    return training


def _write_training(folder: Path, training: Table, settings: ValidationSettings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / "train.csv", training, settings.text_column, settings.label_column)


def _accounted(files: Sequence[Table], merged: Table, training: Table) -> dict[str, int]:
    """Where the training rows went: rows_in = relabelled + leaks_removed + rows_out."""
    rows_in = sum(map(len, files))
    return {
        "files": len(files),
        "rows_in": rows_in,
        "relabelled": rows_in - len(merged),
        "leaks_removed": len(merged) - len(training),
        "rows_out": len(training),
    }


def _sentence(merged: dict[str, int]) -> str:
    files = "1 file" if merged["files"] == 1 else f"{merged['files']:,} files"
    return (
        f"merged: {files} with {merged['rows_in']:,} rows; {merged['relabelled']:,} replaced by a "
        f"later file's label of the same text, {merged['leaks_removed']:,} taken out because the "
        f"test set has their text; {merged['rows_out']:,} to learn from"
    )


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
    merged = {f"merged_{name}": number for name, number in (report["merged"] or {}).items()}
    return {"failures": failed["critical"], "warnings": failed["warning"], **rows, **merged}


if __name__ == "__main__":
    sys.exit(main())
