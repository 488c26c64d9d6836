"""Gradient descent for any kind of model: epochs, early stopping, checkpoints.

The order of the rows depends on the seed and the number of the epoch alone, so a run that resumes
after an epoch continues exactly as it would have gone on.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
import numpy.typing as npt
from mxnet import autograd, gluon

from steps.checkpoints import Arrays, Checkpoints
from steps.hyperparameters import Hyperparameters

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

_VALIDATION_ROWS = 1024  # rows of a batch where nothing is learnt


@dataclass(frozen=True)
class Split:
    """Which rows are learnt from, and which say how well."""

    training: I64
    validation: I64


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows came to. Losses and accuracy are means over rows."""

    number: int  # from 1
    train_loss: float
    val_loss: float  # not a number without validation rows, as the accuracy
    val_accuracy: float
    samples_per_s: float


@dataclass(frozen=True)
class Task:
    """A network and how it sees the rows of a data set."""

    network: gluon.HybridBlock
    inputs: Callable[[I64], Any]  # row numbers -> the network's input on `context`
    targets: F32  # (rows, columns): what `loss` compares with the network's output
    loss: gluon.loss.Loss
    correct: Callable[[F32, I64], int]  # (scores, row numbers) -> how many of them are right
    context: Any


def automatic_batch_size(rows: int) -> int:
    """A power of two that makes at least 40 steps of an epoch, between 16 and 256 rows."""
    return 1 << min(8, max(4, int(math.log2(max(1, rows / 40)))))


def descend(
    task: Task,
    split: Split,
    settings: Hyperparameters,
    report: Callable[[Epoch], None],
    checkpoints: Checkpoints | None = None,
) -> None:
    """Trains the network with Adam and leaves it with the parameters of its best epoch: the one
    with the lowest validation loss, or the last without validation rows."""
    state = checkpoints.load() if checkpoints else None
    progress = _Progress(task, state)
    size = settings.batch_size or automatic_batch_size(len(split.training))
    optimizer = mx.optimizer.Adam(
        learning_rate=settings.learning_rate,
        lazy_update=True,
        begin_num_update=progress.epoch * math.ceil(len(split.training) / size),
    )
    trainer = gluon.Trainer(task.network.collect_params(), optimizer, kvstore=None)
    if state:
        _restore_moments(trainer, state)
    while progress.epoch < settings.epochs and progress.since_best < settings.patience:
        epoch = _epoch(task, split, settings.seed, progress.epoch + 1, size, trainer)
        progress.add(epoch)
        report(epoch)
        if checkpoints:
            checkpoints.save(progress.state() | _moments(trainer))
    _set_parameters(task.network, progress.best)


def scores(task: Task, rows: I64) -> F32:
    """What the network says of the rows: (rows, columns)."""
    parts = [
        task.network(task.inputs(rows[first : first + _VALIDATION_ROWS])).asnumpy()
        for first in range(0, len(rows), _VALIDATION_ROWS)
    ]
    return np.concatenate([np.zeros((0, task.targets.shape[1]), np.float32), *parts])


def _epoch(
    task: Task, split: Split, seed: int, number: int, size: int, trainer: gluon.Trainer
) -> Epoch:
    """One pass over the training rows, and a look at the validation rows."""
    began = time.perf_counter()
    order = np.random.default_rng((seed, number)).permutation(split.training)
    total = mx.nd.zeros(1, ctx=task.context)
    for first in range(0, len(order), size):
        rows = order[first : first + size]
        inputs = task.inputs(rows)
        targets = mx.nd.array(task.targets[rows], ctx=task.context)
        with autograd.record():
            loss = task.loss(task.network(inputs), targets)
        loss.backward()
        trainer.step(len(rows))
        total += loss.sum()
    train_loss = float(total.asscalar()) / len(order)
    seconds = time.perf_counter() - began
    validation = split.validation
    val_loss = val_accuracy = math.nan
    if len(validation):
        made = scores(task, validation)
        losses = task.loss(mx.nd.array(made), mx.nd.array(task.targets[validation]))
        val_loss = float(losses.mean().asscalar())
        val_accuracy = task.correct(made, validation) / len(validation)
    return Epoch(number, train_loss, val_loss, val_accuracy, len(order) / seconds)


class _Progress:
    """How far a training is, and the best it has seen."""

    def __init__(self, task: Task, state: Arrays | None) -> None:
        self._network = task.network
        self.epoch = 0
        self.since_best = 0
        self.best_loss = math.inf
        self.best: Arrays = {}
        if state:
            self.epoch = int(state["epoch"])
            self.since_best = int(state["since_best"])
            self.best_loss = float(state["best_loss"])
            self.best = _unprefixed(state, "best:")
            _set_parameters(task.network, _unprefixed(state, "now:"))

    def add(self, epoch: Epoch) -> None:
        self.epoch = epoch.number
        self.since_best += 1
        if math.isnan(epoch.val_loss) or epoch.val_loss < self.best_loss:
            self.since_best = 0
            self.best_loss = epoch.val_loss
            self.best = _parameters(self._network)

    def state(self) -> Arrays:
        return {
            "epoch": np.array(self.epoch),
            "since_best": np.array(self.since_best),
            "best_loss": np.array(self.best_loss),
            **_prefixed("best:", self.best),
            **_prefixed("now:", _parameters(self._network)),
        }


def _parameters(network: gluon.HybridBlock) -> Arrays:
    return {name: item.data().asnumpy() for name, item in network.collect_params().items()}


def _set_parameters(network: gluon.HybridBlock, arrays: Arrays) -> None:
    parameters = network.collect_params()
    for name, array in arrays.items():
        parameters[name].set_data(mx.nd.array(array, dtype=array.dtype))


def _moments(trainer: gluon.Trainer) -> Arrays:
    """Adam's running means of each gradient and its square. The trainer's own way to save them is
    a pickle, and it has no public way to get at them."""
    (updater,) = trainer._updaters
    return {
        f"{kind}:{index}": moment.asnumpy()
        for index, moments in updater.states.items()
        for kind, moment in zip(("mean", "variance"), moments, strict=True)
    }


def _restore_moments(trainer: gluon.Trainer, state: Arrays) -> None:
    (updater,) = trainer._updaters
    for index, parameter in enumerate(trainer._params):
        weight = parameter.data()
        updater.states[index] = tuple(
            mx.nd.array(state[f"{kind}:{index}"], ctx=weight.context, dtype=weight.dtype)
            for kind in ("mean", "variance")
        )
        updater.states_synced[index] = True


def _prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {prefix + name: array for name, array in arrays.items()}


def _unprefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
