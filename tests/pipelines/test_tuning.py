"""Tuning: the request is the pipeline's Train step, its ranges are what the steps take, and the
best is told as what a start takes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipelines.control import build_definition
from pipelines.errors import UserError
from pipelines.local.aws_json import check_request, service_model
from pipelines.local.tuning_checks import check
from pipelines.settings import Settings
from pipelines.start_parameters import check_parameters
from pipelines.tuning import CARRIED, KINDS, OBJECTIVES, RANGES, Choice, tuning_request
from pipelines.tuning_jobs import Trial, TuningStatus
from steps import models
from steps.hyperparameters import parse

NAME = "claimflow-dev-261122220000-ab"
MODELS = "s3://claimflow-dev-models-123456789012-us-east-1"
DATA = f"{MODELS}/runs/{NAME}/training"
KEY = "arn:aws:kms:us-east-1:123456789012:alias/claimflow-dev"


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(build_definition(Settings(account="123456789012")))
    return document


def request(
    definition: dict[str, Any],
    kind: str = "ngram",
    objective: str = "accuracy",
    jobs: int = 8,
    parallel: int = 2,
    **parameters: str,
) -> dict[str, Any]:
    return tuning_request(
        definition,
        name=NAME,
        data=DATA,
        kind=kind,
        objective=objective,
        jobs=jobs,
        parallel=parallel,
        parameters=parameters,
    )


def test_the_tuning_job_as_a_whole(definition: dict[str, Any]) -> None:
    made = request(definition, Epochs="5", TrainingInstanceType="ml.c5.9xlarge", Seed="7")
    specification = made["TrainingJobDefinition"].pop("AlgorithmSpecification")
    environment = made["TrainingJobDefinition"].pop("Environment")
    assert made == {
        "HyperParameterTuningJobName": NAME,
        "Tags": [{"Key": "project", "Value": "claimflow"}, {"Key": "stage", "Value": "dev"}],
        "HyperParameterTuningJobConfig": {
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {
                "Type": "Maximize",
                "MetricName": "validation:accuracy",
            },
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 8, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {
                "ContinuousParameterRanges": [
                    {
                        "Name": "learning_rate",
                        "MinValue": "0.0003",
                        "MaxValue": "0.03",
                        "ScalingType": "Logarithmic",
                    },
                    {
                        "Name": "smoothing",
                        "MinValue": "0.1",
                        "MaxValue": "10.0",
                        "ScalingType": "Logarithmic",
                    },
                ],
                "IntegerParameterRanges": [
                    {
                        "Name": "batch_size",
                        "MinValue": "64",
                        "MaxValue": "1024",
                        "ScalingType": "Logarithmic",
                    }
                ],
                "CategoricalParameterRanges": [{"Name": "bits", "Values": ["0", "16", "18"]}],
            },
            "TrainingJobEarlyStoppingType": "Auto",
            "RandomSeed": 7,
        },
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                "kind": "ngram",
                "text_column": "text",
                "label_column": "label",
                "epochs": "5",
                "seed": "7",
                "hyperparameters": "{}",
            },
            "InputDataConfig": [
                {
                    "ChannelName": "train",
                    "DataSource": {
                        "S3DataSource": {
                            "S3DataType": "S3Prefix",
                            "S3Uri": DATA,
                            "S3DataDistributionType": "FullyReplicated",
                        }
                    },
                    "InputMode": "File",
                }
            ],
            "ResourceConfig": {
                "InstanceType": "ml.c5.9xlarge",
                "InstanceCount": 1,
                "VolumeSizeInGB": 30,
                "VolumeKmsKeyId": KEY,
            },
            "RoleArn": "arn:aws:iam::123456789012:role/claimflow-dev-training",
            "StoppingCondition": {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 14400},
            "OutputDataConfig": {
                "S3OutputPath": f"{MODELS}/runs/{NAME}/model",
                "KmsKeyId": KEY,
            },
            "CheckpointConfig": {
                "S3Uri": f"{MODELS}/checkpoints",
                "LocalPath": "/opt/ml/checkpoints",
            },
            "EnableManagedSpotTraining": True,
            "EnableInterContainerTrafficEncryption": True,
            "EnableNetworkIsolation": True,
        },
    }
    assert specification["TrainingImage"].startswith(
        "123456789012.dkr.ecr.us-east-1.amazonaws.com/claimflow/gluon-cpu:"
    )
    metrics = {one["Name"]: one["Regex"] for one in specification["MetricDefinitions"]}
    assert metrics["validation:accuracy"] == OBJECTIVES["accuracy"]
    assert metrics["train:loss"] == "train_loss=([0-9.eE+-]+)"
    assert environment["MLFLOW_TRACKING_URI"] == "none"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_service_and_the_local_cloud_take_the_request(
    definition: dict[str, Any], kind: str, objective: str
) -> None:
    made = request(definition, kind, objective, jobs=1, parallel=9)
    operation = service_model("sagemaker").operation_model("CreateHyperParameterTuningJob")
    check_request(operation, made)
    check(made)


def test_what_is_given_is_not_searched(definition: dict[str, Any]) -> None:
    made = request(definition, BatchSize="64")
    ranges = made["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert "batch_size" not in json.dumps(ranges)
    assert made["TrainingJobDefinition"]["StaticHyperParameters"]["batch_size"] == "64"


def test_what_is_given_among_the_hyperparameters_is_not_searched(
    definition: dict[str, Any],
) -> None:
    together = '{"smoothing": 2, "monitor": "macro_f1"}'
    made = request(definition, Hyperparameters=together)
    ranges = made["HyperParameterTuningJobConfig"]["ParameterRanges"]
    assert "smoothing" not in json.dumps(ranges) and "bits" in json.dumps(ranges)
    fixed = made["TrainingJobDefinition"]["StaticHyperParameters"]
    assert fixed["hyperparameters"] == together
    parse({**fixed, "bits": "16", "learning_rate": "0.01", "batch_size": "64"})


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"Epoch": "3"}, "did you mean Epochs?"),
        ({"Epochs": "many"}, "expected a value of type Integer"),
        ({"Hyperparameters": '{"smoothin": 2}'}, "did you mean smoothing?"),
        ({"TrainingInstanceType": "ml.p5.48xlarge"}, "does not run on ml.p5.48xlarge"),
    ],
)
def test_what_the_pipeline_does_not_take_is_one_line(
    definition: dict[str, Any], parameters: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError, match=said.replace("?", r"\?")):
        request(definition, **parameters)


def test_each_kind_has_ranges_and_what_a_kind_starts_with_lies_within() -> None:
    assert set(KINDS) == set(models.KINDS)
    for kind in KINDS:
        own = parse({"kind": kind}).as_dict()["learning_rate"]
        searched = RANGES[kind]["learning_rate"]
        assert not isinstance(searched, Choice)
        assert searched.low < own < searched.high


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_may_be_drawn_the_steps_take(kind: str) -> None:
    for name, one in RANGES[kind].items():
        texts = one.values if isinstance(one, Choice) else (str(one.low), str(one.high))
        for text in texts:
            found = parse({"kind": kind, name: text, "_tuning_objective_metric": "x"}).as_dict()
            assert str(found[name]) == text


def test_the_objective_is_that_of_the_parameters_that_a_training_keeps() -> None:
    import re

    lines = [
        "epoch=1 train_loss=0.5 val_loss=0.4 val_accuracy=0.9100 val_macro_f1=0.9000",
        "epoch=2 train_loss=0.4 val_loss=0.5 val_accuracy=0.8900 val_macro_f1=0.8800",
        "validation_accuracy=0.9100 validation_macro_f1=0.9000 validation_log_loss=0.3",
    ]
    for objective, expected in (("accuracy", "0.9100"), ("macro_f1", "0.9000")):
        found = [re.search(OBJECTIVES[objective], line) for line in lines]
        assert [one.group(1) for one in found if one][-1] == expected
        assert all(found)


@pytest.mark.parametrize(
    ("fixed", "others"),
    [
        ({}, '{"smoothing": "1.5", "bits": "18"}'),
        (
            {"hyperparameters": '{"class_weights": {"Öl": 3}}'},
            '{"class_weights": {"Öl": 3}, "smoothing": "1.5", "bits": "18"}',
        ),
    ],
)
def test_the_best_is_told_as_what_a_start_takes(
    definition: dict[str, Any], fixed: dict[str, str], others: str
) -> None:
    drawn = {"learning_rate": "0.002", "batch_size": "128", "smoothing": "1.5", "bits": "18"}
    fixed = {"kind": "ngram", "epochs": "5", "seed": "7", "text_column": "text", **fixed}
    best = Trial("t-001", "Completed", drawn, 0.93, "")
    found = TuningStatus(NAME, "Completed", "", "validation:accuracy", 8, fixed, [best], best)
    assert found.start_options == [
        *("ModelKind=ngram", "LearningRate=0.002", "BatchSize=128", "Epochs=5", "Seed=7"),
        f"Hyperparameters={others}",
    ]
    check_parameters(definition, dict(one.split("=") for one in found.start_options))
    assert set(CARRIED.values()) <= {one["Name"] for one in definition["Parameters"]}
