"""What SageMaker takes as the model card of a model package, as a JSON schema.

From the Amazon SageMaker developer guide, "Update the Details of a Model Version", model package
model card schema; in a few places stricter, where the guide's patterns are not anchored.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
CONTENT_LIMIT = 100_000  # characters: API reference, ModelPackageModelCard


def text(longest: int, shortest: int = 0) -> Schema:
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def listed(items: Schema, **more: int) -> Schema:
    return {"type": "array", "items": items, **more}


def members(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


def texts(longest: int) -> Schema:
    return {"type": "object", "additionalProperties": text(longest)}


NUMBER: Schema = {"type": "number"}
ADDRESSES = listed(text(1024), maxItems=15)
AXES = listed(text(63))


def metric(kinds: list[str], value: Schema, x_axis: Schema, y_axis: Schema) -> Schema:
    return members(
        ("name", "type", "value"),
        name=text(255, 1),
        notes=text(1024),
        type={"enum": kinds},
        value=value,
        x_axis_name=x_axis,
        y_axis_name=y_axis,
    )


METRIC: Schema = {
    "anyOf": [
        metric(
            ["number", "string", "boolean"],
            {"anyOf": [NUMBER, text(63), {"type": "boolean"}]},
            text(63),
            text(63),
        ),
        metric(["linear_graph"], listed(listed(NUMBER), minItems=1), text(63), text(63)),
        metric(["bar_chart"], listed(NUMBER, minItems=1), AXES, text(63)),
        metric(
            ["matrix"],
            listed(listed(NUMBER, minItems=1, maxItems=20), minItems=1, maxItems=20),
            AXES,
            AXES,
        ),
    ]
}
TRAINING_METRICS = listed(
    members(("name", "value"), name=text(255, 1), notes=text(1024), value=NUMBER), maxItems=50
)
HYPERPARAMETERS = listed(
    members(("name", "value"), name=text(255, 1), value=text(255, 1)), maxItems=100
)
SCHEMA: Schema = members(
    model_overview=members(model_creator=text(1024), model_artifact=ADDRESSES),
    intended_uses=members(
        purpose_of_model=text(2048),
        intended_uses=text(2048),
        factors_affecting_model_efficiency=text(2048),
        risk_rating={"enum": ["High", "Medium", "Low", "Unknown"]},
        explanations_for_risk_rating=text(2048),
    ),
    business_details=members(
        business_problem=text(2048), business_stakeholders=text(2048), line_of_business=text(2048)
    ),
    training_details=members(
        objective_function={"type": "object"},
        training_observations=text(1024),
        training_job_details=members(
            training_arn=text(1024),
            training_datasets=ADDRESSES,
            training_environment=members(container_image=ADDRESSES),
            training_metrics=TRAINING_METRICS,
            user_provided_training_metrics=TRAINING_METRICS,
            hyper_parameters=HYPERPARAMETERS,
            user_provided_hyper_parameters=HYPERPARAMETERS,
        ),
    ),
    evaluation_details=listed(
        members(
            ("name",),
            name=text(63, 1),
            evaluation_observation=text(2096),
            evaluation_job_arn=text(256),
            datasets=listed(text(1024), maxItems=10),
            metadata=texts(1024),
            metric_groups=listed(
                members(("name", "metric_data"), name=text(63, 1), metric_data=listed(METRIC))
            ),
        )
    ),
    additional_information=members(
        ethical_considerations=text(2048),
        caveats_and_recommendations=text(2048),
        custom_details=texts(1024),
    ),
)
