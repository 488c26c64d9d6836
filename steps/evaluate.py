"""The command `evaluate`: challenger and champion on the same test rows."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steps import artifact, metrics
from steps.comparison import NO_CHAMPION, comparison
from steps.container import Container, run_step
from steps.errors import InputError
from steps.model_quality import statistics
from steps.picture import confusion_svg
from steps.reliability import mistakes, reliability
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
    table in "test"; writes `evaluation.json`, and for each model `statistics.json` and
    `confusion_matrix.svg` (the champion's begin with `champion_`) into the output "evaluation". The
    job's exit message says what the challenger reached: a pipeline can put it into a sentence.

    Raises InputError for a model or test data that it cannot work with.
    """
    parser = argparse.ArgumentParser(prog="evaluate", description=__doc__)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    given = parser.parse_args(arguments)
    with tracking(container, "Evaluate", tracking_settings) as run:
        test = container.processing("test")
        whole = read_table(test, given.text_column, given.label_column)
        table = whole.complete()
        if not len(table):
            raise InputError("the test data has no complete row, expected texts with labels")
        challenger = _load(container.processing("model"), "challenger")
        has_champion = (container.processing("champion") / artifact.ARCHIVE).exists()
        champion = _load(container.processing("champion"), "champion") if has_champion else None
        _check_labels(table, challenger)
        reached = _write_evaluation(
            container.processing("evaluation"), table, _records(whole), challenger, champion, run
        )
        container.leave_message(reached)


def _records(table: Table) -> list[int]:
    """The numbers of the complete rows among all records of the files, from 1: by them a person
    finds a row again."""
    rows = zip(table.texts, table.labels, strict=True)
    return [
        number
        for number, (text, label) in enumerate(rows, 1)
        if len(Table([text], [label]).complete())
    ]


def _write_evaluation(
    folder: Path,
    table: Table,
    records: Sequence[int],
    challenger: Classifier,
    champion: Classifier | None,
    run: Run,
) -> str:
    """Writes and tracks everything; what the challenger reached, in words."""
    models = {"challenger": challenger} | ({"champion": champion} if champion else {})
    measured = {role: _measure(model, table) for role, model in models.items()}
    reports = {role: _report(measured[role], model) for role, model in models.items()}
    compared = _compare(**measured) if champion else NO_CHAMPION
    folder.mkdir(parents=True, exist_ok=True)
    for role, one in measured.items():
        _write_statistics(folder, "" if role == "challenger" else f"{role}_", one, run)
    new = measured["challenger"]
    document = {
        "champion": None,
        **reports,
        "comparison": compared,
        "reliability": reliability(new.targets, new.made),
        "mistakes": mistakes(new.targets, new.made, new.labels, records),
    }
    _write(folder / "evaluation.json", _json_text(document), run)
    report = reports["challenger"]
    print(
        f"rows={report['rows']} accuracy={report['accuracy']:.4f} "
        f"macro_f1={report['macro_f1']:.4f} regression={compared['regression']:.4f} "
        f"regression_low={compared['regression_low']:.4f} "
        f"regression_high={compared['regression_high']:.4f} p_value={compared['p_value']:.4f}"
    )
    figures = {**report, **compared, "macro_f1_difference": compared["macro_f1"]["difference"]}
    run.log_metrics({name: one for name, one in figures.items() if type(one) in (int, float)})
    return _reached(report, compared)


def _compare(challenger: _Measured, champion: _Measured) -> dict[str, Any]:
    """Both by the labels of both: one may know labels that the other does not."""
    labels = sort_labels([*challenger.labels, *champion.labels])
    numbers = {label: number for number, label in enumerate(labels)}

    def numbered(model: _Measured, rows: metrics.I64) -> metrics.I64:
        places = np.array([numbers[label] for label in model.labels])
        found: metrics.I64 = places[rows]
        return found

    return comparison(
        numbered(challenger, challenger.targets),
        numbered(challenger, challenger.made.argmax(axis=1)),
        numbered(champion, champion.made.argmax(axis=1)),
        labels,
    )


def _reached(report: dict[str, Any], compared: dict[str, Any]) -> str:
    """What decides, in words: the model's figures, and those of the comparison."""
    sentence = (
        f"it reached an accuracy of {report['accuracy']:.4f}, a macro F1 of "
        f"{report['macro_f1']:.4f}, a recall of each class of at least "
        f"{report['worst_class_recall']:.4f}, a calibration error of "
        f"{report['calibration_error']:.4f}"
    )
    if not compared["has_champion"]:
        return f"{sentence}, and has no champion to compare with"
    sign, verb = (-1, "gained") if compared["regression"] < 0 else (1, "lost")
    low, high = sorted(sign * compared[f"regression_{end}"] for end in ("low", "high"))
    return (
        f"{sentence}, and {verb} {sign * compared['regression']:.4f} of accuracy against the "
        f"champion (95 % interval: {low:.4f} to {high:.4f})"
    )


def _write_statistics(folder: Path, prefix: str, measured: _Measured, run: Run) -> None:
    """A model's figures in SageMaker's model-quality form, its confusion matrix as a picture."""
    quality = statistics(measured.scores, measured.targets, measured.made, measured.labels)
    picture = confusion_svg(measured.scores.confusion, measured.labels)
    _write(folder / f"{prefix}statistics.json", _json_text(quality), run)
    _write(folder / f"{prefix}confusion_matrix.svg", picture, run)


def _write(path: Path, text: str, run: Run) -> None:
    path.write_text(text, "utf-8")
    run.log_artifact(path)


def _json_text(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False)


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


@dataclass(frozen=True)
class _Measured:
    """What a model says of a table of n rows."""

    labels: list[str]  # all of model and table, in order
    targets: metrics.I64  # (n,) the number of each row's label
    made: metrics.F32  # (n, labels) probabilities; 0 for a label that the model does not know
    scores: metrics.Scores


def _measure(model: Classifier, table: Table) -> _Measured:
    labels = sort_labels([*model.labels, *table.labels])
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.array([numbers[label] for label in table.labels])
    made = np.zeros((len(table), len(labels)), np.float32)
    made[:, [numbers[label] for label in model.labels]] = model.probabilities(table.texts)
    known = np.isin(labels, model.labels)
    return _Measured(labels, targets, made, metrics.score(targets, made, known))


def _report(measured: _Measured, model: Classifier) -> dict[str, Any]:
    scored = measured.scores
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
            for number, label in enumerate(measured.labels)
        },
        "model": {
            "kind": model.info["kind"],
            "hyperparameters": model.info.get("hyperparameters", {}),
            "versions": model.info.get("versions", {}),
            "training_data": model.info.get("training_data", {}),
        },
    }
