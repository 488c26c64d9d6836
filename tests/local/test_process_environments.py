"""What a process of the local cloud finds around it: its role's key, and nothing of the user's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.local.local_cloud import (
    Cloud,
    Document,
    create_function,
    make_role,
    processing,
    training,
    unique,
    wait_for,
)
from tests.local.test_iam_access import content, run_batch_job

# Of the user: a real account's key, a profile, a tracking server with a password, and whatever.
USERS = {
    "AWS_ACCESS_KEY_ID": "AKIAUSER",
    "AWS_SECRET_ACCESS_KEY": "users-secret",
    "AWS_SESSION_TOKEN": "users-token",
    "MLFLOW_TRACKING_URI": "https://users-tracking",
    "MLFLOW_TRACKING_USERNAME": "users-name",
    "MLFLOW_TRACKING_PASSWORD": "users-password",
    "CLAIMFLOW_TOKEN": "users-claimflow",
    "DATABASE_URL": "users-database",
}
KINDS = ("training", "processing", "function", "batch with a role", "batch without one")
# Also what boto3 would find by itself, with nothing in the environment to tell it.
SHOW = (
    "import json, os, pathlib\n"
    "read = lambda path: pathlib.Path(path).read_text() if path else 'unset'\n"
    "files = ('AWS_CONFIG_FILE', 'AWS_SHARED_CREDENTIALS_FILE')\n"
    "found = {'variables': dict(os.environ), 'files': [read(os.environ.get(n)) for n in files]}\n"
)


@pytest.fixture(scope="module")
def user_s_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A local cloud that was started in the shell of somebody with credentials."""
    running = Cloud(tmp_path_factory.mktemp("environment") / "state", **USERS)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def found(user_s_cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Document:
    """What each kind of process found."""
    cloud, folder = user_s_cloud, tmp_path_factory.mktemp("found")
    role = make_role(cloud, unique("role"), {"Effect": "Allow", "Action": "s3:*", "Resource": "*"})

    def script(name: str) -> str:
        path = folder / name
        return f"{SHOW}pathlib.Path({str(path)!r}).write_text(json.dumps(found))"

    for kind in (training, processing):
        step = kind("A", script(kind.__name__))
        step["Arguments"]["RoleArn"] = role
        assert cloud.run(step)["PipelineExecutionStatus"] == "Succeeded"
    for name, roles in (("batch with a role", {"jobRoleArn": role}), ("batch without one", {})):
        run_batch_job(cloud, script(name), roles)
        wait_for(partial(content, folder / name))
    source = f"def handler(event, context):\n    exec({SHOW!r}, globals())\n    return found"
    function = create_function(cloud, source, role=role)
    answer = cloud.client("lambda").invoke(FunctionName=function)["Payload"].read()
    (folder / "function").write_bytes(answer)
    return {path.name: json.loads(path.read_text()) for path in Path(folder).iterdir()}


@pytest.mark.parametrize("kind", KINDS)
def test_no_process_sees_the_user_s_keys(user_s_cloud: Cloud, found: Document, kind: str) -> None:
    assert set(found) == set(KINDS)
    variables = found[kind]["variables"]
    secrets = {*USERS.values(), user_s_cloud.variables["AWS_ACCESS_KEY_ID"]}
    leaked = [name for name, value in variables.items() if any(one in value for one in secrets)]
    assert not leaked
    assert found[kind]["files"] == ["", ""]  # not those in the home folder
    assert variables["AWS_EC2_METADATA_DISABLED"] == "true"
    assert variables["AWS_ENDPOINT_URL"] == user_s_cloud.endpoint


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_has_the_key_of_its_role_or_none(found: Document, kind: str) -> None:
    key = found[kind]["variables"].get("AWS_ACCESS_KEY_ID", "")
    assert key.startswith("ROLE") if kind != "batch without one" else not key
    assert len({one["variables"].get("AWS_ACCESS_KEY_ID") for one in found.values()}) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_with_the_user_s_key_is_named_to_nobody(
    user_s_cloud: Cloud, found: Document, kind: str
) -> None:
    """It is the same user of this machine, so that nothing but not knowing keeps it; and others
    cannot read it."""
    path = user_s_cloud.state / "access_key"
    assert path.stat().st_mode & 0o077 == 0
    assert str(path) not in found[kind]["variables"].values()
