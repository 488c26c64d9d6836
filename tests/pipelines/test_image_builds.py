"""Building and pushing, with a program that stands in for docker and records what it is told."""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines import demo
from pipelines.cli import claimflow
from pipelines.deployment import image_builds, image_engine
from pipelines.errors import UserError
from pipelines.images import ROOT, TARGETS, addresses, image
from pipelines.local import docker_connection
from pipelines.local.docker_connection import Connection
from pipelines.settings import Settings

SETTINGS = Settings(project="t", account="123456789012", region="eu-west-1")
ENGINE = f"""#!{sys.executable}
import json, os, pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps([*words, *([sys.stdin.read()] if words[0] == "login" else [])]) + "\\n")
built, pushed = here / "built", here / "pushed"
if words[0] in ("version", "info") and (here / "trouble").exists():
    sys.exit((here / "trouble").read_text())
if words[0] == "image":
    sys.exit(words[2] not in (built.read_text().split() if built.exists() else []))
if words[0] == "build":
    known = {{key: os.environ.get(key) for key in ("DOCKER_BUILDKIT", "DOCKER_HOST")}}
    (here / "environment").write_text(json.dumps(known))
    print("STEP 1/2: FROM x AS y")
    print("STEP 2/2: RUN   make  it")
    if (here / "broken").exists():
        print((here / "broken").read_text())
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
    assert image_engine.find_engine().program == "podman"
    (folder / "podman").unlink()
    with pytest.raises(UserError, match="Neither docker nor podman"):
        image_engine.find_engine()


def test_an_image_is_built_once_under_the_tag_of_its_content(folder: Path) -> None:
    engine = image_engine.find_engine()
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


def test_the_image_for_gpus_is_built_where_the_settings_ask_for_it_or_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"t/gluon-gpu:{image('gluon-gpu').tag}"
    monkeypatch.setenv("CLAIMFLOW_PROJECT", "t")
    runner = CliRunner()
    assert "gluon-gpu" not in runner.invoke(claimflow, ["images", "build"]).output
    shown = runner.invoke(claimflow, ["images", "build", "gluon-gpu"])
    assert shown.exit_code == 0, shown.exception
    assert f"{name}: building" in shown.output
    assert "gluon-cpu" not in shown.output
    monkeypatch.setenv("CLAIMFLOW_TRAINING_INSTANCE_TYPE", "ml.g5.xlarge")
    assert f"{name}: is built" in runner.invoke(claimflow, ["images", "build"]).output
    assert (
        f"gluon-gpu    {image('gluon-gpu').tag}"
        in runner.invoke(claimflow, ["images", "list"]).output
    )


def test_what_is_pushed_is_found_by_digest_and_not_pushed_again(folder: Path) -> None:
    engine, place = image_engine.find_engine(), Place(Registry(folder))
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


def test_each_step_of_a_build_is_told(folder: Path) -> None:
    said: list[str] = []
    image_builds.build(image_engine.find_engine(), SETTINGS, said.append, ["validate"])
    assert said[1:] == ["validate: FROM x AS y", "validate: RUN make it"]


def test_docker_builds_with_buildkit_where_it_was_told_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Dockerfile needs BuildKit, which Docker before 23 only uses when it is asked to."""
    (folder / "podman").rename(folder / "docker")
    monkeypatch.setenv("DOCKER_HOST", "unix:///another.sock")
    engine = image_engine.find_engine("docker", "unix:///mine.sock")
    image_builds.build(engine, SETTINGS, lambda _: None, ["validate"])
    known = json.loads((folder / "environment").read_text())
    assert known == {"DOCKER_BUILDKIT": "1", "DOCKER_HOST": "unix:///mine.sock"}


@pytest.mark.parametrize("is_podman", [True, False])
def test_the_demo_builds_into_the_engine_that_its_jobs_run_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_podman: bool
) -> None:
    shutil.copy(folder / "podman", folder / "docker")
    can = {"can_limit_memory": True, "can_limit_swap": True, "can_bind_cores": True}
    found = Connection("unix:///x", "1.41", is_podman=is_podman, is_rootless=False, **can)
    monkeypatch.setattr(docker_connection, "connect", lambda: found)
    assert demo._builder().program == ("podman" if is_podman else "docker")


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("STEP 2/5: RUN x", "RUN x"),
        ("[3/6] STEP 1/3: FROM y AS z", "FROM y AS z"),
        ("#8 [build 2/5] RUN x", "RUN x"),
        ("#8 0.482 Get:1 bookworm InRelease", None),
        ("--> Using cache 48d1", None),
    ],
)
def test_podman_and_buildkit_announce_steps_each_in_its_way(line: str, step: str | None) -> None:
    found = image_engine._STEP.match(line)
    assert (found and (found[1] or found[2])) == step


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Error: exit status 1", "podman cannot build validate at “RUN make it”: Error: exit"),
        ("x: write /y: no space left on device", "The disk is full, so validate cannot be built"),
        ("", "no reason given|FROM|at “RUN make it”"),
    ],
)
def test_a_build_that_fails_is_one_line(folder: Path, said: str, told: str) -> None:
    (folder / "broken").write_text(said)
    with pytest.raises(UserError, match=told) as raised:
        image_builds.build(image_engine.find_engine(), SETTINGS, lambda _: None)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ("permission denied while trying to connect to the Docker daemon socket", "join its group"),
        ("Cannot connect to the Docker daemon at unix:///x. Is it running?", "does not run: start"),
        ("something else", "docker is installed, but something else"),
    ],
)
def test_an_engine_that_does_not_answer_is_passed_over_or_one_line(
    folder: Path, trouble: str, told: str
) -> None:
    docker = folder / "docker-here"
    docker.mkdir()
    (docker / "docker").write_text(ENGINE, "utf-8")
    (docker / "docker").chmod(0o755)
    (docker / "trouble").write_text(trouble)
    os.environ["PATH"] = f"{docker}:{folder}"  # `folder` puts it back
    assert image_engine.find_engine().program == "podman"
    with pytest.raises(UserError, match=told) as raised:
        image_engine.find_engine("docker")
    assert "\n" not in str(raised.value)


def test_a_target_that_does_not_exist_is_one_line(folder: Path) -> None:
    with pytest.raises(UserError, match="image 'gluon' does not exist, expected one of: validate"):
        image_builds.build(image_engine.find_engine(), SETTINGS, lambda _: None, ["gluon"])


def test_listing_needs_neither_account_nor_engine(folder: Path) -> None:
    (folder / "podman").unlink()
    shown = CliRunner().invoke(claimflow, ["images", "list"])
    assert shown.exit_code == 0, shown.exception
    for target in TARGETS:
        assert f"{target:<12} {image(target).tag}  no engine" in shown.output
    assert "no account to ask" in shown.output
