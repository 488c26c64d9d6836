from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as judge

from steps.metrics import calibration_error, score
from steps.model_quality import area_under_curve, statistics


def drawn(rows: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    made = random.dirichlet(np.full(labels, 0.5), rows).astype(np.float32)
    hint = random.random(rows) < 0.6
    targets = np.where(hint, made.argmax(axis=1), random.integers(0, labels, rows))
    return targets, made


@pytest.mark.parametrize("labels", [2, 3, 40])
@pytest.mark.parametrize("rows", [1, 7, 500])
def test_figures_are_those_of_scikit_learn(labels: int, rows: int) -> None:
    targets, made = drawn(rows, labels, seed=rows + labels)
    chosen = made.argmax(axis=1)
    scored = score(targets, made)
    every = list(range(labels))
    precision, recall, f1, support = judge.precision_recall_fscore_support(
        targets, chosen, labels=every, zero_division=0
    )
    assert scored.accuracy == pytest.approx(judge.accuracy_score(targets, chosen))
    assert scored.macro_f1 == pytest.approx(judge.f1_score(targets, chosen, average="macro"))
    assert scored.weighted_f1 == pytest.approx(judge.f1_score(targets, chosen, average="weighted"))
    assert np.allclose(scored.precision, precision)
    assert np.allclose(scored.recall, recall)
    assert np.allclose(scored.f1, f1)
    assert np.array_equal(scored.support, support)
    assert np.array_equal(scored.confusion, judge.confusion_matrix(targets, chosen, labels=every))
    clipped = np.clip(made, 1e-7, 1)
    given = -np.log(clipped[np.arange(rows), targets]).mean()
    assert scored.log_loss == pytest.approx(given, rel=1e-5)


def test_log_loss_is_that_of_scikit_learn_for_ordinary_probabilities() -> None:
    targets, made = drawn(300, 4, seed=3)
    ordinary = made.astype(np.float64) + 0.05
    ordinary /= ordinary.sum(axis=1, keepdims=True)
    expected = judge.log_loss(targets, ordinary, labels=range(4))
    assert score(targets, ordinary.astype(np.float32)).log_loss == pytest.approx(expected, rel=1e-4)


def test_a_certain_error_costs_much_but_not_infinitely() -> None:
    assert 10 < score(np.array([1]), np.array([[1.0, 0.0]], np.float32)).log_loss < 20


def test_worst_recall_is_of_the_labels_that_have_rows() -> None:
    made = np.eye(3, dtype=np.float32)[[0, 0, 1, 0]]
    assert score(np.array([0, 0, 1, 1]), made).worst_class_recall == 0.5


def test_rows_of_an_unknown_label_are_errors_outside_the_log_loss() -> None:
    made = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.6, 0.4, 0.0]], np.float32)
    with_unknown = score(np.array([0, 1, 2]), made, np.array([True, True, False]))
    without = score(np.array([0, 1]), made[:2])
    assert with_unknown.accuracy == pytest.approx(2 / 3)
    assert with_unknown.log_loss == pytest.approx(without.log_loss)
    assert with_unknown.calibration_error == pytest.approx(without.calibration_error)


@pytest.mark.parametrize(("right", "expected"), [(4, 0.2), (3, 0.05), (0, 0.8)])
def test_calibration_error_is_the_gap_between_confidence_and_accuracy(
    right: int, expected: float
) -> None:
    made = np.array([[0.2, 0.8]] * 4, np.float32)
    targets = np.array([1] * right + [0] * (4 - right))
    assert calibration_error(targets, made) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_follows_its_definition() -> None:
    targets, made = drawn(400, 3, seed=9)
    confidence, right = made.max(axis=1).astype(float), made.argmax(axis=1) == targets
    expected = 0.0
    for lower in range(15):
        inside = (confidence > lower / 15) & (confidence <= (lower + 1) / 15)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            expected += inside.sum() / 400 * gap
    assert calibration_error(targets, made) == pytest.approx(expected)


def test_area_under_curve_is_that_of_scikit_learn_with_ties() -> None:
    random = np.random.default_rng(1)
    confidence = np.round(random.random(200), 1).astype(np.float32)
    positive = random.random(200) < confidence
    expected = judge.roc_auc_score(positive, confidence)
    assert area_under_curve(positive, confidence) == pytest.approx(expected)


def values(statistics: dict[str, object], kind: str) -> dict[str, float]:
    figures = statistics[f"{kind}_classification_metrics"]
    assert isinstance(figures, dict)
    return {name: item["value"] for name, item in figures.items() if name != "confusion_matrix"}


def test_two_labels_have_binary_statistics() -> None:
    targets, made = drawn(300, 2, seed=5)
    chosen = made.argmax(axis=1)
    found = values(statistics(score(targets, made), targets, made, ["no", "yes"]), "binary")
    assert found["recall"] == pytest.approx(judge.recall_score(targets, chosen))
    assert found["precision"] == pytest.approx(judge.precision_score(targets, chosen))
    assert found["f2"] == pytest.approx(judge.fbeta_score(targets, chosen, beta=2))
    assert found["auc"] == pytest.approx(judge.roc_auc_score(targets, made[:, 1]))
    negatives = targets == 0
    assert found["false_positive_rate"] == pytest.approx((chosen[negatives] == 1).mean())


def test_more_labels_have_multiclass_statistics() -> None:
    targets, made = drawn(300, 4, seed=6)
    chosen = made.argmax(axis=1)
    made_statistics = statistics(score(targets, made), targets, made, list("abcd"))
    found = values(made_statistics, "multiclass")
    assert found["accuracy"] == pytest.approx(judge.accuracy_score(targets, chosen))
    for beta, name in ((0.5, "weighted_f0_5"), (1, "weighted_f1"), (2, "weighted_f2")):
        expected = judge.fbeta_score(targets, chosen, beta=beta, average="weighted")
        assert found[name] == pytest.approx(expected)
    assert made_statistics["dataset"] == {"item_count": 300}
    matrix = made_statistics["multiclass_classification_metrics"]["confusion_matrix"]
    assert matrix["b"]["c"] == int(((targets == 1) & (chosen == 2)).sum())
