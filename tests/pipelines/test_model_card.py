"""The model card: SageMaker takes it, people can read it, and it says only what is known."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.registry.card import attached, content
from pipelines.registry.card_page import page
from pipelines.registry.decisions import Decision
from pipelines.registry.facts import figures, hyperparameters, interval, limits, made
from pipelines.registry.lineage import Lineage, Step
from pipelines.registry.models import ModelVersion
from tests.pipelines.lineages import EXECUTION, IMAGE, MANIFEST, evaluation, lineage
from tests.pipelines.model_card_schema import CONTENT_LIMIT, SCHEMA

MANY = {f"label {number:04} " + "x" * 80: (0.5, 10) for number in range(2000)}
HOSTILE = {
    "<script>alert(1)</script>": (0.9, 10),
    "\u202eright to left": (0.8, 10),
    "\"&'\x00\x1b[31m": (0.7, 10),
}


def bare() -> Lineage:
    """A version of which nothing but the registry's entry is left."""
    full = lineage().model
    model = ModelVersion(full.version, full.arn, full.approval, full.created, full.artifact)
    return Lineage(model, missing=["the registry does not say which execution made this version"])


def first_version() -> Lineage:
    labels = {"fire": (0.95, 300), "water": (0.71, 100)}
    return lineage(labels, evaluation=evaluation(labels, champion=False))


CASES = {
    "all known": lineage(),
    "nothing known": bare(),
    "no champion": first_version(),
    "many labels": lineage(MANY),
    "hostile labels": lineage(HOSTILE),
}


@pytest.mark.parametrize("found", CASES.values(), ids=list(CASES))
def test_the_card_keeps_to_the_schema_of_model_package_cards(found: Lineage) -> None:
    card = attached(found)
    assert card["ModelCardStatus"] == "Approved"
    text = card["ModelCardContent"]
    assert len(text) <= CONTENT_LIMIT
    assert "\n" not in text
    jsonschema.validate(json.loads(text), SCHEMA, jsonschema.Draft202012Validator)


def test_the_sdk_of_sagemaker_reads_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")  # which the import needs
    from sagemaker.core.shapes.model_card_shapes import ModelCardContent

    read = ModelCardContent.model_validate(content(lineage()))
    assert read.model_dump(exclude_none=True, mode="json") == content(lineage())


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@settings(max_examples=40, deadline=None)
@given(
    labels=st.dictionaries(_WORDS, st.tuples(st.floats(0, 1), st.integers(1, 10**6)), min_size=1),
    missing=st.lists(_WORDS),
    reason=_WORDS,
)
def test_whatever_the_labels_are_called_card_and_page_hold(
    labels: dict[str, tuple[float, int]], missing: list[str], reason: str
) -> None:
    found = lineage(labels, missing=missing)
    jsonschema.validate(content(found), SCHEMA)
    _Checked().feed(page(found, reason))


def test_the_card_says_what_the_version_comes_from() -> None:
    details = content(lineage())
    job = details["training_details"]["training_job_details"]
    assert details["model_overview"]["model_creator"] == EXECUTION
    assert job["training_environment"]["container_image"] == [IMAGE]
    assert {"name": "epochs", "value": "20"} in job["hyper_parameters"]
    assert job["training_metrics"] == [{"name": "validation:accuracy", "value": 0.94}]
    custom = details["additional_information"]["custom_details"]
    assert custom["cause"] == "data"
    assert custom["code_version"] == "abc123"
    assert custom["train_rows"] == "1,200 in 2 files"
    assert custom["data_version"] == "0123456789abcdef"


def test_the_card_says_who_decided_and_why_rows_are_missing() -> None:
    counts = {"rows_in": 1200, "relabelled": 30, "leaks_removed": 0, "rows_out": 1170}
    decision = Decision("2026-11-22T12:00:00+00:00", "approved", 3, "arn:aws:iam::1:user/ann")
    told = made(lineage(decision=decision, validation={"merged": counts}))
    assert told["decision"] == "approved by arn:aws:iam::1:user/ann at 2026-11-22T12:00:00+00:00"
    assert told["rows_left_to_learn_from"] == (
        "1,170 of 1,200: 30 replaced by a later file's label of the same text"
    )
    one_file = replace(MANIFEST, test=MANIFEST.test[:1])
    assert made(lineage(manifest=one_file))["test_rows"] == "400 in 1 file"


@pytest.mark.parametrize(
    "merged",
    [
        None,
        [],
        {},
        {"rows_in": "1", "relabelled": 1, "leaks_removed": 0, "rows_out": 0},
        {"rows_in": 9, "relabelled": 0, "leaks_removed": 0, "rows_out": 9},
    ],
)
def test_where_no_row_was_taken_out_or_it_is_not_known_nothing_is_said(merged: Any) -> None:
    assert made(lineage(validation={"merged": merged}))["rows_left_to_learn_from"] == ""


def test_a_hyperparameter_that_the_training_chose_is_no_zero() -> None:
    given = {"learning_rate": "0.0", "batch_size": "0", "seed": "0", "epochs": "20"}
    train = Step("Train", "Succeeded", job={"HyperParameters": given})
    assert hyperparameters(lineage(steps=[train])) == {
        "batch_size": "by the number of rows",
        "epochs": "20",
        "learning_rate": "the kind's own",
        "seed": "0",
    }
    found = lineage(steps=[train])
    model = found.evaluation["challenger"]["model"]
    model["hyperparameters"] = {"learning_rate": 0.003, "batch_size": 0}
    assert hyperparameters(found)["learning_rate"] == "0.003"
    assert hyperparameters(found)["batch_size"] == "by the number of rows"


def test_hyperparameters_that_came_together_are_told_each_by_its_name() -> None:
    given = {"seed": "0", "hyperparameters": '{"monitor": "macro_f1", "class_weights": {"Öl": 2}}'}
    train = Step("Train", "Succeeded", job={"HyperParameters": given})
    assert hyperparameters(lineage(steps=[train])) == {
        "class_weights": '{"Öl": 2}',
        "monitor": "macro_f1",
        "seed": "0",
    }
    given = {"seed": "0", "hyperparameters": "{}"}
    train = Step("Train", "Succeeded", job={"HyperParameters": given})
    assert hyperparameters(lineage(steps=[train])) == {"seed": "0"}


def test_hyperparameters_that_cannot_be_read_are_told_as_they_were_given() -> None:
    given = {"seed": "0", "hyperparameters": "{monitor}"}
    train = Step("Train", "Failed", job={"HyperParameters": given})
    assert hyperparameters(lineage(steps=[train])) == given


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"version": "2"}, "beside the champion of that time, version 2<"),
        ({"version": "0"}, "beside the champion of that time<"),
        ({}, "beside the champion of that time<"),
    ],
)
def test_the_champion_is_named_by_its_version(answer: dict[str, str], said: str) -> None:
    found = lineage(steps=[Step("Champion", "Succeeded", answer=answer)])
    assert said in page(found, "t-test")


def test_an_automatic_approval_is_not_said_twice() -> None:
    found = lineage()
    model = replace(found.model, reason="Approved automatically: accuracy 0.93")
    assert "Approved: Approved" not in page(replace(found, model=model), "t-test")


def test_the_figures_have_intervals_and_stand_beside_the_champions() -> None:
    accuracy, f1 = figures(lineage())[:2]
    assert (accuracy.value, accuracy.champion) == (0.93, 0.91)
    assert accuracy.note == (
        "95 % interval 0.9007 to 0.9511; "
        "gains +0.0200 on the champion (+0.0100 to +0.0300, p 0.0123)"
    )
    assert f1.note == "gains +0.0210 on the champion (+0.0110 to +0.0310)"
    assert all(one.champion is None for one in figures(first_version()))


def test_a_card_of_an_old_evaluation_leaves_out_what_it_did_not_measure() -> None:
    old = evaluation({"fire": (0.9, 10), "water": (0.8, 10)})
    old["comparison"] = {"has_champion": True, "regression": -0.02}
    accuracy = figures(lineage(evaluation=old))[0]
    assert accuracy.champion == 0.91
    assert "gains" not in accuracy.note


@pytest.mark.parametrize("descents", [None, 1, 3])
def test_a_card_says_whether_the_validation_rows_were_learnt_from_too(descents: int | None) -> None:
    found = lineage()
    found.evaluation["challenger"]["model"]["hyperparameters"] = (
        {} if descents is None else {"descents": descents}
    )
    told = content(found)["training_details"]["training_observations"]
    assert "1,080 to learn from, and 120 to choose" in told
    assert ("which it learnt from afterwards, too." in told) == (descents == 3)


def test_the_limits_are_the_weak_points_of_this_very_model() -> None:
    told = " ".join(limits(lineage()))
    assert "fewer than 50 rows: fire (12)" in told
    assert "misses most is water: it finds 71.0% of its 100 test rows" in told
    assert "one test set of 400 rows" in told
    assert "water" not in " ".join(limits(bare()))


@pytest.mark.parametrize(
    ("share", "rows", "expected"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I.
    [(81 / 263, 263, (0.2553, 0.3662)), (15 / 148, 148, (0.0624, 0.1605)), (0.0, 20, (0, 0.1611))],
)
def test_the_interval_of_a_share_is_wilsons(
    share: float, rows: int, expected: tuple[float, float]
) -> None:
    assert interval(share, rows) == pytest.approx(expected, abs=5e-5)


_TAGS = {"html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "p", "ul", "li"}
_TAGS |= {"table", "caption", "thead", "tbody", "tr", "th", "td", "dl", "dt", "dd", "span", "bdi"}
_TAGS |= {"div", "main"}
_ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "class", "scope", "title"}
_ATTRIBUTES |= {"id", "role", "tabindex", "aria-label", "aria-labelledby"}


class _Checked(HTMLParser):
    """Fails for what a page must not have: anything active, or anything from elsewhere."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, Any]]) -> None:
        assert tag in _TAGS, tag
        assert {name for name, _ in attrs} <= _ATTRIBUTES


def test_what_comes_from_outside_stays_text_on_the_page() -> None:
    shown = page(lineage(HOSTILE, missing=["<img src=x>"]), "<b>name</b>")
    _Checked().feed(shown)
    assert "&lt;script&gt;" in shown
    assert not re.search("[\x00-\x08\x0b-\x1f]", shown)


def test_the_page_needs_no_network_and_can_be_printed_and_read_in_the_dark() -> None:
    shown = page(lineage(), "t-test")
    assert "default-src 'none'" in shown
    assert "prefers-color-scheme:dark" in shown
    assert "@media print" in shown
    assert "http://" not in shown and "https://" not in shown and "url(" not in shown


def test_the_page_tells_data_figures_limits_and_making() -> None:
    shown = page(lineage(), "t-test")
    for expected in (
        "Model card: t-test, version 3",
        "Approved: better on water damage",
        "labelled/train/old claims.csv",
        "▲ 0.9300",
        "Hyperparameters of the training job",
        EXECUTION,
    ):
        assert expected in shown
    assert "What is not known" not in shown


def test_the_page_of_a_version_of_which_little_is_left_says_so() -> None:
    shown = page(bare(), "t-test")
    assert "no figure is known" in shown
    assert "What is not known" in shown
    assert "which execution made this version" in shown
