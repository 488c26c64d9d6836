"""The Dockerfile as the local cloud and the tags read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import images
from pipelines.local import environments
from pipelines.local.environments import Environment, Environments
from pipelines.settings import Settings


def test_an_image_says_what_it_runs_and_with_which_variables() -> None:
    found = images.image("gluon-cpu")
    assert found.entrypoint == ("python", "/opt/claimflow/entrypoint.py")
    assert found.command == ("train",)
    assert found.environment["OMP_NUM_THREADS"] == "2"
    assert found.files["batch/"] == "/opt/claimflow/batch/"
    assert "batch/" not in images.image("validate").files


@pytest.mark.parametrize(
    ("instance_type", "training", "targets"),
    [
        ("ml.c5.2xlarge", "gluon-cpu", ("validate", "gluon-cpu")),
        ("ml.p3.2xlarge", "gluon-gpu", ("validate", "gluon-cpu", "gluon-gpu")),
        ("ml.g5.xlarge", "gluon-gpu", ("validate", "gluon-cpu", "gluon-gpu")),
    ],
)
def test_a_gpu_asks_for_the_image_that_uses_it_to_train_and_no_other(
    instance_type: str, training: str, targets: tuple[str, ...]
) -> None:
    settings = Settings(training_instance_type=instance_type)
    assert images.training_target(settings) == training
    assert images.targets_of(settings) == targets == tuple(images.addresses(settings))
    processing = Settings(processing_instance_type=instance_type)
    assert images.targets_of(processing) == images.TARGETS


def test_both_builds_of_mxnet_have_the_same_packages_beside_them() -> None:
    found = {}
    for target in ("gluon-cpu", "gluon-gpu"):
        lines = images.image(target).requirements.read_text("utf-8").splitlines()
        found[target] = {line for line in lines if line[:1].isalpha()}
    cpu, gpu = found["gluon-cpu"] - found["gluon-gpu"], found["gluon-gpu"] - found["gluon-cpu"]
    assert [line.split()[0] for line in cpu] == ["mxnet==1.9.1"]
    names = {line.partition("==")[0] for line in gpu}
    assert names - {name for name in names if name.startswith("nvidia-")} == {"mxnet-cu112"}


def test_what_wants_a_gpu_runs_here_with_the_packages_for_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[str] = []

    def install(described: images.Image, folder: Path) -> Path:
        installed.append(described.requirements.name)
        return folder

    monkeypatch.setattr(environments, "_install", install)
    found = Environments(tmp_path).find(images.image("gluon-gpu").uri(Settings()))
    assert installed == ["gluon-cpu.txt"]
    assert found.variables()["NVIDIA_VISIBLE_DEVICES"] == "all"  # so that the training says so
    assert (found.code / "steps" / "train.py").exists()


@pytest.mark.parametrize("line", ["ADD a b", "ENV A b c", "COPY --chown=1 steps/ /x", "SHELL x"])
def test_an_instruction_that_is_not_understood_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not understood"):
        images._parse(f"FROM x AS y\n{line}\n")


def test_paths_of_the_image_become_paths_of_this_machine(tmp_path: Path) -> None:
    place = Environment(images.image("validate"), tmp_path / "venv", tmp_path / "code")
    assert place.command(["validate", "--x"]) == [
        "python",
        str(tmp_path / "code" / "entrypoint.py"),
        "validate",
        "--x",
    ]
    assert place.command([])[-1] == "validate"
    assert place.command([], ["python", "-V"])[1:] == ["-V"], "no CMD, as in a container"
    assert place.variables()["PYTHONPATH"] == str(tmp_path / "code")
    assert place.variables()["PATH"].startswith(str(tmp_path / "venv" / "bin"))


@pytest.mark.parametrize(
    ("changed", "targets"),
    [
        ("steps/train.py", {"validate", "gluon-cpu"}),
        ("batch/predict.py", {"gluon-cpu"}),
        ("containers/validate.txt", {"validate"}),
        ("containers/Dockerfile", {"validate", "gluon-cpu"}),
        ("containers/build.txt", {"validate", "gluon-cpu"}),
        ("containers/prune.py", {"validate", "gluon-cpu"}),
        ("containers/sbom.py", {"validate", "gluon-cpu"}),
        ("README.md", set()),
    ],
)
def test_a_tag_changes_with_what_goes_into_the_image_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str, targets: set[str]
) -> None:
    for target in ("validate", "gluon-cpu"):
        for source in (*images._BUILD_INPUTS, f"containers/{target}.txt", "README.md"):
            _copy(source, tmp_path)
        for source in images.image(target).files:
            for path in images.source_files(source):
                _copy(path.relative_to(images.ROOT).as_posix(), tmp_path)
    monkeypatch.setattr(images, "ROOT", tmp_path)
    before = {target: images.image(target).tag for target in ("validate", "gluon-cpu")}
    with (tmp_path / changed).open("a", encoding="utf-8") as file:
        file.write("\n# changed\n")
    after = {target: images.image(target).tag for target in ("validate", "gluon-cpu")}
    assert {target for target in before if before[target] != after[target]} == targets


def _copy(source: str, target: Path) -> None:
    copy = target / source
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_bytes((images.ROOT / source).read_bytes())
