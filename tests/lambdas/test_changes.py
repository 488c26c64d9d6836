"""What has changed between two trainings is told in sentences, and nothing is missed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdas.changes import Content, Source, changes, first
from lambdas.datasets import DataVersion
from tests.lambdas.training import REGISTRY, definition


def version(name: str, train: list[tuple[str, int | None]], test: str = "t") -> DataVersion:
    files = [{"sha256": sha256, "rows": rows} for sha256, rows in train]
    manifest = {"version": name, "train": files, "test": [{"sha256": test, "rows": 5}]}
    return DataVersion("data", manifest)


def source(document: dict[str, Any], data: DataVersion | None = None, **given: str) -> Source:
    addresses = (
        {"TrainData": data.address("train/"), "TestData": data.address("test/")} if data else {}
    )
    return Source(Content(document, {**addresses, **given}), data)


OLD = version("0" * 16, [("a", 1000), ("b", 200)])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (definition("two"), "Train: image gluon-cpu:one → gluon-cpu:two"),
        (definition(Description="new"), "Train: Description changed"),
        (definition(min_accuracy=0.9), "parameter MinAccuracy: 0.8 → 0.9"),
        ({**definition(), "Metadata": {"a": 1}}, "definition: Metadata changed"),
    ],
)
def test_each_change_of_the_definition_is_a_sentence(
    changed: dict[str, Any], sentence: str
) -> None:
    found = changes(source(definition(), OLD), source(changed, OLD))
    assert found[0] == sentence
    others = ["Register: image gluon-cpu:one → gluon-cpu:two"] if "image" in sentence else []
    assert found[1:] == others, "a tag in the environment is the image's, and no other change"


def test_another_argument_is_named_beside_the_image() -> None:
    changed = definition("two")
    arguments = changed["Steps"][0]["Arguments"]
    arguments["ResourceConfig"] = {"InstanceType": "ml.p3.2xlarge"}
    del arguments["Environment"]
    found = changes(source(definition()), source(changed))
    assert "Train: ResourceConfig, Environment changed" in found


def test_an_image_named_by_its_digest_is_shown_by_the_beginning_of_it() -> None:
    def named(digest: str) -> dict[str, Any]:
        document = definition()
        specification = document["Steps"][0]["Arguments"]["AlgorithmSpecification"]
        specification["TrainingImage"] = f"{REGISTRY}/gluon-cpu@sha256:{digest * 64}"
        return document

    found = changes(source(named("a")), source(named("b")))
    assert found == ["Train: image gluon-cpu@sha256:aaaaaaaaaaaa → gluon-cpu@sha256:bbbbbbbbbbbb"]


def test_steps_that_come_and_go_are_named_those_in_branches_too() -> None:
    changed = definition()
    changed["Steps"][0]["Name"] = "TrainBetter"
    changed["Steps"][1]["Arguments"]["IfSteps"] = []
    found = changes(source(definition()), source(changed))
    assert found == [
        "TrainBetter: a new step",
        "ModelGate: IfSteps changed",
        "Train: no longer a step",
        "Register: no longer a step",
    ]


def test_parameters_are_compared_by_their_values() -> None:
    old = source(definition(), MinAccuracy="0.80", Epochs="20", CodeVersion="a", Cause="push")
    assert changes(old, source(definition(), MinAccuracy="0.8", CodeVersion="b")) == []
    assert changes(old, source(definition(min_accuracy=0.9), MinAccuracy="0.8")) == []
    assert changes(old, source(definition(), Epochs="10")) == ["parameter Epochs: 20 → 10"]
    changed = definition()
    changed["Parameters"][3] |= {"Name": "Seed"}
    assert changes(old, source(changed)) == [
        "parameter Seed: new, 20",
        "parameter Epochs: no longer there",
    ]
    changed = definition()
    changed["Parameters"][3]["Type"] = "Float"
    assert changes(old, source(changed)) == ["parameter Epochs: takes other values"]


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ([("a", 1000), ("b", 200), ("c", 1200), ("d", 0)], "2 files and 1,200 rows more"),
        ([("a", 1000), ("b", 200), ("c", 1)], "1 file and 1 row more"),
        ([("b", 200)], "1 file and 1,000 rows fewer"),
        ([("a", 1000), ("c", 9)], "1 file and 9 rows more, 1 file and 200 rows fewer"),
        ([("b", 200), ("a", 1000)], "the same files in another order"),
        ([("a", 1000), ("b", 200), ("b", 200)], "1 file and 200 rows more"),
        ([("a", 1000), ("b", 200), ("c", None)], "1 file and 0 rows (1 file unreadable) more"),
    ],
)
def test_data_is_told_in_files_and_rows(train: list[tuple[str, int | None]], sentence: str) -> None:
    old, new = source(definition(), OLD), source(definition(), version("1" * 16, train))
    assert changes(old, new) == [f"data: {sentence}"]


def test_the_test_set_is_told_apart() -> None:
    new = version("1" * 16, [("a", 1000), ("b", 200)], test="u")
    found = changes(source(definition(), OLD), source(definition(), new))
    assert found == ["test data: 1 file and 5 rows more, 1 file and 5 rows fewer"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (
            {"TrainData": "s3://data/a.csv"},
            {"TrainData": f"s3://data/versions/{'1' * 16}/train/"},
            f"data: data/a.csv → version {'1' * 16}",
        ),
        (
            {"TrainData": f"s3://data/versions/{'0' * 16}/train/"},
            {"TrainData": f"s3://data/versions/{'1' * 16}/train/"},
            f"data: version {'0' * 16} → version {'1' * 16}",
        ),
        (
            {"TrainData": f"s3://{'b' * 63}/datasets/{'0' * 16}/train.csv"},
            {"TrainData": f"s3://{'b' * 63}/datasets/{'1' * 16}/train.csv"},
            f"data: {'0' * 16}/train.csv → {'1' * 16}/train.csv",
        ),
        (
            {"TestData": "s3://data/old/x/test.csv"},
            {"TestData": "s3://data/new/x/test.csv"},
            "test data: old/x/test.csv → new/x/test.csv",
        ),
        (
            {"TestData": "s3://data/test.csv"},
            {"TestData": f"s3://data/{'long' * 30}.csv"},
            f"test data: data/test.csv → …{('long' * 30)[-75:]}.csv",
        ),
    ],
)
def test_data_that_cannot_be_compared_is_told_by_where_it_lies(
    old: dict[str, Any], new: dict[str, Any], sentence: str
) -> None:
    assert changes(source(definition(), **old), source(definition(), **new)) == [sentence]


def test_a_first_training_tells_what_it_has() -> None:
    assert first(OLD) == (
        "first training: 2 files and 1,200 rows to train with, 1 file and 5 rows to test with"
    )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab/:", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["Image", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=8,
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "Parameters": st.lists(
            st.fixed_dictionaries(
                {
                    "Name": st.sampled_from(["TrainData", "Epochs", "Cause"]),
                    "Type": st.sampled_from(["String", "Integer", "Float"]),
                    "DefaultValue": st.sampled_from(["1", "1.0", 1, 2, "x\ny"]),
                }
            ),
            unique_by=lambda one: one["Name"],
            max_size=3,
        ),
        "Steps": st.lists(
            st.fixed_dictionaries(
                {
                    "Name": st.sampled_from(["A", "B", "C"]),
                    "Arguments": st.dictionaries(st.sampled_from(["Image", "x"]), JSON),
                },
                optional={"CacheConfig": JSON},
            ),
            unique_by=lambda one: one["Name"],
            max_size=3,
        ),
        "Metadata": JSON,
    }
)


@given(old=DOCUMENTS, new=DOCUMENTS)
def test_there_is_a_sentence_of_one_line_if_and_only_if_something_changed(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    one, other = source(old), source(new)
    found = changes(one, other)
    assert (found == []) == (one.content.digest == other.content.digest)
    assert all(len(sentence.splitlines()) == 1 for sentence in found)
    assert changes(one, source(copy.deepcopy(old))) == []
