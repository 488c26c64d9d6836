"""What the tests of the job share."""

from __future__ import annotations

import pytest

from tests.conftest import make_buckets


@pytest.fixture
def aws(empty_aws: str) -> str:
    """The endpoint, empty but for three buckets, in the environment of a test's clients."""
    make_buckets("uploads", "results", "models")
    return empty_aws
