from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steps.classifier import Classifier
from steps.table import read_table
from steps.train import train
from tests.steps.small_models import UNTRACKED, training_job

IMDB = Path(__file__).parents[3] / "shared" / "data" / "imdb"


# What the threshold promises holds for rows like those of validation, which are easier than the
# test's: reviews of one film stand in both parts of the training data.
@pytest.mark.parametrize(
    ("kind", "accuracy", "precision"), [("ngram", 0.925, 0.93), ("fasttext", 0.90, 0.90)]
)
@pytest.mark.skipif(not IMDB.is_dir(), reason="the IMDb reviews are not beside the repository")
def test_reviews_are_classified_as_well_as_they_should_be(
    tmp_path: Path, kind: str, accuracy: float, precision: float
) -> None:
    job = training_job(
        tmp_path,
        read_table(IMDB / "train.csv.xz", "review", "sentiment"),
        kind=kind,
        review_precision="0.95",
    )
    train(job, UNTRACKED)
    model = Classifier.load(job.model)
    test = read_table(IMDB / "test.csv.xz", "review", "sentiment")
    made = model.probabilities(test.texts)
    right = made.argmax(axis=1) == np.array([model.labels.index(label) for label in test.labels])
    assert right.mean() >= accuracy
    # A confidence is worth what it says, and what needs no review is as precise as was asked for.
    confidence = made.max(axis=1)
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.02)
    assert right[confidence >= model.threshold].mean() >= precision
