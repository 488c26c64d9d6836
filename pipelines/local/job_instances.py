"""The instances of a job: containers of this machine, each with a folder that stands for /opt/ml.

They are named as SageMaker names them. Nobody resolves these names here, so that the steps get the
address where they meet in a variable.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.local.documents import Document
from pipelines.local.engines import Ended, Limits, Mount, Task

if TYPE_CHECKING:
    from pipelines.local.job_containers import Run

_FOLDERS = ("input/config", "input/data", "output/data", "model", "config")
ML = "/opt/ml"
_TMPFS = {"/tmp": ""}  # noqa: S108 - all of a container that can be written, but for ML
_MEETING = "CLAIMFLOW_MEETING"  # what `steps.container` reads


@dataclass(frozen=True)
class Instance:
    """One instance of a job: a container of this machine, with a folder of its own."""

    host: str
    root: Path  # stands for /opt/ml
    log: Callable[[str], None]


def instances_of(run: Run, cluster: Document) -> list[Instance]:
    """The instances of a job, named as SageMaker names them, their folders made."""
    made = [Instance("algo-1", run.root, run.log)]
    for number in range(2, int(cluster.get("InstanceCount", 1)) + 1):
        host = f"algo-{number}"
        log = run.log_of(host) if run.log_of else partial(_log_behind, host, run.log)
        made.append(Instance(host, run.root.with_name(host), log))
        for part in _FOLDERS:
            (made[-1].root / part).mkdir(parents=True)
    return made


def _log_behind(host: str, log: Callable[[str], None], line: str) -> None:
    log(f"{host}: {line}")


def named(failed: Instance, instances: list[Instance]) -> str:
    """What a failure reason begins with, where there are several instances."""
    return f"{failed.host}: " if len(instances) > 1 else ""


def run_instances(
    run: Run,
    instances: list[Instance],
    image: str,
    *,
    arguments: list[str],
    entrypoint: list[str] | None,
    more: dict[str, str],
) -> tuple[Instance, Ended]:
    """Runs the containers; the one that failed first, if any, and how it ended."""
    job = run.job
    limit = (job.get("StoppingCondition") or {}).get("MaxRuntimeInSeconds", 86_400)
    is_isolated = (job.get("NetworkConfig") or job).get("EnableNetworkIsolation", False)
    meeting = {_MEETING: f"127.0.0.1:{_free_port()}"} if len(instances) > 1 else {}
    tasks = [
        Task(
            image=image,
            arguments=[str(argument) for argument in arguments],
            entrypoint=entrypoint,
            environment={
                **run.role.environment,
                **{key: str(value) for key, value in (job.get("Environment") or {}).items()},
                **more,
                **meeting,
            },
            folder=one.root,
            timeout=float(limit),
            mounts=(Mount(ML, one.root),),
            limits=Limits(has_network=bool(meeting) or not is_isolated, tmpfs=_TMPFS),
        )
        for one in instances
    ]
    logs = [one.log for one in instances]
    place, ended = run.engine.run_together(list(zip(tasks, logs, strict=True)), run.stop)
    return instances[place], ended


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def resource_config(cluster: Document, instance: Instance, instances: list[Instance]) -> Document:
    """What a container reads of itself and the others."""
    return {
        "current_host": instance.host,
        "hosts": [one.host for one in instances],
        "current_instance_type": cluster.get("InstanceType"),
        "network_interface_name": "lo",
    }
