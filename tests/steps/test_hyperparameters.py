from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from steps.errors import InputError
from steps.hyperparameters import parse
from steps.models import KINDS, module
from steps.models.lstm import LstmHyperparameters
from steps.models.ngram import NgramHyperparameters


def test_nothing_given_means_the_defaults() -> None:
    assert parse({}) == NgramHyperparameters()


def test_texts_become_values_of_their_types() -> None:
    made = parse({"epochs": "3", "learning_rate": "1e-2", "bits": "18", "text_column": "claim"})
    assert made == NgramHyperparameters(epochs=3, learning_rate=0.01, bits=18, text_column="claim")


@pytest.mark.parametrize("kind", KINDS)
def test_the_form_of_sagemaker_and_ours_are_the_same_object(kind: str) -> None:
    ours = module(kind).HYPERPARAMETERS(
        kind=kind, seed=7, validation_share=0.2, label_column="category"
    )
    assert parse({name: str(value) for name, value in dataclasses.asdict(ours).items()}) == ours


@pytest.mark.parametrize("kind", KINDS)
def test_a_learning_rate_of_zero_is_the_kinds_own(kind: str) -> None:
    own = module(kind).HYPERPARAMETERS.OWN_LEARNING_RATE
    assert 0 < own < 1
    assert parse({"kind": kind, "learning_rate": "0.0"}).as_dict()["learning_rate"] == own
    assert parse({"kind": kind, "learning_rate": "0.5"}).as_dict()["learning_rate"] == 0.5


@pytest.mark.parametrize("text", ['"ngram"', "ngram"])
def test_a_text_that_the_sdk_quoted_is_the_text(text: str) -> None:
    assert parse({"kind": text}).kind == "ngram"


def test_a_quoted_column_name_is_unquoted_once() -> None:
    assert parse({"text_column": '"the claim"'}).text_column == "the claim"


def test_what_sagemaker_adds_of_its_own_is_no_hyperparameter() -> None:
    added = {"sagemaker_region": "eu-west-1", "_tuning_objective_metric": "val_accuracy"}
    assert parse(added) == NgramHyperparameters()


@pytest.mark.parametrize(
    ("given", "value"),
    [("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)],
)
def test_truths_have_many_spellings(given: str, value: bool) -> None:
    made = parse({"kind": "lstm", "bidirectional": given})
    assert made == LstmHyperparameters(kind="lstm", bidirectional=value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": "3"}, "epochs is '3', expected a whole number"),
        ({"epochs": 3.0}, "epochs is 3.0, expected a whole number"),
        ({"epochs": True}, "epochs is True, expected a whole number"),
        ({"learning_rate": None}, "learning_rate is None, expected a number"),
        ({"epochs": 0}, "epochs is 0, expected between 1 and 1000"),
        ({"text_column": 3}, "text_column is 3, expected a text"),
        ({"class_weights": {"leak": 2}}, "class_weights is .*, expected a text"),
    ],
)
def test_our_own_form_is_checked_as_sagemakers_is(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NgramHyperparameters(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"learning_rat": "1"}, "'learning_rat' does not exist .* did you mean 'learning_rate'"),
        ({"xyzzy": "1"}, "'xyzzy' does not exist .* there are: .*text_column"),
        ({"kind": "gru"}, "kind is 'gru', expected one of: bert, cnn, fasttext, lstm, ngram"),
        ({"kind": "ngrams"}, "kind is 'ngrams', .*: did you mean 'ngram'?"),
        ({"kind": "textcnn", "bits": "18"}, "'bits' .* 'textcnn', only for: fasttext, ngram; ther"),
        ({"kind": "ngram", "filters": "9"}, "'filters' .* kind 'ngram', only for: textcnn; there"),
        ({"kind": "cnn", "hidden_size": "9"}, "'hidden_size' .* kind 'cnn', only for: lstm; there"),
        ({"kind": "cnn", "num_epoch": "9"}, "'num_epoch' .* kind 'cnn': did you mean 'epochs'"),
        ({"kind": "fasttext", "dimension": "9"}, "'fasttext': did you mean 'dimensions'"),
        ({"kind": "fasttext", "bits": "23"}, "bits is 23, expected between 0 and 22"),
        ({"kind": "textcnn", "dropout": "1"}, "dropout is 1, expected between 0 and 0.9"),
        ({"kind": "textcnn", "length": "0"}, "length is 0, expected between 1 and 10000"),
        ({"kind": "lstm", "bidirectional": "si"}, "bidirectional is 'si', expected true or false"),
        ({"kind": "textcnn", "vectors": "frosen"}, "'frosen', expected one of.*mean 'frozen'"),
        ({"monitor": "f1"}, "monitor is 'f1', expected one of: loss, accuracy, macro_f1"),
        ({"class_weights": "even"}, "class_weights is 'even', expected none, balanced or a JSON"),
        ({"epochs": "many"}, "epochs is 'many', expected a whole number"),
        ({"epochs": "1.5"}, "epochs is '1.5', expected a whole number"),
        ({"epochs": "0"}, "epochs is 0, expected between 1 and 1000"),
        ({"epochs": ""}, "epochs is '', expected a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', expected a number"),
        ({"learning_rate": "nan"}, "learning_rate is nan, expected between"),
        ({"learning_rate": "inf"}, "learning_rate is inf, expected between"),
        ({"learning_rate": "-1"}, "learning_rate is -1, expected between"),
        ({"validation_share": "0.6"}, "validation_share is 0.6, expected between 0 and 0.5"),
        ({"text_column": " "}, "text_column is empty"),
        ({"seed": "-1"}, "seed is -1, expected between"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse(given)
    assert "\n" not in str(refused.value)
