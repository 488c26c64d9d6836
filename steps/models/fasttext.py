"""The kind `fasttext`: a linear classifier over the mean embedding of words and pairs of words.

Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification": words have a vocabulary,
pairs of neighbouring words are hashed into buckets; Adam takes the place of their plain descent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import mxnet as mx
import numpy as np

from steps.descent import Examples, Task, initialize
from steps.hyperparameters import Hyperparameters, within
from steps.inputs import WordBags
from steps.network import SparseRows
from steps.vocabulary import Vocabulary, build

_AUTOMATIC_BITS = 20  # at most; 18 lost 0.3 % of 2,500 reviews


@dataclass(frozen=True)
class FastTextHyperparameters(Hyperparameters):
    """What only this kind has."""

    OWN_LEARNING_RATE: ClassVar[float] = 0.01

    dimensions: int = within(16, 1, 1024)  # of an embedding
    vocabulary_size: int = within(50_000, 1, 1_000_000)  # words, the most frequent
    vocabulary_least: int = within(2, 1, 1000)  # times that the texts hold a word, or more
    bits: int = within(0, 0, 22)  # pairs fall into 2 ** bits buckets; 0: by how many there are


HYPERPARAMETERS = FastTextHyperparameters


class FastText(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Scores of bags of features, each with its share of its text."""

    def __init__(self, width: int, dimensions: int, labels: int) -> None:
        super().__init__(prefix="fasttext_")
        with self.name_scope():
            self.embedding = self.params.get(
                "embedding",
                shape=(width, dimensions),
                init=mx.init.Uniform(1 / dimensions),
                grad_stype="row_sparse",
            )
            self.output = mx.gluon.nn.Dense(labels, in_units=dimensions)

    def hybrid_forward(self, F: Any, x: Any, embedding: Any) -> Any:  # noqa: N803
        # x: (rows, width) CSR -> (rows, dimensions) -> (rows, labels)
        return self.output(F.sparse.dot(x, embedding))


def prepare(examples: Examples, settings: FastTextHyperparameters) -> Task:
    """How to learn from the examples."""
    vocabulary = build(examples.learnt, settings.vocabulary_size, settings.vocabulary_least)
    inputs, rows = _bags(examples.texts, vocabulary, settings.bits)
    network = FastText(inputs.width, settings.dimensions, examples.labels)
    initialize(network, settings.seed)
    return Task.softmax(network, inputs, rows, examples, draws=False)


def automatic_bits(distinct: int) -> int:
    """Room for each distinct pair, as far as the embeddings stay small enough."""
    return min(_AUTOMATIC_BITS, math.ceil(math.log2(max(2, distinct))))


def _bags(texts: Sequence[str], vocabulary: Vocabulary, bits: int) -> tuple[WordBags, SparseRows]:
    """The bags of all rows, with as many buckets as are set or fit their pairs."""
    inputs = WordBags(vocabulary, bits or _AUTOMATIC_BITS)
    rows = inputs.rows(texts)
    if bits:
        return inputs, rows
    seen = np.zeros(inputs.width, bool)
    seen[rows.sets.buckets] = True
    fitting = automatic_bits(int(seen[len(vocabulary) :].sum()))
    if fitting == inputs.bits:
        return inputs, rows
    inputs = WordBags(vocabulary, fitting)
    return inputs, inputs.rows(texts)
