"""Log lines, and the metrics that CloudWatch makes of them."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest

from lambdas.log import log, log_metrics

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    document: dict[str, Any] = json.loads(line)
    return document


def test_a_line_is_one_json_object_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    log("told", key='incoming/a"b\n{"event": "forged"}', at=NOW)
    assert printed(capsys) == {
        "event": "told",
        "key": 'incoming/a"b\n{"event": "forged"}',
        "at": "2026-01-01 00:00:00+00:00",
    }


def test_half_a_surrogate_pair_is_printed_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    log("ignored", name="\ud800", key="ü")
    assert capsys.readouterr().out == '{"event": "ignored", "name": "\\ud800", "key": "ü"}\n'


@pytest.mark.parametrize("unit", ["Count", "Seconds"])
def test_metrics_have_the_members_that_the_embedded_metric_format_requires(
    capsys: pytest.CaptureFixture[str], unit: Any
) -> None:
    """https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html"""
    values = {"JobsSucceeded": 1, "RowsPredicted": 12.5}
    log_metrics("claimflow-dev", NOW, values, unit)
    document = printed(capsys)
    metadata = document["_aws"]
    assert metadata.keys() == {"Timestamp", "CloudWatchMetrics"}
    assert metadata["Timestamp"] == 1767225600000, "milliseconds since 1970"
    (directive,) = metadata["CloudWatchMetrics"]
    assert directive.keys() == {"Namespace", "Dimensions", "Metrics"}
    assert directive["Namespace"] == "claimflow"
    assert len(directive["Metrics"]) <= 100
    for dimensions in directive["Dimensions"]:
        assert len(dimensions) <= 30
        for name in dimensions:
            assert isinstance(document[name], str), "a target member on the root"
    assert {metric["Name"] for metric in directive["Metrics"]} == values.keys()
    for metric in directive["Metrics"]:
        assert metric["Unit"] == unit
        assert isinstance(document[metric["Name"]], (int, float)), "a target member on the root"
