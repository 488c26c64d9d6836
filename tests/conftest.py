"""What all tests share: no AWS of the person who runs them can be reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="session")
def no_real_aws() -> Iterator[None]:
    """Takes away credentials and settings; tests that need AWS name an endpoint of their own."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("AWS_", "CLAIMFLOW_", "MLFLOW_")):
            del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    yield
    os.environ.clear()
    os.environ.update(before)
