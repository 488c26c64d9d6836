"""The folders of a container: lent to the user who works in it, and taken back from him.

Whoever runs the local cloud has to be able to delete what a job leaves. A container that may run as
anybody runs as him: in an engine without root that is the container's own root; and for root, who
may work nowhere, it is the images' own user. A container that names its user gets folders that
anybody may write: they lie in the state folder, which nobody else can enter. What an ordinary user
could not delete afterwards is given to him by a container that may do nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError

from pipelines.local.engines import Mount

OWN_LABEL = "claimflow.named-user"
IMAGE_USER = 10001  # `claimflow` in our images
_ROOT = "0:0"
# The last one is for SELinux, which would keep the folders shut.
SECURITY = ("no-new-privileges", "label=disable")


class Folders:
    """Knows who is who here and in the engine."""

    def __init__(self, is_rootless: bool) -> None:
        self._is_rootless = is_rootless
        self._is_root = os.geteuid() == 0 and not is_rootless

    def lend(self, mounts: Sequence[Mount], user: str) -> str:
        """Makes the folders writable for a user, named or not, and says whom the container runs as
        (as Docker takes it)."""
        folders = [one.folder for one in mounts if not one.is_read_only]
        if user:
            for folder in folders:
                folder.chmod(0o777)
            return user
        if not self._is_root:
            return self._owner
        for folder in folders:
            _own(folder)
        return f"{IMAGE_USER}:{IMAGE_USER}"

    def take_back(self, api: Any, container: dict[str, Any]) -> None:
        """Makes the folders of a container that has gone those of this user, as far as possible."""
        labels = container["Config"]["Labels"] or {}
        mounts = [
            docker.types.Mount(one["Destination"], one["Source"], "bind")
            for one in container["Mounts"]
            if one["Type"] == "bind" and one["RW"]
        ]
        if self._is_root or OWN_LABEL not in labels or not mounts:
            return
        host = api.create_host_config(
            mounts=mounts,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            cap_add=["CHOWN", "DAC_OVERRIDE"],
            security_opt=list(SECURITY),
            userns_mode="host",
            log_config={"Type": "none"},
        )
        with suppress(APIError):  # the image may lack the command
            made = api.create_container(
                container["Image"],
                entrypoint=["chown"],
                command=["-R", "-h", self._owner, *(one["Target"] for one in mounts)],
                user=_ROOT,
                host_config=host,
                labels={key: labels[key] for key in labels if key != OWN_LABEL},
            )
            try:
                api.start(made["Id"])
                api.wait(made["Id"], timeout=600)
            finally:
                api.remove_container(made["Id"], force=True, v=True)

    @property
    def _owner(self) -> str:
        return _ROOT if self._is_rootless else f"{os.geteuid()}:{os.getegid()}"


def _own(folder: Path) -> None:
    """Gives a folder and all in it to the user of our images."""
    os.chown(folder, IMAGE_USER, IMAGE_USER)
    for below, folders, files in os.walk(folder):  # follows no links
        for name in (*folders, *files):
            os.chown(Path(below) / name, IMAGE_USER, IMAGE_USER, follow_symlinks=False)
