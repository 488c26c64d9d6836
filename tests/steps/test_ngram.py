from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from steps.classifier import Classifier
from steps.features import Features
from steps.models import ngram
from steps.models.ngram import automatic_bits, known_buckets, log_count_ratios
from steps.network import F32
from steps.train import split_rows
from tests.steps.small_models import claims, trained


def rows(*sets: list[int]) -> Features:
    starts = np.cumsum([0, *(len(each) for each in sets)])
    return Features(np.concatenate(sets).astype(np.int32), starts)


def ratios_of(made: Features, labels: list[int], buckets: int) -> F32:
    every = np.arange(len(made))
    counts = made.counts(every, buckets)
    return log_count_ratios(made, counts, every, np.array(labels), max(labels) + 1, smoothing=1.0)


def test_ratios_follow_their_formula() -> None:
    made = rows([0, 1], [0], [0, 2], [2])
    ratios = ratios_of(made, [0, 0, 0, 1], 4)
    # Label 0 is three quarters of the rows, label 1 one quarter.
    expected = [
        math.log((3 / 0.75 + 1) / (0 + 1)),
        math.log((1 / 0.75 + 1) / (0 + 1)),
        math.log((1 / 0.25 + 1) / (1 / 0.75 + 1)),
        0.0,
    ]
    assert np.allclose(ratios, expected)


def test_a_bucket_that_is_as_frequent_everywhere_tells_nothing() -> None:
    made = rows([5], [5], [5], [5])
    assert ratios_of(made, [0, 1, 2, 2], 8)[5] == pytest.approx(0)


@pytest.mark.parametrize(
    ("distinct", "columns", "bits"),
    [
        (0, 1, 10),
        (1000, 1, 10),
        (1025, 1, 11),
        (230_000, 9, 18),
        (2_400_000, 1, 22),
        (50_000_000, 1, 22),
        (2_400_000, 40, 19),  # 40 columns of 2 ** 22 weights would be too many
        (2_400_000, 10_000, 11),
    ],
)
def test_as_many_buckets_as_the_data_needs_and_memory_allows(
    distinct: int, columns: int, bits: int
) -> None:
    assert automatic_bits(distinct, columns) == bits


def test_of_many_features_those_are_learnt_that_two_rows_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = rows([2, 5], [2, 7], [], [7, 9])
    counts = made.counts(np.arange(4), 16)
    assert known_buckets(counts).tolist() == [2, 5, 7, 9]
    monkeypatch.setattr(ngram, "_MANY_FEATURES", 4)
    assert known_buckets(counts).tolist() == [2, 7]
    assert len(known_buckets(np.zeros(16, np.int64))) == 1


def test_a_model_of_many_features_scores_as_it_did_in_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngram, "_MANY_FEATURES", 1)
    table = claims(400)
    model = Classifier.load(trained(tmp_path, table, descents="1"))
    targets = np.array([model.labels.index(label) for label in table.labels])
    _, validation = split_rows(targets, 0.1, 0)
    made = model.probabilities([table.texts[row] for row in validation])
    given = made[np.arange(len(validation)), targets[validation]]
    said = model.info["validation"]["validation_log_loss"]
    assert -np.log(given).mean() == pytest.approx(said, rel=1e-4)
