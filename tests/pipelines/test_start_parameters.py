"""A start cannot set what the definition contradicts: it would fail on AWS, minutes later."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from typing import Any

import pytest

from pipelines.control import build_definition
from pipelines.errors import UserError
from pipelines.settings import Settings
from pipelines.start_parameters import RANGES, check_parameters
from pipelines.tuning import CARRIED
from steps.hyperparameters import Hyperparameters


@cache
def defined(**settings: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(
        build_definition(Settings(account="123456789012", **settings))  # type: ignore[arg-type]
    )
    return document


def refusal(definition: dict[str, Any], **given: str) -> str:
    with pytest.raises(UserError) as refused:
        check_parameters(definition, given)
    (line,) = str(refused.value).splitlines()
    return line


OWN_DISKS = "ml.c5d.xlarge"


@pytest.mark.parametrize(
    "given",
    [
        {"Epochs": "3", "LearningRate": "0.1", "ModelKind": "textcnn"},
        {"TrainingInstanceType": "ml.c5.9xlarge"},
        {"TrainingInstanceType": "ml.m5.2xlarge", "ProcessingInstanceType": "ml.p3.2xlarge"},
        {"MlflowTrackingUri": "none"},
        {"MinAccuracy": "0", "MaxCalibrationError": "1", "AllowedRegression": "0.5"},
        {"TrainingInstanceCount": "1", "LearningRate": "0", "BatchSize": "0"},
        {"Hyperparameters": '{"class_weights": "balanced", "monitor": "macro_f1", "bits": 18}'},
        {"Hyperparameters": '{"bidirectional": false, "dropout": 0.3}', "ModelKind": "lstm"},
    ],
)
def test_what_the_definition_takes_is_taken(given: dict[str, str]) -> None:
    check_parameters(defined(), given)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Epoch", "3", "did you mean Epochs?"),
        ("Epochs", "many", "expected a value of type Integer"),
        ("ApprovalStatus", "Approved", "The pipeline has no parameter ApprovalStatus"),
        ("ModelKind", "gpt", "expected one of bert, cnn, fasttext, lstm, ngram, textcnn"),
        ("MinAccuracy", "80", "MinAccuracy=80: expected a number, between 0 and 1"),
        ("MinMacroF1", "-0.1", "between 0 and 1"),
        ("MinClassRecall", "1.01", "between 0 and 1"),
        ("MaxCalibrationError", "nan", "between 0 and 1"),
        ("AllowedRegression", "inf", "between 0 and 1"),
        ("TrainingInstanceCount", "0", "at least 1"),
        ("Epochs", "-1", "between 0 and 1000"),
        ("Seed", "-1", "between 0 and 2147483647"),
        ("Hyperparameters", "{class_weights: balanced}", '-p \'Hyperparameters={"class_weights"'),
        ("Hyperparameters", '{"bidirectional": false}', "the kind ngram, only for: lstm"),
        ("Hyperparameters", '{"seed": 3}', "'seed' is 3: give it as -p Seed=…"),
        ("Hyperparameters", '{"kind": "cnn"}', "give it as -p ModelKind=…"),
        (
            "TextColumn",
            "x" * 1025,
            "TextColumn has 1,025 characters: SageMaker takes 1,024 at most",
        ),
        ("TrainingInstanceType", "ml.p5.48xlarge", "does not run on ml.p5.48xlarge"),
        ("ProcessingInstanceType", "large", "is no instance type"),
    ],
)
def test_a_value_that_nothing_takes_is_refused_in_one_line(
    name: str, value: str, said: str
) -> None:
    assert said in refusal(defined(), **{name: value})


def test_another_kind_must_take_the_hyperparameters_that_the_settings_say() -> None:
    chosen = {"descents": 2, "epochs": 2}
    settings = Settings(account="123456789012", hyperparameters=chosen)
    definition = json.loads(build_definition(settings))
    check_parameters(definition, {"Epochs": "3"})
    assert "'descents' does not exist for the kind lstm" in refusal(definition, ModelKind="lstm")
    check_parameters(definition, {"ModelKind": "lstm", "Hyperparameters": "{}"})


def test_a_hyperparameters_bounds_are_those_of_the_steps() -> None:
    bounds = {
        CARRIED[item.name]: (item.metadata["low"], item.metadata["high"])
        for item in fields(Hyperparameters)
        if item.name in CARRIED and "low" in item.metadata
    }
    assert bounds == {name: RANGES[name] for name in RANGES.keys() & set(CARRIED.values())}


def test_every_range_is_of_a_parameter_that_there_is_and_holds_its_default() -> None:
    defaults = {one["Name"]: one["DefaultValue"] for one in defined()["Parameters"]}
    check_parameters(defined(), {name: str(defaults[name]) for name in RANGES})


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("TrainingInstanceType", "training_instance_type"),
        ("ProcessingInstanceType", "processing_instance_type"),
    ],
)
def test_a_machine_with_its_own_disks_needs_a_definition_without_their_key(
    name: str, setting: str
) -> None:
    line = refusal(defined(), **{name: OWN_DISKS})
    assert "cannot be encrypted" in line
    remedy = f'set {setting} = "{OWN_DISKS}" in claimflow.toml, then `claimflow pipeline upsert`'
    assert remedy in line
    other = defined(**{setting: OWN_DISKS})
    check_parameters(other, {name: OWN_DISKS})
    check_parameters(other, {name: "ml.m5d.large"})
    assert "would not be encrypted" in refusal(other, **{name: "ml.c5.2xlarge"})


@pytest.mark.parametrize("gpu", ["ml.p3.2xlarge", "ml.g4dn.xlarge"])
def test_a_gpu_needs_a_definition_that_trains_in_its_image_and_the_other_way_round(
    gpu: str,
) -> None:
    line = refusal(defined(), TrainingInstanceType=gpu)
    assert f"TrainingInstanceType={gpu}: it has a GPU, which the image" in line
    assert f'set training_instance_type = "{gpu}" in claimflow.toml' in line
    other = defined(training_instance_type=gpu)
    check_parameters(other, {"TrainingInstanceType": gpu})
    line = refusal(other, TrainingInstanceType="ml.c5.2xlarge")
    assert "ml.c5.2xlarge: it has no GPU, which the image" in line


def test_tracking_needs_a_definition_whose_jobs_have_a_network() -> None:
    uri = "https://tracking.example.com"
    line = refusal(defined(), MlflowTrackingUri=uri)
    assert "have no network" in line
    assert f'set mlflow_tracking_uri = "{uri}"' in line
    check_parameters(defined(mlflow_tracking_uri=uri), {"MlflowTrackingUri": f"{uri}/2"})
    check_parameters(defined(mlflow_tracking_uri=uri), {"MlflowTrackingUri": "none"})
