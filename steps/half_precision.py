"""Training in float16 with MXNet's automatic mixed precision: weights and sums stay in float32.

The loss is multiplied by a scale that grows until a gradient overflows; the step that overflows is
left out (Micikevicius et al. 2018, "Mixed Precision Training"). An exported network has none of it.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import gluon
from mxnet.contrib import amp

from steps.checkpoints import Arrays
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

    def state(self) -> Arrays:
        """The scale, and for how many steps no gradient has overflowed."""
        scaler = self._trainer._amp_loss_scaler
        return {"scale": np.array([scaler._loss_scale, scaler._next_loss_scale, scaler._unskipped])}

    def restore(self, state: Arrays) -> None:
        """Goes on with what `state` returned."""
        scaler = self._trainer._amp_loss_scaler
        scaler._loss_scale, scaler._next_loss_scale, unskipped = state["scale"].tolist()
        scaler._unskipped = int(unskipped)

    def unscale(self) -> None:
        """Brings the gradients back to the size they would have without a scale."""
        amp.unscale(self._trainer)
