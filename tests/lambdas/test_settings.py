"""What the environment of each function must say."""

from __future__ import annotations

from typing import Any

import boto3
import pytest

from lambdas import clients
from lambdas.settings import (
    ApproveSettings,
    ChampionSettings,
    NotifySettings,
    RetrainSettings,
    SettingsError,
    SubmitSettings,
    SweepSettings,
)

REQUIRED: dict[Any, str] = {
    ChampionSettings: "MODELS_BUCKET",
    SubmitSettings: "MODEL_PACKAGE_GROUP MODELS_BUCKET UPLOAD_BUCKET RESULTS_BUCKET JOB_QUEUE "
    "JOB_DEFINITION DEAD_LETTER_QUEUE_URL MAX_RECEIVES",
    NotifySettings: "TOPIC_ARN RESULTS_BUCKET JOB_QUEUE DEAD_LETTER_QUEUE_URL MAX_RECEIVES "
    "DEPLOYMENT",
    SweepSettings: "MODEL_PACKAGE_GROUP MODELS_BUCKET UPLOAD_BUCKET RESULTS_BUCKET "
    "UPLOAD_QUEUE_URL MINIMUM_AGE_SECONDS DEPLOYMENT",
    RetrainSettings: "PIPELINE_NAME DATA_BUCKET QUIET_SECONDS TOPIC_ARN DEAD_LETTER_QUEUE_URL "
    "MAX_RECEIVES",
    ApproveSettings: "MODEL_PACKAGE_GROUP MODELS_BUCKET DEAD_LETTER_QUEUE_URL MAX_RECEIVES",
}


@pytest.mark.parametrize("kind", REQUIRED)
def test_missing_settings_are_all_named(kind: Any) -> None:
    with pytest.raises(SettingsError, match=f"lacks {REQUIRED[kind].replace(' ', ', ')}$"):
        kind.from_environment(dict.fromkeys(REQUIRED[kind].split(), ""))


@pytest.mark.parametrize("kind", REQUIRED)
def test_the_required_settings_are_enough(kind: Any) -> None:
    kind.from_environment(dict.fromkeys(REQUIRED[kind].split(), "7"))


def test_optional_settings_are_read() -> None:
    given = dict.fromkeys(REQUIRED[SubmitSettings].split(), "7")
    more = {
        "SHARD_BYTES": "1048576",
        "MAX_SHARDS": "10000",
        "TEXT_COLUMN": "claim",
        "FORMULAS": "neutralise",
        "INCOMING_PREFIX": "in/",
        "INCOMING_SUFFIXES": ".csv, .jsonl,",
    }
    settings = SubmitSettings.from_environment(given | more)
    assert settings.shard_bytes == 1048576
    assert settings.max_shards == 10000
    assert settings.text_column == "claim"
    assert settings.formulas == "neutralise"
    assert settings.incoming_prefix == "in/"
    assert settings.incoming_suffixes == (".csv", ".jsonl")
    assert SubmitSettings.from_environment(given).shard_bytes == 64 * 1024 * 1024


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_SHARDS", "10001"),
        ("MAX_SHARDS", "0"),
        ("SHARD_BYTES", "64 MiB"),
        ("MAX_RECEIVES", "-1"),
    ],
)
def test_a_number_that_does_not_fit_is_named(name: str, value: str) -> None:
    given = dict.fromkeys(REQUIRED[SubmitSettings].split(), "7") | {name: value}
    with pytest.raises(SettingsError, match=f"{name} is '{value}': expected a whole number"):
        SubmitSettings.from_environment(given)


def test_a_variable_may_have_another_name_than_its_field() -> None:
    given = dict.fromkeys(REQUIRED[NotifySettings].split(), "7")
    assert NotifySettings.from_environment(given | {"ENDPOINT": "x"}).endpoint == ""
    given["AWS_ENDPOINT_URL"] = "http://127.0.0.1:4566"
    assert NotifySettings.from_environment(given).endpoint == "http://127.0.0.1:4566"


def test_without_its_bar_there_is_no_automatic_approval() -> None:
    given = dict.fromkeys(REQUIRED[ApproveSettings].split(), "7")
    empty = ApproveSettings.from_environment(given | {"APPROVE_ACCURACY": ""})
    assert (empty.approve_accuracy, empty.approve_regression) == (None, 0.0)
    more = {"APPROVE_ACCURACY": "0.95", "APPROVE_REGRESSION": "-0.01"}
    settings = ApproveSettings.from_environment(given | more)
    assert (settings.approve_accuracy, settings.approve_regression) == (0.95, -0.01)
    for wrong in ("1.5", "nan", "95 %"):
        with pytest.raises(SettingsError, match=f"ACCURACY is '{wrong}': expected a number 0 to"):
            ApproveSettings.from_environment(given | {"APPROVE_ACCURACY": wrong})


def test_a_boto3_without_conditional_writes_is_refused_with_one_clear_line(
    aws: None, capsys: pytest.CaptureFixture[str]
) -> None:
    members = boto3.client("s3").meta.service_model.operation_model("PutObject").input_shape.members
    clients.check_conditional_writes(boto3.client("s3"))
    assert capsys.readouterr().out == ""

    class Old:
        """A client whose PutObject knows `If-None-Match` alone, as that of boto3 1.35.10."""

        meta = service_model = input_shape = property(lambda self: self)
        members = property(lambda _: {name: members[name] for name in members if name != "IfMatch"})

        def operation_model(self, _name: str) -> Old:
            return self

    with pytest.raises(clients.OldSdkError, match=r"IfMatch of PutObject: .*layer"):
        clients.check_conditional_writes(Old())
    assert capsys.readouterr().out.count("\n") == 1
