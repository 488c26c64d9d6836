"""The definition: every change to it is seen in review, and SageMaker's schema takes it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from pipelines.control import build_definition
from pipelines.local.definitions import parse_definition
from pipelines.local.expressions import Scope
from pipelines.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "definition.json"
SCHEMA = ROOT.parent / "shared" / "data" / "sagemaker" / "pipeline-definition.schema.json"

# Where the SDK's definition differs from the published schema, which is older than the SDK. Each of
# these is a pattern of a fault, and the reason why the service takes the definition all the same.
KNOWN_DIFFERENCES = {
    r"RetryPolicies/\d/ExceptionType: .* is not": "a list of types, as the SDK writes it",
    r"'Std:Join': .* is not valid": "a join is allowed wherever text is; the schema knows Get only",
    r"Conditions/\d: .*'Std:JsonGet'": "JsonGet is what conditions are for",
    r"^Evaluate .*'PropertyFiles' was unexpected": "what JsonGet reads",
    r"^Train Arguments: .*\('Environment' was unexpected": "added to training steps later",
    r"^Register .*Containers/0: .*\('Environment' was unexpected": "as CreateModelPackage takes it",
    r"^Register Arguments: .*\('CustomerMetadataProperties', 'ModelApprovalStatus', "
    r"'SkipModelValidation' were unexpected": "as CreateModelPackage takes them",
    r"^ModelKind : .*'EnumValues' was unexpected": "the values that a parameter may have",
}


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(build_definition(Settings(account="123456789012")))
    return document


def test_each_change_to_the_definition_is_a_change_to_the_golden_file(
    built: dict[str, Any],
) -> None:
    shown = json.dumps(_with_fixed_tags(built), indent=2) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(shown, "utf-8")
    assert shown == GOLDEN.read_text("utf-8"), "if it is meant: UPDATE_GOLDEN=1 make test"


def test_the_local_cloud_takes_the_definition(built: dict[str, Any]) -> None:
    assert set(parse_definition(json.dumps(built)).steps) == {
        "Validate",
        "Champion",
        "Train",
        "Evaluate",
        "ModelGate",
        "Register",
        "ModelRejected",
    }


def test_the_definition_follows_the_published_schema(built: dict[str, Any]) -> None:
    if not SCHEMA.exists():
        pytest.skip(f"{SCHEMA.name} is not here")
    schema = json.loads(SCHEMA.read_text("utf-8"))
    faults = [fault for step in built["Steps"] for fault in _faults(schema, step)]
    for parameter in built["Parameters"]:
        faults += _faults(schema, parameter, f"{parameter['Type']}Parameter")
    seen = {
        pattern for pattern in KNOWN_DIFFERENCES for fault in faults if re.search(pattern, fault)
    }
    unknown = [f for f in faults if not any(re.search(one, f) for one in KNOWN_DIFFERENCES)]
    assert unknown == []
    assert seen == set(KNOWN_DIFFERENCES), "a difference that is gone must leave the list"


def test_a_definition_needs_neither_network_nor_credentials(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", "pipeline", "definition"],
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_ENDPOINT_URL": nowhere},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout)["Version"] == "2020-12-01"


def test_what_costs_money_is_cached_retried_and_limited(built: dict[str, Any]) -> None:
    for step in built["Steps"]:
        if step["Type"] in ("Processing", "Training"):
            assert step["CacheConfig"]["Enabled"], step["Name"]
            assert step["Arguments"]["StoppingCondition"]["MaxRuntimeInSeconds"] > 0
            for policy in step["RetryPolicies"]:
                assert ("MaxAttempts" in policy) != ("ExpireAfterMin" in policy)
    train = next(step for step in built["Steps"] if step["Name"] == "Train")["Arguments"]
    assert train["EnableManagedSpotTraining"]
    assert train["CheckpointConfig"]["S3Uri"].startswith("s3://")


def test_no_time_and_no_execution_is_part_of_a_cache_key(built: dict[str, Any]) -> None:
    for step in built["Steps"]:
        for name in ("Environment", "HyperParameters", "CheckpointConfig", "AppSpecification"):
            assert "Execution." not in json.dumps(step["Arguments"].get(name, {}))


def _with_fixed_tags(document: dict[str, Any]) -> dict[str, Any]:
    """Image tags follow every change of the code; the golden file is about the definition."""
    from pipelines.images import image

    text = json.dumps(document)
    for target in ("validate", "gluon-cpu"):
        text = text.replace(image(target).tag, f"{target}-tag")
    fixed: dict[str, Any] = json.loads(text)
    return fixed


def _faults(schema: dict[str, Any], document: dict[str, Any], definition: str = "") -> list[str]:
    """What the schema finds wrong, a line each; steps of branches are looked at by themselves."""
    reference = f"#/definitions/{definition or document['Type'] + 'Step'}"
    faults = []
    if document["Type"] == "Condition":
        arguments = document["Arguments"]
        for branch in ("IfSteps", "ElseSteps"):
            faults += [fault for child in arguments[branch] for fault in _faults(schema, child)]
        document = {**document, "Arguments": {**arguments, "IfSteps": [], "ElseSteps": []}}
    validator = Draft7Validator({"definitions": schema["definitions"], "$ref": reference})
    return faults + [
        f"{document['Name']} {'/'.join(map(str, error.path))}: {error.message}"
        for error in validator.iter_errors(document)
    ]


def test_what_needs_no_network_has_none_and_everything_is_encrypted() -> None:
    settings = Settings(account="123456789012")
    tracked = settings.model_copy(update={"mlflow_tracking_uri": "https://tracking"})
    for given, isolated in ((settings, True), (tracked, False)):
        jobs = _jobs(given)
        for name in ("Validate", "Evaluate"):
            network = jobs[name]["NetworkConfig"]
            assert network["EnableNetworkIsolation"] is isolated
            assert network["EnableInterContainerTrafficEncryption"]
            cluster = jobs[name]["ProcessingResources"]["ClusterConfig"]
            assert cluster["VolumeKmsKeyId"] == settings.key_arn
            assert jobs[name]["ProcessingOutputConfig"]["KmsKeyId"] == settings.key_arn
        assert jobs["Train"]["EnableNetworkIsolation"] is isolated
        assert jobs["Train"]["EnableInterContainerTrafficEncryption"]
        assert jobs["Train"]["OutputDataConfig"]["KmsKeyId"] == settings.key_arn


@pytest.mark.parametrize(
    ("instance_type", "has_key"),
    [
        ("ml.c5.2xlarge", True),
        ("ml.p3.2xlarge", True),
        ("ml.g4dn.xlarge", False),
        ("ml.g5.xlarge", False),
        ("ml.g6e.xlarge", False),
        ("ml.c5d.large", False),
        ("ml.p4de.24xlarge", False),
    ],
)
def test_disks_of_an_instances_own_are_given_no_key(instance_type: str, has_key: bool) -> None:
    settings = Settings(account="123456789012", training_instance_type=instance_type)
    resources = _jobs(settings)["Train"]["ResourceConfig"]
    assert ("VolumeKmsKeyId" in resources) == has_key


def test_images_are_named_by_digest_where_their_digest_is_known() -> None:
    settings = Settings(account="123456789012")
    images = {"validate": "v@sha256:1", "gluon-cpu": "g@sha256:2"}
    text = build_definition(settings, images)
    jobs = {step["Name"]: step.get("Arguments") for step in json.loads(text)["Steps"]}
    assert jobs["Validate"]["AppSpecification"]["ImageUri"] == "v@sha256:1"
    assert jobs["Train"]["AlgorithmSpecification"]["TrainingImage"] == "g@sha256:2"
    assert "dkr.ecr" not in text
    by_tag = _jobs(settings)
    assert jobs["Train"]["Environment"] == by_tag["Train"]["Environment"], "the same version"


def test_on_a_gpu_only_training_runs_in_another_image() -> None:
    from pipelines.images import image

    settings = Settings(account="123456789012", training_instance_type="ml.p3.2xlarge")
    on_gpu, on_cpu = _jobs(settings), _jobs(Settings(account="123456789012"))
    assert on_gpu["Train"]["AlgorithmSpecification"]["TrainingImage"] == image("gluon-gpu").uri(
        settings
    )
    version = on_gpu["Train"]["Environment"]["CLAIMFLOW_CODE_VERSION"]
    assert version == image("gluon-gpu").tag
    assert {name: on_gpu[name] for name in on_gpu if name != "Train"} == {
        name: on_cpu[name] for name in on_cpu if name != "Train"
    }


def test_training_reads_what_validation_leaves(built: dict[str, Any]) -> None:
    jobs = {step["Name"]: step["Arguments"] for step in built["Steps"]}
    (channel,) = jobs["Train"]["InputDataConfig"]
    assert channel["ChannelName"] == "train"
    assert channel["DataSource"]["S3DataSource"]["S3Uri"] == {
        "Get": "Steps.Validate.ProcessingOutputConfig.Outputs['training'].S3Output.S3Uri"
    }
    report, training = jobs["Validate"]["ProcessingOutputConfig"]["Outputs"]
    assert (report["OutputName"], report["S3Output"]["S3UploadMode"]) == (
        "validation",
        "Continuous",
    )
    assert training["S3Output"]["S3UploadMode"] == "EndOfJob", "bad data leaves none"
    assert parse_definition(json.dumps(built)).steps["Train"].dependencies == {"Validate"}


def test_given_weights_are_channels_only_where_they_are_set() -> None:
    given = {"vectors_uri": "s3://data/vectors/", "pretrained_uri": "s3://data/bert/"}
    settings = Settings(account="123456789012")
    for names in ([], ["vectors_uri"], ["pretrained_uri"], list(given)):
        set_here = settings.model_copy(update={name: given[name] for name in names})
        channels = {
            channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
            for channel in _jobs(set_here)["Train"]["InputDataConfig"]
        }
        del channels["train"]
        assert channels == {name.removesuffix("_uri"): given[name] for name in names}


def test_what_the_settings_say_of_a_training_is_the_default_of_every_start() -> None:
    chosen = {"epochs": 3, "seed": 7, "n_layers": 2, "class_weights": {"feu": 2.5}}
    settings = Settings(account="123456789012", model_kind="lstm", hyperparameters=chosen)
    made = json.loads(build_definition(settings))["Parameters"]
    defaults = {one["Name"]: one["DefaultValue"] for one in made}
    assert (defaults["ModelKind"], defaults["Epochs"], defaults["Seed"]) == ("lstm", 3, 7)
    assert (defaults["LearningRate"], defaults["BatchSize"]) == (0.0, 0)
    others = json.loads(defaults["Hyperparameters"])
    assert others == {"n_layers": 2, "class_weights": {"feu": 2.5}}


def test_the_failure_names_every_bar_what_was_reached_and_where_the_rest_is(
    built: dict[str, Any],
) -> None:
    bars = {
        "MinAccuracy": 0.91,
        "MinMacroF1": 0.82,
        "MinClassRecall": 0.73,
        "MaxCalibrationError": 0.14,
        "AllowedRegression": 0.005,
    }
    reached = "it reached an accuracy of 0.5".ljust(512, ".")  # no shorter than Evaluate's is
    uri = f"s3://{'b' * 63}/runs/abcdefghijkl/evaluation"
    output = {"OutputName": "evaluation", "S3Output": {"S3Uri": uri}}
    evaluate = {"ExitMessage": reached, "ProcessingOutputConfig": {"Outputs": [output]}}
    scope = Scope(bars, {}, {"Evaluate": evaluate}, lambda *_: None, lambda _: None)
    step = parse_definition(json.dumps(built)).steps["ModelRejected"]
    message = scope.resolve(step.arguments["ErrorMessage"])
    for figure in bars.values():
        assert f" {figure}" in message
    assert reached in message
    assert message.endswith(f" {uri}/evaluation.json")
    assert len(message) <= 1024, "what SageMaker keeps of it"


def test_a_model_says_what_it_was_made_of(built: dict[str, Any]) -> None:
    register = parse_definition(json.dumps(built)).steps["Register"].arguments
    metadata = register["CustomerMetadataProperties"]
    assert set(metadata) == {
        "code_version",
        "execution",
        "cause",
        "train_data",
        "test_data",
        "data_manifest",
        "image",
    }
    train = next(step for step in built["Steps"] if step["Name"] == "Train")["Arguments"]
    assert metadata["image"] == train["AlgorithmSpecification"]["TrainingImage"]


def test_no_start_can_approve_the_model_that_it_makes(built: dict[str, Any]) -> None:
    register = parse_definition(json.dumps(built)).steps["Register"].arguments
    assert register["ModelApprovalStatus"] == "PendingManualApproval"
    assert not [one["Name"] for one in built["Parameters"] if "Approval" in one["Name"]]


def _jobs(settings: Settings) -> dict[str, Any]:
    steps = json.loads(build_definition(settings))["Steps"]
    return {step["Name"]: step.get("Arguments") for step in steps}
