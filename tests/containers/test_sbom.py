from __future__ import annotations

import json
import sys
from importlib.metadata import Distribution, PathDistribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from containers import sbom

DIGEST = "ab" * 32
needs_tomllib = pytest.mark.skipif(sys.version_info < (3, 11), reason="the images have 3.11")


def distribution(folder: Path, *lines: str, name: str = "Some_Package") -> Distribution:
    place = folder / f"{name}-1.0.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *lines, ""])
    )
    return PathDistribution(place)


def test_a_bill_is_valid_and_the_same_for_the_same_contents(tmp_path: Path) -> None:
    python = sbom.python_components(
        [distribution(tmp_path, "License-Expression: MIT")], {"some-package": {DIGEST}}
    )
    debian = sbom.debian_components("libc6\t2.36-9+deb12u14\tamd64\nadduser\t3.134\tall\n")
    made = sbom.bill("claimflow/x", python + debian)
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(json.dumps(made)) is None
    assert [one["name"] for one in made["components"]] == ["adduser", "libc6", "some-package"]
    assert made["components"][1]["purl"] == "pkg:deb/debian/libc6@2.36-9+deb12u14?arch=amd64"
    assert made["components"][2]["hashes"] == [{"alg": "SHA-256", "content": DIGEST}]
    assert sbom.bill("claimflow/x", debian + python) == made
    assert sbom.bill("claimflow/x", debian)["serialNumber"] != made["serialNumber"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["License-Expression: Apache-2.0 OR MIT"], [{"expression": "Apache-2.0 OR MIT"}]),
        (
            ["License: see file", "Classifier: License :: OSI Approved :: MIT License"],
            [{"license": {"name": "MIT License"}}],
        ),
        (["License: BSD"], [{"license": {"name": "BSD"}}]),
        (["License: The whole text\n        of a licence"], None),
        (["License: UNKNOWN"], None),
        (["Classifier: License :: OSI Approved"], None),
        ([], None),
    ],
)
def test_a_licence_is_what_the_package_says_in_short(
    tmp_path: Path, lines: list[str], expected: object
) -> None:
    assert sbom.licences(distribution(tmp_path, *lines)).get("licenses") == expected


def test_where_several_files_are_possible_no_hash_is_claimed(tmp_path: Path) -> None:
    (one,) = sbom.python_components([distribution(tmp_path)], {"some-package": {DIGEST, "cd" * 32}})
    assert "hashes" not in one


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("https://x/a-1-py2.py3-none-any.whl", {"py2-none-any", "py3-none-any"}),
        ("a_b-1-2build-cp311-abi3-linux_x86_64.whl", {"cp311-abi3-linux_x86_64"}),
    ],
)
def test_the_name_of_a_wheel_tells_its_tags(name: str, expected: set[str]) -> None:
    assert sbom.wheel_tags(name) == expected


PYLOCK = """
[[packages]]
name = "Some.Package"
version = "1.0"
wheels = [
  {{ url = "https://x/s-1.0-cp311-cp311-linux_x86_64.whl", hashes = {{ sha256 = "{0}" }} }},
  {{ url = "https://x/s-1.0-py3-none-any.whl", hashes = {{ sha256 = "{1}" }} }},
]
[[packages]]
name = "built"
version = "2"
sdist = {{ url = "https://x/built-2.tar.gz", hashes = {{ sha256 = "{2}" }} }}
"""


@needs_tomllib
def test_a_hash_is_that_of_the_file_that_was_installed_and_locked() -> None:
    files = PYLOCK.format("aa", "bb", "cc")
    lock = "some-package==1.0 --hash=sha256:aa --hash=sha256:bb\nbuilt==2 --hash=sha256:cc"
    tags = {"some-package": {"py3-none-any"}, "built": {"cp311-cp311-linux_x86_64"}}
    assert sbom.taken_hashes(lock, files, tags) == {"some-package": {"bb"}, "built": {"cc"}}
    with pytest.raises(ValueError, match=r"Some\.Package|some-package 1\.0: its hash is not in"):
        sbom.taken_hashes(lock.replace("bb", "dd"), files, tags)
