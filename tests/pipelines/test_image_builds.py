"""Building and pushing, with a program that stands in for docker and records what it is told."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.cli import claimflow
from pipelines.deployment import image_builds
from pipelines.errors import UserError
from pipelines.images import ROOT, TARGETS, addresses, image
from pipelines.settings import Settings

SETTINGS = Settings(project="t", account="123456789012", region="eu-west-1")
ENGINE = f"""#!{sys.executable}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([*words, *([sys.stdin.read()] if words[0] == "login" else [])]) + "\\n")
built, pushed = here / "built", here / "pushed"
if words[0] == "image":
    sys.exit(words[2] not in (built.read_text().split() if built.exists() else []))
if words[0] == "build":
    if (here / "broken").exists():
        sys.exit(3)
    with built.open("a") as file:
        file.write(words[words.index("--tag") + 1] + "\\n")
if words[0] == "push":
    with pushed.open("a") as file:
        file.write(words[1] + "\\n")
"""


class NotFoundError(Exception):
    """As a client's."""


class Registry:
    """An ECR that knows what the stand-in engine has pushed."""

    class exceptions:  # noqa: N801 - as a client's
        ImageNotFoundException = NotFoundError
        RepositoryNotFoundException = NotFoundError

    def __init__(self, folder: Path) -> None:
        self.pushed = folder / "pushed"

    def describe_images(
        self,
        repositoryName: str,  # noqa: N803
        imageIds: list[dict[str, str]],  # noqa: N803
    ) -> dict[str, Any]:
        wanted = f"/{repositoryName}:{imageIds[0]['imageTag']}"
        there = self.pushed.read_text().split() if self.pushed.exists() else []
        if not any(one.endswith(wanted) for one in there):
            raise NotFoundError
        return {"imageDetails": [{"imageDigest": "sha256:" + "0" * 64}]}

    def get_authorization_token(self) -> dict[str, Any]:
        endpoint = "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com"
        token = "QVdTOnNlY3JldA=="  # AWS:secret
        return {"authorizationData": [{"authorizationToken": token, "proxyEndpoint": endpoint}]}


class Place:
    """The account, as far as images need it."""

    settings = SETTINGS

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def client(self, _service: str) -> Registry:
        return self._registry


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "podman"
    program.write_text(ENGINE, "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def calls(folder: Path) -> list[list[str]]:
    path = folder / "calls"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_podman_serves_where_there_is_no_docker(folder: Path) -> None:
    assert image_builds.find_engine().program == "podman"
    (folder / "podman").unlink()
    with pytest.raises(UserError, match="Neither docker nor podman"):
        image_builds.find_engine()


def test_an_image_is_built_once_under_the_tag_of_its_content(folder: Path) -> None:
    engine = image_builds.find_engine()
    said: list[str] = []
    image_builds.build(engine, SETTINGS, said.append)
    built = [call for call in calls(folder) if call[0] == "build"]
    assert [call[call.index("--target") + 1] for call in built] == list(TARGETS)
    for call, target in zip(built, TARGETS, strict=True):
        assert call[call.index("--tag") + 1] == f"t/{target}:{image(target).tag}"
        assert call[call.index("--file") + 1] == str(ROOT / "containers" / "Dockerfile")
        assert call[-1] == str(ROOT)
    image_builds.build(engine, SETTINGS, said.append)
    assert [call for call in calls(folder) if call[0] == "build"] == built
    assert said[-1].endswith("is built")


def test_what_is_pushed_is_found_by_digest_and_not_pushed_again(folder: Path) -> None:
    engine, place = image_builds.find_engine(), Place(Registry(folder))
    digests = image_builds.push(engine, place, lambda _: None)  # type: ignore[arg-type]
    assert set(digests) == set(TARGETS)
    made = calls(folder)
    assert [call[-1] for call in made if call[0] == "login"] == ["secret"]
    assert not [call for call in made if "secret" in call[:-1]], "never as an argument"
    pushed = [call for call in made if call[0] == "push"]
    assert [call[1] for call in pushed] == [image(target).uri(SETTINGS) for target in TARGETS]
    image_builds.push(engine, place, lambda _: None)  # type: ignore[arg-type]
    assert [call for call in calls(folder) if call[0] == "push"] == pushed
    found = addresses(SETTINGS, place.client("ecr"))
    assert found["validate"] == f"{SETTINGS.image_repository('validate')}@sha256:{'0' * 64}"


def test_images_that_are_not_pushed_are_named_by_their_tags(folder: Path) -> None:
    assert addresses(SETTINGS, Registry(folder)) == {
        target: image(target).uri(SETTINGS) for target in TARGETS
    }


def test_a_build_that_fails_is_one_line(folder: Path) -> None:
    (folder / "broken").write_text("")
    with pytest.raises(UserError, match="podman build failed with 3"):
        image_builds.build(image_builds.find_engine(), SETTINGS, lambda _: None)


def test_listing_needs_neither_account_nor_engine(folder: Path) -> None:
    (folder / "podman").unlink()
    shown = CliRunner().invoke(claimflow, ["images", "list"])
    assert shown.exit_code == 0, shown.exception
    for target in TARGETS:
        assert f"{target:<12} {image(target).tag}  no engine" in shown.output
    assert "no account to ask" in shown.output
