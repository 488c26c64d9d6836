"""The Dockerfile as the local cloud and the tags read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import images
from pipelines.local.environments import Environment


def test_an_image_says_what_it_runs_and_with_which_variables() -> None:
    found = images.image("gluon-cpu")
    assert found.entrypoint == ("python", "/opt/claimflow/entrypoint.py")
    assert found.command == ("train",)
    assert found.environment["OMP_NUM_THREADS"] == "2"
    assert found.files["batch/"] == "/opt/claimflow/batch/"
    assert "batch/" not in images.image("validate").files


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
