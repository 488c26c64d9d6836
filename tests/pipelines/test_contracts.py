"""What two rooms know, each by itself, and must agree on."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from io import BytesIO

import pytest

from lambdas import layout
from pipelines import control, hyperparameters, predictions
from pipelines.deployment.lambda_package import zip_lambdas
from pipelines.settings import Settings
from steps.hyperparameters import parse
from steps.validation_settings import ValidationSettings


@pytest.mark.parametrize("key", ["incoming/a.csv", "incoming/ü a+b%20.csv"])
@pytest.mark.parametrize("version", ["v1", '"0123abc"', "0123abc"])
def test_client_and_function_find_an_upload_under_the_same_id(key: str, version: str) -> None:
    assert predictions.upload_id("b", key, version) == layout.upload_id(
        "b", key, version.strip('"')
    )


def test_client_and_function_mean_the_same_folder() -> None:
    assert predictions.INCOMING == layout.INCOMING


def test_the_pipelines_hyperparameters_are_ones_that_training_takes() -> None:
    document = json.loads(control.build_definition(Settings(account="123456789012")))
    defaults = {one["Name"]: one["DefaultValue"] for one in document["Parameters"]}
    train = next(step for step in document["Steps"] if step["Name"] == "Train")
    given = {}
    for name, value in train["Arguments"]["HyperParameters"].items():
        parameter = (value.get("Get") or value["Std:Join"]["Values"][0]["Get"]).split(".")[1]
        given[name] = str(defaults[parameter])
    taken = dataclasses.asdict(parse(given))
    others = given.pop(hyperparameters.NAME)
    assert {name: str(taken[name]) for name in given} == given
    assert others == "{}"
    assert parse(given) == parse({}), "the pipeline's defaults are the training's"


def test_the_validations_settings_reach_the_step_that_takes_them() -> None:
    given: dict[str, str | int | float] = {"max_overlap": 0.2, "warn_only": "overlap,duplicates"}
    settings = Settings(account="123456789012", validation=given)
    document = json.loads(control.build_definition(settings))
    arguments = document["Steps"][0]["Arguments"]["AppSpecification"]["ContainerArguments"]
    words = [word if isinstance(word, str) else "text" for word in arguments]
    taken = ValidationSettings.from_arguments(words[1:])
    assert taken.max_overlap == 0.2
    assert set(taken.warn_only) == {"overlap", "duplicates"}


def test_the_same_source_gives_the_same_zip() -> None:
    first, second = zip_lambdas(), zip_lambdas()
    assert first == second
    with zipfile.ZipFile(BytesIO(first)) as archive:
        assert {"lambdas/submit.py", "lambdas/champion.py"} <= set(archive.namelist())
        assert all(name.endswith(".py") for name in archive.namelist())
