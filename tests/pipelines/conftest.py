"""What the tests of the commands share."""

from __future__ import annotations

import pytest

from tests.pipelines.deployment import Deployment


@pytest.fixture
def deployment(empty_aws: str) -> Deployment:
    """An empty deployment, in the environment of a test's clients."""
    return Deployment()
