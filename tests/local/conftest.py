"""One local cloud for all tests; each uses names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local.local_cloud import Cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    running = Cloud(tmp_path_factory.mktemp("cloud") / "state")
    yield running
    running.stop()
