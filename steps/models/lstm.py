"""The kind `lstm`: recurrent layers over embedded words, the largest of their outputs over time.

The LSTM of AWS's sample "Text Classification with Gluon on Amazon SageMaker and AWS Batch" (2018),
with its names of hyperparameters. Unlike there, it takes the largest over time of what it says of
each word (the sample learnt weights for each position of the padded text), it begins each text
anew, it does not see the padding, and the best epoch is kept, not the last. The sample's sizes are
vocab_size=5000, embed_size=300, hidden_size=500 and dropout=0.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import mxnet as mx

from steps.descent import ADAM, Examples, Task, initialize
from steps.hyperparameters import within
from steps.inputs import WordSequences
from steps.models.cnn import SampleHyperparameters
from steps.vocabulary import PADDING, build

_CLIP = 1.0  # the sample's bound on the norm of the gradients, for a row's mean loss


@dataclass(frozen=True)
class LstmHyperparameters(SampleHyperparameters):
    """What only this kind has."""

    hidden_size: int = within(100, 1, 2048)  # of each direction
    n_layers: int = within(1, 1, 8)  # one upon the other
    bidirectional: bool = True  # texts are read backwards, too


HYPERPARAMETERS = LstmHyperparameters


class Lstm(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of sequences of words."""

    def __init__(self, words: int, settings: LstmHyperparameters, labels: int) -> None:
        super().__init__(prefix="lstm_")
        nn = mx.gluon.nn
        self._words, self._dimensions = words, settings.embed_size
        directions = 2 if settings.bidirectional else 1
        with self.name_scope():
            self.embedding = self.params.get(
                "embedding", shape=(words, settings.embed_size), init=mx.init.Uniform(0.1)
            )
            self.dropout = nn.Dropout(settings.dropout)
            self.forwards, self.backwards = nn.HybridSequential(), nn.HybridSequential()
            size = settings.embed_size
            for _ in range(settings.n_layers):
                self.forwards.add(_layer(settings.hidden_size, size))
                if settings.bidirectional:
                    self.backwards.add(_layer(settings.hidden_size, size))
                size = directions * settings.hidden_size
            self.output = nn.Dense(labels, in_units=size)

    def hybrid_forward(self, F: Any, x: Any, embedding: Any) -> Any:  # noqa: N803
        # x: (rows, length) numbers of words -> (rows, labels)
        inside = F.transpose(x != PADDING)  # (length, rows)
        lengths = F.sum(inside, axis=0)

        def reverse(signal: Any) -> Any:  # each text for itself, its padding stays behind it
            return F.SequenceReverse(signal, lengths, use_sequence_length=True)

        signal = F.transpose(
            F.Embedding(x, embedding, input_dim=self._words, output_dim=self._dimensions),
            axes=(1, 0, 2),
        )  # (length, rows, dimensions)
        for place, forwards in enumerate(self.forwards):
            signal = self.dropout(signal)
            made = forwards(signal)
            if len(self.backwards):
                backwards = reverse(self.backwards[place](reverse(signal)))
                made = F.concat(made, backwards, dim=2)
            signal = made
        # Outputs lie above -1, so that the largest is not of the padding.
        inside = F.expand_dims(inside, axis=2)
        largest = F.max(F.broadcast_mul(signal + 1, inside) - 1, axis=0)
        return self.output(self.dropout(largest))


def prepare(examples: Examples, settings: LstmHyperparameters) -> Task:
    """How to learn from the examples."""
    vocabulary = build(examples.learnt, settings.vocab_size, least=2)
    inputs = WordSequences(vocabulary, settings.seq_len, margin=0)
    network = Lstm(inputs.width, settings, examples.labels)
    initialize(network, settings.seed)
    return Task.softmax(
        network,
        inputs,
        inputs.rows(examples.texts),
        examples,
        optimizer=partial(ADAM, wd=settings.wd),
        rate=settings.rate,
        clip=_CLIP,
    )


def _layer(hidden: int, size: int) -> Any:
    """One direction of one layer: (length, rows, size) -> (length, rows, hidden)."""
    return mx.gluon.rnn.LSTM(hidden, input_size=size)
