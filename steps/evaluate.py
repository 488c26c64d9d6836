"""The command `evaluate`: challenger and champion on the same test rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps import artifact, metrics
from steps.container import Container, run_step
from steps.errors import InputError
from steps.model_quality import statistics
from steps.picture import confusion_svg
from steps.table import Table, read_table, sort_labels
from steps.tracking import Run, TrackingSettings, tracking

if TYPE_CHECKING:
    from steps.classifier import Classifier

_NAMED_LABELS = 5  # that an error message names at most


def main() -> int:
    tracked = TrackingSettings.from_environment()
    return run_step(lambda container: evaluate(container, sys.argv[1:], tracked))


def evaluate(
    container: Container, arguments: Sequence[str], tracking_settings: TrackingSettings
) -> None:
    """Measures the model in the input "model" and the one in "champion", where there is one, on the
    table in "test"; writes `evaluation.json`, `statistics.json` and `confusion_matrix.svg` into the
    output "evaluation".

    Raises InputError for a model or test data that it cannot work with.
    """
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    given = parser.parse_args(arguments)
    with tracking(container, "Evaluate", tracking_settings) as run:
        test = container.processing("test")
        table = read_table(test, given.text_column, given.label_column).complete()
        if not len(table):
            raise InputError("the test data has no complete row, expected texts with labels")
        challenger = _load(container.processing("model"), "challenger")
        has_champion = (container.processing("champion") / artifact.ARCHIVE).exists()
        champion = _load(container.processing("champion"), "champion") if has_champion else None
        _check_labels(table, challenger)
        _write_evaluation(container.processing("evaluation"), table, challenger, champion, run)


def _write_evaluation(
    folder: Path, table: Table, challenger: Classifier, champion: Classifier | None, run: Run
) -> None:
    labels, targets, made, scored = _measure(challenger, table)
    report = _report(labels, scored, challenger)
    champion_report = None
    regression = 0.0
    if champion:
        champion_labels, _, _, champion_scored = _measure(champion, table)
        champion_report = _report(champion_labels, champion_scored, champion)
        regression = champion_scored.accuracy - scored.accuracy
    evaluation = {
        "challenger": report,
        "champion": champion_report,
        "comparison": {"regression": regression, "has_champion": champion is not None},
    }
    quality = statistics(scored, targets, made, labels)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("evaluation.json", json.dumps(evaluation, indent=1, ensure_ascii=False)),
        ("statistics.json", json.dumps(quality, indent=1, ensure_ascii=False)),
        ("confusion_matrix.svg", confusion_svg(scored.confusion, labels)),
    ):
        (folder / name).write_text(text, "utf-8")
        run.log_artifact(folder / name)
    figures = {"accuracy": scored.accuracy, "macro_f1": scored.macro_f1, "regression": regression}
    print(f"rows={scored.rows} " + " ".join(f"{k}={v:.4f}" for k, v in figures.items()))
    numbers = {k: v for k, v in report.items() if isinstance(v, float)}
    run.log_metrics({**numbers, "regression": regression})


def _load(folder: Path, role: str) -> Classifier:
    from steps.classifier import Classifier  # MXNet takes seconds: only when the data is good

    try:
        return Classifier.load_archive(folder)
    except InputError as error:
        raise InputError(f"{role}: {error}") from error


def _check_labels(table: Table, challenger: Classifier) -> None:
    """Raises InputError for labels that the challenger was never shown."""
    unseen = Counter(label for label in table.labels if label not in set(challenger.labels))
    if not unseen:
        return
    named = ", ".join(
        f"{label[:40]!r} ({count} rows)" for label, count in unseen.most_common(_NAMED_LABELS)
    )
    more = f" and {len(unseen) - _NAMED_LABELS} more" if len(unseen) > _NAMED_LABELS else ""
    raise InputError(
        f"the test data has labels that training never saw: {named}{more}; "
        "add such rows to the training data or take them out of the test data"
    )


def _measure(
    model: Classifier, table: Table
) -> tuple[list[str], metrics.I64, metrics.F32, metrics.Scores]:
    """All labels of model and table, the number of each row's label, what the model says of the
    rows, and its figures. A label that the model does not know has probability 0."""
    labels = sort_labels([*model.labels, *table.labels])
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.array([numbers[label] for label in table.labels])
    made = np.zeros((len(table), len(labels)), np.float32)
    made[:, [numbers[label] for label in model.labels]] = model.probabilities(table.texts)
    known = np.isin(labels, model.labels)
    return labels, targets, made, metrics.score(targets, made, known)


def _report(labels: Sequence[str], scored: metrics.Scores, model: Classifier) -> dict[str, Any]:
    return {
        "rows": scored.rows,
        "accuracy": scored.accuracy,
        "macro_f1": scored.macro_f1,
        "weighted_f1": scored.weighted_f1,
        "log_loss": scored.log_loss,
        "calibration_error": scored.calibration_error,
        "worst_class_recall": scored.worst_class_recall,
        "classes": {
            label: {
                "precision": float(scored.precision[number]),
                "recall": float(scored.recall[number]),
                "f1": float(scored.f1[number]),
                "support": int(scored.support[number]),
            }
            for number, label in enumerate(labels)
        },
        "model": {
            "kind": model.info["kind"],
            "versions": model.info.get("versions", {}),
            "training_data": model.info.get("training_data", {}),
        },
    }
