"""Gradient descent for any kind of model: epochs, early stopping, checkpoints.

The order of the rows depends on the seed and the number of the epoch alone, what a step draws on
that of the step, too: a run that resumes after any step continues exactly as it would have gone on.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon

from steps import metrics
from steps.checkpoints import Arrays, Checkpoints
from steps.container import Stopped
from steps.distributed import ONE_HOST, Hosts
from steps.gradients import Steps
from steps.hyperparameters import Hyperparameters
from steps.inputs import Inputs
from steps.network import F32, I64, Rows, assign, devices, scores, value

ADAM = partial(mx.optimizer.Adam, lazy_update=True)


@dataclass(frozen=True)
class Split:
    """Which rows are learnt from, and which say how well."""

    training: I64
    validation: I64

    def whole(self) -> Split:
        """All rows to learn from, none to say how well."""
        every = np.sort(np.concatenate([self.training, self.validation]))
        return Split(every, self.validation[:0])


@dataclass(frozen=True)
class Examples:
    """Labelled texts, and what else a training job was given."""

    texts: Sequence[str]
    targets: I64  # (rows,): each row's label by its number
    labels: int
    split: Split
    channel: Callable[[str], Path]  # the folder of an input channel by its name; it may not exist

    @property
    def learnt(self) -> list[str]:
        """The texts that are learnt from."""
        return [self.texts[row] for row in self.split.training]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows came to. Losses and accuracy are means over rows."""

    number: int  # from 1
    train_loss: float
    val_loss: float  # not a number without validation rows, as the two that follow
    val_accuracy: float
    val_macro_f1: float
    samples_per_s: float
    descent: int = 1  # the number of the descent that it belongs to


@dataclass(frozen=True)
class Position:
    """How far a training is. Everything counts from 1."""

    descent: int
    descents: int  # in all
    epoch: int  # of this descent
    step: int  # of this epoch, the last
    steps: int  # in this epoch


def unwatched(_: Position) -> None:
    """Does not care how far a training is."""


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
    weights: F32 | None = None  # (rows,): what each row counts in the loss; None: all alike
    optimizer: Callable[..., Any] = ADAM
    rate: Callable[[float], float] = lambda _: 1.0  # of the learning rate, by the epochs gone
    clip: float | None = None  # the largest norm of all gradients together, for a row's mean loss
    half: bool = False  # float16 where it is safe, with dynamic loss scaling: on a GPU only
    draws: bool = True  # whether a step draws from MXNet's generators, as dropout does
    after_step: Callable[[], None] = lambda: None  # what keeps the parameters within bounds
    descents: int = 1  # from the same beginning, whose mean is what is learnt
    finish: Callable[[Any], Any] = lambda network: network  # into one that sees raw inputs

    @classmethod
    def softmax(
        cls,
        network: gluon.HybridBlock,
        inputs: Inputs,
        rows: Rows,
        examples: Examples,
        **more: Any,
    ) -> Task:
        """The task of telling labels apart by a network with an output for each, their
        probabilities the softmax of these."""
        return cls(
            network=network,
            inputs=inputs,
            rows=rows,
            numbers=examples.targets,
            targets=examples.targets.astype(np.float32),
            loss=gluon.loss.SoftmaxCrossEntropyLoss(),
            columns=examples.labels,
            **more,
        )

    @property
    def contexts(self) -> list[Any]:
        """The devices that hold the network."""
        return contexts(self.network)

    def losses(self, made: Any, rows: I64) -> Any:
        """The loss of each of the rows that the network `made` its scores of: (rows,)."""
        targets = mx.nd.array(self.targets[rows], ctx=made.context)
        if self.weights is None:
            return self.loss(made, targets)
        return self.loss(made, targets, mx.nd.array(self.weights[rows, None], ctx=made.context))

    def validation_scores(
        self, split: Split, hosts: Hosts = ONE_HOST, between: Callable[[], None] = lambda: None
    ) -> F32:
        """What the network says of the validation rows: (rows, columns). Each host asks it about
        its part of them, and gets the same answer for all. `between` is called now and then."""
        made = np.zeros((len(split.validation), self.columns), np.float32)
        places = np.array_split(np.arange(len(split.validation)), hosts.count)[hosts.number]
        own = split.validation[places]
        made[places] = scores(self.network, self.rows, own, self.columns, self.contexts, between)
        return hosts.sum(made)


def initialize(
    network: gluon.HybridBlock, seed: int, initializer: mx.init.Initializer | None = None
) -> None:
    """Gives the network its first parameters, the same for the same seed."""
    mx.random.seed(_generator_seed(seed, 0))
    network.initialize(initializer or mx.init.Uniform(), ctx=devices())
    network.hybridize()


def contexts(network: gluon.HybridBlock) -> list[Any]:
    """The devices that hold a network."""
    found: list[Any] = next(iter(network.collect_params().values())).list_ctx()
    return found


def fingerprint(network: gluon.HybridBlock) -> str:
    """The sha256 of the network's parameters: of given weights and random ones alike."""
    digest = hashlib.sha256()
    for name, array in _parameters(network).items():
        digest.update(f"{name} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def automatic_batch_size(rows: int, largest: int) -> int:
    """A power of two that makes at least 40 steps of an epoch, between 16 and `largest` rows."""
    return min(largest, 1 << max(4, int(math.log2(max(1, rows / 40)))))


def descend(
    task: Task,
    split: Split,
    settings: Hyperparameters,
    report: Callable[[Epoch], None],
    checkpoints: Checkpoints | None = None,
    hosts: Hosts = ONE_HOST,
    stopping: Callable[[], bool] = lambda: False,
    stepped: Callable[[Position], None] = unwatched,
) -> F32:
    """Trains the network and leaves it with the parameters of its best epoch: the one whose
    validation rows say so by the monitored figure, or the last without validation rows.

    A task of several descents then begins again from the same parameters, with all rows in other
    orders, those of validation too, for as many epochs as were best, and ends with the mean of the
    parameters of all: chance in the order averages out (bagging, Breiman 1996, by orders instead of
    samples). Of these descents the last epoch alone is reported.

    After each step `stepped` hears how far it is.

    All hosts make the same steps and hear the same figures, so that all end with the same
    parameters. Each goes on from the checkpoint in its own folder. The first host writes them,
    after each epoch and after the step that a stop arrives in.

    Returns what the first descent says of the validation rows, which it has not learnt from:
    (rows, columns).

    Raises Stopped when `stopping` says so on any of the hosts.
    """
    state = checkpoints.load() if checkpoints else None
    progress = _Progress(task, settings, state)
    hosts.agree("place in its checkpoint", progress.place())
    size = settings.batch_size or automatic_batch_size(len(split.training), settings.LARGEST_BATCH)

    def keep(steps: Steps, loss: float) -> None:
        if checkpoints and hosts.number == 0:
            checkpoints.save(progress.state() | steps.state(loss))

    while progress.descent < task.descents:
        learnt = split.whole() if progress.descent else split
        optimizer = task.optimizer(
            learning_rate=settings.as_dict()["learning_rate"],
            begin_num_update=int(state["updates"]) if state else 0,
        )
        steps = Steps(task, optimizer, hosts, stopping)
        if state:
            steps.restore(state)
            state = None
        while progress.goes_on():
            try:
                epoch = _epoch(task, learnt, progress, size, steps, hosts, stepped)
            except Stopped:
                loss = steps.loss()  # a sum, to which all hosts have to add
                hosts.agree("place", progress.place())  # none ends before all have the sum
                keep(steps, loss)
                raise
            progress.add(epoch)
            steps.begin_epoch()
            if not progress.descent or not progress.goes_on():
                report(replace(epoch, descent=progress.descent + 1))
            keep(steps, loss=0.0)
        progress.end_descent()
        if progress.descent == 1:
            progress.scores = task.validation_scores(split, hosts, steps.check_stop)
        progress.begin_again()
    _set_parameters(task.network, progress.mean())
    return progress.scores


def _epoch(
    task: Task,
    split: Split,
    progress: _Progress,
    size: int,
    steps: Steps,
    hosts: Hosts,
    stepped: Callable[[Position], None],
) -> Epoch:
    """What is left of one pass over the training rows, and a look at the validation rows."""
    began = time.perf_counter()
    seed, number = progress.seed(), progress.epoch + 1
    random = np.random.default_rng((seed, number))
    order = random.permutation(split.training)
    batches = task.rows.batches(order, size, random)
    learnt = 0
    for rows in batches[progress.steps :]:
        if task.draws:
            mx.random.seed(_generator_seed(seed, number, progress.steps, hosts.number))
        steps.step(rows, progress.epoch + progress.steps / len(batches))
        progress.steps += 1
        learnt += len(rows)
        stepped(Position(progress.descent + 1, task.descents, number, progress.steps, len(batches)))
        if steps.stopped:
            raise Stopped
    train_loss = steps.loss() / len(order)
    seconds = time.perf_counter() - began
    val_loss = val_accuracy = val_macro_f1 = math.nan
    if len(split.validation):
        made = task.validation_scores(split, hosts, steps.check_stop)
        val_loss = float(task.losses(mx.nd.array(made), split.validation).mean().asscalar())
        truth, chosen = task.numbers[split.validation], _chosen(made)
        val_accuracy = float(np.mean(chosen == truth))
        labels = max(2, made.shape[1])
        val_macro_f1 = metrics.macro_f1(metrics.confusion_matrix(truth, chosen, labels))
    return Epoch(number, train_loss, val_loss, val_accuracy, val_macro_f1, learnt / seconds)


def _chosen(made: F32) -> I64:
    """The number of the label that the scores choose."""
    if made.shape[1] == 1:
        positive: I64 = (made[:, 0] > 0).astype(np.int64)
        return positive
    largest: I64 = made.argmax(axis=1)
    return largest


def _generator_seed(*parts: int) -> int:
    """A seed for MXNet's generators, which take a single number."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0] >> 1)


class _Progress:
    """How far a training is, and what it keeps of what it has seen."""

    def __init__(self, task: Task, settings: Hyperparameters, state: Arrays | None) -> None:
        self._network = task.network
        self._settings = settings
        self._beginning = _parameters(task.network)
        self.descent = 0  # the number of those that have ended
        self.epoch = 0  # of this descent: how many have ended
        self.steps = 0  # of the epoch that has not
        self._best_epoch = 0  # of the first descent
        self._most = -math.inf
        self._kept: Arrays = {}  # of the first descent the best; then the sum over those that ended
        self.scores = np.zeros((0, task.columns), np.float32)  # the first descent's, of validation
        if state:
            self.descent, self.epoch, self.steps, self._best_epoch = state["place"].tolist()
            self._most = float(state["most"])
            self._kept = _unprefixed(state, "kept:")
            self.scores = state["scores"].astype(np.float32)
            _set_parameters(task.network, _unprefixed(state, "now:"))

    def goes_on(self) -> bool:
        """Whether this descent has another epoch."""
        if self.descent:
            return self.epoch < self._best_epoch
        waited = self.epoch - self._best_epoch
        return self.epoch < self._settings.most_epochs and waited < self._settings.patience

    def place(self) -> str:
        return f"{self.steps} steps after epoch {self.epoch} of descent {self.descent + 1}"

    def seed(self) -> int:
        """Another one for each descent."""
        return self._settings.seed + (self.descent << 32)

    def add(self, epoch: Epoch) -> None:
        self.epoch += 1
        self.steps = 0
        good = {
            "loss": -epoch.val_loss,
            "accuracy": epoch.val_accuracy,
            "macro_f1": epoch.val_macro_f1,
        }[self._settings.monitor]
        if not self.descent and (math.isnan(good) or good > self._most or not self._kept):
            self._best_epoch = self.epoch
            self._most = good
            self._kept = _parameters(self._network)

    def end_descent(self) -> None:
        """Leaves the network with what the descent is kept for."""
        if self.descent:
            reached = _parameters(self._network)
            self._kept = {name: np.add(array, reached[name]) for name, array in self._kept.items()}
        else:
            _set_parameters(self._network, self._kept)
        self.descent += 1

    def begin_again(self) -> None:
        self.epoch = 0
        _set_parameters(self._network, self._beginning)

    def mean(self) -> Arrays:
        """Over the descents that have ended."""
        if self.descent == 1:
            return self._kept
        share = np.float32(1 / self.descent)
        return {name: np.multiply(array, share) for name, array in self._kept.items()}

    def state(self) -> Arrays:
        return {
            "place": np.array([self.descent, self.epoch, self.steps, self._best_epoch]),
            "most": np.array(self._most),
            "scores": self.scores,
            **_prefixed("kept:", self._kept),
            **_prefixed("now:", _parameters(self._network)),
        }


def _parameters(network: gluon.HybridBlock) -> Arrays:
    return {name: value(item).asnumpy() for name, item in network.collect_params().items()}


def _set_parameters(network: gluon.HybridBlock, arrays: Arrays) -> None:
    parameters = network.collect_params()
    for name, array in arrays.items():
        assign(parameters[name], mx.nd.array(array, dtype=array.dtype))


def _prefixed(prefix: str, arrays: Arrays) -> Arrays:
    return {prefix + name: array for name, array in arrays.items()}


def _unprefixed(arrays: Arrays, prefix: str) -> Arrays:
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
