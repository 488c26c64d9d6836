"""Writes an image's software bill of materials: `sbom.py NAME LOCK FILES OUTPUT`, run in the image
itself while it is built, with nothing but the standard library.

CycloneDX 1.5, JSON. It lists what is there, not what was asked for: Python and its packages
(importlib.metadata) and Debian's packages (dpkg). LOCK are the hashed requirements that were
installed, FILES says which file of each release was taken (a `pylock.toml`, as uv writes it):
that file's hash stands in the bill, and it must be one that the lock allows. The same content gives
the same bill: it has no time, and its serial number is derived from what it lists.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
import uuid
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def bill(name: str, components: list[Component]) -> dict[str, Any]:
    """The bill of an image that holds the components."""
    components = sorted(components, key=lambda one: str(one["bom-ref"]))
    serial = uuid.uuid5(uuid.NAMESPACE_URL, name + json.dumps(components, sort_keys=True))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name, "bom-ref": "image"}},
        "components": components,
    }


def python_components(
    found: Iterable[Distribution], hashes: dict[str, set[str]]
) -> list[Component]:
    """The packages that are installed; `hashes` are those of the files that each can come from."""
    components = []
    for one in found:
        name = normal_name(one.metadata["Name"])
        component = _component("pypi", name, one.version, f"pkg:pypi/{name}@{_quoted(one.version)}")
        taken = hashes.get(name, set())
        if len(taken) == 1:
            component["hashes"] = [{"alg": "SHA-256", "content": next(iter(taken))}]
        components.append(component | licences(one))
    return components


def licences(of: Distribution) -> dict[str, Any]:
    """What a package says about its licence: the expression, else its classifiers, else its short
    text; nothing where it says nothing."""
    expression = of.metadata["License-Expression"]
    if expression:
        return {"licenses": [{"expression": expression}]}
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in of.metadata.get_all("Classifier") or ()
        if text.startswith("License :: ") and text != "License :: OSI Approved"
    ]
    text = (of.metadata["License"] or "").strip()
    names = classifiers or ([text] if text and "\n" not in text and text != "UNKNOWN" else [])
    return (
        {"licenses": [{"license": {"name": name}} for name in sorted(set(names))]} if names else {}
    )


def debian_components(listed: str) -> list[Component]:
    """The packages that `dpkg-query` lists: name, version and architecture, parted by tabs."""
    components = []
    for line in listed.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{_quoted(name)}@{_quoted(version)}?arch={architecture}"
        components.append(_component("deb", name, version, purl))
    return components


def taken_hashes(lock: str, files: str, tags: dict[str, set[str]]) -> dict[str, set[str]]:
    """The hashes of the files that each package was installed from.

    Parameters
    ----------
    lock
        The hashed requirements.
    files
        The `pylock.toml`.
    tags
        By package, the wheel's tags, as its `WHEEL` file has them.

    Raises
    ------
    ValueError
        A file is not one that the lock allows.
    """
    import tomllib  # Python 3.11's; the image has it

    allowed = set(re.findall(r"--hash=sha256:(\w+)", lock))
    hashes: dict[str, set[str]] = {}
    for package in tomllib.loads(files)["packages"]:
        name = normal_name(package["name"])
        wheels = [
            wheel
            for wheel in package.get("wheels", ())
            if wheel_tags(wheel["url"]) == tags.get(name, set())
        ]
        taken = wheels or package.get("wheels") or [package["sdist"]]
        hashes[name] = {file["hashes"]["sha256"] for file in taken}
        if not hashes[name] <= allowed:
            raise ValueError(f"{name} {package['version']}: its hash is not in the lock")
    return hashes


def wheel_tags(url: str) -> set[str]:
    """The tags that a wheel's file name stands for: `x-1-py2.py3-none-any.whl` has two."""
    python, abi, machine = url.rpartition("/")[2].removesuffix(".whl").split("-")[-3:]
    return {
        f"{one}-{two}-{three}"
        for one in python.split(".")
        for two in abi.split(".")
        for three in machine.split(".")
    }


def normal_name(name: str) -> str:
    """A package's name as the index spells it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _component(kind: str, name: str, version: str, purl: str) -> Component:
    reference = f"{kind}:{name}@{version}"
    return {
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": purl,
    }


def _quoted(text: str) -> str:
    return quote(text, safe=".-~+:")


def _tags(found: Iterable[Distribution]) -> dict[str, set[str]]:
    return {
        normal_name(one.metadata["Name"]): set(
            re.findall(r"^Tag: (\S+)", one.read_text("WHEEL") or "", re.MULTILINE)
        )
        for one in found
    }


def main(name: str, lock: str, files: str, output: str) -> None:
    found = list(distributions())
    hashes = taken_hashes(
        Path(lock).read_text("utf-8"), Path(files).read_text("utf-8"), _tags(found)
    )
    version = platform.python_version()
    form = "${Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    components = [
        _component("generic", "python", version, f"pkg:generic/python@{version}"),
        *python_components(found, hashes),
        *debian_components(listed),
    ]
    Path(output).write_text(json.dumps(bill(name, components), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
