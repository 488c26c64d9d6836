"""How far a training is: what descent tells."""

from __future__ import annotations

import itertools

from steps.descent import Position, Split, descend
from steps.models.ngram import NgramHyperparameters
from tests.steps.test_descent import EVERY as ROWS
from tests.steps.test_descent import task


def test_every_step_of_every_epoch_of_every_descent_is_told_in_order() -> None:
    seen: list[Position] = []
    settings = NgramHyperparameters(epochs=2, patience=2, learning_rate=0.1, batch_size=80)
    split = Split(ROWS, ROWS[:0])
    descend(task(descents=2), split, settings, lambda _: None, stepped=seen.append)
    every = itertools.product((1, 2), (1, 2), (1, 2, 3))
    assert seen == [Position(descent, 2, epoch, step, 3) for descent, epoch, step in every]
