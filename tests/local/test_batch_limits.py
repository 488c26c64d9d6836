"""What the container of a Batch job may use, by its job definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.local.batch_limits import limits_of, mounts_of
from pipelines.local.engines import ContainerError, Limits, Mount, Ulimit


def container(**more: Any) -> dict[str, Any]:
    return {"image": "i", "command": [], "resourceRequirements": [], **more}


def test_a_job_definition_s_limits_reach_the_container() -> None:
    requirements = [{"type": "VCPU", "value": "2"}, {"type": "MEMORY", "value": "4096"}]
    linux = {
        "initProcessEnabled": True,
        "sharedMemorySize": 64,
        "tmpfs": [{"containerPath": "/run", "size": 16, "mountOptions": ["noexec", "nodev"]}],
    }
    given = container(
        resourceRequirements=requirements,
        user="10001",
        readonlyRootFilesystem=True,
        linuxParameters=linux,
        ulimits=[{"name": "nofile", "softLimit": 10, "hardLimit": 20}],
    )
    assert limits_of(given, frozenset({0, 3})) == Limits(
        cores=frozenset({0, 3}),
        memory=4096,
        shared_memory=64,
        user="10001",
        has_init=True,
        tmpfs={"/run": "size=16m,noexec,nodev"},
        ulimits=(Ulimit("nofile", 10, 20),),
    )


def test_a_job_definition_that_limits_nothing_leaves_the_container_its_root() -> None:
    limits = limits_of(container(memory=512), frozenset())
    assert limits == Limits(memory=512, has_writable_root=True)


def test_a_volume_is_a_folder_of_the_job_wherever_it_lies_on_a_host(tmp_path: Path) -> None:
    points = [
        {"sourceVolume": "scratch", "containerPath": "/tmp", "readOnly": False},
        {"sourceVolume": "models", "containerPath": "/models", "readOnly": True},
    ]
    assert mounts_of(container(mountPoints=points, readonlyRootFilesystem=True), tmp_path) == (
        Mount("/tmp", tmp_path / "scratch"),
        Mount("/models", tmp_path / "models", is_read_only=True),
    )
    assert (tmp_path / "scratch").is_dir()


def test_tmp_is_the_job_s_folder_only_where_it_could_be_written_on_aws(tmp_path: Path) -> None:
    (temporary,) = mounts_of(container(), tmp_path)
    assert temporary.path == "/tmp"
    assert temporary.folder.is_dir()
    assert temporary.folder.is_relative_to(tmp_path)
    assert mounts_of(container(readonlyRootFilesystem=True), tmp_path) == ()
    linux = {"tmpfs": [{"containerPath": "/tmp", "size": 16}]}
    assert mounts_of(container(linuxParameters=linux), tmp_path) == ()


def test_a_volume_for_reading_only_cannot_be_written_by_way_of_tmp(tmp_path: Path) -> None:
    points = [{"sourceVolume": "models", "containerPath": "/models", "readOnly": True}]
    models, temporary = mounts_of(container(mountPoints=points), tmp_path)
    assert temporary.path == "/tmp"
    assert not models.folder.is_relative_to(temporary.folder)


@pytest.mark.parametrize("name", ["../../etc", "/etc", "", "a b", ".tmp"])
def test_a_volume_cannot_lead_out_of_the_job_s_folder(tmp_path: Path, name: str) -> None:
    points = [{"sourceVolume": name, "containerPath": "/x"}]
    with pytest.raises(ContainerError, match="sourceVolume"):
        mounts_of(container(mountPoints=points), tmp_path / "job")
    assert list(tmp_path.iterdir()) == []


def test_nothing_runs_privileged() -> None:
    with pytest.raises(ContainerError, match="privileged"):
        limits_of(container(privileged=True), frozenset())
