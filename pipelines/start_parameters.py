"""What a start may set: the pipeline's own parameters, and nothing that its definition contradicts.

A parameter carries a value, not logic: which image trains, whether a volume is encrypted with a
key, and whether a job has a network, stands in the definition. SageMaker would find the
contradiction minutes later.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from pipelines import hyperparameters, instance_types
from pipelines.errors import UserError
from pipelines.images import GPU_TARGET

Document = dict[str, Any]

_PARSERS: dict[str, Any] = {"Integer": int, "Float": float, "String": str, "Boolean": str}
_LONGEST = 1024  # characters of a value, by the API
_SHARE: tuple[float, float] = (0, 1)
# What a number may be, both included. A bar outside of it lets every model through, or none; a
# hyperparameter would be refused in the training's container, by the same bounds.
RANGES: dict[str, tuple[float, float]] = {
    "MinAccuracy": _SHARE,
    "MinMacroF1": _SHARE,
    "MinClassRecall": _SHARE,
    "MaxCalibrationError": _SHARE,
    "AllowedRegression": _SHARE,
    "TrainingInstanceCount": (1, math.inf),
    "Epochs": (0, 1000),
    "LearningRate": (0.0, 10.0),
    "BatchSize": (0, 65536),
    "Seed": (0, 2**31 - 1),
}
_JOBS = ("Training", "Processing")
_PARAMETER = re.compile(r'"Get": "Parameters\.(\w+)"')
# The settings that make another definition.
_SETTINGS = {
    "TrainingInstanceType": "training_instance_type",
    "ProcessingInstanceType": "processing_instance_type",
    "MlflowTrackingUri": "mlflow_tracking_uri",
}


def check_parameters(definition: Document, given: Mapping[str, str]) -> None:
    """Raises UserError for a value that the stored definition does not take, in one line."""
    known = {one["Name"]: one for one in definition["Parameters"]}
    for name, value in given.items():
        _check_value(known, name, value)
    jobs = [one["Arguments"] for one in definition["Steps"] if one["Type"] in _JOBS]
    for name in ("TrainingInstanceType", "ProcessingInstanceType"):
        if name in given:
            _check_instance_type(jobs, name, given[name])
    if given.keys() & {"ModelKind", hyperparameters.PARAMETER}:
        # Either may contradict the other's default.
        kind, others = (
            given.get(name, known.get(name, {}).get("DefaultValue", default))
            for name, default in (("ModelKind", "ngram"), (hyperparameters.PARAMETER, "{}"))
        )
        hyperparameters.check(others, kind, _named(jobs))
    tracking = given.get("MlflowTrackingUri", "none")
    if tracking != "none" and any(_is_isolated(job) for job in jobs):
        raise UserError(
            f"MlflowTrackingUri={tracking}: the jobs of this pipeline have no network; "
            + _another_definition("MlflowTrackingUri", tracking)
        )


def _check_value(known: Mapping[str, Document], name: str, value: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
        raise UserError(f"The pipeline has no parameter {name}; {hint}")
    if len(value) > _LONGEST:
        raise UserError(
            f"Parameter {name} has {len(value):,} characters: SageMaker takes {_LONGEST:,} at most"
        )
    kind = known[name]["Type"]
    try:
        parsed = _PARSERS[kind](value)
    except ValueError:
        raise UserError(f"Parameter {name}={value}: expected a value of type {kind}") from None
    allowed = known[name].get("EnumValues")
    if allowed and value not in allowed:
        raise UserError(f"Parameter {name}={value}: expected one of {', '.join(allowed)}")
    if name in RANGES:
        low, high = RANGES[name]
        if not low <= parsed <= high:  # nor is it so for "nan"
            expected = f"between {low} and {high}" if high < math.inf else f"at least {low}"
            raise UserError(f"Parameter {name}={value}: expected a number, {expected}")


def _named(jobs: list[Document]) -> dict[str, str]:
    """The hyperparameters that have a parameter of their own, and how it is given."""
    found = {}
    for job in jobs:
        for name, value in job.get("HyperParameters", {}).items():
            if parameter := _PARAMETER.search(json.dumps(value)):
                found[name] = f"-p {parameter[1]}=…"
    return found


def _check_instance_type(jobs: list[Document], name: str, value: str) -> None:
    try:
        instance_types.checked(value)
    except ValueError as error:
        raise UserError(f"Parameter {name}: {error}") from None
    takes_key = instance_types.takes_volume_key(value)
    has_gpu = instance_types.has_gpu(value)
    for job in jobs:
        cluster = _cluster(job)
        if cluster["InstanceType"] != {"Get": f"Parameters.{name}"}:
            continue
        if "AlgorithmSpecification" in job and _is_for_gpus(job) != has_gpu:
            fault = "has a GPU, which {} does not use" if has_gpu else "has no GPU, which {} needs"
            raise UserError(
                f"{name}={value}: it {fault.format('the image that trains in this pipeline')}; "
                + _another_definition(name, value)
            )
        if ("VolumeKmsKeyId" in cluster) != takes_key:
            refused = "cannot be encrypted" if not takes_key else "would not be encrypted"
            raise UserError(
                f"{name}={value}: its volume {refused} with the key as this pipeline is defined; "
                + _another_definition(name, value)
            )


def _another_definition(name: str, value: str) -> str:
    return f'set {_SETTINGS[name]} = "{value}" in claimflow.toml, then `claimflow pipeline upsert`'


def _cluster(job: Document) -> Document:
    found: Document = job.get("ResourceConfig") or job["ProcessingResources"]["ClusterConfig"]
    return found


def _is_for_gpus(training: Document) -> bool:
    address: str = training["AlgorithmSpecification"]["TrainingImage"]
    return address.rpartition("/")[2].startswith(GPU_TARGET)


def _is_isolated(job: Document) -> bool:
    place: Document = job.get("NetworkConfig", job)
    return bool(place.get("EnableNetworkIsolation"))
