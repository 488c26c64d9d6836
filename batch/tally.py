"""What one pass over the rows counts: mergeable, so that shares of a file add up to the whole.

`merge` is associative: however a file was cut, and in whatever groups its shares are merged, the
tally is the one of a single pass. That holds for what is kept of a long list, too: the rows of the
lowest confidences, and the kinds of reasons that come first in the alphabet.
"""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from batch.outputs import Prediction
    from batch.rows import Reject, Row

BINS = 100  # equal ones of [0, 1]; the last holds 1 as well
LEAST_CERTAIN = 20
KINDS = 50  # of reasons; far more than there are, once their numbers are out
OTHER_REASONS = "other reasons"
QUANTILES = {"p05": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95}

_NUMBER = re.compile(r"(?<![\w-])\d+(?:[,.]\d+)*\b")  # but not that of UTF-8


class Uncertain(NamedTuple):
    """A predicted row that the model was not sure of, by its line in the file."""

    line: int
    confidence: float
    label: str


@dataclass
class Tally:
    """Counts of rows.

    Attributes
    ----------
    labels: rows predicted as each label.
    confidence: rows in each of 100 equal bins of [0, 1].
    least_certain: the rows of the lowest confidences, lowest first; where equal, in their order.
    reasons: rejected rows by kind of reason, every number in it replaced by N.
    """

    predicted: int = 0
    rejected: int = 0
    for_review: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    confidence: list[int] = field(default_factory=lambda: [0] * BINS)
    least_certain: list[Uncertain] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
        """Counts predicted rows, each with its prediction."""
        confidences = [prediction.confidence for prediction in predictions]
        self.predicted += len(confidences)
        self.for_review += sum([bool(prediction.review) for prediction in predictions])
        _add(self.labels, Counter([prediction.label for prediction in predictions]))
        for number, count in Counter([_bin(one) for one in confidences]).items():
            self.confidence[number] += count
        is_full = len(self.least_certain) == LEAST_CERTAIN
        limit = self.least_certain[-1].confidence if is_full else float("inf")
        low = [
            Uncertain(rows[place].line, float(confidence), predictions[place].label)
            for place, confidence in enumerate(confidences)
            if confidence < limit
            or (confidence == limit and rows[place].line < self.least_certain[-1].line)
        ]
        if low:
            self.least_certain = _lowest([*self.least_certain, *low])

    def reject(self, rejects: Sequence[Reject]) -> None:
        """Counts rejected rows."""
        self.rejected += len(rejects)
        for reason, count in Counter([reject.reason for reject in rejects]).items():
            _add(self.reasons, {_NUMBER.sub("N", reason): count})
        _bound(self.reasons)

    def merge(self, other: Tally, lines_before: int) -> Tally:
        """This tally and that of the rows behind it, whose lines count from `lines_before`."""
        shifted = [one._replace(line=one.line + lines_before) for one in other.least_certain]
        labels, reasons = dict(self.labels), dict(self.reasons)
        _add(labels, other.labels)
        _add(reasons, other.reasons)
        _bound(reasons)
        return Tally(
            predicted=self.predicted + other.predicted,
            rejected=self.rejected + other.rejected,
            for_review=self.for_review + other.for_review,
            labels=labels,
            confidence=[a + b for a, b in zip(self.confidence, other.confidence, strict=True)],
            least_certain=_lowest([*self.least_certain, *shifted]),
            reasons=reasons,
        )

    def quantiles(self) -> dict[str, float]:
        """Quantiles of the confidences, to within a bin; empty if nothing was predicted.

        Inside a bin the rows are taken to lie evenly.
        """
        total = sum(self.confidence)
        if not total:
            return {}
        return {name: round(self._quantile(share * total), 4) for name, share in QUANTILES.items()}

    def to_json(self) -> dict[str, Any]:
        """Itself as a document of plain JSON."""
        return {**vars(self), "least_certain": [list(one) for one in self.least_certain]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Tally:
        """The tally that `to_json` made the document of."""
        least_certain = [Uncertain(*one) for one in document["least_certain"]]
        return cls(**{**document, "least_certain": least_certain})

    def _quantile(self, rank: float) -> float:
        below = 0
        for number, count in enumerate(self.confidence):
            if count and below + count >= rank:
                return (number + (rank - below) / count) / BINS
            below += count
        return 1.0


def _bin(confidence: float) -> int:
    return min(int(confidence * BINS), BINS - 1)


def _add(counts: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        counts[name] = counts.get(name, 0) + count


def _bound(reasons: dict[str, int]) -> None:
    """Keeps the kinds that come first in the alphabet and puts the others together.

    A kind that is out has enough kinds before it for ever: it never comes back in, so the counts of
    those that stay are exact.
    """
    if len(reasons) <= KINDS:
        return
    kept = heapq.nsmallest(KINDS, reasons.keys() - {OTHER_REASONS})
    others = sum(reasons.values()) - sum(reasons[kind] for kind in kept)
    exact = {kind: reasons[kind] for kind in kept}
    reasons.clear()
    reasons.update(exact)
    if others:
        reasons[OTHER_REASONS] = others


def _lowest(rows: list[Uncertain]) -> list[Uncertain]:
    return heapq.nsmallest(LEAST_CERTAIN, rows, key=lambda one: (one.confidence, one.line))
