"""The kind `textcnn`: convolutions over embedded words, the largest of each over time.

Kim 2014, "Convolutional Neural Networks for Sentence Classification", with random vectors: widths
3, 4 and 5, dropout 0.5, and an L2 norm of at most 3 for each label's weights. Padding embeds to
zeros, and the largest over time does not look where a window would begin in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import mxnet as mx
import numpy as np

from steps.descent import I64, Split, Task, assign, initialize
from steps.hyperparameters import Hyperparameters, within
from steps.inputs import MAX_LENGTH, WordSequences
from steps.network import MARGIN
from steps.vocabulary import PADDING, build

_WIDTHS = (3, 4, 5)
assert max(_WIDTHS) - 1 <= MARGIN


@dataclass(frozen=True)
class TextCnnHyperparameters(Hyperparameters):
    """What only this kind has."""

    OWN_LEARNING_RATE: ClassVar[float] = 0.001
    LARGEST_BATCH: ClassVar[int] = 64

    dimensions: int = within(128, 1, 1024)  # of an embedding
    filters: int = within(100, 1, 1000)  # of each width
    dropout: float = within(0.5, 0.0, 0.9)
    max_norm: float = within(3.0, 1e-3, 1e3)
    length: int = within(400, 1, MAX_LENGTH)  # words of a text that are looked at
    vocabulary_size: int = within(30_000, 1, 1_000_000)
    vocabulary_least: int = within(2, 1, 1000)  # times that the texts hold a word, or more


HYPERPARAMETERS = TextCnnHyperparameters


class TextCnn(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of sequences of words."""

    def __init__(
        self, words: int, dimensions: int, filters: int, dropout: float, labels: int
    ) -> None:
        super().__init__(prefix="textcnn_")
        nn = mx.gluon.nn
        self._words, self._dimensions = words, dimensions
        with self.name_scope():
            self.embedding = self.params.get(
                "embedding",
                shape=(words, dimensions),
                init=mx.init.Uniform(0.25),
                grad_stype="row_sparse",
            )
            self.convolutions = nn.HybridSequential()
            for width in _WIDTHS:
                self.convolutions.add(
                    nn.Conv1D(filters, width, in_channels=dimensions, activation="relu")
                )
            self.dropout = nn.Dropout(dropout)
            self.output = nn.Dense(labels, in_units=len(_WIDTHS) * filters)

    def hybrid_forward(self, F: Any, x: Any, embedding: Any) -> Any:  # noqa: N803
        # x: (rows, length) numbers of words -> (rows, labels)
        inside = F.expand_dims(x != PADDING, axis=1)  # (rows, 1, length)
        embedded = F.Embedding(
            x, embedding, input_dim=self._words, output_dim=self._dimensions, sparse_grad=True
        )
        signal = F.broadcast_mul(F.transpose(embedded, axes=(0, 2, 1)), inside)
        largest = []
        for width, convolution in zip(_WIDTHS, self.convolutions, strict=True):
            beginnings = F.slice_axis(inside, axis=2, begin=0, end=1 - width)
            # What is not negative can be masked by zeros.
            found = F.broadcast_mul(convolution(signal), beginnings)
            largest.append(F.max(found, axis=2))
        return self.output(self.dropout(F.concat(*largest, dim=1)))


def prepare(
    texts: Sequence[str],
    targets: I64,
    labels: int,
    split: Split,
    settings: TextCnnHyperparameters,
) -> Task:
    """How to learn the rows of `split.training`; `targets` holds each row's label by its number."""
    learnt = [texts[row] for row in split.training]
    vocabulary = build(learnt, settings.vocabulary_size, settings.vocabulary_least)
    inputs = WordSequences(vocabulary, settings.length)
    network = TextCnn(inputs.width, settings.dimensions, settings.filters, settings.dropout, labels)
    initialize(network, settings.seed)

    def limit_norms() -> None:
        weight = network.output.weight.data()
        norms = mx.nd.norm(weight, axis=1, keepdims=True)
        assign(network.output.weight, weight * mx.nd.clip(settings.max_norm / norms, 0, 1))

    return Task(
        network=network,
        inputs=inputs,
        rows=inputs.rows(texts),
        numbers=targets,
        targets=targets.astype(np.float32),
        loss=mx.gluon.loss.SoftmaxCrossEntropyLoss(),
        columns=labels,
        after_step=limit_norms,
    )
