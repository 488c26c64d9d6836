from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from sklearn import metrics as judge

from steps.classifier import Classifier
from steps.container import Container
from steps.errors import InputError
from steps.evaluate import evaluate
from steps.table import Table
from tests.steps.small_models import UNTRACKED, archived, claims, trained, write_table

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
    assert found["comparison"] == {"regression": 0.0, "has_champion": False}
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
    assert found["comparison"] == {"regression": 0.0, "has_champion": True}


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
    assert found["comparison"]["regression"] == pytest.approx(gap)
    assert gap < -0.2


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
