"""Log lines: one JSON object a line, to be queried by field. Never the text of a claim."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

NAMESPACE = "claimflow"

Unit = Literal["Count", "Seconds", "None"]


def log(event: str, **fields: object) -> None:
    """Writes one line to standard output, where Lambda collects it."""
    line = json.dumps({"event": event, **fields}, ensure_ascii=False, default=str)
    # A message may hold half of a surrogate pair, which no encoding has.
    sys.stdout.write(line.encode(errors="backslashreplace").decode() + "\n")


def log_metrics(
    deployment: str, time: datetime, values: Mapping[str, float], unit: Unit = "Count"
) -> None:
    """Writes a line that CloudWatch makes metrics of, with the dimension `Deployment`.

    The form is CloudWatch's embedded metric format:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
    """
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["Deployment"]],
        "Metrics": [{"Name": name, "Unit": unit} for name in values],
    }
    log(
        "metrics",
        _aws={"Timestamp": int(time.timestamp() * 1000), "CloudWatchMetrics": [directive]},
        Deployment=deployment,
        **values,
    )
