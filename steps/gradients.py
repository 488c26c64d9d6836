"""Steps of descent on all devices of all hosts.

Each device learns from its part of a batch. The gradients are summed over the devices of a host by
Gluon's kvstore and over hosts by MXNet's distributed one; then every device makes the same step, so
that all hold the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from steps.checkpoints import Arrays
from steps.container import Stopped
from steps.distributed import Hosts
from steps.half_precision import HalfPrecision
from steps.network import F32, I64

if TYPE_CHECKING:
    from steps.descent import Task


class Steps:
    """Steps of one training."""

    def __init__(
        self, task: Task, optimizer: Any, hosts: Hosts, stopping: Callable[[], bool]
    ) -> None:
        self._task, self._hosts, self._stopping = task, hosts, stopping
        self.stopped = False  # whether any host was to stop when it made the last step
        self._learning_rate = optimizer.learning_rate
        self._contexts = task.contexts
        parameters = task.network.collect_params()
        self._learnt = [each for each in parameters.values() if each.grad_req != "null"]
        # Parameters are updated here and not in a kvstore, because clipping needs the sums.
        self._trainer = gluon.Trainer(
            parameters,
            optimizer,
            kvstore="device" if len(self._contexts) > 1 else None,
            update_on_kvstore=False,
        )
        self._half = HalfPrecision(self._trainer) if task.half else None
        self._losses = [mx.nd.zeros(1, ctx=context) for context in self._contexts]
        self._last: list[Any] = []  # the last step's losses

    def step(self, rows: I64, gone: float) -> None:
        """Learns from the rows when `gone` epochs are done."""
        task = self._task
        parts = self._parts(rows)
        # The kvstore sums gradients of all devices: one without rows learns from any, times 0.
        seen = [part if len(part) else rows[:1] for part in parts]
        inputs = [
            task.rows.input(part, context)
            for part, context in zip(seen, self._contexts, strict=True)
        ]
        with autograd.record():
            losses = [
                task.losses(task.network(given), part)
                for given, part in zip(inputs, seen, strict=True)
            ]
            losses = [
                loss if len(part) else loss * 0 for loss, part in zip(losses, parts, strict=True)
            ]
            scaled = self._half.scaled(losses) if self._half else losses
        autograd.backward(scaled)
        # MXNet computes in the background. It may be one step behind: more gains nothing, and a
        # stop would have to wait for them all.
        for loss in self._last:
            loss.wait_to_read()
        self._last = losses
        if self._half:
            self._half.unscale()
        self._trainer.allreduce_grads()
        if self._hosts.count > 1:
            self._sum_over_hosts(rows)
        if task.clip:
            for place in range(len(self._contexts)):
                gradients = [each.list_grad()[place] for each in self._learnt]
                gluon.utils.clip_global_norm(gradients, task.clip * len(rows), check_isfinite=False)
        self._trainer.set_learning_rate(self._learning_rate * task.rate(gone))
        self._trainer.update(len(rows))
        task.after_step()
        for total, loss in zip(self._losses, losses, strict=True):
            total += loss.sum()
        if self._hosts.count == 1:
            self.stopped = self._stopping()

    def check_stop(self) -> None:
        """Raises Stopped when it is time, outside of a step. Several hosts wait for their next one,
        after which all of them stop."""
        if self._hosts.count == 1 and self._stopping():
            raise Stopped

    def loss(self) -> float:
        """The sum of all hosts' losses since the last `begin_epoch`."""
        own = sum(float(total.asscalar()) for total in self._losses)
        return float(self._hosts.sum(np.array([own], np.float32))[0])

    def begin_epoch(self) -> None:
        for total in self._losses:
            total[:] = 0

    def state(self, loss: float) -> Arrays:
        """What `restore` needs, and the number of updates, which the optimiser begins with: the
        loss of this epoch, and Adam's running means of each gradient and its square, the same on
        every device. The trainer's own way to save them is a pickle, and it has no public way to
        get at them."""
        moments = {
            f"{kind}:{index}": moment.asnumpy()
            for index, moments in self._trainer._updaters[0].states.items()
            for kind, moment in zip(("mean", "variance"), moments, strict=True)
        }
        half = self._half.state() if self._half else {}
        return {
            **moments,
            **half,
            "updates": np.array(self._trainer.optimizer.num_update),
            "loss": np.array(loss, np.float32),
        }

    def restore(self, state: Arrays) -> None:
        """Goes on from the state in a checkpoint."""
        if self._hosts.number == 0:
            self._losses[0][:] = float(state["loss"])
        if self._half:
            self._half.restore(state)
        for place, updater in enumerate(self._trainer._updaters):
            for index, parameter in enumerate(self._trainer._params):
                if f"mean:{index}" not in state:  # a parameter that nothing learns
                    continue
                weight = parameter.list_data()[place]
                updater.states[index] = tuple(
                    mx.nd.array(state[f"{kind}:{index}"], ctx=weight.context, dtype=weight.dtype)
                    for kind in ("mean", "variance")
                )
                updater.states_synced[index] = True

    def _parts(self, rows: I64) -> list[I64]:
        """The rows that each device of this host learns from."""
        devices = len(self._contexts)
        parts = np.array_split(rows, self._hosts.count * devices)
        return parts[self._hosts.number * devices :][:devices]

    def _sum_over_hosts(self, rows: I64) -> None:
        gradients = [each.list_grad()[0] for each in self._learnt]
        sparse = any(gradient.stype != "default" for gradient in gradients)
        touched = self._task.rows.touched(rows) if sparse else rows[:0]
        own = [_plain(gradient, touched) for gradient in gradients]
        # With the gradients goes whether a host is to stop, so that all do so after the same step.
        stopping = np.array([self._stopping()], np.float32)
        summed = self._hosts.sum(np.concatenate([*(array.ravel() for array in own), stopping]))
        self.stopped = bool(summed[-1])
        ends = np.cumsum([array.size for array in own])
        for each, part, array in zip(self._learnt, np.split(summed, ends)[:-1], own, strict=True):
            for gradient in each.list_grad():
                _write(gradient, part.reshape(array.shape), touched)


def _plain(gradient: Any, touched: I64) -> F32:
    """A gradient as a plain array; of one with the storage type row_sparse the touched rows."""
    if gradient.stype == "default":
        dense: F32 = gradient.asnumpy()
        return dense
    made = np.zeros((len(touched), *gradient.shape[1:]), np.float32)
    made[np.searchsorted(touched, gradient.indices.asnumpy())] = gradient.data.asnumpy()
    return made


def _write(gradient: Any, summed: F32, touched: I64) -> None:
    """Puts into a gradient what `_plain` took out of it, summed."""
    if gradient.stype == "default":
        gradient[:] = summed
        return
    mx.nd.sparse.row_sparse_array(
        (summed, touched), shape=gradient.shape, ctx=gradient.context
    ).copyto(gradient)
