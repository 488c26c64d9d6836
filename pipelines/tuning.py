"""Hyperparameter tuning: what of a kind of model is searched and where, and the request for a
tuning job that does it, its trainings those of the pipeline's Train step.

The service draws hyperparameters, trains with each, and tells which came to the most by the
validation rows; no test set is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines import hyperparameters
from pipelines.errors import UserError
from pipelines.start_parameters import check_parameters

Document = dict[str, Any]


@dataclass(frozen=True)
class Range:
    """A number between two, both included: a whole one where both are."""

    low: float
    high: float
    is_logarithmic: bool = False


@dataclass(frozen=True)
class Choice:
    """One of some texts."""

    values: tuple[str, ...]


def _log(low: float, high: float) -> Range:
    return Range(low, high, is_logarithmic=True)


_DROPOUT = Range(0.1, 0.7)
# Held against the bounds of the steps' own hyperparameters by a test.
RANGES: dict[str, dict[str, Range | Choice]] = {
    "ngram": {
        "learning_rate": _log(3e-4, 0.03),
        "batch_size": _log(64, 1024),
        "smoothing": _log(0.1, 10.0),
        # By the number of features, or fewer buckets than that; more would not fit many labels.
        "bits": Choice(("0", "16", "18")),
    },
    "fasttext": {
        "learning_rate": _log(1e-3, 0.1),
        "batch_size": _log(32, 512),
        "dimensions": _log(8, 64),
        "vocabulary_least": Range(1, 5),
    },
    "textcnn": {
        "learning_rate": _log(1e-4, 0.01),
        "batch_size": _log(16, 128),
        "filters": _log(50, 300),
        "dropout": _DROPOUT,
    },
    "cnn": {
        "learning_rate": _log(1e-4, 0.01),
        "batch_size": _log(16, 128),
        "embed_size": _log(50, 300),
        "kernel_size": Range(2, 10),
        "dropout": _DROPOUT,
    },
    "lstm": {
        "learning_rate": _log(1e-4, 0.01),
        "batch_size": _log(16, 128),
        "hidden_size": _log(50, 256),
        "dropout": _DROPOUT,
    },
    "bert": {
        "learning_rate": _log(1e-5, 1e-4),
        "batch_size": Choice(("8", "16", "32")),
        "warmup": Range(0.0, 0.2),
        "dropout": Range(0.0, 0.3),
    },
}
KINDS = tuple(sorted(RANGES))
# A training's last line tells the figures of its best epoch, where it makes several descents of the
# first, which has not learnt from the validation rows; the lines before, those of each epoch.
# SageMaker takes the last figure for that of the training.
OBJECTIVES = {
    "accuracy": r"val[a-z]*_accuracy=([0-9.eE+-]+)",
    "macro_f1": r"val[a-z]*_macro_f1=([0-9.eE+-]+)",
}
# What a start of the pipeline can be given by a parameter of its own.
CARRIED = {
    "kind": "ModelKind",
    "learning_rate": "LearningRate",
    "batch_size": "BatchSize",
    "epochs": "Epochs",
    "seed": "Seed",
}


def tuning_request(
    definition: Document,
    *,
    name: str,
    data: str,
    kind: str,
    objective: str,
    jobs: int,
    parallel: int,
    parameters: Mapping[str, str],
) -> Document:
    """What creates a tuning job whose trainings are the pipeline's, on the data at an address.

    What is given, by its parameter or among the hyperparameters, is not searched.

    Raises
    ------
    UserError
        The pipeline does not take a parameter, or nothing is left to be searched.
    """
    check_parameters(definition, {**parameters, "ModelKind": kind})
    others = hyperparameters.read(parameters.get(hyperparameters.PARAMETER, "{}"))
    ranges = {
        key: one
        for key, one in RANGES[kind].items()
        if CARRIED.get(key) not in parameters and key not in others
    }
    if not ranges:
        raise UserError(f"All that is searched of the kind {kind} is given: leave something out")
    arguments = _train_arguments(definition, name, data, {**parameters, "ModelKind": kind})
    fixed = arguments.pop("HyperParameters")
    metric = f"validation:{objective}"
    return {
        "HyperParameterTuningJobName": name,
        "Tags": arguments.pop("Tags", []),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": metric},
            "ResourceLimits": {
                "MaxNumberOfTrainingJobs": jobs,
                "MaxParallelTrainingJobs": min(parallel, jobs),
            },
            "ParameterRanges": _parameter_ranges(ranges),
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": int(fixed["seed"]),
        },
        "TrainingJobDefinition": {
            **arguments,
            "StaticHyperParameters": {
                key: value for key, value in fixed.items() if key not in ranges
            },
        },
    }


def _train_arguments(
    definition: Document, name: str, data: str, given: Mapping[str, str]
) -> Document:
    """The arguments of the pipeline's Train step, with values for what they refer to."""
    types = {"Integer": int, "Float": float}
    known: Document = {"Execution.PipelineExecutionId": name}
    for one in definition["Parameters"]:
        value = given.get(one["Name"], one["DefaultValue"])
        known[f"Parameters.{one['Name']}"] = types.get(one["Type"], str)(value)
    (train,) = [step for step in definition["Steps"] if step["Name"] == "Train"]

    def resolved(value: Any) -> Any:
        if isinstance(value, list):
            return [resolved(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "Get" in value:
            is_data = value["Get"].startswith("Steps.Validate.")  # what it lets through
            return data if is_data else known[value["Get"]]
        if "Std:Join" in value:
            join = value["Std:Join"]
            return join["On"].join(str(resolved(one)) for one in join["Values"])
        return {key: resolved(one) for key, one in value.items()}

    arguments: Document = resolved(train["Arguments"])
    return arguments


def _parameter_ranges(ranges: Mapping[str, Range | Choice]) -> Document:
    made: dict[str, list[Document]] = {}
    for name, one in ranges.items():
        kind, given = _parameter_range(one)
        made.setdefault(f"{kind}ParameterRanges", []).append({"Name": name, **given})
    return made


def _parameter_range(one: Range | Choice) -> tuple[str, Document]:
    if isinstance(one, Choice):
        return "Categorical", {"Values": list(one.values)}
    is_whole = isinstance(one.low, int) and isinstance(one.high, int)
    return "Integer" if is_whole else "Continuous", {
        "MinValue": str(one.low),
        "MaxValue": str(one.high),
        "ScalingType": "Logarithmic" if one.is_logarithmic else "Linear",
    }
