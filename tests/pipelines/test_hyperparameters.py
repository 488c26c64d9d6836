"""`Hyperparameters` of a start: judged as by the training, but before anything is paid for."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import UserError
from pipelines.hyperparameters import check
from steps import models
from steps.errors import InputError
from steps.hyperparameters import parse

NAMED = {
    "kind": "-p ModelKind=…",
    "text_column": "-p TextColumn=…",
    "label_column": "-p LabelColumn=…",
    "epochs": "-p Epochs=…",
    "learning_rate": "-p LearningRate=…",
    "batch_size": "-p BatchSize=…",
    "seed": "-p Seed=…",
    "hyperparameters": "-p Hyperparameters=…",
}
NAMES = sorted(
    {
        item.name
        for kind in models.KINDS
        for item in dataclasses.fields(models.module(kind).HYPERPARAMETERS)
    }
    | {"hyperparameters", "sagemaker_region", "xyzzy", ""}
)
WORDS = ("none", "balanced", "macro_f1", "frozen", "true", "False", "0", "1", "2.5", "nan", "")
ALPHABET = "aÖ1. \u2028"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-1, 5),
    st.integers(),
    st.floats(),
    st.floats(0, 1),
    st.sampled_from(WORDS),
    st.text(ALPHABET, max_size=4),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.text(ALPHABET, max_size=3), SCALARS, max_size=2),
    st.dictionaries(st.text(ALPHABET, max_size=3), st.floats(0.1, 9), max_size=2),
    st.dictionaries(st.text(ALPHABET, max_size=3), st.floats(0.1, 9)).map(json.dumps),
)


def refusal(text: str, kind: str = "ngram") -> str:
    with pytest.raises(UserError) as refused:
        check(text, kind, NAMED)
    (line,) = str(refused.value).splitlines()
    return line


@given(st.sampled_from(models.KINDS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=2))
def test_a_start_takes_what_the_training_takes(kind: str, members: dict[str, Any]) -> None:
    text = json.dumps(members)
    default = dataclasses.asdict(parse({"kind": kind}))
    own = {name: str(default[name]) for name in NAMED if name != "hyperparameters"}
    try:
        parse({**own, "hyperparameters": text})
    except InputError:
        refusal(text, kind)
    else:
        check(text, kind, NAMED)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is '', expected a JSON object, in a shell: -p 'Hyperparameters={"),
        ("balanced", "is 'balanced', expected a JSON object"),
        ("[]", "is '[]', expected a JSON object"),
        ('{"patience": 2', "expected a JSON object"),
        ("[" * 1000, "expected a JSON object"),
        ("x" * 1000, "x…, expected a JSON object"),
        ('{"vectors_file": "\\ud800"}', "expected a JSON object"),
        ('{"patience":\n2}', "has several lines, expected one"),
        ('{"patience": 2, "patience": 3}', "holds 'patience' twice, expected each name once"),
        ('{"class_weights": {"a": 1, "a": 2}}', "holds 'a' twice"),
        ('{"patience": null}', "'patience' is null, expected a text, a number, true, false or an"),
        ('{"patience": [2]}', "'patience' is [2], expected a text, a number"),
        ('{"epochs": 3}', "'epochs' is 3: give it as -p Epochs=…"),
        ('{"hyperparameters": {}}', "give it as -p Hyperparameters=…"),
        ('{"patients": 3}', "'patients' does not exist for the kind ngram: did you mean patience?"),
        ('{"dropout": 0.3}', "for the kind ngram, only for: bert, cnn, lstm, textcnn"),
        ('{"xyzzy": 1}', "ngram; there are: patience, monitor, class_weights, validation_share"),
        ('{"patience": 2.5}', "'patience' is 2.5, expected a whole number"),
        ('{"patience": 0}', "'patience' is 0, expected between 1 and 1000"),
        ('{"smoothing": "much"}', "'smoothing' is 'much', expected a number"),
        ('{"smoothing": NaN}', "'smoothing' is NaN, expected between 0.001 and 1000"),
        ('{"monitor": "f1"}', "'monitor' is 'f1', expected one of: loss, accuracy, macro_f1"),
        ('{"class_weights": "even"}', "'even', expected none, balanced or weights such as {\"fire"),
        ('{"class_weights": {"a": 0}}', "expected none, balanced or weights"),
        ('{"class_weights": {"a": true}}', "expected none, balanced or weights"),
        ('{"class_weights": {"a": {"b": 1}}}', "expected none, balanced or weights"),
    ],
)
def test_what_no_training_takes_is_refused_in_one_short_line(text: str, said: str) -> None:
    line = refusal(text)
    assert line.startswith("Parameter Hyperparameters")
    assert said in line
    assert len(line) < 250


def test_of_a_kind_that_only_the_steps_know_they_judge() -> None:
    check('{"dimensions": 8}', "mean", NAMED)
    assert "expected a JSON object" in refusal("8", "mean")
    assert "give it as -p Seed" in refusal('{"seed": 8}', "mean")
