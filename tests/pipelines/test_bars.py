"""The bars in words, and that they are those which the pipeline's gate decides by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.bars import judged
from pipelines.control import build_definition
from pipelines.local.expressions import Scope
from pipelines.settings import Settings

PARAMETERS = {
    "MinAccuracy": "0.8",
    "MinMacroF1": "0.7",
    "MinClassRecall": "0.5",
    "MaxCalibrationError": "0.1",
    "AllowedRegression": "0.005",
    "Epochs": "20",
}
WITHOUT = {"has_champion": False, "regression": 0.0, "regression_low": 0.0, "regression_high": 0.0}
share = st.floats(0, 1)


def evaluation(**figures: float) -> dict[str, Any]:
    """What Evaluate writes; without a champion unless a regression is given."""
    challenger = {
        "accuracy": 0.9,
        "macro_f1": 0.85,
        "worst_class_recall": 0.6,
        "calibration_error": 0.02,
    }
    compared = {name: one for name, one in figures.items() if name.startswith("regression")}
    return {
        "challenger": challenger | {k: v for k, v in figures.items() if k not in compared},
        "comparison": WITHOUT | compared | {"has_champion": bool(compared)},
    }


def missed(document: dict[str, Any]) -> list[str]:
    return [bar.sentence for bar in judged(document, PARAMETERS) if not bar.passed]


def test_a_good_model_passes_every_bar() -> None:
    bars = judged(evaluation(), PARAMETERS)
    assert [bar.name for bar in bars] == [name for name in PARAMETERS if name != "Epochs"]
    assert all(bar.passed for bar in bars)
    assert bars[0].sentence == "accuracy 0.9000 is above MinAccuracy 0.8 by 0.1000"
    assert bars[-1].sentence == "there is no champion to compare with"


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        ({"accuracy": 0.7312}, "accuracy 0.7312 is below MinAccuracy 0.8 by 0.0688"),
        ({"macro_f1": 0.65}, "macro F1 0.6500 is below MinMacroF1 0.7 by 0.0500"),
        (
            {"worst_class_recall": 0.0},
            "recall of the worst class 0.0000 is below MinClassRecall 0.5 by 0.5000",
        ),
        (
            {"calibration_error": 0.25},
            "calibration error 0.2500 is above MaxCalibrationError 0.1 by 0.1500",
        ),
        (
            {"accuracy": 0.79999},
            "accuracy 0.79999000 is below MinAccuracy 0.8 by 0.00001000",
        ),
        (
            {"regression": 0.021, "regression_low": 0.0123, "regression_high": 0.0297},
            "it loses 0.0210 of accuracy against the champion (between 0.0123 and 0.0297 with 95 % "
            "confidence), AllowedRegression is 0.005: even the lower bound is 0.0073 too much",
        ),
    ],
)
def test_a_missed_bar_says_which_and_by_how_much(figures: dict[str, float], sentence: str) -> None:
    assert missed(evaluation(**figures)) == [sentence]


def test_all_missed_bars_are_said() -> None:
    worse = {"regression": 0.3, "regression_low": 0.2, "regression_high": 0.4}
    assert len(missed(evaluation(accuracy=0.5, macro_f1=0.4, **worse))) == 3


@pytest.mark.parametrize(
    ("low", "shown", "chance"),
    [
        (-0.004, "-0.0040", "that it loses at all may be chance"),
        (0.0, "0.0000", "that it loses at all may be chance"),
        (0.001, "0.0010", "that more than that is lost may be chance"),
    ],
)
def test_a_loss_that_passes_says_what_of_it_may_be_chance(
    low: float, shown: str, chance: str
) -> None:
    figures = {"regression": 0.01, "regression_low": low, "regression_high": 0.024}
    bar = judged(evaluation(**figures), PARAMETERS)[-1]
    assert bar.passed
    assert bar.sentence == (
        f"it loses 0.0100 of accuracy against the champion (between {shown} and 0.0240 with 95 % "
        f"confidence), AllowedRegression is 0.005: {chance}"
    )


def test_a_gain_is_said_as_one() -> None:
    figures = {"regression": -0.02, "regression_low": -0.04, "regression_high": -0.00001}
    bar = judged(evaluation(**figures), PARAMETERS)[-1]
    assert bar.sentence.startswith(
        "it gains 0.0200 of accuracy against the champion (between 0.0000 and 0.0400 with"
    )


def test_an_execution_of_an_older_pipeline_has_the_bars_that_it_had() -> None:
    older = {name: PARAMETERS[name] for name in ("MinAccuracy", "AllowedRegression")}
    document = evaluation(accuracy=0.7)
    document["comparison"] = {"regression": 0.1, "has_champion": True}
    bars = judged(document, older)
    assert [(bar.name, bar.passed) for bar in bars] == [
        ("MinAccuracy", False),
        ("AllowedRegression", False),
    ]


@pytest.fixture(scope="module")
def conditions() -> list[dict[str, Any]]:
    steps = json.loads(build_definition(Settings(account="123456789012")))["Steps"]
    gate = next(step for step in steps if step["Name"] == "ModelGate")
    found: list[dict[str, Any]] = gate["Arguments"]["Conditions"]
    return found


@given(
    figures=st.fixed_dictionaries(
        dict.fromkeys(("accuracy", "macro_f1", "worst_class_recall", "calibration_error"), share)
    ),
    regression=st.tuples(*[st.floats(-1, 1)] * 3).map(sorted),
    bars=st.tuples(*[st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | share] * 5),
)
def test_it_judges_as_the_gate_does(
    conditions: list[dict[str, Any]],
    figures: dict[str, float],
    regression: list[float],
    bars: tuple[float, ...],
) -> None:
    low, found, high = regression
    document = evaluation(**figures, regression=found, regression_low=low, regression_high=high)
    names = [name for name in PARAMETERS if name != "Epochs"]
    values = dict(zip(names, bars, strict=True))
    scope = Scope(values, {}, {"Evaluate": {}}, lambda _step, _file: document, lambda _: None)
    words = judged(document, {name: str(value) for name, value in values.items()})
    assert [bar.passed for bar in words] == [scope.all_hold([one]) for one in conditions]
    for bar in words:
        assert "\n" not in bar.sentence
        assert bar.name in bar.sentence
