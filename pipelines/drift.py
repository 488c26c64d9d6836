"""Whether the claims of today are like those that the model learnt from.

Two distributions are compared with those of the training: of the labels, and of the confidences.
The measure is the population stability index (Siddiqi 2006, "Credit Risk Scorecards", from where
the two thresholds come, too): over the bins, the sum of (now - then) * ln(now / then), `now` and
`then` being the shares of a bin. It is the symmetric Kullback-Leibler divergence.

Where nothing has changed, the index of finite samples is not 0: times 1 / (1 / n + 1 / m) it then
follows about a chi-squared distribution with one degree of freedom less than bins (Yurdakul 2018,
"Statistical Properties of Population Stability Index"). So drift is what is above the threshold and
above what chance alone gives in 99 of 100 cases (97 to 100 when simulated, the fewest with some
seven rows to a bin). A bin without rows counts as half a row: a fixed small share, as is often
taken, would make every empty bin of a small sample look like drift.

Two things it cannot know. Rows are taken as independent, which claims of one event are not. And
what the model predicts is compared with the labels that people gave the training set: a model that
is often wrong shows some drift where there is none.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pipelines.aws import Aws
from pipelines.errors import UserError

WATCH, ACT = 0.1, 0.25
EMPTY = 0.5  # rows that an empty bin counts as: the logarithm needs some, few rows not too few
LEAST_SHARE = 0.01  # of the training set; rarer labels are compared as one
CONFIDENCE_BINS = 10  # each with about as many of the training's confidences
MOST_NAMED = 3
RESULTS = "results/"
MANIFEST = "/manifest.json"

Level = Literal["steady", "watch", "act", "unknown"]


@dataclass(frozen=True)
class Index:
    """A population stability index, and what chance alone stays below in 99 of 100 cases."""

    value: float
    chance: float

    @property
    def level(self) -> Level:
        if self.value < WATCH or self.value <= self.chance:
            return "steady"
        return "act" if self.value >= ACT else "watch"


@dataclass(frozen=True)
class Drift:
    """The predictions of a window beside the training of the model that made them.

    Attributes
    ----------
    files, rows: what was compared: those of the model version that predicted last.
    others: files that other versions predicted, left out.
    labels, confidences: None where there is nothing to compare with.
    gained, lost: labels with their share then and now, those that changed most first.
    why_unknown: why nothing could be compared.
    """

    files: int
    rows: int
    others: int
    version: int
    labels: Index | None = None
    confidences: Index | None = None
    gained: tuple[tuple[str, float, float], ...] = ()
    lost: tuple[tuple[str, float, float], ...] = ()
    mean_then: float = 0.0
    mean_now: float = 0.0
    why_unknown: str = ""

    @property
    def level(self) -> Level:
        levels = {index.level for index in (self.labels, self.confidences) if index}
        for level in ("act", "watch", "steady"):
            if level in levels:
                return level
        return "unknown"


class Drifts:
    """The drift of one deployment's predictions."""

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._s3 = aws.client("s3")

    def since(self, start: datetime) -> Drift:
        """The drift of what was predicted since then."""
        return compare(self._manifests(start))

    def alarm(self, drift: Drift) -> bool:
        """Writes the metrics, and announces a drift that calls for action; whether it did."""
        figures = {"LabelDrift": drift.labels, "ConfidenceDrift": drift.confidences}
        deployment = {"Name": "Deployment", "Value": self._aws.settings.prefix}
        data = [
            {"MetricName": name, "Dimensions": [deployment], "Value": index.value, "Unit": "None"}
            for name, index in figures.items()
            if index
        ]
        if data:
            cloudwatch = self._aws.client("cloudwatch")
            cloudwatch.put_metric_data(Namespace="claimflow", MetricData=data)
        if drift.level != "act":
            return False
        detail = {
            "deployment": self._aws.settings.prefix,
            "model_package_version": drift.version,
            "rows": drift.rows,
            **{name: round(index.value, 4) for name, index in figures.items() if index},
        }
        entry = {
            "Source": "claimflow",
            "DetailType": "Drift Detected",
            "Detail": json.dumps(detail),
        }
        self._aws.client("events").put_events(Entries=[entry])
        return True

    def _manifests(self, start: datetime) -> list[dict[str, Any]]:
        """The manifests written since then, in the order in which they were."""
        bucket = self._aws.settings.bucket("results")
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=RESULTS)
        found = sorted(
            (one["LastModified"], one["Key"])
            for page in pages
            for one in page.get("Contents", [])
            if one["Key"].endswith(MANIFEST) and one["LastModified"] >= start
        )

        def read(key: str) -> dict[str, Any]:
            body = self._s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            try:
                document: dict[str, Any] = json.loads(body)
                if not document.keys() >= {"outcome", "predicted"}:
                    raise KeyError
            except (ValueError, AttributeError, KeyError):
                raise UserError(
                    f"s3://{bucket}/{key} is damaged: restore an earlier version, or remove it"
                ) from None
            return document

        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(read, [key for _, key in found]))


def compare(manifests: Sequence[Mapping[str, Any]]) -> Drift:
    """The drift of the predictions that the manifests tell of, the latest last.

    Only those of the version that predicted last count: another version has another training, and
    what it made of the same claims is no change of the claims.
    """
    made = [one for one in manifests if one["outcome"] == "succeeded" and one["predicted"]]
    if not made:
        return Drift(0, 0, 0, 0, why_unknown="nothing was predicted in this time")
    arn = made[-1]["model_package_arn"]
    ours = [one for one in made if one["model_package_arn"] == arn]
    version, others = made[-1]["model_package_version"], len(made) - len(ours)
    comparable = [one for one in ours if one.get("reference") and one.get("labels")]
    rows = sum(one["predicted"] for one in comparable)
    if not comparable:
        return Drift(
            len(ours),
            sum(one["predicted"] for one in ours),
            others,
            version,
            why_unknown=f"version {version} does not tell what its training data was like: "
            "train again",
        )
    reference = comparable[-1]["reference"]
    then: Mapping[str, int] = reference["labels"]
    now = _added(one["labels"] for one in comparable)
    confidences_then: Sequence[int] = reference["confidence_histogram"]
    histograms = [one["confidence"]["histogram"] for one in comparable]
    confidences_now = [sum(counts) for counts in zip(*histograms, strict=True)]
    gained, lost = _changes(then, now)
    return Drift(
        files=len(comparable),
        rows=rows,
        others=others,
        version=version,
        labels=_label_index(then, now),
        confidences=_confidence_index(confidences_then, confidences_now),
        gained=gained,
        lost=lost,
        mean_then=_mean(confidences_then),
        mean_now=_mean(confidences_now),
    )


def stability(then: Sequence[float], now: Sequence[float]) -> Index | None:
    """The population stability index of counts in the same bins; None without rows on either side,
    or with a single bin."""
    rows_then, rows_now = sum(then), sum(now)
    if not rows_then or not rows_now or len(then) < 2:
        return None
    value = 0.0
    for before, after in zip(then, now, strict=True):
        share_then = max(before, EMPTY) / rows_then
        share_now = max(after, EMPTY) / rows_now
        value += (share_now - share_then) * math.log(share_now / share_then)
    freedom = len(then) - 1
    # The 99th percentile of chi-squared by the cube root of Wilson and Hilferty 1931.
    part = 2 / (9 * freedom)
    percentile = freedom * (1 - part + 2.326 * math.sqrt(part)) ** 3
    return Index(value, percentile * (1 / rows_then + 1 / rows_now))


def _label_index(then: Mapping[str, int], now: Mapping[str, int]) -> Index | None:
    rows = sum(then.values())
    frequent = [label for label, count in then.items() if count >= LEAST_SHARE * rows]
    counts = [[side.get(label, 0) for label in frequent] for side in (then, now)]
    rest = [sum(side.values()) - sum(some) for side, some in zip((then, now), counts, strict=True)]
    if any(rest):
        counts = [[*some, more] for some, more in zip(counts, rest, strict=True)]
    return stability(*counts)


def _confidence_index(then: Sequence[int], now: Sequence[int]) -> Index | None:
    """The bins are put together until each holds its part of the training's confidences.

    A bin that does so by itself is not mixed with those below it: of a model that is mostly
    certain, it is they that tell when it no longer is.
    """
    part = sum(then) / CONFIDENCE_BINS
    groups: list[list[int]] = [[0, 0]]
    for place, (count_then, count_now) in enumerate(zip(then, now, strict=True)):
        if place and (groups[-1][0] >= part or count_then >= part):
            groups.append([0, 0])
        groups[-1][0] += count_then
        groups[-1][1] += count_now
    return stability([one for one, _ in groups], [other for _, other in groups])


def _changes(
    then: Mapping[str, int], now: Mapping[str, int]
) -> tuple[tuple[tuple[str, float, float], ...], tuple[tuple[str, float, float], ...]]:
    """The labels that gained and that lost most, each with its share then and now."""
    rows_then, rows_now = sum(then.values()) or 1, sum(now.values()) or 1
    shares = [
        (label, then.get(label, 0) / rows_then, now.get(label, 0) / rows_now)
        for label in sorted({*then, *now})
    ]
    ranked = sorted(shares, key=lambda one: one[1] - one[2])
    gained = [one for one in ranked[:MOST_NAMED] if one[2] > one[1]]
    lost = [one for one in ranked[: -MOST_NAMED - 1 : -1] if one[2] < one[1]]
    return tuple(gained), tuple(lost)


def _added(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return total


def _mean(histogram: Sequence[int]) -> float:
    """The mean of confidences, to within half a bin."""
    rows = sum(histogram) or 1
    width = 1 / (len(histogram) or 1)
    return sum((place + 0.5) * width * count for place, count in enumerate(histogram)) / rows
