"""What training and prediction share of MXNet: where it runs, and the input it gets."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from steps.features import Features

# MXNet would say for each new shape that a sparse array was handled as a dense one.
os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")

import mxnet as mx


def device() -> Any:
    """The GPU if there is one, else the CPU."""
    return mx.gpu(0) if mx.context.num_gpus() else mx.cpu()


def csr(rows: Features, values: npt.NDArray[np.float32], buckets: int, context: Any) -> Any:
    """The rows with the values of their features as a CSR matrix of shape (rows, buckets)."""
    return mx.nd.sparse.csr_matrix(
        (values, rows.buckets, rows.starts), shape=(len(rows), buckets), ctx=context
    )
