"""The kind `cnn`: one width of convolution over embedded words, the largest of each over time.

The CNN of AWS's sample "Text Classification with Gluon on Amazon SageMaker and AWS Batch" (2018),
with its names of hyperparameters: as many filters as an embedding has dimensions. Unlike there,
windows that begin in the padding are not looked at, and the best epoch is kept, not the last.
The sample's sizes are vocab_size=5000, embed_size=300 and dropout=0.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import mxnet as mx

from steps.descent import ADAM, Examples, Task, initialize
from steps.hyperparameters import NetworkHyperparameters, within
from steps.inputs import MAX_LENGTH, MAX_MARGIN, WordSequences
from steps.network import largest_within
from steps.vocabulary import PADDING, build


@dataclass(frozen=True)
class SampleHyperparameters(NetworkHyperparameters):
    """What the two kinds of the sample share."""

    OWN_LEARNING_RATE: ClassVar[float] = 0.001
    LARGEST_BATCH: ClassVar[int] = 64

    vocab_size: int = within(20_000, 1, 1_000_000)  # words, the most frequent
    seq_len: int = within(500, 1, MAX_LENGTH)  # words of a text that are looked at
    embed_size: int = within(100, 1, 1024)  # of an embedding
    dropout: float = within(0.5, 0.0, 0.9)  # before the output
    wd: float = within(0.0, 0.0, 1.0)  # weight decay
    epoch_factor: int = within(4, 1, 1000)  # epochs with the whole learning rate
    power_decay: bool = False
    """After each `epoch_factor` epochs a tenth of the learning rate; else, after the first of them,
    0.9 of it for each epoch."""

    def rate(self, gone: float) -> float:
        """The share of the learning rate when so many epochs are done."""
        epoch = int(gone)
        if self.power_decay:
            return float(0.1 ** (epoch // self.epoch_factor))
        return float(0.9 ** max(0, epoch - self.epoch_factor + 1))


@dataclass(frozen=True)
class CnnHyperparameters(SampleHyperparameters):
    """What only this kind has."""

    kernel_size: int = within(8, 1, MAX_MARGIN + 1)  # words of a window


HYPERPARAMETERS = CnnHyperparameters


class Cnn(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of sequences of words."""

    def __init__(
        self, words: int, dimensions: int, width: int, dropout: float, labels: int
    ) -> None:
        super().__init__(prefix="cnn_")
        nn = mx.gluon.nn
        self._words, self._dimensions, self._width = words, dimensions, width
        with self.name_scope():
            self.embedding = self.params.get(
                "embedding",
                shape=(words, dimensions),
                init=mx.init.Uniform(0.1),
                grad_stype="row_sparse",
            )
            self.convolution = nn.Conv1D(
                dimensions, width, in_channels=dimensions, activation="relu"
            )
            self.dropout = nn.Dropout(dropout)
            self.output = nn.Dense(labels, in_units=dimensions)

    def hybrid_forward(self, F: Any, x: Any, embedding: Any) -> Any:  # noqa: N803
        # x: (rows, length) numbers of words -> (rows, labels)
        inside = F.expand_dims(x != PADDING, axis=1)  # (rows, 1, length)
        embedded = F.Embedding(
            x, embedding, input_dim=self._words, output_dim=self._dimensions, sparse_grad=True
        )
        signal = F.broadcast_mul(F.transpose(embedded, axes=(0, 2, 1)), inside)
        found = largest_within(F, self.convolution(signal), inside, self._width)
        return self.output(self.dropout(found))


def prepare(examples: Examples, settings: CnnHyperparameters) -> Task:
    """How to learn from the examples."""
    vocabulary = build(examples.learnt, settings.vocab_size, least=2)
    inputs = WordSequences(vocabulary, settings.seq_len, margin=settings.kernel_size - 1)
    network = Cnn(
        inputs.width, settings.embed_size, settings.kernel_size, settings.dropout, examples.labels
    )
    initialize(network, settings.seed)
    return Task.softmax(
        network,
        inputs,
        inputs.rows(examples.texts),
        examples,
        optimizer=partial(ADAM, wd=settings.wd),
        rate=settings.rate,
    )
