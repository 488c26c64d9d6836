"""Where an image comes from, as its labels say it."""

from __future__ import annotations

import contextlib
import subprocess
from importlib import metadata
from urllib.parse import urlsplit

from pipelines.images import ROOT, Image


def origin(described: Image) -> dict[str, str]:
    """What the labels of an image say of where it comes from. It is no part of what the tag is made
    of: the commit of an image is the first one that had its content. (Arguments, not `--label`:
    podman 4.3 forgets that where all layers are there already.)"""
    revision = _git("rev-parse", "HEAD")
    if revision and _git("status", "--porcelain", "--", "containers", *described.files):
        revision += "-dirty"
    return {
        "VERSION": metadata.version("claimflow"),
        "REVISION": revision,
        "SOURCE": _public(_git("remote", "get-url", "origin")),
    }


def _public(source: str) -> str:
    """The address of a repository without an account, a password or a token; nothing where it is
    a path of one machine, or of a form in which those are not sure to be found."""
    try:
        split = urlsplit(source)
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return ""
    if split.scheme not in ("https", "ssh") or not split.hostname or "@" in split.path:
        return ""
    return f"{split.scheme}://{split.hostname}{port}{split.path}"


def _git(*words: str) -> str:
    """What git says; nothing where there is no git, or no repository."""
    with contextlib.suppress(OSError):
        asked = subprocess.run(
            ["git", "-C", str(ROOT), *words],  # noqa: S607
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.stdout.strip() if asked.returncode == 0 else ""
    return ""
