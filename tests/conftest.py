"""What all tests share: no AWS of the person who runs them can be reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.local.local_cloud import Cloud
    from tests.pipelines.deployment import Deployment

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The documents first: their file is the longest, and a process runs a file as a whole. At the
    end the others would wait for it."""
    items.sort(key=lambda item: item.path.name != "test_snippets.py")


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


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """A real AWS API in this process: moto's server, for plain boto3."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One local cloud for all tests; each uses names of its own."""
    from tests.local.local_cloud import Cloud

    running = Cloud(tmp_path_factory.mktemp("cloud") / "state")
    yield running
    running.stop()


@pytest.fixture
def empty_aws(moto_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The endpoint, holding nothing, in the environment of a test's clients."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_server)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    _reset(moto_server)
    yield moto_server
    _reset(moto_server)


@pytest.fixture
def deployment(empty_aws: str) -> Deployment:
    """An empty deployment, in the environment of a test's clients."""
    from tests.pipelines.deployment import Deployment

    return Deployment()


def make_buckets(*names: str) -> None:
    """Makes buckets in the region of `empty_aws`."""
    import boto3

    place = {"LocationConstraint": "eu-west-1"}
    for name in names:
        boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)


def _reset(server: str) -> None:
    connection = HTTPConnection(server.removeprefix("http://"))
    connection.request("POST", "/moto-api/reset")
    connection.getresponse().read()
    connection.close()
