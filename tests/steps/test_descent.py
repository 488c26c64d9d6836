from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from steps import descent
from steps.checkpoints import Arrays, Checkpoints
from steps.container import Stopped
from steps.descent import Epoch, Split, Task, descend, initialize
from steps.models.ngram import NgramHyperparameters
from steps.network import F32, I64, value

RANDOM = np.random.default_rng(0)
SEEN = RANDOM.normal(size=(200, 3)).astype(np.float32)
LABELS = (SEEN @ np.array([1.0, -2.0, 0.5]) > 0).astype(np.int64)
EVERY = np.arange(200)


class Points:
    """Rows that are points already."""

    def __len__(self) -> int:
        return len(SEEN)

    def input(self, numbers: I64, context: Any = None) -> Any:
        return mx.nd.array(SEEN[numbers], ctx=context)

    def touched(self, numbers: I64) -> I64:
        return numbers

    def groups(self, numbers: I64) -> list[I64]:
        return [numbers] if len(numbers) else []

    def batches(
        self,
        numbers: I64,
        size: int,
        random: np.random.Generator,  # noqa: ARG002
    ) -> list[I64]:
        return [numbers[first : first + size] for first in range(0, len(numbers), size)]


def task(**given: Any) -> Task:
    network = mx.gluon.nn.Dense(2, in_units=3, prefix="points_")
    initialize(network, seed=1)
    made = Task(
        network=network,
        inputs=None,  # type: ignore[arg-type]
        rows=Points(),
        numbers=LABELS,
        targets=LABELS.astype(np.float32),
        loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(),
        columns=2,
    )
    return replace(made, **given)


def learnt(made: Task, split: Split | None = None, **given: Any) -> tuple[F32, list[Epoch]]:
    """How far the weights of a task went, and its epochs."""
    epochs: list[Epoch] = []
    before = value(made.network.weight).asnumpy()
    settings = NgramHyperparameters(**{"epochs": 1, "learning_rate": 0.1} | given)
    descend(made, split or Split(EVERY, EVERY[:0]), settings, epochs.append)
    return value(made.network.weight).asnumpy() - before, epochs


def plain_descent(**given: Any) -> Any:
    given.pop("begin_num_update")
    return mx.optimizer.SGD(**given)


def test_what_is_separable_is_learnt() -> None:
    _, epochs = learnt(task(), Split(EVERY[:150], EVERY[150:]), epochs=20, patience=20)
    assert epochs[-1].val_accuracy > 0.9
    assert epochs[-1].val_macro_f1 == pytest.approx(epochs[-1].val_accuracy, abs=0.05)


def test_gradients_are_no_longer_than_the_clip() -> None:
    batch: dict[str, Any] = {"batch_size": 200, "learning_rate": 1.0}
    free, _ = learnt(task(optimizer=plain_descent), **batch)
    clipped, _ = learnt(task(optimizer=plain_descent, clip=0.01), **batch)
    loose, _ = learnt(task(optimizer=plain_descent, clip=1e3), **batch)
    assert np.linalg.norm(free) > 0.1
    assert 0.005 < np.linalg.norm(clipped) <= 0.01 + 1e-6
    assert np.allclose(loose, free)


def test_the_rate_is_asked_for_each_step_by_the_epochs_gone() -> None:
    asked: list[float] = []

    def rate(gone: float) -> float:
        asked.append(gone)
        return 0.0

    moved, _ = learnt(task(rate=rate), epochs=2, patience=2, batch_size=50)
    assert asked == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75]
    assert not moved.any()


def test_rows_count_in_the_loss_by_their_weights() -> None:
    weights = (EVERY < 100).astype(np.float32)
    batch: dict[str, Any] = {"batch_size": 200, "learning_rate": 1.0}
    weighted, (epoch,) = learnt(task(optimizer=plain_descent, weights=weights), **batch)
    half, (alone,) = learnt(
        task(optimizer=plain_descent), Split(EVERY[:100], EVERY[:0]), **batch | {"batch_size": 100}
    )
    assert np.allclose(weighted, half / 2, atol=1e-6)
    assert epoch.train_loss == pytest.approx(alone.train_loss / 2)


@pytest.mark.parametrize(("monitor", "best"), [("loss", 2), ("accuracy", 3), ("macro_f1", 1)])
def test_the_best_epoch_is_the_one_that_the_monitored_figure_says(
    monkeypatch: pytest.MonkeyPatch, monitor: str, best: int
) -> None:
    figures = {1: (0.9, 0.5, 0.8), 2: (0.2, 0.6, 0.1), 3: (0.3, 0.7, 0.2), 4: (0.9, 0.1, 0.1)}
    after: dict[int, F32] = {}
    run: Callable[..., Epoch] = descent._epoch

    def told(made: Task, *more: Any) -> Epoch:
        real = run(made, *more)
        after[real.number] = made.network.weight.data().asnumpy()
        loss, accuracy, f1 = figures[real.number]
        return replace(real, val_loss=loss, val_accuracy=accuracy, val_macro_f1=f1)

    monkeypatch.setattr(descent, "_epoch", told)
    made = task()
    learnt(made, Split(EVERY[:150], EVERY[150:]), epochs=4, patience=4, monitor=monitor)
    assert np.array_equal(made.network.weight.data().asnumpy(), after[best])


def test_training_ends_when_patience_does(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.9, 0.5, 0.6, 0.4, 0.5, 0.6, 0.1])

    def told(_task: Task, _split: Split, progress: Any, *_: Any) -> Epoch:
        return Epoch(progress.epoch + 1, 1.0, next(losses), 0.5, 0.5, 1.0)

    monkeypatch.setattr(descent, "_epoch", told)
    _, epochs = learnt(task(), epochs=20, patience=2)
    assert len(epochs) == 6


def test_without_validation_rows_the_last_epoch_is_kept() -> None:
    made = task()
    _, epochs = learnt(made, epochs=3)
    assert len(epochs) == 3
    assert all(math.isnan(epoch.val_macro_f1) for epoch in epochs)


def test_several_descents_end_with_the_mean_of_what_each_reaches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached: list[F32] = []
    run: Callable[..., Epoch] = descent._epoch

    def told(made: Task, *more: Any) -> Epoch:
        epoch = run(made, *more)
        reached.append(value(made.network.weight).asnumpy())
        return epoch

    monkeypatch.setattr(descent, "_epoch", told)
    made = task(descents=3)
    learnt(made, batch_size=20)
    assert len(reached) == 3
    assert not any(np.allclose(one, other) for one, other in pairwise(reached))
    assert np.allclose(value(made.network.weight).asnumpy(), np.mean(reached, axis=0), atol=1e-6)


def test_descents_in_which_the_order_does_not_matter_reach_the_same() -> None:
    # All rows are one batch: where a descent ends depends on where it begins alone.
    batch: dict[str, Any] = {"batch_size": 200, "epochs": 3}
    once, _ = learnt(task(), **batch)
    thrice, _ = learnt(task(descents=3), **batch)
    assert np.allclose(once, thrice, atol=1e-6)


def test_later_descents_take_as_many_epochs_as_were_best_in_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([0.9, 0.5, 0.6, 0.7])
    asked: list[int] = []

    def told(_task: Task, split: Split, progress: Any, *_: Any) -> Epoch:
        asked.append(progress.epoch + 1)
        loss = next(losses) if len(split.validation) else math.nan
        return Epoch(asked[-1], 1.0, loss, 0.5, 0.5, 1.0)

    monkeypatch.setattr(descent, "_epoch", told)
    _, epochs = learnt(task(descents=3), Split(EVERY[:150], EVERY[150:]), epochs=20, patience=2)
    assert asked == [1, 2, 3, 4, 1, 2, 1, 2]
    seen = [(epoch.descent, epoch.number, math.isnan(epoch.val_loss)) for epoch in epochs]
    assert seen[:4] == [(1, number, False) for number in (1, 2, 3, 4)]
    assert seen[4:] == [(2, 2, True), (3, 2, True)], "of later descents the last epoch"


class Watched(Points):
    """Points that keep which of them each epoch learns from."""

    def __init__(self) -> None:
        self.epochs: list[list[int]] = []

    def batches(self, numbers: I64, size: int, random: np.random.Generator) -> list[I64]:
        self.epochs.append(sorted(numbers.tolist()))
        return super().batches(numbers, size, random)


def test_later_descents_learn_from_the_validation_rows_too_and_the_first_judges_them() -> None:
    split = Split(EVERY[:150], EVERY[150:])
    settings = NgramHyperparameters(epochs=1, learning_rate=0.1, batch_size=20)
    rows, once = Watched(), task()
    said = descend(task(descents=3, rows=rows), split, settings, lambda _: None)
    assert rows.epochs == [list(range(150)), list(range(200)), list(range(200))]
    assert np.array_equal(said, descend(once, split, settings, lambda _: None))
    assert np.array_equal(said, once.validation_scores(split))


def drawing() -> Any:
    """A network whose steps draw."""
    nn = mx.gluon.nn
    network = nn.HybridSequential(prefix="drawing_")
    with network.name_scope():
        network.add(nn.Dense(8, in_units=3), nn.Dropout(0.5), nn.Dense(2, in_units=8))
    initialize(network, seed=1)
    return network


@pytest.mark.parametrize("asked", [1, 4, 5, 6, 7, 12, 13, 14, 24])
def test_a_run_stopped_anywhere_ends_as_an_uninterrupted_one(tmp_path: Path, asked: int) -> None:
    """An epoch of the first descent asks after each of 5 steps and once while it looks at the
    validation rows, which is done once more when it has ended; one of the second after each of 10
    steps."""
    settings = NgramHyperparameters(epochs=2, learning_rate=0.1, batch_size=20)
    split = Split(EVERY[:90], EVERY[90:])
    whole, cut, resumed = (task(network=drawing(), descents=2) for _ in range(3))
    expected: list[Epoch] = []
    scores = descend(whole, split, settings, expected.append)
    checkpoints = Checkpoints(tmp_path, "f" * 64)
    answers = iter([False] * (asked - 1) + [True])
    epochs: list[Epoch] = []
    with pytest.raises(Stopped):
        descend(cut, split, settings, epochs.append, checkpoints, stopping=lambda: next(answers))
    again = descend(resumed, split, settings, epochs.append, checkpoints)
    assert np.array_equal(again, scores)
    assert same_parameters(resumed, whole)
    timeless = [[replace(each, samples_per_s=0) for each in some] for some in (expected, epochs)]
    assert str(timeless[0]) == str(timeless[1])  # as texts, where no number is not another


def test_a_run_that_is_stopped_again_and_again_gets_on(tmp_path: Path) -> None:
    settings = NgramHyperparameters(epochs=2, learning_rate=0.1, batch_size=20)
    split = Split(EVERY[:90], EVERY[90:])
    whole, checkpoints = task(network=drawing(), descents=2), Checkpoints(tmp_path, "f" * 64)
    descend(whole, split, settings, lambda _: None)
    stops = 0
    while True:
        made = task(network=drawing(), descents=2)
        answers = iter([False])
        try:
            descend(
                made,
                split,
                settings,
                lambda _: None,
                checkpoints,
                stopping=lambda answers=answers: next(answers, True),
            )
        except Stopped:
            stops += 1
        else:
            break
    assert stops > 10
    assert same_parameters(made, whole)


def same_parameters(one: Task, other: Task) -> bool:
    arrays = [task.network.collect_params().values() for task in (one, other)]
    return all(
        np.array_equal(value(a).asnumpy(), value(b).asnumpy()) for a, b in zip(*arrays, strict=True)
    )


@dataclass(frozen=True)
class Cut(Checkpoints):
    """Checkpoints of a training that ends when there are no epochs left."""

    left: Iterator[int]

    def save(self, arrays: Arrays) -> None:
        super().save(arrays)
        if next(self.left, None) is None:
            raise KeyboardInterrupt


@pytest.mark.parametrize("done", [0, 1, 2, 3, 4, 5])
def test_a_run_cut_in_any_descent_ends_as_an_uninterrupted_one(tmp_path: Path, done: int) -> None:
    settings = NgramHyperparameters(epochs=2, learning_rate=0.1, batch_size=20)
    split = Split(EVERY[:90], EVERY[90:])  # an epoch has 5 steps, later ones have 10
    whole, cut, resumed = (task(descents=3) for _ in range(3))
    scores = descend(whole, split, settings, lambda _: None)
    checkpoints = Cut(tmp_path, "f" * 64, iter(range(done)))
    with pytest.raises(KeyboardInterrupt):
        descend(cut, split, settings, lambda _: None, checkpoints)
    again = descend(resumed, split, settings, lambda _: None, Checkpoints(tmp_path, "f" * 64))
    assert np.array_equal(again, scores)
    assert same_parameters(resumed, whole)
