"""The overview looks every two seconds: what that asks of S3, and what it shows."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pipelines.desk.newest import KEPT
from tests.desk.visitor import Visitor
from tests.pipelines.deployment import Deployment


@pytest.fixture
def listings(deployment: Deployment) -> list[Any]:
    found: list[Any] = []
    events = deployment.aws.client("s3").meta.events
    events.register("before-call.s3.ListObjectVersions", lambda **_: found.append(1))
    return found


def test_a_look_at_what_changes_lists_anew_only_after_a_while(
    deployment: Deployment, listings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.upload("first.csv")
    visitor = Visitor(deployment.aws)
    visitor.read("/")
    assert len(listings) == 1
    for _ in range(3):
        assert "first.csv" in visitor.read("/live/overview")
    assert len(listings) == 1
    now = time.monotonic
    monkeypatch.setattr("pipelines.desk.newest.time.monotonic", lambda: now() + KEPT + 1)
    deployment.upload("second.csv")
    assert "second.csv" in visitor.read("/live/overview")
    assert len(listings) == 2


def test_the_overview_shows_a_file_at_once(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    visitor.read("/")
    deployment.upload("claims.csv")
    assert "claims.csv" in visitor.read("/")


def test_a_look_at_what_changes_shows_the_state_of_now(deployment: Deployment) -> None:
    visitor = Visitor(deployment.aws)
    upload = deployment.upload()
    assert "arrived, not begun yet" in visitor.read("/")
    deployment.settle(upload, deployment.record(upload, deployment.submit("SUCCEEDED")))
    assert "arrived, not begun yet" not in visitor.read("/live/overview")
