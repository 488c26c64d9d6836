"""Prediction of a file with a model folder and no cloud."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from batch.predict_file import main, predict_file
from steps.errors import InputError
from tests.batch.classifiers import Brakes

CSV = b"id,text\n1,the brakes squeal\n2,\n3,=a dent\n"


def run(folder: Path, body: bytes = CSV, name: str = "claims.csv", **more: str) -> Path:
    path = folder / name
    path.write_bytes(body)
    predict_file(path, folder / "out", folder / "model", load=lambda _: Brakes(), **more)  # type: ignore[arg-type]
    return folder / "out"


def test_a_file_becomes_what_the_job_makes_of_it(tmp_path: Path) -> None:
    out = run(tmp_path)
    assert {path.name for path in out.iterdir()} == {
        "predictions.csv",
        "rejects.csv",
        "report.html",
        "manifest.json",
    }
    assert (out / "predictions.csv").read_text().splitlines() == [
        "id,text,label,confidence,review,model_version",
        "1,the brakes squeal,brakes,0.9000,false,0",
        "3,=a dent,other,0.4000,true,0",
    ]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["rows_in"], manifest["predicted"], manifest["rejected"]) == (3, 2, 1)
    assert (manifest["key"], manifest["bucket"], manifest["bytes_in"]) == (
        "claims.csv",
        "",
        len(CSV),
    )


def test_formulas_are_neutralised_on_demand(tmp_path: Path) -> None:
    out = run(tmp_path, formulas="neutralise")
    assert "3,'=a dent,other" in (out / "predictions.csv").read_text()


def test_a_second_call_replaces_what_the_first_has_left(tmp_path: Path) -> None:
    run(tmp_path)
    out = run(tmp_path, b'{"text": "a"}', "claims.jsonl")
    assert not (out / "predictions.csv").exists()
    out = run(tmp_path, b"")
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    assert "the file is empty" in json.loads((out / "manifest.json").read_text())["reason"]


def test_an_input_that_the_output_would_replace_is_refused(tmp_path: Path) -> None:
    out = run(tmp_path)
    before = (out / "predictions.csv").read_bytes()
    with pytest.raises(InputError, match="would be overwritten"):
        predict_file(out / "predictions.csv", out, tmp_path, load=lambda _: Brakes())
    assert (out / "predictions.csv").read_bytes() == before


def test_a_model_that_is_none_and_a_file_that_is_not_there_are_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_bytes(CSV)
    (tmp_path / "empty").mkdir()
    given = ["--input", str(tmp_path / "a.csv"), "--output", str(tmp_path / "out")]
    assert main(["--model", str(tmp_path / "empty"), *given]) == 2
    assert main(["--model", str(tmp_path / "nowhere"), *given]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 2
    assert "it is no artifact of claimflow" in error


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    made = predict_file(tmp_path / "none.csv", tmp_path / "out", tmp_path, load=lambda _: Brakes())
    assert "none.csv: no such file" in made.reason
