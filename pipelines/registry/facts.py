"""What is known of a model version, in the words and figures of its card.

Every sentence says what the system knows: what only people know, such as the risk of a use, is left
to them. What is not known is empty or left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines import hyperparameters as by_json
from pipelines.counts import many
from pipelines.data.versions import SETS, row_count
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage

Document = dict[str, Any]

# The figures of an evaluation, and whether more is better.
FIGURES = {
    "accuracy": True,
    "macro_f1": True,
    "weighted_f1": True,
    "worst_class_recall": True,
    "calibration_error": False,
    "log_loss": False,
}
MOST_CLASSES = 50  # that a card lists, those that are found least first
MOST_NAMED = 5
FEW_ROWS = 50  # of a label in the training data
PURPOSE = (
    "Gives each text one of {} labels, with a confidence, and says which rows a person should look "
    "at."
)
USES = (
    "Labelling files of texts like those of the training data, and sorting them by label and "
    "confidence. A person looks at the rows that are marked for review."
)
ETHICS = (
    "The model sees the text of a row and nothing else. It learnt what the people who labelled the "
    "training data decided, their errors included. Whether its errors fall more on some groups of "
    "people than on others was not measured."
)
UNRATED = "Nobody has rated it: the rating is for the organisation that uses the model to give."
# What stands for 0, where the training chooses: `steps/hyperparameters.py`.
_CHOSEN = {
    "epochs": "the kind's own",
    "learning_rate": "the kind's own",
    "batch_size": "by the number of rows",
}
_Z = 1.959963984540054  # 95 % of the normal distribution lie within plus and minus this


@dataclass(frozen=True)
class Figure:
    """A metric of the version and of the champion it was compared with, if there was one.

    Attributes
    ----------
    note: the interval of the figure, or what is known of the difference.
    """

    name: str
    value: float
    champion: float | None
    note: str = ""


def purpose(found: Lineage) -> str:
    return PURPOSE.format(len(trained_labels(found)) or "its")


def limits(found: Lineage) -> list[str]:
    """What speaks against relying on it, a sentence each."""
    labels, challenger = trained_labels(found), found.evaluation.get("challenger") or {}
    told = ["It gives one of its labels to every text, also to one that is about something else."]
    few = sorted((rows, label) for label, rows in labels.items() if rows < FEW_ROWS)
    if few:
        named = ", ".join(f"{cut(label, 63)} ({rows})" for rows, label in few[:MOST_NAMED])
        more = f" and {len(few) - MOST_NAMED} more" if len(few) > MOST_NAMED else ""
        told.append(f"Of some labels it saw fewer than {FEW_ROWS} rows: {named}{more}.")
    classes = challenger.get("classes") or {}
    seen = [(one["recall"], label) for label, one in classes.items() if one["support"]]
    if seen:
        worst, label = min(seen)
        told.append(
            f"The label it misses most is {cut(label, 63)}: it finds {worst:.1%} of its "
            f"{many(classes[label]['support'], 'test row')}."
        )
    if error := challenger.get("calibration_error"):
        told.append(f"A confidence is off by {error:.3f} on average.")
    if rows := challenger.get("rows"):
        low, high = interval(challenger["accuracy"], rows)
        told.append(
            f"All figures come from one test set of {many(rows, 'row')}: the accuracy on many more "
            f"rows of the same kind would lie between {low:.1%} and {high:.1%} (95 % interval)."
        )
    told.append("How it does on texts unlike the test set is not known.")
    return told


def figures(found: Lineage) -> list[Figure]:
    """The metrics beside those of the champion."""
    challenger = found.evaluation.get("challenger") or {}
    champion = found.evaluation.get("champion") or {}
    comparison = found.evaluation.get("comparison") or {}
    notes = {}
    if rows := challenger.get("rows"):
        low, high = interval(challenger["accuracy"], rows)
        notes["accuracy"] = f"95 % interval {low:.4f} to {high:.4f}"
    if champion and "regression_low" in comparison:
        notes["accuracy"] += (
            "; gains {:+.4f} on the champion ({:+.4f} to {:+.4f}, p {:.3g})".format(
                -comparison["regression"],
                -comparison["regression_high"],
                -comparison["regression_low"],
                comparison["p_value"],
            )
        )
        notes["macro_f1"] = (
            "gains {difference:+.4f} on the champion ({low:+.4f} to {high:+.4f})".format(
                **comparison["macro_f1"]
            )
        )
    return [
        Figure(name, challenger[name], champion.get(name), notes.get(name, ""))
        for name in FIGURES
        if challenger.get(name) is not None
    ]


def made(found: Lineage) -> dict[str, str]:
    """How the version was made, and from what; empty is what is not known."""
    info = model_info(found)
    manifest = found.manifest
    rows: dict[str, str] = {}
    if manifest:
        for name in SETS:
            files = manifest.files(name)
            noun = "file" if len(files) == 1 else "files"
            rows[name] = f"{row_count(files):,} in {len(files):,} {noun}"
    versions = info.get("versions") or {}
    return {
        "version": str(found.model.version),
        "kind": str(info.get("kind", "")),
        "registered": found.model.created.isoformat(timespec="seconds"),
        "decision": _decided(found),
        "execution": found.execution_arn,
        "cause": found.noted("cause"),
        "code_version": found.noted("code_version"),
        "image": found.image,
        "software": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "data_manifest": found.manifest_uri,
        "data_version": manifest.version if manifest else "",
        "train_data": found.noted("train_data"),
        "train_rows": rows.get("train", ""),
        "rows_left_to_learn_from": merged(found),
        "test_data": found.noted("test_data"),
        "test_rows": rows.get("test", ""),
        "training_rows_sha256": str((info.get("training_data") or {}).get("sha256", "")),
        "validation_report": found.validation_uri,
        "evaluation": found.evaluation_uri,
        "tracked_run": ", ".join(found.tracking.values()),
    }


def champion(found: Lineage) -> str:
    """The model that the version was compared with, by its version if the execution tells it."""
    step = found.step("Champion")
    version = step.answer.get("version", "") if step else ""
    told = "the champion of that time"
    return f"{told}, version {version}" if version.isdecimal() and int(version) else told


def merged(found: Lineage) -> str:
    """Why fewer rows were learnt from than the files have; empty if all were, or it is not known:
    `merged` in `validation.json`."""
    counts = found.validation.get("merged")
    names = ("rows_in", "relabelled", "leaks_removed", "rows_out")
    if not isinstance(counts, dict) or any(type(counts.get(name)) is not int for name in names):
        return ""
    rows_in, relabelled, leaks, rows_out = (counts[name] for name in names)
    reasons = [
        f"{relabelled:,} replaced by a later file's label of the same text" * bool(relabelled),
        f"{leaks:,} taken out because the test set has their text" * bool(leaks),
    ]
    told = ", ".join(filter(None, reasons))
    return f"{rows_out:,} of {rows_in:,}: {told}" if told else ""


def _decided(found: Lineage) -> str:
    """Who decided on the version, and when."""
    if found.decision is None:
        return ""
    by = f" by {found.decision.who}" if found.decision.who else ""
    return f"{found.decision.what}{by} at {found.decision.at}"


def hyperparameters(found: Lineage) -> dict[str, str]:
    """As the training job got them, those that came as JSON by their own names; where that leaves
    the choice to the training, what it chose, or by what it chooses."""
    train = found.step("Train")
    given = _merged(train.job.get("HyperParameters", {})) if train else {}
    used = model_info(found).get("hyperparameters") or {}
    return {name: _hyperparameter(name, str(given[name]), used) for name in sorted(given)}


def _merged(given: Mapping[str, str]) -> dict[str, str]:
    rest = dict(given)
    try:
        members = by_json.read(rest.pop(by_json.NAME, "{}"))
    except UserError:  # that training has failed, and its error tells why
        return dict(given)
    return rest | {name: by_json.as_text(value) for name, value in members.items()}


def _hyperparameter(name: str, given: str, used: Mapping[str, Any]) -> str:
    if name not in _CHOSEN or given.strip("0.") or not given:
        return given
    return str(used.get(name) or _CHOSEN[name])


def trained_labels(found: Lineage) -> dict[str, int]:
    """Rows of each label in the training data."""
    labels = (model_info(found).get("training_data") or {}).get("labels")
    return dict(labels) if isinstance(labels, dict) else {}


def classes(found: Lineage) -> Iterator[tuple[str, Document]]:
    """Each label of the test set with precision, recall, f1 and support, and the champion's recall
    if it is known; those that are found least come first."""
    challenger = found.evaluation.get("challenger") or {}
    compared = (found.evaluation.get("comparison") or {}).get("classes") or {}
    measured = (challenger.get("classes") or {}).items()
    for label, one in sorted(measured, key=lambda item: (item[1]["recall"], item[0])):
        yield label, {**one, "champion": (compared.get(label) or {}).get("champion")}


def interval(share: float, rows: int) -> tuple[float, float]:
    """The 95 % interval of a share of so many rows (Wilson 1927, "Probable inference, the law of
    succession, and statistical inference")."""
    squared = _Z * _Z
    middle = (share + squared / (2 * rows)) / (1 + squared / rows)
    spread = share * (1 - share) / rows + squared / (4 * rows * rows)
    half = _Z * math.sqrt(spread) / (1 + squared / rows)
    return max(0.0, middle - half), min(1.0, middle + half)


def model_info(found: Lineage) -> Document:
    info = (found.evaluation.get("challenger") or {}).get("model")
    return info if isinstance(info, dict) else {}


def descents(found: Lineage) -> int:
    """Whose mean the model is. All but the first learnt from the validation rows, too."""
    number = (model_info(found).get("hyperparameters") or {}).get("descents")
    return number if isinstance(number, int) else 1


def cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
