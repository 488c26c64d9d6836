"""The bill in docs/aws.md: it is what the program prints, and counts what the templates hold."""

from __future__ import annotations

import re

import pytest

from pipelines.deployment.stacks import find_stack
from pipelines.deployment_settings import Deployment
from pipelines.images import ROOT
from pipelines.settings import Settings
from tests.benchmarks import costs

ALARM = "AWS::CloudWatch::Alarm"
SECTION = re.compile(r"<!-- costs -->\n\n(.*)\n\n<!-- end of costs -->", re.DOTALL)


def quantity(name: str) -> float:
    return costs.QUANTITIES[name].of(0)


def resources(room: str, kind: str) -> list[dict[str, object]]:
    document = find_stack(room).document
    return [
        one.get("Properties", {}) for one in document["Resources"].values() if one["Type"] == kind
    ]


def test_the_document_holds_what_the_program_prints() -> None:
    found = SECTION.search((ROOT / "docs" / "aws.md").read_text("utf-8"))
    assert found, "docs/aws.md has no section between the comments `costs` and `end of costs`"
    assert found[1] == costs.markdown()


def test_every_price_and_quantity_is_used() -> None:
    assert {line.price for line in costs.BILL} == set(costs.PRICES)
    assert {name for line in costs.BILL for name in line.factors} == set(costs.QUANTITIES)


def test_a_network_of_ones_own_saves_the_endpoints_alone() -> None:
    endpoints = quantity("endpoints") * quantity("zones") * quantity("hours") * 0.01
    for month in range(len(costs.MONTHS)):
        whole = costs.total(month, "fixed", "network", "variable")
        assert whole - costs.total(month, "fixed", "variable") == pytest.approx(endpoints)


def test_the_bill_counts_the_endpoints_that_cost_money() -> None:
    endpoints = resources("batch", "AWS::EC2::VPCEndpoint")
    paid = [one for one in endpoints if one["VpcEndpointType"] == "Interface"]
    assert len(paid) == quantity("endpoints")
    assert Deployment().endpoint_zones == f"{quantity('zones'):.0f}"


def test_the_bill_counts_the_queues_that_are_polled() -> None:
    mapping = "AWS::Lambda::EventSourceMapping"
    polled = [one for room in ("lambdas", "ci") for one in resources(room, mapping)]
    a_minute, minutes, pollers = 3, 60 * quantity("hours"), 5
    assert quantity("polls") == len(polled) * pollers * a_minute * minutes


def test_the_bill_counts_alarms_keys_and_metrics() -> None:
    alarms = [one for room in ("lambdas", "ci") for one in resources(room, ALARM)]
    assert len(alarms) == quantity("alarms")
    assert len(resources("pipelines", "AWS::KMS::Key")) == quantity("keys")
    named = re.compile(r'"((?:Jobs|Rows)\w+|UnsettledUploads|OldestWaitingSeconds|\w+Drift)"')
    written = {
        name
        for file in ("lambdas/notify.py", "lambdas/sweep.py", "pipelines/drift.py")
        for name in named.findall((ROOT / file).read_text("utf-8"))
    }
    assert len(written) == quantity("metrics"), written


def test_the_bill_knows_the_machines_of_templates_and_settings() -> None:
    (machine,) = resources("batch", "AWS::EC2::LaunchTemplate")
    assert f"'VolumeSize': {quantity('disk GB'):.0f}," in str(machine)
    larger = {"lambdas.sweep.handler": 512, "lambdas.retrain.handler": 1769}
    for function in resources("lambdas", "AWS::Lambda::Function"):
        assert function["MemorySize"] == larger.get(str(function["Handler"]), 256)
    settings = Settings.model_fields
    assert settings["training_instance_type"].default in costs.PRICES["train price"].of
    assert settings["processing_instance_type"].default in costs.PRICES["process price"].of


def test_the_bill_keeps_files_as_long_as_the_settings_say() -> None:
    days = quantity("hours") / 24
    kept = Deployment()
    assert quantity("upload months") * days == pytest.approx(
        kept.upload_days + kept.old_version_days
    )
    assert quantity("result months") * days == pytest.approx(
        kept.result_days + kept.old_version_days
    )
