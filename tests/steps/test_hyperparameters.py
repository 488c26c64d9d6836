from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_zero_epochs_are_the_kinds_own() -> None:
    """A pipeline names the epochs of every kind: a fine-tuning must not last for twenty."""
    assert parse({"kind": "bert", "epochs": "0"}).as_dict()["epochs"] == 3
    assert parse({"kind": "bert", "epochs": "0"}).rate(3.0) == 0  # type: ignore[attr-defined]
    assert parse({"kind": "cnn", "epochs": "0"}).as_dict()["epochs"] == 20
    assert parse({"kind": "cnn", "epochs": "2"}).as_dict()["epochs"] == 2


def _values(item: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    """What a hyperparameter may be."""
    if "low" in item.metadata:
        low, high = item.metadata["low"], item.metadata["high"]
        return st.floats(low, high) if item.type == "float" else st.integers(low, high)
    if item.type == "bool":
        return st.booleans()
    if "words" in item.metadata:
        weights = st.dictionaries(
            st.text("aÖ1 ", max_size=5), st.floats(0.01, 100) | st.integers(1, 100)
        )
        return st.sampled_from(item.metadata["words"]) | weights
    if "choices" in item.metadata:
        return st.sampled_from(item.metadata["choices"])
    return st.text("aÖ1 {", max_size=9).map(lambda text: f"a{text}")  # not empty


@st.composite
def _hyperparameters(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS))
    fields = dataclasses.fields(module(kind).HYPERPARAMETERS)
    items = [item for item in fields if item.name != "kind"]
    chosen = draw(st.lists(st.sampled_from(items), unique_by=lambda item: item.name, max_size=6))
    return {"kind": kind, **{item.name: draw(_values(item)) for item in chosen}}


@given(_hyperparameters(), st.data())
def test_what_is_given_as_json_is_the_same_as_one_by_one(
    made: dict[str, Any], data: st.DataObject
) -> None:
    texts = {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in made.items()
    }
    one_by_one = parse(texts)
    apart = data.draw(st.sets(st.sampled_from(sorted(made))))
    rest = {name: value for name, value in made.items() if name not in apart}
    for written in (json.dumps(rest), json.dumps(rest, indent=1, ensure_ascii=False)):
        own = {name: texts[name] for name in apart}
        assert parse({**own, "hyperparameters": written}) == one_by_one
        assert parse({**own, "hyperparameters": json.dumps(written)}) == one_by_one  # by the SDK


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
        ({"epochs": -1}, "epochs is -1, expected between 0 and 1000"),
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
        ({"vocab_sise": "1"}, "'vocab_sise' .* 'ngram': did you mean 'vocab_size' of kind 'cnn'"),
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
        ({"epochs": "-1"}, "epochs is -1, expected between 0 and 1000"),
        ({"epochs": ""}, "epochs is '', expected a whole number"),
        ({"learning_rate": "fast"}, "learning_rate is 'fast', expected a number"),
        ({"learning_rate": "nan"}, "learning_rate is nan, expected between"),
        ({"learning_rate": "inf"}, "learning_rate is inf, expected between"),
        ({"learning_rate": "-1"}, "learning_rate is -1, expected between"),
        ({"validation_share": "0.6"}, "validation_share is 0.6, expected between 0 and 0.5"),
        ({"text_column": " "}, "text_column is empty"),
        ({"seed": "-1"}, "seed is -1, expected between"),
        ({"seed": "9" * 400}, "seed is 9+…, expected between"),
        ({"epochs": "many" * 100}, "epochs is '[many]+…, expected a whole number"),
        ({"class_weights": '{"a": 1' + "0" * 400 + "}"}, "class_weights is .*, expected none"),
        ({"hyperparameters": ""}, "hyperparameters is '', expected a JSON object such as"),
        ({"hyperparameters": "[]"}, "hyperparameters is '\\[\\]', expected a JSON object"),
        ({"hyperparameters": "balanced"}, "is 'balanced', expected a JSON object such as"),
        ({"hyperparameters": "[" * 2000}, r"is '\[+…, expected a JSON object"),
        (
            {"hyperparameters": '{"epochs": null}'},
            "'epochs' in hyperparameters is 'null', expected",
        ),
        (
            {"hyperparameters": '{"epochs": [3]}'},
            r"'epochs' in hyperparameters is '\[3\]', expected",
        ),
        ({"hyperparameters": '{"seed": 3, "seed": 4}'}, "holds 'seed' twice, expected each name"),
        ({"hyperparameters": '{"class_weights": {"a": 1, "a": 2}}'}, "holds 'a' twice"),
        ({"hyperparameters": '{"seed": 3}', "seed": "3"}, "'seed' is given by its own name and in"),
        ({"hyperparameters": '{"seed": 1.5}'}, "seed is '1.5', expected a whole number"),
        (
            {"hyperparameters": '{"seed": {"a": 1}}'},
            "seed is '{\"a\": 1}', expected a whole number",
        ),
        ({"hyperparameters": '{"sed": 3}'}, "'sed' does not exist .* did you mean 'seed'"),
        ({"hyperparameters": '{"_tuning_x": 3}'}, "'_tuning_x' does not exist"),
        ({"hyperparameters": '{"kind": "gru"}'}, "kind is 'gru', expected one of"),
        ({"hyperparameters": '{"hyperparameters": {}}'}, "'hyperparameters' does not exist"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(given: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as refused:
        parse(given)
    assert "\n" not in str(refused.value)
