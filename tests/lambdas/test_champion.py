"""The pipeline's Champion step."""

from __future__ import annotations

from collections.abc import Callable

import boto3
import pytest

from lambdas import champion
from lambdas.champion import Champion, ChampionRequest
from tests.lambdas.eventbridge import GROUP, MODELS, RESULTS

REQUEST = ChampionRequest(
    model_package_group=GROUP, no_champion_uri=f"s3://{RESULTS}/run/no-champion/"
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELS_BUCKET", MODELS)


def test_the_champion_is_the_newest_approved_model(register: Callable[..., str]) -> None:
    register()
    arn = register()
    register("Rejected")
    assert champion.handler(REQUEST, None) == Champion(
        uri="s3://models/model.tar.gz", arn=arn, version=2
    )


def test_a_rollback_counts_for_the_champion_too(register: Callable[..., str]) -> None:
    arn = register()
    register()
    boto3.client("s3").put_object(
        Bucket=MODELS, Key=f"serving/{GROUP}.json", Body=b'{"ceiling": 1}'
    )
    assert champion.handler(REQUEST, None)["arn"] == arn


@pytest.mark.parametrize("slash", ["", "/"])
def test_without_one_the_answer_names_an_input_that_exists(aws: None, slash: str) -> None:
    request = ChampionRequest(
        model_package_group=GROUP, no_champion_uri=f"s3://{RESULTS}/run/no-champion{slash}"
    )
    answers = [champion.handler(request, None) for _ in range(2)]
    uri = f"s3://{RESULTS}/run/no-champion/"
    assert answers == [Champion(uri=uri, arn="none", version=0)] * 2
    found = boto3.client("s3").list_objects_v2(Bucket=RESULTS)["Contents"]
    assert [each["Key"] for each in found] == ["run/no-champion/no-champion.json"]


def test_the_answer_is_flat_primitives_as_a_lambda_step_demands(
    register: Callable[..., str],
) -> None:
    for _ in range(2):
        answer = champion.handler(REQUEST, None)
        assert {name: type(value) for name, value in answer.items()} == {
            "uri": str,
            "arn": str,
            "version": int,
        }
        register()
