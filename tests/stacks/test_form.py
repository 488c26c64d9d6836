"""The files themselves: what CloudFormation reads, and exceptions with their reasons."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from pipelines.deployment.stacks import find_stack
from pipelines.deployment_settings import Deployment
from pipelines.images import ROOT

LARGEST_BODY = 51_200  # bytes of a template that is sent and not fetched from a bucket


def test_a_template_can_be_sent_whole(room: str) -> None:
    # The first stack must be: it makes the bucket that others could be fetched from.
    assert find_stack(room).path.stat().st_size <= LARGEST_BODY


def test_a_template_has_no_anchors(room: str) -> None:
    # CloudFormation's user guide: "doesn't support … aliases, hash merges".
    text = (ROOT / room / "stack.yaml").read_text("utf-8")
    assert not [one for one in yaml.parse(text) if isinstance(one, yaml.AliasEvent)]


def test_each_exception_from_the_security_scan_has_a_reason(room: str) -> None:
    for name, resource in find_stack(room).document["Resources"].items():
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", []):
            assert len(skip["comment"].split()) > 3, (name, skip)


def test_the_settings_take_the_days_that_the_templates_take(room: str) -> None:
    described = find_stack(room).document["Parameters"].get("LogDays", {"AllowedValues": []})
    for days in range(1, 4000):
        if days in described["AllowedValues"]:
            assert Deployment(log_days=days).log_days == days
        elif described["AllowedValues"]:
            with pytest.raises(ValidationError):
                Deployment(log_days=days)


def test_every_parameter_is_used_and_every_condition(room: str) -> None:
    document = find_stack(room).document
    text = (ROOT / room / "stack.yaml").read_text("utf-8")
    for name in document["Parameters"]:
        assert f"!Ref {name}" in text or f"${{{name}}}" in text, name
    for name in document.get("Conditions", {}):
        uses = (f"Condition: {name}\n", f"!If [{name},", f"- {name}\n", f"!Condition {name}")
        assert any(use in text for use in uses), name
