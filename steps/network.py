"""What training and prediction share of MXNet: where it runs, and how a network sees texts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from steps.features import Features
from steps.vocabulary import PADDING

# MXNet would say for each new shape that a sparse array was handled as a dense one.
os.environ.setdefault("MXNET_STORAGE_FALLBACK_LOG_VERBOSE", "0")

import mxnet as mx

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]


_SCORED_ROWS = 1024
_SCORED_CELLS = 1 << 15  # of a dense input: what bounds the memory of a convolution
_STEP = 16  # lengths of dense inputs are multiples: MXNet prepares itself for each new shape
_POOL = 50  # batches that are sorted by length together


def devices() -> list[Any]:
    """Every GPU of this machine; without one, the CPU."""
    return [mx.gpu(number) for number in range(mx.context.num_gpus())] or [mx.cpu()]


def device() -> Any:
    """The first GPU if there is one, else the CPU."""
    return mx.gpu(0) if mx.context.num_gpus() else mx.cpu()


def value(parameter: Any) -> Any:
    """What a parameter holds; every device holds the same."""
    return parameter.list_data()[0]


def assign(parameter: Any, given: Any) -> None:
    """Writes a value into a parameter, on every device. Its own `set_data` fails once a network has
    predicted: then convolutions and dense layers hold their weights in a layout of oneDNN's."""
    for array in parameter.list_data():
        mx.nd.identity(given.as_in_context(array.context), out=array)


class Rows(Protocol):
    """Texts as arrays."""

    def __len__(self) -> int: ...

    def input(self, numbers: I64, context: Any = None) -> Any:
        """The network's input for the rows with these numbers, in this order, on a device; without
        one, on the first."""

    def touched(self, numbers: I64) -> I64:
        """What these rows' inputs look up: numbers of features or words, ascending, and of padding.
        A gradient with the storage type row_sparse has no other rows."""

    def groups(self, numbers: I64) -> list[I64]:
        """The rows in groups that go through the network together when nothing is learnt."""

    def batches(self, numbers: I64, size: int, random: np.random.Generator) -> list[I64]:
        """The rows, which come in a random order, in batches to learn from: all but one of `size`,
        so many as the rows need."""


class SparseRows:
    """Weighted sets of features: each input is a CSR matrix of shape (rows, width)."""

    def __init__(self, sets: Features, values: F32, width: int) -> None:
        self.sets = sets
        self._values, self._width = values, width
        self._context = device()

    def __len__(self) -> int:
        return len(self.sets)

    def input(self, numbers: I64, context: Any = None) -> Any:
        first, last = (int(numbers[0]), int(numbers[-1]) + 1) if len(numbers) else (0, 0)
        if np.array_equal(numbers, np.arange(first, last)):  # neighbours need no gathering
            rows = self.sets.rows(first, last)
            values = self._values[self.sets.starts[first] : self.sets.starts[last]]
        else:
            rows, where = self.sets.take(numbers)
            values = self._values[where]
        return mx.nd.sparse.csr_matrix(
            (values, rows.buckets, rows.starts),
            shape=(len(rows), self._width),
            ctx=context or self._context,
        )

    def apart(self) -> SparseRows:
        """Each feature of each row as a row of its own."""
        alone = Features(self.sets.buckets, np.arange(len(self.sets.buckets) + 1))
        return SparseRows(alone, self._values, self._width)

    def touched(self, numbers: I64) -> I64:
        seen = np.zeros(self._width, bool)
        seen[self.sets.take(numbers)[0].buckets] = True
        return np.flatnonzero(seen)

    def groups(self, numbers: I64) -> list[I64]:
        return _cut(numbers, _SCORED_ROWS)

    def batches(self, numbers: I64, size: int, random: np.random.Generator) -> list[I64]:  # noqa: ARG002
        return _cut(numbers, size)


class PaddedRows:
    """Sequences of numbers: each input has shape (rows, length), padding after a row's own.

    Parameters
    ----------
    numbers, starts
        Row i owns numbers[starts[i]:starts[i + 1]]; starts: (rows + 1,).
    margin
        How many columns of padding there are after the longest row, at least.
    padding
        The number that pads.
    cells
        How large an input may be when nothing is learnt.
    """

    def __init__(
        self,
        numbers: I32,
        starts: I64,
        margin: int,
        padding: int = PADDING,
        cells: int = _SCORED_CELLS,
    ) -> None:
        self._numbers, self._starts = numbers, starts
        self._lengths = np.diff(starts)
        self._margin, self._padding, self._cells = margin, padding, cells
        self._context = device()

    def __len__(self) -> int:
        return len(self._lengths)

    def input(self, numbers: I64, context: Any = None) -> Any:
        lengths = self._lengths[numbers]
        shape = (len(numbers), self._padded(int(lengths.max(initial=0))))
        padded = np.full(shape, self._padding, np.float32)
        inside = np.arange(padded.shape[1]) < lengths[:, None]
        where = self._starts[numbers][:, None] + np.arange(padded.shape[1])
        padded[inside] = self._numbers[where[inside]]
        return mx.nd.array(padded, ctx=context or self._context)

    def touched(self, numbers: I64) -> I64:
        parts = [self._numbers[self._starts[row] : self._starts[row + 1]] for row in numbers]
        touched: I64 = np.unique(np.concatenate([[self._padding], *parts])).astype(np.int64)
        return touched

    def groups(self, numbers: I64) -> list[I64]:
        made, first = [], 0
        ordered = self._by_length(numbers)
        while first < len(ordered):
            # Of the rows that would fit if all were as short as the first, those that do fit.
            length = self._padded(int(self._lengths[ordered[first]]))
            some = ordered[first : first + min(_SCORED_ROWS, max(1, self._cells // length))]
            fits = max(1, self._cells // self._padded(int(self._lengths[some[-1]])))
            made.append(some[:fits])
            first += len(made[-1])
        return made

    def batches(self, numbers: I64, size: int, random: np.random.Generator) -> list[I64]:
        made: list[I64] = []
        for pool in _cut(numbers, size * _POOL):
            made += _cut(self._by_length(pool), size)
        return [made[place] for place in random.permutation(len(made))]

    def _padded(self, length: int) -> int:
        return max(1, -(-(length + self._margin) // _STEP)) * _STEP

    def _by_length(self, numbers: I64) -> I64:
        ordered: I64 = numbers[np.argsort(self._lengths[numbers], kind="stable")]
        return ordered


def scores(
    network: Any,
    rows: Rows,
    numbers: I64,
    columns: int,
    contexts: Sequence[Any] = (None,),
    between: Callable[[], None] = lambda: None,
) -> F32:
    """What the network says of the rows with these ascending numbers: (rows, columns). Each of the
    devices takes a group in turn; without any, the first. `between` is called after each turn, and
    what it raises ends them."""
    made = np.zeros((len(numbers), columns), np.float32)
    groups = rows.groups(numbers)
    for first in range(0, len(groups), len(contexts)):
        some = groups[first : first + len(contexts)]
        # All are under way before the first is waited for.
        said = [network(rows.input(*each)) for each in zip(some, contexts, strict=False)]
        for group, array in zip(some, said, strict=True):
            made[np.searchsorted(numbers, group)] = array.asnumpy()
        between()
    return made


def largest_within(F: Any, found: Any, inside: Any, width: int) -> Any:  # noqa: N803
    """The largest over time of what windows of a width found, of those that begin in the text.

    found: (rows, filters, length - width + 1), nowhere negative; inside: (rows, 1, length), 1 where
    there is text -> (rows, filters).
    """
    beginnings = inside if width == 1 else F.slice_axis(inside, axis=2, begin=0, end=1 - width)
    return F.max(F.broadcast_mul(found, beginnings), axis=2)


def _cut(numbers: I64, size: int) -> list[I64]:
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]
