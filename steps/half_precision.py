"""Training in float16 with MXNet's automatic mixed precision: weights and sums stay in float32.

The loss is multiplied by a scale that grows until a gradient overflows; the step that overflows is
left out (Micikevicius et al. 2018, "Mixed Precision Training"). An exported network has none of it.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet import gluon
from mxnet.contrib import amp

from steps.errors import InputError


def begin() -> None:
    """Makes MXNet choose a type for each operation, from here on in this process: before the
    network is made. Raises InputError without a GPU."""
    if not mx.context.num_gpus():
        raise InputError(
            "hyperparameter float16 is true, but there is no GPU here: "
            "choose an instance type with one, or float16=false"
        )
    amp.init()


class HalfPrecision:
    """The scale of the losses of one trainer."""

    def __init__(self, trainer: gluon.Trainer) -> None:
        self._trainer = trainer
        amp.init_trainer(trainer)

    def scaled(self, loss: Any) -> Any:
        """The loss to start backpropagation from."""
        with amp.scale_loss(loss, self._trainer) as made:
            return made

    def unscale(self) -> None:
        """Brings the gradients back to the size they would have without a scale."""
        amp.unscale(self._trainer)
