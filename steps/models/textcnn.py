"""The kind `textcnn`: convolutions over embedded words, the largest of each over time.

Kim 2014, "Convolutional Neural Networks for Sentence Classification": widths 3, 4 and 5, dropout
0.5, and an L2 norm of at most 3 for each label's weights. Words have random vectors ("rand"), or
given ones that are left as they are ("static"), learnt on ("non-static"), or both side by side
("multichannel"). Padding embeds to zeros, and the largest over time does not look where a window
would begin in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

import mxnet as mx

from steps import vectors
from steps.descent import Examples, Task, initialize
from steps.errors import InputError
from steps.hyperparameters import NetworkHyperparameters, one_of, optional, within
from steps.inputs import MAX_LENGTH, WordSequences
from steps.network import F32, assign, largest_within, value
from steps.vocabulary import PADDING, Vocabulary, build

WIDTHS = (3, 4, 5)
MARGIN = max(WIDTHS) - 1


@dataclass(frozen=True)
class TextCnnHyperparameters(NetworkHyperparameters):
    """What only this kind has."""

    OWN_LEARNING_RATE: ClassVar[float] = 0.001
    LARGEST_BATCH: ClassVar[int] = 64

    vectors: str = one_of("random", "frozen", "tuned", "both")  # where embeddings begin
    vectors_file: str = optional()  # empty: the one file in the channel "vectors"
    dimensions: int = within(128, 1, 1024)  # of an embedding; given vectors have their own
    filters: int = within(100, 1, 1000)  # of each width
    dropout: float = within(0.5, 0.0, 0.9)  # before the output
    max_norm: float = within(3.0, 1e-3, 1e3)  # of each label's weights in the output
    length: int = within(800, 1, MAX_LENGTH)  # words of a text that are looked at
    vocabulary_size: int = within(30_000, 1, 1_000_000)  # words, the most frequent
    vocabulary_least: int = within(2, 1, 1000)  # times that the texts hold a word, or more


HYPERPARAMETERS = TextCnnHyperparameters


class TextCnn(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of sequences of words."""

    def __init__(
        self, words: int, dimensions: int, settings: TextCnnHyperparameters, labels: int
    ) -> None:
        super().__init__(prefix="textcnn_")
        nn = mx.gluon.nn
        self._words, self._dimensions = words, dimensions
        shape = (words, dimensions)
        self.embedding = self.frozen = None
        with self.name_scope():
            if settings.vectors != "frozen":
                self.embedding = self.params.get(
                    "embedding", shape=shape, init=mx.init.Uniform(0.25), grad_stype="row_sparse"
                )
            if settings.vectors in ("frozen", "both"):
                self.frozen = self.params.get("frozen", shape=shape, grad_req="null")
            channels = dimensions * (2 if settings.vectors == "both" else 1)
            self.convolutions = nn.HybridSequential()
            for width in WIDTHS:
                self.convolutions.add(
                    nn.Conv1D(settings.filters, width, in_channels=channels, activation="relu")
                )
            self.dropout = nn.Dropout(settings.dropout)
            self.output = nn.Dense(labels, in_units=len(WIDTHS) * settings.filters)

    def hybrid_forward(self, F: Any, x: Any, **tables: Any) -> Any:  # noqa: N803
        # x: (rows, length) numbers of words -> (rows, labels)
        inside = F.expand_dims(x != PADDING, axis=1)  # (rows, 1, length)
        embedded = [
            F.Embedding(
                x,
                table,
                input_dim=self._words,
                output_dim=self._dimensions,
                sparse_grad=name == "embedding",
            )
            for name, table in sorted(tables.items())
        ]
        channels = F.concat(*embedded, dim=2)  # (rows, length, channels)
        signal = F.broadcast_mul(F.transpose(channels, axes=(0, 2, 1)), inside)
        largest = [
            largest_within(F, convolution(signal), inside, width)
            for width, convolution in zip(WIDTHS, self.convolutions, strict=True)
        ]
        return self.output(self.dropout(F.concat(*largest, dim=1)))


def prepare(examples: Examples, settings: TextCnnHyperparameters) -> Task:
    """How to learn from the examples. Raises InputError for given vectors that are none."""
    vocabulary = build(examples.learnt, settings.vocabulary_size, settings.vocabulary_least)
    inputs = WordSequences(vocabulary, settings.length, MARGIN)
    given = None if settings.vectors == "random" else _given(examples, vocabulary, settings)
    dimensions = settings.dimensions if given is None else given.shape[1]
    network = TextCnn(inputs.width, dimensions, settings, examples.labels)
    initialize(network, settings.seed)
    for table in (network.embedding, network.frozen):
        if given is not None and table is not None:
            table.set_data(mx.nd.array(given))

    def limit_norms() -> None:
        weight = value(network.output.weight)
        norms = mx.nd.norm(weight, axis=1, keepdims=True)
        assign(network.output.weight, weight * mx.nd.clip(settings.max_norm / norms, 0, 1))

    return Task.softmax(
        network,
        inputs,
        inputs.rows(examples.texts),
        examples,
        after_step=limit_norms,
    )


def _given(examples: Examples, vocabulary: Vocabulary, settings: TextCnnHyperparameters) -> F32:
    """The given vectors of the vocabulary's words: (words, dimensions)."""
    words = json.loads(vocabulary.text)["idx_to_token"]
    path = vectors.find(settings.vectors_file, examples.channel)
    known = vectors.read(path, words)
    if not known:
        raise InputError(
            f"{path.name} has no vector for any of the {len(words)} words of the training data: "
            "expected vectors of its language"
        )
    print(f"vectors for {len(known)} of {len(words)} words", flush=True)
    return vectors.matrix(words, known, settings.seed)
