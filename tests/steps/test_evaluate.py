from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as judge

from steps.classifier import Classifier
from steps.comparison import NO_CHAMPION
from steps.container import Container
from steps.errors import InputError
from steps.evaluate import evaluate
from steps.metrics import calibration_error
from steps.reliability import MOST_MISTAKES, reliability
from steps.table import Table
from steps.tracking import Run
from tests.steps.small_models import UNTRACKED, archived, claims, trained, write_table

ROLES = {"challenger": "two", "champion": "all"}
LABELS = {"all": ("leak", "noise", "electric", "finish"), "two": ("leak", "noise")}
TEST = claims(200, seed=8)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: trained(tmp_path_factory.mktemp(name), claims(300, labels=labels))
        for name, labels in LABELS.items()
    }


def job(root: Path, challenger: Path, champion: Path | None, table: Table) -> Container:
    container = Container(root)
    archived(challenger, container.processing("model"))
    if champion:
        archived(champion, container.processing("champion"))
    else:
        container.processing("champion").mkdir(parents=True)
        (container.processing("champion") / "no-champion.json").write_text("{}")
    write_table(table, container.processing("test") / "test.csv")
    return container


def output(container: Container, name: str = "evaluation.json") -> Any:
    return json.loads((container.processing("evaluation") / name).read_text("utf-8"))


def test_without_a_champion_there_is_no_regression(tmp_path: Path, models: dict[str, Path]) -> None:
    container = job(tmp_path, models["all"], None, TEST)
    evaluate(container, [], UNTRACKED)
    found = output(container)
    assert found["champion"] is None
    assert found["comparison"] == NO_CHAMPION
    predicted = [p.label for p in Classifier.load(models["all"]).predict(TEST.texts)]
    challenger = found["challenger"]
    assert challenger["rows"] == 200
    assert challenger["accuracy"] == pytest.approx(judge.accuracy_score(TEST.labels, predicted))
    assert challenger["classes"]["leak"]["support"] == TEST.labels.count("leak")
    recalls = [figures["recall"] for figures in challenger["classes"].values()]
    assert challenger["worst_class_recall"] == min(recalls)
    for name in ("macro_f1", "weighted_f1", "log_loss", "calibration_error"):
        assert 0 <= challenger[name] <= 1


def test_champion_and_challenger_are_measured_on_the_same_rows(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    container = job(tmp_path, models["all"], models["all"], TEST)
    evaluate(container, [], UNTRACKED)
    found = output(container)
    assert found["champion"] == found["challenger"]
    assert output(container, "champion_statistics.json") == output(container, "statistics.json")
    assert (container.processing("evaluation") / "champion_confusion_matrix.svg").exists()
    compared = found["comparison"]
    assert compared["has_champion"]
    assert (compared["regression"], compared["p_value"]) == (0, 1)


def test_rows_whose_label_the_champion_does_not_know_are_its_errors(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    container = job(tmp_path, models["all"], models["two"], TEST)
    evaluate(container, [], UNTRACKED)
    found = output(container)
    known = sum(label in LABELS["two"] for label in TEST.labels) / 200
    assert found["champion"]["accuracy"] <= known
    assert found["champion"]["classes"]["electric"]["recall"] == 0
    gap = found["champion"]["accuracy"] - found["challenger"]["accuracy"]
    compared = found["comparison"]
    assert compared["regression"] == pytest.approx(gap)
    assert gap < -0.2
    assert compared["regression_high"] < 0
    assert compared["p_value"] < 0.001
    assert compared["macro_f1"]["low"] > 0
    for label, figures in compared["classes"].items():
        assert figures["challenger"] == found["challenger"]["classes"][label]["recall"]
        assert figures["champion"] == found["champion"]["classes"][label]["recall"]
        assert figures["support"] == TEST.labels.count(label)


def test_a_champion_that_knows_labels_which_are_no_more_is_compared_by_its_own_names(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    """The numbers of labels differ between the models: "leak" is the first of one only."""
    table = claims(100, seed=4, labels=LABELS["two"])
    container = job(tmp_path, models["two"], models["all"], table)
    evaluate(container, [], UNTRACKED)
    found = output(container)
    for role in ("challenger", "champion"):
        predicted = [p.label for p in Classifier.load(models[ROLES[role]]).predict(table.texts)]
        right = [one == label for one, label in zip(predicted, table.labels, strict=True)]
        assert found[role]["accuracy"] == pytest.approx(sum(right) / 100)
        leaks = [one for one, label in zip(right, table.labels, strict=True) if label == "leak"]
        recall = found["comparison"]["classes"]["leak"][role]
        assert recall == pytest.approx(sum(leaks) / len(leaks))
    assert set(found["comparison"]["classes"]) == set(LABELS["two"])


@pytest.mark.parametrize("champion", [None, "all", "two"])
def test_it_leaves_in_a_sentence_what_decides(
    tmp_path: Path,
    models: dict[str, Path],
    champion: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The pipeline's failure message is made of it."""
    container = job(tmp_path, models["all"], models[champion] if champion else None, TEST)
    evaluate(container, [], UNTRACKED)
    challenger, compared = output(container)["challenger"], output(container)["comparison"]
    left = (tmp_path / "output" / "message").read_text("utf-8")
    figures = [challenger[n] for n in ("accuracy", "macro_f1", "worst_class_recall")]
    if champion:
        sign = -1 if champion == "two" else 1
        figures += [
            sign * compared[name] for name in ("regression", "regression_low", "regression_high")
        ]
        assert ("gained 0." in left, "lost 0." in left) == (champion == "two", champion == "all")
    else:
        assert left.endswith("has no champion to compare with")
    for figure in [*figures, challenger["calibration_error"]]:
        assert f" {figure:.4f}" in left
    assert "\n" not in left
    assert len(left) < 512, "SageMaker keeps 1024 characters of the message that holds it"
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("rows=")]
    assert len(printed) == 1
    assert f"p_value={compared['p_value']:.4f}" in printed[0]


def test_what_decides_is_tracked(
    tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked: dict[str, float] = {}
    monkeypatch.setattr(Run, "log_metrics", lambda _, metrics: tracked.update(metrics))
    container = job(tmp_path, models["all"], models["two"], TEST)
    evaluate(container, [], UNTRACKED)
    compared = output(container)["comparison"]
    assert tracked["accuracy"] == output(container)["challenger"]["accuracy"]
    assert tracked["macro_f1_difference"] == compared["macro_f1"]["difference"]
    for name in ("only_challenger_right", "only_champion_right", "regression_low", "p_value"):
        assert tracked[name] == compared[name]


def test_the_surest_mistakes_are_named_by_the_number_of_their_record(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    """Rows without a text or label are not measured, but counted: a person counts them, too."""
    wrong = {"leak": "noise", "noise": "leak"}
    claimed = claims(60, seed=4, labels=LABELS["two"])
    labels = [
        "" if row % 7 == 0 else wrong[label] if row % 2 else label
        for row, label in enumerate(claimed.labels, 1)
    ]
    container = job(tmp_path, models["two"], None, Table(claimed.texts, labels))
    evaluate(container, [], UNTRACKED)
    found = output(container)["mistakes"]
    said = Classifier.load(models["two"]).predict(claimed.texts)
    errors = [
        (-one.confidence, row, label, one.label)
        for row, (one, label) in enumerate(zip(said, labels, strict=True), 1)
        if label and one.label != label
    ]
    expected = sorted(errors)[:MOST_MISTAKES]
    assert len(expected) == MOST_MISTAKES < len(errors)
    assert [(one["row"], one["label"], one["predicted"]) for one in found] == [
        (row, label, predicted) for _, row, label, predicted in expected
    ]
    assert [one["confidence"] for one in found] == pytest.approx([-one[0] for one in expected])
    written = (container.processing("evaluation") / "evaluation.json").read_text("utf-8")
    assert not any(text in written for text in claimed.texts), "texts stay where they are"


@given(
    st.integers(1, 5),
    st.integers(1, 60),
    st.integers(1, 20),
    st.randoms(use_true_random=False),
)
def test_the_bins_of_reliability_hold_all_rows_and_make_the_calibration_error(
    labels: int, rows: int, bins: int, random_: random.Random
) -> None:
    made = np.array(
        [[random_.choice((0, 1, random_.random())) for _ in range(labels)] for _ in range(rows)],
        np.float32,
    )
    targets = np.array([random_.randrange(labels) for _ in range(rows)])
    found = reliability(targets, made, bins)
    assert sum(one["rows"] for one in found) == rows
    gaps = [one["rows"] * abs(one["confidence"] - one["accuracy"]) / rows for one in found]
    assert sum(gaps) == pytest.approx(calibration_error(targets, made, bins), abs=1e-9)
    for one in found:
        assert one["low"] - 1e-6 <= one["confidence"] <= one["high"] + 1e-6


def test_statistics_and_picture_are_written_beside(tmp_path: Path, models: dict[str, Path]) -> None:
    table = claims(100, seed=4, labels=LABELS["two"])
    container = job(tmp_path, models["two"], None, table)
    evaluate(container, [], UNTRACKED)
    statistics = output(container, "statistics.json")
    accuracy = statistics["binary_classification_metrics"]["accuracy"]
    assert accuracy == {
        "value": output(container)["challenger"]["accuracy"],
        "standard_deviation": "NaN",
    }
    picture = container.processing("evaluation") / "confusion_matrix.svg"
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own


def test_labels_that_training_never_saw_are_named_and_counted(
    tmp_path: Path, models: dict[str, Path]
) -> None:
    rows = [
        (f"text {n}", label)
        for label, count in zip("abcdefg", range(9, 2, -1), strict=True)
        for n in range(count)
    ]
    table = Table([text for text, _ in rows], [label for _, label in rows])
    container = job(tmp_path, models["two"], None, table)
    with pytest.raises(InputError) as refused:
        evaluate(container, [], UNTRACKED)
    message = str(refused.value)
    assert "'a' (9 rows), 'b' (8 rows), 'c' (7 rows), 'd' (6 rows), 'e' (5 rows) and 2" in message
    assert "\n" not in message
    assert not container.processing("evaluation").exists()


def test_other_columns_can_be_named(tmp_path: Path, models: dict[str, Path]) -> None:
    container = job(tmp_path, models["two"], None, claims(20, labels=LABELS["two"]))
    path = container.processing("test") / "test.csv"
    path.write_text(path.read_text().replace("text,label", "claim,category", 1))
    evaluate(container, ["--text-column", "claim", "--label-column", "category"], UNTRACKED)
    assert output(container)["challenger"]["rows"] == 20


@pytest.mark.parametrize("role", ["challenger", "champion"])
def test_a_damaged_model_is_named_by_its_role(
    tmp_path: Path, models: dict[str, Path], role: str
) -> None:
    container = job(tmp_path, models["two"], models["two"], claims(20, labels=LABELS["two"]))
    folder = container.processing("model" if role == "challenger" else "champion")
    (folder / "model.tar.gz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=f"{role}: .*no readable tar archive"):
        evaluate(container, [], UNTRACKED)


def test_a_missing_challenger_is_said(tmp_path: Path, models: dict[str, Path]) -> None:
    container = job(tmp_path, models["two"], None, TEST)
    (container.processing("model") / "model.tar.gz").unlink()
    with pytest.raises(InputError, match=r"challenger: there is no model\.tar\.gz"):
        evaluate(container, [], UNTRACKED)
