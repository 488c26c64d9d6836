"""What a deployment costs in a month, for three amounts of claims: the tables of docs/aws.md.

    python -m tests.benchmarks.costs

A line of the bill is a price times factors, all of them named, so that what is printed as its
formula is what was computed. Put in your own prices and quantities. Free tiers, taxes and discounts
are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

MEMORY = "list price as remembered by the authors, check it"
MONTHS = (10_000, 100_000, 1_000_000)  # claims
HOURS = 730.0  # of a month


@dataclass(frozen=True)
class Price:
    """A price in US dollars, us-east-1."""

    dollars: float
    amount: int
    of: str  # what such an amount is of
    source: str

    @property
    def of_one(self) -> float:
        return self.dollars / self.amount


@dataclass(frozen=True)
class Quantity:
    """A number that the bill depends on; three numbers where it depends on the amount of claims."""

    value: float | tuple[float, float, float]
    why: str

    def of(self, month: int) -> float:
        return self.value[month] if isinstance(self.value, tuple) else self.value


@dataclass(frozen=True)
class Line:
    """A line of the bill: a price times factors."""

    what: str
    kind: Literal["fixed", "network", "variable", "optional"]
    price: str
    factors: tuple[str, ...]

    def dollars(self, month: int) -> float:
        quantities = (QUANTITIES[name].of(month) for name in self.factors)
        return prod(quantities, start=PRICES[self.price].of_one)

    @property
    def formula(self) -> str:
        return " × ".join([*self.factors, self.price])


PRICES = {
    "endpoint price": Price(
        0.01,
        1,
        "interface endpoint, hour and zone",
        "awsnegotiations.com/privatelink-cost-analysis.html, May 2026",
    ),
    "key price": Price(
        1.00, 1, "KMS key and month", "cloudburn.io/blog/aws-kms-pricing, 14 March 2026"
    ),
    "key request price": Price(
        0.03, 10_000, "KMS requests", "cloudburn.io/blog/aws-kms-pricing, 14 March 2026"
    ),
    "alarm price": Price(
        0.10, 1, "alarm and month", "c3x.dev/resources/aws/aws_cloudwatch_metric_alarm, no date"
    ),
    "metric price": Price(
        0.30, 1, "metric and month", "signoz.io/guides/cloudwatch-pricing, 15 February 2026"
    ),
    "log price": Price(
        0.50,
        1,
        "GB of log",
        "factualminds.com/blog/amazon-cloudwatch-pricing-metrics-logs-alarms-dashboards, "
        "13 June 2026",
    ),
    "image price": Price(
        0.10, 1, "GB and month in ECR", "cloudburn.io/blog/amazon-ecr-pricing, March 2026"
    ),
    "queue price": Price(
        0.40, 1_000_000, "SQS requests", "cloudburn.io/blog/amazon-sqs-pricing, 14 March 2026"
    ),
    "storage price": Price(0.023, 1, "GB and month in S3", MEMORY),
    "write price": Price(0.005, 1000, "S3 writes or lists", MEMORY),
    "machine price": Price(
        0.096,
        1,
        "m5.large, hour",
        "half of m5.xlarge in npblue.com/cloud/aws/ec2-pricing-models, 2026",
    ),
    "disk price": Price(0.08, 1, "GB and month, gp3", MEMORY),
    "train price": Price(0.408, 1, "ml.c5.2xlarge, hour", MEMORY),
    "process price": Price(0.115, 1, "ml.m5.large, hour", MEMORY),
    "tracking price": Price(0.642, 1, "MLflow server, Small, hour", MEMORY),
}

QUANTITIES = {
    "endpoints": Quantity(7, "interface endpoints in batch/stack.yaml"),
    "zones": Quantity(1, "`endpoint_zones`"),
    "hours": Quantity(HOURS, "of a month"),
    "keys": Quantity(1, "one for each stage; its first two yearly rotations add 1 each"),
    "alarms": Quantity(16, "in lambdas/stack.yaml and ci/stack.yaml"),
    "metrics": Quantity(10, "of notify, sweep and drift, were each written in every hour"),
    "image GB": Quantity(5, "in ECR, some ten versions of both images: a guess"),
    "polls": Quantity(
        4 * 5 * 3 * 60 * HOURS, "four queues, five pollers each, one request in 20 seconds"
    ),
    "sweeps": Quantity(4 * HOURS, "one in 15 minutes"),
    "lists": Quantity(8, "S3 lists and writes of a sweep, up to 1,000 uploads kept"),
    "kept GB": Quantity(5, "labelled data, models, reports: a guess"),
    "fixed log GB": Quantity(1, "flow log and functions: a guess"),
    "claims": Quantity(MONTHS, "in a month"),
    "files": Quantity((22, 110, 440), "1, 5 and 20 on each working day"),
    "file hours": Quantity(
        0.2, "12 minutes of machine: start, pull, predict (seconds), idle until it is stopped"
    ),
    "spot share": Quantity(
        0.5,
        "of the price; docs.amazonaws.cn/en_us/autoscaling/ec2/userguide/"
        "weights-spot-price-per-unit-hour-example.html, an example, no date",
    ),
    "disk GB": Quantity(60, "of a machine, batch/stack.yaml"),
    "month share": Quantity(1 / HOURS, "an hour as a part of a month"),
    "upload GB": Quantity(300e-9, "a claim of 300 bytes"),
    "upload months": Quantity((90 + 30) / (HOURS / 24), "`upload_days` and `old_version_days`"),
    "result GB": Quantity(400e-9, "a claim with its prediction"),
    "result months": Quantity((365 + 30) / (HOURS / 24), "`result_days` and `old_version_days`"),
    "file writes": Quantity(40, "S3 writes and lists for a file, generously"),
    "file keys": Quantity(150, "KMS requests for a file, generously"),
    "file log GB": Quantity(0.0002, "log of a job and of two functions"),
    "trainings": Quantity(HOURS / 24 / 7, "one a week"),
    "train hours": Quantity(1 / 6, "10 minutes"),
    "process hours": Quantity(2 / 6, "Validate and Evaluate, 10 minutes each"),
}

BILL = (
    Line("KMS key", "fixed", "key price", ("keys",)),
    Line("alarms", "fixed", "alarm price", ("alarms",)),
    Line("metrics", "fixed", "metric price", ("metrics",)),
    Line("images", "fixed", "image price", ("image GB",)),
    Line("polling of the queues", "fixed", "queue price", ("polls",)),
    Line("sweep", "fixed", "write price", ("sweeps", "lists")),
    Line("data and models", "fixed", "storage price", ("kept GB",)),
    Line("logs without files", "fixed", "log price", ("fixed log GB",)),
    Line("endpoints", "network", "endpoint price", ("endpoints", "zones", "hours")),
    Line("machines", "variable", "machine price", ("files", "file hours", "spot share")),
    Line(
        "their disks", "variable", "disk price", ("files", "file hours", "disk GB", "month share")
    ),
    Line("uploads kept", "variable", "storage price", ("claims", "upload GB", "upload months")),
    Line("results kept", "variable", "storage price", ("claims", "result GB", "result months")),
    Line("S3 writes", "variable", "write price", ("files", "file writes")),
    Line("KMS requests", "variable", "key request price", ("files", "file keys")),
    Line("logs of files", "variable", "log price", ("files", "file log GB")),
    Line("training, spot", "variable", "train price", ("trainings", "train hours", "spot share")),
    Line("Validate, Evaluate", "variable", "process price", ("trainings", "process hours")),
    Line("a second zone", "optional", "endpoint price", ("endpoints", "hours")),
    Line("MLflow server", "optional", "tracking price", ("hours",)),
)


def markdown() -> str:
    """The tables as docs/aws.md has them: the bill, the quantities, the prices."""
    return "\n\n".join([_bill(), _quantities(), _prices()])


def total(month: int, *kinds: str) -> float:
    """The sum of the lines of these kinds, in dollars."""
    return sum(line.dollars(month) for line in BILL if line.kind in kinds)


def _bill() -> str:
    rows = [
        [line.what, line.kind, line.formula, *(_money(line.dollars(month)) for month in range(3))]
        for line in BILL
    ]
    for name, kinds in (
        ("**in the account's own network**", ("fixed", "variable")),
        ("**in the network made here**", ("fixed", "network", "variable")),
    ):
        sums = (f"**{_money(total(month, *kinds))}**" for month in range(3))
        rows.append([name, "sum", "without what is optional", *sums])
    return _table(["a month", "kind", "formula", *(f"{claims:,}" for claims in MONTHS)], rows)


def _quantities() -> str:
    return _table(
        ["quantity", "value", "why"],
        [
            [name, ", ".join(_number(one.of(month)) for month in _months(one)), one.why]
            for name, one in QUANTITIES.items()
        ],
    )


def _prices() -> str:
    return _table(
        ["price", "dollars", "for", "source"],
        [
            [name, f"{one.dollars:.6g}", f"{one.amount:,} {one.of}", one.source]
            for name, one in PRICES.items()
        ],
    )


def _months(quantity: Quantity) -> range:
    return range(3 if isinstance(quantity.value, tuple) else 1)


def _money(dollars: float) -> str:
    return f"{dollars:,.2f}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    print(markdown())
