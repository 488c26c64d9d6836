"""The model card of a version, in the form that SageMaker's registry keeps.

The content follows the simplified schema for model packages (Amazon SageMaker developer guide,
"Update the Details of a Model Version", model package model card schema). A card for a model of its
own (`CreateModelCard`) may hold more, so it takes this content, too.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pipelines.counts import many
from pipelines.registry import facts
from pipelines.registry.facts import (
    ETHICS,
    MOST_CLASSES,
    UNRATED,
    USES,
    classes,
    cut,
    figures,
    hyperparameters,
    limits,
    made,
    model_info,
    purpose,
)

if TYPE_CHECKING:
    from pipelines.registry.lineage import Lineage

Document = dict[str, Any]

_MATRIX = 20  # rows and columns that the schema allows


def attached(found: Lineage) -> Document:
    """The card as `UpdateModelPackage` takes it, of an approved version: one line of JSON."""
    text = json.dumps(content(found), ensure_ascii=False, separators=(",", ":"))
    return {"ModelCardContent": text, "ModelCardStatus": "Approved"}


def content(found: Lineage) -> Document:
    """The card in SageMaker's schema; what is not known is left out."""
    card: Document = _known(
        {
            "model_overview": {
                "model_creator": cut(found.execution_arn, 1024),
                "model_artifact": [cut(found.model.artifact, 1024)],
            },
            "intended_uses": {
                "purpose_of_model": purpose(found),
                "intended_uses": USES,
                "factors_affecting_model_efficiency": cut(" ".join(limits(found)), 2048),
                "risk_rating": "Unknown",
                "explanations_for_risk_rating": UNRATED,
            },
            "training_details": _training(found),
            "evaluation_details": _evaluation(found),
            "additional_information": {
                "ethical_considerations": ETHICS,
                "caveats_and_recommendations": cut(" ".join(found.missing), 2048),
                "custom_details": {
                    name: cut(value, 1024) for name, value in made(found).items() if value
                },
            },
        }
    )
    return card


def _training(found: Lineage) -> Document:
    train = found.step("Train")
    metrics = train.job.get("FinalMetricDataList", []) if train else []
    datasets = [one for one in (found.manifest_uri, found.noted("train_data")) if one]
    return {
        "training_observations": cut(_observed(found), 1024),
        "training_job_details": {
            "training_arn": train.job_arn if train else "",
            "training_datasets": [cut(one, 1024) for one in datasets],
            "training_environment": {"container_image": [cut(found.image, 1024)]},
            "training_metrics": [
                {"name": cut(one["MetricName"], 255), "value": float(one["Value"])}
                for one in metrics[:50]
                if math.isfinite(one["Value"])
            ],
            "hyper_parameters": [
                {"name": cut(name, 255), "value": cut(value, 255)}
                for name, value in list(hyperparameters(found).items())[:100]
                if value
            ],
        },
    }


def _observed(found: Lineage) -> str:
    data = model_info(found).get("training_data") or {}
    if "rows" not in data:
        return ""
    told = many(data["rows"], "labelled row")
    if "validation_rows" in data:
        told += (
            f": {data['training_rows']:,} to learn from, and {data['validation_rows']:,} to choose "
            "the confidences and the threshold for review by"
        )
        if facts.descents(found) > 1:
            told += ", which it learnt from afterwards, too"
    return f"{told}."


def _evaluation(found: Lineage) -> list[Document]:
    shown = figures(found)
    if not shown:
        return []
    evaluate = found.step("Evaluate")
    champion = [one for one in shown if one.champion is not None]
    groups = [
        {"name": "this version", "metric_data": [_number(o.name, o.value, o.note) for o in shown]}
    ]
    if champion:
        data = [_number(one.name, one.champion or 0.0) for one in champion]
        groups.append({"name": facts.champion(found), "metric_data": data})
    if by_label := _by_label(found):
        groups.append({"name": "by label", "metric_data": by_label})
    rows = found.evaluation["challenger"].get("rows")
    return [
        {
            "name": "held-out test set",
            "evaluation_observation": f"Measured on the {many(rows, 'row')} of the test set."
            if rows
            else "",
            "evaluation_job_arn": cut(evaluate.job_arn, 256) if evaluate else "",
            "datasets": [cut(one, 1024) for one in [found.noted("test_data")] if one],
            "metadata": {"evaluation": cut(found.evaluation_uri, 1024)},
            "metric_groups": groups,
        }
    ]


def _by_label(found: Lineage) -> list[Document]:
    listed = list(classes(found))[:MOST_CLASSES]
    names = [cut(label, 63) or "(empty)" for label, _ in listed]
    charts = [
        {
            "name": name,
            "type": "bar_chart",
            "value": [float(one[name]) for _, one in listed],
            "x_axis_name": names,
            "y_axis_name": name,
        }
        for name in ("recall", "precision", "f1", "support")
        if listed
    ]
    matrix = _confusion(found)
    return [*charts, matrix] if matrix else charts


def _confusion(found: Lineage) -> Document | None:
    """What is which label (rows), and what it was taken for (columns); None for too many labels."""
    groups = [one for one in (found.model.metrics or {}).values() if isinstance(one, dict)]
    matrix = next((one["confusion_matrix"] for one in groups if "confusion_matrix" in one), None)
    if not matrix or len(matrix) > _MATRIX:
        return None
    names = [cut(label, 63) or "(empty)" for label in matrix]
    return {
        "name": "confusion matrix",
        "type": "matrix",
        "value": [[float(row.get(label, 0)) for label in matrix] for row in matrix.values()],
        "x_axis_name": names,
        "y_axis_name": names,
    }


def _number(name: str, value: float, note: str = "") -> Document:
    return {"name": name, "type": "number", "value": float(value), "notes": cut(note, 1024)}


def _known(value: Any) -> Any:
    """Without what is empty: the schema has no place for what is not known."""
    if isinstance(value, dict):
        known = {name: _known(one) for name, one in value.items()}
        return {name: one for name, one in known.items() if one not in ("", [], {}, None)}
    if isinstance(value, list):
        return [one for one in map(_known, value) if one not in ("", [], {}, None)]
    return value
