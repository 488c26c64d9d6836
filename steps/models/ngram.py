"""The kind `ngram`: a linear model over hashed n-grams, its features scaled by naive-Bayes ratios.

After NB-SVM (Wang & Manning 2012, "Baselines and Bigrams"): the value of a feature is how much it
speaks for a label, its log-count ratio, here the largest over all labels. Two labels share one
column of weights, more have one each, one against the rest; the loss is the squared hinge. What is
learnt is the mean of several descents, all but the first of which learn from the validation rows,
too. At the end the scale is folded into the weights, so that prediction needs nothing but the sets
of buckets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import mxnet as mx
import numpy as np

from steps.descent import Examples, Split, Task, initialize
from steps.errors import InputError
from steps.features import MAX_BITS, MIN_BITS, Features, FeatureSettings, features
from steps.hyperparameters import Hyperparameters, within
from steps.inputs import NgramSets
from steps.network import F32, I64, SparseRows, assign, value

_AUTOMATIC_BITS = 22  # at most; more gained nothing on 25,000 long reviews
_MANY_FEATURES = 1 << 20  # from here on, what only one row has costs time and gains nothing
_MAX_WEIGHTS = 1 << 25  # 128 MB, four times that while training with Adam


@dataclass(frozen=True)
class NgramHyperparameters(Hyperparameters):
    """What only this kind has."""

    OWN_LEARNING_RATE: ClassVar[float] = 0.003

    bits: int = within(0, 0, 24)  # 2 ** bits buckets; 0: by the number of distinct features
    smoothing: float = within(1.0, 1e-3, 1e3)  # added to each count of the naive-Bayes ratios
    descents: int = within(3, 1, 100)  # whose mean is the model: more gained little


HYPERPARAMETERS = NgramHyperparameters


class Ngram(mx.gluon.HybridBlock):  # type: ignore[misc]  # MXNet has no types
    """Linear scores of rows of features."""

    def __init__(self, buckets: int, columns: int) -> None:
        # A name of its own, else it would count the networks that this process has made before.
        super().__init__(prefix="ngram_")
        with self.name_scope():
            self.weight = self.params.get(
                "weight", shape=(buckets, columns), init="zeros", grad_stype="row_sparse"
            )
            self.bias = self.params.get("bias", shape=(columns,), init="zeros")

    def hybrid_forward(self, F: Any, x: Any, weight: Any, bias: Any) -> Any:  # noqa: N803
        # x: (rows, buckets) CSR -> (rows, columns)
        return F.broadcast_add(F.sparse.dot(x, weight), bias)


def prepare(examples: Examples, settings: NgramHyperparameters) -> Task:
    """How to learn from the examples."""
    targets, labels, split = examples.targets, examples.labels, examples.split
    columns = 1 if labels == 2 else labels
    sets, feature_settings = _features(examples.texts, split, columns, settings)
    buckets = 1 << feature_settings.bits
    counts = sets.counts(split.training, buckets)
    known = known_buckets(counts)
    rows = sets.only(known, buckets)
    scale = log_count_ratios(
        rows, counts[known], split.training, targets, labels, settings.smoothing
    )
    network = Ngram(len(known), columns)
    initialize(network, settings.seed)

    inputs = NgramSets(feature_settings)

    def whole(learnt: Ngram) -> Ngram:
        weight = np.zeros((buckets, columns), np.float32)
        weight[known] = value(learnt.weight).asnumpy() * scale[:, None]
        made = Ngram(buckets, columns)
        initialize(made, settings.seed)
        assign(made.weight, mx.nd.array(weight))
        assign(made.bias, value(learnt.bias))
        made(inputs.rows([""]).input(np.zeros(1, np.int64)))  # what was never called has no graph
        return made

    return Task(
        network=network,
        inputs=inputs,
        rows=SparseRows(rows, scale[rows.buckets], len(known)),
        numbers=targets,
        targets=_signs(targets, labels),
        loss=mx.gluon.loss.SquaredHingeLoss(),
        columns=columns,
        draws=False,
        descents=settings.descents,
        finish=whole,
    )


def known_buckets(counts: I64) -> I64:
    """The buckets to learn a weight for, ascending and at least one: those that a row has, or, of
    many, those that two rows have. Steps of descent take time for all that could have a weight.

    counts: (buckets,), how many rows have each.
    """
    known = np.flatnonzero(counts)
    if len(known) >= _MANY_FEATURES:
        known = np.flatnonzero(counts >= 2)
    return known if len(known) else np.zeros(1, np.int64)


def log_count_ratios(
    rows: Features, counts: I64, training: I64, targets: I64, labels: int, smoothing: float
) -> F32:
    """How much each bucket speaks for the label it speaks for most: (buckets,), 0 or more.

    For a label that is the share q of the training rows, p of whose rows hold the bucket and n of
    the others: log((p / q + smoothing) / (n / (1 - q) + smoothing)). Counts are brought to equal
    numbers of rows before they are smoothed, so that a rare label does not look significant
    everywhere.

    counts: (buckets,), how many training rows have each; targets: (rows,), each row's label by its
    number.
    """
    largest = np.zeros(len(counts), np.float32)
    for label in range(labels):
        own = training[targets[training] == label]
        share = len(own) / len(training)
        inside = rows.counts(own, len(counts))
        ratio = inside / share
        ratio += smoothing
        ratio /= (counts - inside) / (1 - share) + smoothing
        np.maximum(largest, np.log(ratio, dtype=np.float32, casting="same_kind"), out=largest)
    return largest


def automatic_bits(distinct: int, columns: int) -> int:
    """Room for each distinct feature, as far as the weights stay small enough."""
    bits = math.ceil(math.log2(max(2, distinct)))
    affordable = int(math.log2(_MAX_WEIGHTS / columns))
    return max(MIN_BITS, min(bits, _AUTOMATIC_BITS, affordable))


def _features(
    texts: Sequence[str], split: Split, columns: int, settings: NgramHyperparameters
) -> tuple[Features, FeatureSettings]:
    """The features of all rows, in as many buckets as are set or fit the training rows."""
    if settings.bits:
        if not MIN_BITS <= settings.bits <= MAX_BITS:
            raise InputError(
                f"hyperparameter bits is {settings.bits}, expected 0 or {MIN_BITS} to {MAX_BITS}"
            )
        if columns << settings.bits > _MAX_WEIGHTS:
            raise InputError(
                f"hyperparameter bits is {settings.bits}: too many weights for {columns} labels, "
                f"expected at most {int(math.log2(_MAX_WEIGHTS / columns))}"
            )
        chosen = FeatureSettings(settings.bits)
        return features(texts, chosen), chosen
    wide = FeatureSettings(_AUTOMATIC_BITS)
    rows = features(texts, wide)
    distinct = np.count_nonzero(rows.counts(split.training, 1 << wide.bits))
    chosen = FeatureSettings(automatic_bits(distinct, columns))
    return rows.narrowed(wide.bits, chosen.bits), chosen


def _signs(targets: I64, labels: int) -> F32:
    """1 for a row's own label and -1 for the others: (rows, columns)."""
    if labels == 2:
        return np.where(targets == 1, 1, -1).astype(np.float32)[:, None]
    signs = np.full((len(targets), labels), -1, np.float32)
    signs[np.arange(len(targets)), targets] = 1
    return signs
