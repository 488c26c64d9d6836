"""SageMaker's instance types: on which of them the images run, and whose disks take a key.

The wheels of MXNet 1.9.1 are for x86, and `mxnet-cu112` holds machine code for compute capability
5.0 to 8.6 and no PTX: a newer generation of GPU has nothing to run, whatever its driver.
"""

from __future__ import annotations

import re

GPU_FAMILIES = ("p3", "p3dn", "p4d", "p4de", "g4dn", "g5", "g6", "g6e")
CPU_FAMILIES = ("c5", "c6i", "c7i", "m5", "m6i", "m7i", "r5", "t3")  # some; any on x86 will do

_TYPE = re.compile(r"ml\.([a-z]+)(\d+)([a-z0-9-]*)\.[a-z0-9-]+")
_ACCELERATED = ("p", "g", "gr", "trn", "inf", "dl", "vt")
# Families with disks of their own: a `d` after the generation, and some without it.
_OWN_DISKS = re.compile(r"ml\.([a-z]+\d+[a-z]*d[a-z]*|g[56]e?)\.")


def checked(instance_type: str) -> str:
    """The type itself.

    Raises
    ------
    ValueError
        It is none, or MXNet does not run on it: one line, with those that do.
    """
    found = _TYPE.fullmatch(instance_type)
    if found is None:
        raise ValueError(
            f"{instance_type!r} is no instance type of SageMaker's; one is ml.c5.2xlarge"
        )
    kind, generation, options = found.groups()
    family = f"{kind}{generation}{options}"
    is_arm = options.startswith("g") or family == "a1"
    runs = has_gpu(instance_type) if kind in _ACCELERATED else not is_arm
    if not runs:
        raise ValueError(
            f"MXNet 1.9.1 does not run on {instance_type}; with a GPU it runs on "
            f"{', '.join(GPU_FAMILIES)}, without one on {', '.join(CPU_FAMILIES)} and others on x86"
        )
    return instance_type


def has_gpu(instance_type: str) -> bool:
    """Whether it has a GPU that MXNet runs on."""
    return instance_type.removeprefix("ml.").partition(".")[0] in GPU_FAMILIES


def takes_volume_key(instance_type: str) -> bool:
    """Whether a job's volume can be encrypted with a key of ours. Where the disks are the machine's
    own, SageMaker refuses a key: the machine encrypts them."""
    return _OWN_DISKS.match(instance_type) is None
