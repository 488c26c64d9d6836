from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steps import class_weights
from steps.classifier import Classifier
from steps.errors import InputError
from steps.table import Table
from tests.steps.small_models import SMALL, claims, trained

LABELS = ["fire", "leak", "noise"]
TARGETS = np.array([0, 1, 1, 1, 1, 2, 2, 2])
ALL = np.arange(8)


def test_rows_that_all_count_alike_have_no_weights() -> None:
    assert class_weights.of_rows("none", LABELS, TARGETS, ALL) is None


def test_balanced_labels_count_alike_and_a_row_one_on_the_average() -> None:
    made = class_weights.of_rows("balanced", LABELS, TARGETS, ALL)
    assert made is not None
    assert [made[label == TARGETS].sum() for label in range(3)] == pytest.approx([8 / 3] * 3)


def test_the_balance_is_that_of_the_rows_that_are_learnt_from() -> None:
    made = class_weights.of_rows("balanced", LABELS, TARGETS, np.array([0, 1, 2, 5]))
    assert made is not None
    assert made[[0, 1, 5]].tolist() == pytest.approx([4 / 3, 4 / 6, 4 / 3])
    assert made[4] == made[1], "rows of validation count as their label does"


def test_a_mapping_names_what_counts_more_or_less() -> None:
    made = class_weights.of_rows('{"fire": 5, "noise": 0.5}', LABELS, TARGETS, ALL)
    assert made is not None
    assert made.tolist() == [5, 1, 1, 1, 1, 0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "text",
    [
        *("", "many", "[1]", "3", "{", "[" * 100_000),
        *('{"fire": 0}', '{"fire": -1}', '{"fire": "2"}', '{"fire": true}', '{"fire": 1e9}'),
        '{"fire": NaN}',
    ],
)
def test_what_is_no_weighting_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match="expected none, balanced or a JSON object") as refused:
        class_weights.parse(text)
    assert "\n" not in str(refused.value)


def test_a_weight_of_a_label_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match=r"weight for 'fires', which is no label .* fire, leak"):
        class_weights.of_rows('{"fires": 2}', LABELS, TARGETS, ALL)


def test_labels_with_lines_of_their_own_are_told_in_one() -> None:
    with pytest.raises(InputError) as refused:
        class_weights.of_rows('{"fires": 2}', ["fire\nin\x85 the", "leak\x1b[2J"], TARGETS, ALL)
    assert str(refused.value).endswith("it has fire in  the, leak\N{REPLACEMENT CHARACTER}[2J")


@pytest.fixture(scope="module")
def rare() -> Table:
    """Claims where a few rows of one label look like the many of another."""
    table = claims(300, labels=("leak", "noise"))
    return Table(
        [*table.texts, *["humming drips"] * 44], [*table.labels, *["fire"] * 4, *["leak"] * 40]
    )


@pytest.mark.parametrize("kind", SMALL)
def test_a_label_that_counts_more_is_more_probable(tmp_path: Path, rare: Table, kind: str) -> None:
    said = []
    for weights in ("none", '{"fire": 50}'):
        given = SMALL[kind] | {"class_weights": weights, "validation_share": "0"}
        model = Classifier.load(trained(tmp_path / weights, rare, **given))
        said.append(model.probabilities(["humming drips"])[0, model.labels.index("fire")])
    assert said[1] > 2 * said[0]
