"""The report for the claims team: what became of one file, on one page that stands alone.

It tells categories, counts and line numbers, never the text of a claim.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from batch.manifest import Manifest
from batch.report_page import (
    bar,
    described,
    figures,
    histogram,
    in_rows,
    name,
    number,
    page,
    percent,
    plural,
    section,
    share,
    table,
    text,
)
from batch.tally import Tally

MOST_LABELS = 30
DRAWN = 50  # bars of the histogram

_QUALITY = {
    "accuracy": "Right label (accuracy)",
    "weighted_f1": "F1, weighted by category",
    "f1": "F1 of the second category",
    "auc": "Area under the ROC curve",
}


def render(
    manifest: Manifest, tally: Tally, quality: Mapping[str, float], model: Mapping[str, Any]
) -> str:
    """The report as one HTML page.

    Parameters
    ----------
    manifest: of an upload that was predicted; its counts and names are shown.
    quality: figures of the model on its test set, by the names of SageMaker's model quality form;
        those that are missing are not shown.
    model: what `model.json` says (`Classifier.info`); what it lacks is not shown.
    """
    file = manifest.key.rpartition("/")[2] or manifest.key
    threshold = _threshold(model)
    return page(
        f"Predictions for {file}",
        [
            "<header>",
            f"<h1>Predictions for {name(file, 80)}</h1>",
            f'<p class="lead">{_summary(tally)}</p>',
            *_notes(manifest, tally),
            "</header>",
            "<main>",
            _figures(tally),
            _categories(tally, model),
            _confidence(tally, threshold),
            _least_certain(tally),
            _rejected(manifest, tally),
            _model(manifest, quality, model, threshold),
            "</main>",
            _origin(manifest),
        ],
    )


def _summary(tally: Tally) -> str:
    rows = tally.predicted + tally.rejected
    if not tally.predicted:
        return f"None of {in_rows(rows)} could be predicted." if rows else "The file has no rows."
    told = f"{number(tally.predicted)} of {in_rows(rows)} got a category."
    if tally.for_review:
        told += f" A person should look at {number(tally.for_review)} of them."
    if tally.rejected:
        verb = "was" if tally.rejected == 1 else "were"
        told += f" {in_rows(tally.rejected)} {verb} left out, with the reason."
    return told


def _notes(manifest: Manifest, tally: Tally) -> list[str]:
    notes = []
    if manifest.approval_status in {"Rejected", "PendingManualApproval"}:
        status = "rejected" if manifest.approval_status == "Rejected" else "not approved any more"
        notes.append(
            f"Model version {manifest.model_package_version} was approved when this file arrived, "
            f"and {status} when it was predicted. Ask the model's owners before you rely on it."
        )
    if tally.predicted and tally.for_review == tally.predicted:
        notes.append("The model was not certain enough of any row: a person should look at all.")
    return [f'<p class="note" role="note">{note}</p>' for note in notes]


def _figures(tally: Tally) -> str:
    rows = tally.predicted + tally.rejected
    return figures(
        [
            ("Rows in the file", number(rows), "claims, without a header"),
            ("Predicted", number(tally.predicted), f"{share(tally.predicted, rows)} of all rows"),
            (
                "To be looked at",
                number(tally.for_review),
                f"{share(tally.for_review, tally.predicted)} of the predicted rows",
            ),
            ("Left out", number(tally.rejected), f"{share(tally.rejected, rows)} of all rows"),
        ]
    )


def _categories(tally: Tally, model: Mapping[str, Any]) -> str:
    if not tally.predicted:
        return ""
    ranked = sorted(tally.labels.items(), key=lambda item: (-item[1], item[0]))
    shown, others = ranked[:MOST_LABELS], ranked[MOST_LABELS:]
    known = model.get("labels")
    told = f"{number(len(ranked))} {plural(len(ranked), 'category occurs', 'categories occur')}"
    if isinstance(known, list) and len(known) >= len(ranked):
        told += f" of the {number(len(known))} that the model knows"
    largest = shown[0][1]
    rows = [_category(name(label), count, largest, tally.predicted) for label, count in shown]
    if others:
        words = f"{number(len(others))} other {plural(len(others), 'category', 'categories')}"
        count = sum(count for _, count in others)
        rows.append(_category(f"<em>{words}</em>", count, largest, tally.predicted))
    return section(
        "Categories",
        f"<p>{told}.</p>",
        table(
            "Predicted rows of each category, the most frequent first",
            ("Category", "", "Rows>", "Share>"),
            rows,
            "bars",
        ),
    )


def _category(title: str, count: int, largest: int, total: int) -> tuple[str, ...]:
    return title, bar(min(1, count / largest)), number(count), share(count, total)


def _confidence(tally: Tally, threshold: float | None) -> str:
    quantiles = tally.quantiles()
    if not quantiles:
        return ""
    half, low = (f"{100 * quantiles[name]:.0f}\N{NO-BREAK SPACE}%" for name in ("p50", "p05"))
    told = (
        f"For half of the rows the model is about {half} certain or more; "
        f"for one row in twenty it is about {low} certain or less."
    )
    each = len(tally.confidence) // DRAWN
    counts = [sum(tally.confidence[place * each : (place + 1) * each]) for place in range(DRAWN)]
    tenths = [sum(tally.confidence[place : place + 10]) for place in range(0, 100, 10)]
    return section(
        "How certain the model is",
        f"<p>{told}</p>",
        histogram(
            "How many rows have which confidence",
            f"{told} The table below has the figures.",
            counts,
            threshold or 0.0,
            "for a person to look at",
        ),
        table(
            "Confidence is the probability that the model gives its category",
            ("Confidence", "Rows>", "Share>"),
            [
                (
                    f"{10 * place} to {10 * place + 10} %",
                    number(count),
                    share(count, tally.predicted),
                )
                for place, count in enumerate(tenths)
                if count
            ],
        ),
    )


def _least_certain(tally: Tally) -> str:
    if not tally.least_certain:
        return ""
    count = len(tally.least_certain)
    return section(
        f"The {count} least certain rows" if count > 1 else "The least certain row",
        table(
            "Where to look first. Line 1 is the file's first line; a header counts",
            ("Line>", "Category", "Confidence>"),
            [
                (number(one.line), name(one.label), percent(one.confidence))
                for one in tally.least_certain
            ],
        ),
    )


def _rejected(manifest: Manifest, tally: Tally) -> str:
    if not tally.rejected:
        return section("Rows that were left out", "<p>None: every row was predicted.</p>")
    ranked = sorted(tally.reasons.items(), key=lambda item: (-item[1], item[0]))
    return section(
        "Rows that were left out",
        f"<p>{_link(manifest.rejects, 'The file of rejects')} names the line of each row. "
        "Correct them and upload them as a file of their own.</p>",
        table(
            "Why, and how many rows; N stands for a number that differs from row to row",
            ("Reason", "Rows>"),
            [(text(reason), number(count)) for reason, count in ranked],
        ),
    )


def _model(
    manifest: Manifest,
    quality: Mapping[str, float],
    model: Mapping[str, Any],
    threshold: float | None,
) -> str:
    rows = []
    if manifest.model_package_version:
        status = {"Approved": "approved", "Rejected": "rejected"}.get(manifest.approval_status, "")
        shown = str(manifest.model_package_version) + (f" ({status})" if status else "")
        rows.append(("Version", shown))
    if isinstance(model.get("kind"), str):
        rows.append(("Kind", text(model["kind"])))
    data = model.get("training_data")
    if isinstance(data, dict) and isinstance(data.get("rows"), int):
        rows.append(("Learnt from", f"{in_rows(data['rows'])} of labelled claims"))
    accuracy = _finite(quality.get("accuracy"))
    rows += [
        (words, percent(value) if key == "accuracy" else f"{value:.3f}")
        for key, words in _QUALITY.items()
        if (value := _finite(quality.get(key))) is not None
    ]
    if threshold is not None:
        rows.append(("A person should look", _rule(threshold)))
    told = (
        f"On test claims that it had not learnt from, the model chose the right category in "
        f"{percent(accuracy)} of cases."
        if accuracy is not None
        else "No test figures are stored with this model."
    )
    return section(
        "The model",
        f"<p>{told}</p>",
        table("What predicted this file", ("Property", "Value"), rows) if rows else "",
    )


def _rule(threshold: float) -> str:
    if threshold > 1:
        return "at every row"
    return f"where the confidence is below {percent(threshold)}"


def _origin(manifest: Manifest) -> str:
    address = f"s3://{manifest.bucket}/{manifest.key}" if manifest.bucket else manifest.key
    items = [
        ("File", name(address, 1100)),
        ("Its version", text(manifest.version or manifest.etag)),
        ("Results", f"{_link(manifest.predictions)}, {_link(manifest.rejects)}, "
         f"{_link('manifest.json')}"),
        ("Upload", text(manifest.upload_id)),
        ("Model", text(manifest.model_package_arn, 400)),
        ("Model's sha256", text(manifest.artifact_sha256)),
        ("Job", text(manifest.job_id)),
        ("Code", text(manifest.code_version)),
        ("Time taken", f"{manifest.seconds:.1f} s"),
    ]  # fmt: skip
    known = described((term, what) for term, what in items if what)
    return f"<footer>\n<strong>Where this comes from</strong>\n{known}\n</footer>"


def _link(key: str, words: str = "") -> str:
    """A link to a file beside the report."""
    file = key.rpartition("/")[2]
    return f'<a href="{text(quote(file), 1100)}">{words or text(file)}</a>'


def _threshold(model: Mapping[str, Any]) -> float | None:
    decision = model.get("decision")
    return _finite(decision.get("review_threshold")) if isinstance(decision, dict) else None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None
