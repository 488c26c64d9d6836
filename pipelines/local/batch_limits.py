"""What the container of an AWS Batch job may use, as its job definition says it (AWS Batch API
reference, "ContainerProperties" and "LinuxParameters")."""

from __future__ import annotations

import math
import re
from pathlib import Path

from pipelines.local.documents import Document
from pipelines.local.engines import ContainerError, Limits, Mount, Ulimit

_TEMPORARY = "/tmp"  # noqa: S108
_TEMPORARY_FOLDER = ".tmp"  # which is the name of no volume


def vcpus(container: Document) -> int:
    """The whole cores that a container asks for, at least one."""
    return max(1, math.ceil(float(_resource(container, "VCPU") or container.get("vcpus") or 1)))


def limits_of(container: Document, cores: frozenset[int]) -> Limits:
    """The limits of a container that was lent some cores.

    Raises
    ------
    ContainerError
        It wants to be privileged, which nothing is here.
    """
    if container.get("privileged"):
        raise ContainerError("the local cloud runs no privileged containers (`privileged` is true)")
    linux = container.get("linuxParameters") or {}
    memory = _resource(container, "MEMORY") or container.get("memory")
    return Limits(
        cores=cores,
        memory=int(memory) if memory else None,
        shared_memory=linux.get("sharedMemorySize"),
        user=container.get("user") or "",
        has_writable_root=not container.get("readonlyRootFilesystem"),
        has_init=bool(linux.get("initProcessEnabled")),
        tmpfs={
            one["containerPath"]: ",".join([f"size={one['size']}m", *one.get("mountOptions", [])])
            for one in linux.get("tmpfs") or []
        },
        ulimits=tuple(
            Ulimit(one["name"], one["softLimit"], one["hardLimit"])
            for one in container.get("ulimits") or []
        ),
    )


def mounts_of(container: Document, folder: Path) -> tuple[Mount, ...]:
    """The mounts of a container, below a folder of its own: for each volume an empty folder, made
    here, wherever on a host of AWS that would lie.

    Raises
    ------
    ContainerError
        A volume's name is none.
    """
    mounts = [
        Mount(one["containerPath"], folder / _volume(one), bool(one.get("readOnly")))
        for one in container.get("mountPoints") or []
    ]
    taken = {one.path for one in mounts} | {
        one["containerPath"] for one in (container.get("linuxParameters") or {}).get("tmpfs") or []
    }
    if _TEMPORARY not in taken and not container.get("readonlyRootFilesystem"):
        # Beside the volumes, which may be for reading only; what lies here goes with the job.
        mounts.append(Mount(_TEMPORARY, folder / _TEMPORARY_FOLDER))
    for one in mounts:
        one.folder.mkdir(parents=True, exist_ok=True)
    return tuple(mounts)


def _volume(mount_point: Document) -> str:
    name = str(mount_point.get("sourceVolume"))
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", name):
        raise ContainerError(
            f"sourceVolume is {name!r}, expected letters, digits, hyphens and underscores"
        )
    return name


def _resource(container: Document, kind: str) -> str | None:
    for one in container["resourceRequirements"]:
        if one["type"] == kind:
            return str(one["value"])
    return None
