"""Drift: when claims have changed, and when that is only chance."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from lambdas import layout
from pipelines import drift
from pipelines.cli.predictions import command
from pipelines.drift import ACT, Drifts, compare, stability
from pipelines.errors import UserError
from tests.pipelines.deployment import SETTINGS, Deployment

LABELS = {"fire": 5000, "water": 3000, "storm": 1500, "theft": 500}
ARN = "arn:aws:sagemaker:eu-west-1:1:model-package/claims/{}"
_counts = st.lists(st.integers(0, 10_000), min_size=2, max_size=30)


def histogram(rows: int, a: float = 9, b: float = 1.2, seed: int = 0) -> list[int]:
    random_ = random.Random(seed)
    counts = [0] * 100
    for _ in range(rows):
        counts[min(99, int(random_.betavariate(a, b) * 100))] += 1
    return counts


def manifest(
    labels: dict[str, int] | None = None,
    confidences: list[int] | None = None,
    version: int = 3,
    **more: Any,
) -> dict[str, Any]:
    labels = LABELS if labels is None else labels
    return {
        "outcome": "succeeded",
        "predicted": sum(labels.values()),
        "labels": labels,
        "confidence": {"histogram": confidences or histogram(sum(labels.values()), seed=1)},
        "reference": {"labels": LABELS, "confidence_histogram": histogram(2000)},
        "model_package_arn": ARN.format(version),
        "model_package_version": version,
        **more,
    }


def drawn(rows: int, weights: dict[str, int], seed: int = 0) -> dict[str, int]:
    return dict(Counter(random.Random(seed).choices([*weights], [*weights.values()], k=rows)))


def test_the_index_is_that_of_the_textbook() -> None:
    found = stability([50, 30, 20], [30, 30, 40])
    assert found is not None
    expected = (0.3 - 0.5) * math.log(0.3 / 0.5) + (0.4 - 0.2) * math.log(0.4 / 0.2)
    assert found.value == pytest.approx(expected)


def test_an_empty_bin_counts_as_half_a_row() -> None:
    found = stability([100, 0], [50, 50])
    assert found is not None
    share = 0.5 / 100
    expected = (0.5 - 1) * math.log(0.5) + (0.5 - share) * math.log(0.5 / share)
    assert found.value == pytest.approx(expected)


@given(_counts, st.data())
def test_the_index_is_never_negative_symmetric_and_0_for_the_same_counts(
    then: list[int], data: st.DataObject
) -> None:
    now = data.draw(st.lists(st.integers(0, 10_000), min_size=len(then), max_size=len(then)))
    one, other = stability(then, now), stability(now, then)
    if one is None or other is None:
        assert not sum(then) or not sum(now)
        return
    assert one.value >= 0
    assert one.value == pytest.approx(other.value)
    same = stability(then, then)
    assert same is not None
    assert same.value == pytest.approx(0)


@pytest.mark.parametrize("rows", [30, 300, 3000])
def test_what_chance_alone_gives_is_hardly_ever_above_its_bound(rows: int) -> None:
    above = 0
    for seed in range(200):
        then, now = drawn(2000, LABELS, seed), drawn(rows, LABELS, seed + 1000)
        found = stability([then.get(n, 0) for n in LABELS], [now.get(n, 0) for n in LABELS])
        assert found is not None
        above += found.value > found.chance
        assert found.level != "act" or found.value > found.chance
    assert above <= 8, "1 in 100 is expected, so 2"


def test_the_same_claims_are_steady() -> None:
    found = compare([manifest(drawn(2000, LABELS, seed)) for seed in range(3)])
    assert found.level == "steady"
    assert (found.files, found.rows, found.others) == (3, 6000, 0)


def test_other_labels_call_for_action_and_the_labels_are_named() -> None:
    now = {"fire": 1000, "water": 1000, "storm": 7000, "theft": 1000}
    found = compare([manifest(now)])
    assert found.labels is not None
    assert found.labels.level == found.level == "act"
    assert found.confidences is not None
    assert found.confidences.level == "steady"
    assert found.gained[0] == ("storm", 0.15, 0.7)
    assert found.lost[0] == ("fire", 0.5, 0.1)
    assert {label for label, _, _ in found.gained} == {"storm", "theft"}


def test_a_small_change_is_watched() -> None:
    found = compare([manifest({"fire": 4000, "water": 3000, "storm": 2300, "theft": 1100})])
    assert found.level == "watch"


def test_a_model_that_is_less_certain_calls_for_action() -> None:
    found = compare([manifest(confidences=histogram(10_000, 4, 3))])
    assert found.confidences is not None
    assert found.confidences.level == "act"
    assert found.mean_now < found.mean_then


def test_of_a_model_that_is_nearly_always_certain_less_is_seen_too() -> None:
    then, now = [0] * 100, [0] * 100
    then[99], then[60] = 1950, 50
    now[99], now[60] = 5000, 5000
    reference = {"labels": LABELS, "confidence_histogram": then}
    found = compare([manifest(confidences=now, reference=reference)])
    assert found.confidences is not None
    assert found.confidences.level == "act"


def test_many_rare_labels_are_compared_as_one() -> None:
    then = {"fire": 10_000, **{f"rare {number}": 2 for number in range(1000)}}
    now = {"fire": 1000, **{f"rare {number}": 1 for number in range(0, 1000, 5)}}
    found = compare([manifest(now, reference=manifest()["reference"] | {"labels": then})])
    assert found.labels is not None
    assert found.labels.value < 0.01, "1,000 of 12,000 then, 200 of 1,200 now, and no empty bins"


def test_few_rows_are_no_reason_to_act() -> None:
    found = compare([manifest({"water": 3, "fire": 1}, histogram(4))])
    assert found.labels is not None
    assert found.labels.value > ACT
    assert found.level == "steady"


def test_only_the_version_that_predicted_last_counts() -> None:
    old = manifest({"theft": 10_000}, version=2)
    found = compare([old, old, manifest()])
    assert (found.version, found.files, found.others, found.level) == (3, 1, 2, "steady")
    assert compare([manifest(), old]).level == "act"


@pytest.mark.parametrize(
    ("manifests", "said"),
    [
        ([], "nothing was predicted"),
        ([manifest(outcome="failed")], "nothing was predicted"),
        ([manifest({})], "nothing was predicted"),
        ([manifest(reference=None)], "train again"),
        (
            [
                {
                    "outcome": "succeeded",
                    "predicted": 3,
                    "model_package_arn": "a",
                    "model_package_version": 1,
                }
            ],
            "train again",
        ),
    ],
    ids=["none", "failed", "empty", "no reference", "older than all of this"],
)
def test_without_anything_to_compare_it_is_unknown(
    manifests: list[dict[str, Any]], said: str
) -> None:
    found = compare(manifests)
    assert found.level == "unknown"
    assert said in found.why_unknown


def put(deployment: Deployment, name: str, document: dict[str, Any]) -> None:
    deployment.put("results", f"{layout.RESULTS}{name}/{'0' * 32}/{layout.MANIFEST}", document)


def test_the_command_reads_every_manifest_and_no_other_object(deployment: Deployment) -> None:
    put(deployment, "a b.csv", manifest())
    put(deployment, "b.csv", manifest())
    put(deployment, "failed.csv", manifest(outcome="failed"))
    deployment.put("results", "results/a b.csv/x/predictions.csv", b"text\n")
    deployment.put("results", "results/not-a-manifest.json", b"no json")
    done = CliRunner().invoke(command, ["drift", "--json"])
    assert done.exit_code == 0
    document = json.loads(done.output)
    assert (document["level"], document["files"], document["rows"]) == ("steady", 2, 20_000)


def test_what_was_written_before_the_window_does_not_count(deployment: Deployment) -> None:
    put(deployment, "a.csv", manifest())
    later = datetime.now(timezone.utc) + timedelta(minutes=1)
    assert Drifts(deployment.aws).since(later).level == "unknown"


def test_drift_is_told_in_words_and_by_the_exit_code(deployment: Deployment) -> None:
    put(deployment, "a.csv", manifest({"theft": 9000, "fire": 1000}))
    done = CliRunner().invoke(command, ["drift"])
    assert done.exit_code == 3
    assert done.output.startswith("10,000 rows in 1 file, model version 3\n")
    assert "theft: 5.0% in training, 90.0% now" in done.output
    assert "fire: 50.0% in training, 10.0% now" in done.output
    assert "train again" in done.output


@pytest.mark.parametrize(("labels", "events"), [(LABELS, 0), ({"theft": 10_000}, 1)])
def test_the_alarm_writes_metrics_and_announces_what_calls_for_action(
    deployment: Deployment, labels: dict[str, int], events: int
) -> None:
    queue = deployment.queues[SETTINGS.notice_queue]
    arn = deployment.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    rules = boto3.client("events")
    rules.put_rule(
        Name="drift", EventPattern='{"source": ["claimflow"], "detail-type": ["Drift Detected"]}'
    )
    rules.put_targets(Rule="drift", Targets=[{"Id": "1", "Arn": arn["Attributes"]["QueueArn"]}])
    put(deployment, "a.csv", manifest(labels))
    CliRunner().invoke(command, ["drift"])
    assert deployment.messages(SETTINGS.notice_queue) == [], "only when asked for"
    CliRunner().invoke(command, ["drift", "--alarm"])
    sent = deployment.messages(SETTINGS.notice_queue)
    assert len(sent) == events
    for one in sent:
        assert one["Document"]["detail"]["model_package_version"] == 3
        assert one["Document"]["detail"]["LabelDrift"] > ACT
    listed = boto3.client("cloudwatch").list_metrics(Namespace="claimflow")["Metrics"]
    assert {one["MetricName"] for one in listed} == {"LabelDrift", "ConfidenceDrift"}
    dimension = {"Name": "Deployment", "Value": SETTINGS.prefix}
    assert all(one["Dimensions"] == [dimension] for one in listed)


def test_the_drift_of_real_manifests_is_read_from_what_the_job_writes(
    deployment: Deployment,
) -> None:
    upload = deployment.upload()
    prefix = deployment.record(upload)
    reference = {"labels": {"fire": 70, "water": 30}, "confidence_histogram": [0] * 90 + [10] * 10}
    deployment.settle(upload, prefix, reference=reference)
    found = Drifts(deployment.aws).since(datetime(2020, 1, 1, tzinfo=timezone.utc))
    assert found.rows == 10
    assert found.labels is not None
    assert found.labels.value == pytest.approx(0)
    assert drift.RESULTS == layout.RESULTS
    assert f"/{layout.MANIFEST}" == drift.MANIFEST


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b"{}"])
def test_a_damaged_manifest_is_named(deployment: Deployment, body: bytes) -> None:
    deployment.put("results", "results/a.csv/0/manifest.json", body)
    with pytest.raises(UserError, match=r"results/a\.csv/0/manifest\.json is damaged"):
        Drifts(deployment.aws).since(datetime(2020, 1, 1, tzinfo=timezone.utc))
