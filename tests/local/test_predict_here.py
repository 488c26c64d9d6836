"""A prediction without any cloud: the image's own command, started from the command line."""

from __future__ import annotations

import csv
import json
import lzma
import os
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipelines.cli.predict import command
from pipelines.errors import UserError
from pipelines.local.environments import Environments
from tests.image_here import environment_of_the_tests
from tests.steps.small_models import archived, claims, trained

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `claimflow model fetch` makes it."""
    folder = tmp_path_factory.mktemp("model")
    archived(trained(tmp_path_factory.mktemp("job"), claims(300), epochs="2"), folder)
    return folder


@pytest.fixture(autouse=True)
def this_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = tmp_path / "code"
    code.mkdir()
    found = environment_of_the_tests(code)
    monkeypatch.setattr(Environments, "find", lambda _self, _uri: found)
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")  # where nothing answers


def write(path: Path, *texts: str) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "id"), *((text, "7") for text in texts)])
    return path


def predict(file: Path, model: Path, output: Path, *more: str) -> Result:
    given = [str(file), "--model", str(model), "--output", str(output), *more]
    return CliRunner().invoke(command, given)


def test_a_file_is_predicted_without_any_cloud(tmp_path: Path, model: Path) -> None:
    file = write(tmp_path / "new claims.csv", "water drips under the pump", "", "fuse and wire")
    done = predict(file, model, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "3 rows: 2 predicted" in done.output
    assert "rejected: 1 row: the text is blank" in done.output
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"predictions.csv", "rejects.csv", "report.html", "manifest.json"}
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as rows:
        assert [row["label"] for row in csv.DictReader(rows)] == ["leak", "electric"]
    assert "new claims.csv" in (tmp_path / "out" / "report.html").read_text("utf-8")
    document = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert document["reference"]["labels"]["leak"] > 0


@pytest.mark.parametrize("name", ["claims.csv.xz", "claims.csv", ".xz"])
def test_xz_is_unpacked_whatever_the_file_is_called(tmp_path: Path, model: Path, name: str) -> None:
    (tmp_path / name).write_bytes(lzma.compress(b"text\nwater drips under the pump\n"))
    done = predict(tmp_path / name, model, tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "1 predicted" in done.output
    damaged = tmp_path / f"damaged {name}"
    damaged.write_bytes((tmp_path / name).read_bytes()[:-9])
    done = predict(damaged, model, tmp_path / "out")
    assert str(done.exception) == f"{damaged}: the xz file is damaged or cut short"


def test_a_file_that_cannot_be_read_is_one_line_and_exit_code_1(
    tmp_path: Path, model: Path
) -> None:
    (tmp_path / "c.csv").write_text("id\n1\n", "utf-8")
    done = predict(tmp_path / "c.csv", model, tmp_path / "out")
    assert done.exit_code == 1
    assert f"error: {tmp_path / 'c.csv'}: no column 'text'" in done.output
    assert "Traceback" not in done.output


def test_a_result_of_before_is_not_taken_for_this_one(tmp_path: Path, model: Path) -> None:
    output = tmp_path / "out"
    assert predict(write(tmp_path / "c.csv", "water drips"), model, output).exit_code == 0
    done = predict(output / "predictions.csv", model, output)
    assert isinstance(done.exception, UserError)
    assert "would be overwritten" in str(done.exception)
    assert (output / "predictions.csv").exists()


def test_a_model_that_was_tampered_with_is_one_line(tmp_path: Path, model: Path) -> None:
    (tmp_path / "model").mkdir()
    body = (model / "model.tar.gz").read_bytes()
    (tmp_path / "model" / "model.tar.gz").write_bytes(body[: len(body) // 2])
    done = predict(write(tmp_path / "c.csv", "water"), tmp_path / "model", tmp_path / "out")
    assert done.exit_code != 0
    assert "Traceback" not in done.output
    assert "model.tar.gz" in done.output + str(done.exception)


@pytest.mark.parametrize(
    ("file", "model_folder", "said"),
    [
        ("missing.csv", ".", "there is no such file"),
        (".", ".", "this is a folder"),
        ("c.csv", "nowhere", "there is no model.tar.gz in this folder"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, file: str, model_folder: str, said: str) -> None:
    write(tmp_path / "c.csv", "water")
    done = predict(tmp_path / file, tmp_path / model_folder, tmp_path / "out")
    assert isinstance(done.exception, UserError)
    assert said in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_programs_get_manifest_and_files_and_the_job_gets_no_keys(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, str] = {}
    run = subprocess.run

    def watched(*words: object, **given: object) -> object:
        seen.update(given["env"])  # type: ignore[call-overload]
        return run(*words, **given)  # type: ignore[call-overload]

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    monkeypatch.setattr("pipelines.local.predict_here.subprocess.run", watched)
    done = predict(write(tmp_path / "c.csv", "water drips"), model, tmp_path / "out", "--json")
    document = json.loads(done.stdout)
    assert document["manifest"]["predicted"] == 1
    assert len([path for path in document["files"] if Path(path).exists()]) == 4
    assert "PATH" in seen
    assert not [name for name in seen if name.startswith("AWS_")]
