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
from steps.inputs import Inputs
from steps.network import Rows, device, scores

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]


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
    """A network and the rows of a data set that it learns from."""

    network: gluon.HybridBlock
    inputs: Inputs  # how texts become what the network sees
    rows: Rows  # the data set's texts
    numbers: I64  # (rows,): each row's label
    targets: F32  # (rows, …): what `loss` compares with the network's output
    loss: gluon.loss.Loss
    columns: int  # of the network's output: one for each label, or one for the second of two
    after_step: Callable[[], None] = lambda: None  # what keeps the parameters within bounds
    finish: Callable[[], None] = lambda: None  # what the network needs at last, to see raw inputs

    def validation_scores(self, split: Split) -> F32:
        """What the network says of the validation rows: (rows, columns)."""
        return scores(self.network, self.rows, split.validation, self.columns)


def initialize(network: gluon.HybridBlock, seed: int) -> None:
    """Gives the network its first parameters, the same for the same seed."""
    mx.random.seed(_generator_seed(seed, 0))
    network.initialize(ctx=device())
    network.hybridize()


def assign(parameter: gluon.Parameter, value: Any) -> None:
    """Writes a value into a parameter. Its own `set_data` fails once a network has predicted: then
    convolutions and dense layers hold their weights in a layout of oneDNN's."""
    mx.nd.identity(value, out=parameter.data())


def automatic_batch_size(rows: int, largest: int) -> int:
    """A power of two that makes at least 40 steps of an epoch, between 16 and `largest` rows."""
    return min(largest, 1 << max(4, int(math.log2(max(1, rows / 40)))))


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
    size = settings.batch_size or automatic_batch_size(len(split.training), settings.LARGEST_BATCH)
    optimizer = mx.optimizer.Adam(
        learning_rate=settings.as_dict()["learning_rate"],
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


def _epoch(
    task: Task, split: Split, seed: int, number: int, size: int, trainer: gluon.Trainer
) -> Epoch:
    """One pass over the training rows, and a look at the validation rows."""
    began = time.perf_counter()
    random = np.random.default_rng((seed, number))
    mx.random.seed(_generator_seed(seed, number))  # of dropout
    order = random.permutation(split.training)
    total = mx.nd.zeros(1, ctx=device())
    for rows in task.rows.batches(order, size, random):
        inputs = task.rows.input(rows)
        targets = mx.nd.array(task.targets[rows], ctx=device())
        with autograd.record():
            loss = task.loss(task.network(inputs), targets)
        loss.backward()
        trainer.step(len(rows))
        task.after_step()
        total += loss.sum()
    train_loss = float(total.asscalar()) / len(order)
    seconds = time.perf_counter() - began
    validation = split.validation
    val_loss = val_accuracy = math.nan
    if len(validation):
        made = task.validation_scores(split)
        losses = task.loss(mx.nd.array(made), mx.nd.array(task.targets[validation]))
        val_loss = float(losses.mean().asscalar())
        val_accuracy = float(np.mean(_chosen(made) == task.numbers[validation]))
    return Epoch(number, train_loss, val_loss, val_accuracy, len(order) / seconds)


def _chosen(made: F32) -> I64:
    """The number of the label that the scores choose."""
    if made.shape[1] == 1:
        positive: I64 = (made[:, 0] > 0).astype(np.int64)
        return positive
    largest: I64 = made.argmax(axis=1)
    return largest


def _generator_seed(seed: int, epoch: int) -> int:
    """A seed for MXNet's generators, which take a single number."""
    return int(np.random.SeedSequence((seed, epoch)).generate_state(1)[0] >> 1)


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
        assign(parameters[name], mx.nd.array(array, dtype=array.dtype, ctx=device()))


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
