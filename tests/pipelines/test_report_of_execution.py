"""The report on an execution of the local cloud: what is read of it, and where it is kept."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from pipelines.aws import Aws, split_uri
from pipelines.cli import report as report_command
from pipelines.control import Control
from pipelines.execution_status import ExecutionStatus
from pipelines.report.run import Bin, Check, Mistake, Runs
from pipelines.report.run_page import run_page
from pipelines.report.written import kept_report, write_report, write_with_texts
from pipelines.settings import Settings
from tests.local.local_cloud import (
    REGION,
    Cloud,
    Document,
    compare,
    condition,
    fail,
    folder,
    parameter,
    processing,
    training,
)
from tests.pipelines.lineages import evaluation
from tests.pipelines.still_page import Page


@pytest.fixture
def place(cloud: Cloud, tmp_path: Path) -> Aws:
    given = Settings(project="t", stage="test", region=REGION, state=tmp_path)
    return Aws(given, cloud.variables)


def writes(step: str, name: str, files: Document) -> Document:
    """A step that leaves JSON files, in an output of this name."""
    script = "import json\n" + "\n".join(
        f"open('processing/{name}/{path}', 'w').write({json.dumps(content)!r})"
        for path, content in files.items()
    )
    return processing(step, script, outputs={name: folder()})


CHECK = {
    "name": "nulls",
    "dataset": "training",
    "passed": True,
    "severity": "critical",
    "sentence": "no text is missing",
    "figures": {},
}
VALIDATION = {"checks": [CHECK], "merged": {"files": 2, "rows_in": 9, "rows_out": 9}}
EVALUATION = {
    **evaluation({"fire": (0.95, 300), "water": (0.71, 100)}),
    "reliability": [{"low": 0.9, "high": 1, "rows": 400, "confidence": 0.95, "accuracy": 0.93}],
    "mistakes": [{"row": 17, "label": "fire", "predicted": "water", "confidence": 0.98}],
}
MATRIX_FILE = {"binary_classification_metrics": {"confusion_matrix": {"fire": {"fire": 3}}}}
TRAIN = "print('epoch=1 train_loss=0.5 val_loss=0.4')\nprint('epoch=2 train_loss=0.3 val_loss=0.3')"


@pytest.fixture(scope="module")
def rejected(cloud: Cloud) -> str:
    """An execution whose model missed a bar; row 17 of its test set is a mistake."""
    rows = [f"{n},the {n}th claim,fire" for n in range(1, 18)]
    halves = {"a.csv": rows[:9], "b.csv.gz": ["", *rows[9:], "18,cut"]}
    cloud.client("s3").create_bucket(Bucket="claims")
    for name, lines in halves.items():
        content = "\n".join(["id,claim,label", *lines]).encode()
        cloud.client("s3").put_object(
            Bucket="claims",
            Key=f"held out/{name}",
            Body=gzip.compress(content) if name.endswith(".gz") else content,
        )
    files = {"evaluation.json": EVALUATION, "statistics.json": MATRIX_FILE}
    bar = parameter("MinAccuracy", "Float", 0.99)
    gate = condition(
        "ModelGate", compare("Equals", "a", "b"), otherwise=(fail("ModelRejected", "no"),)
    )
    gate["DependsOn"] = ["Evaluate"]
    done = cloud.run(
        writes("Validate", "validation", {"validation.json": VALIDATION}),
        training("Train", TRAIN),
        writes("Evaluate", "evaluation", files),
        gate,
        parameters=(
            bar,
            parameter("TextColumn", "String", "claim"),
            parameter("TestData", "String", "s3://claims/held out"),
        ),
    )
    return str(done["PipelineExecutionArn"])


def test_a_rejected_execution_is_read_whole(place: Aws, rejected: str) -> None:
    run = Runs(place).of(rejected)
    assert run.status.is_rejected and run.version is None
    assert run.epochs == {
        1: {"train_loss": 0.5, "val_loss": 0.4},
        2: {"train_loss": 0.3, "val_loss": 0.3},
    }
    assert [(one.name, one.passed) for one in run.bars] == [("MinAccuracy", False)]
    assert run.reliability == [Bin(0.95, 0.93, 400)]
    assert run.mistakes == [Mistake(17, "fire", "water", 0.98)]
    assert run.confusion == {"fire": {"fire": 3}}
    assert run.checks == [Check("nulls", "training", True, True, "no text is missing")]
    assert run.data_docs == "", "there are none"
    assert ("Evaluate", "ModelGate") in run.flow.edges
    assert not any("the evaluation" in one for one in run.missing)
    words = Page(run_page(run)).text
    assert "The model was rejected: it missed a bar" in words
    assert "accuracy 0.9300 is below MinAccuracy 0.99 by 0.0600" in words


def test_a_failed_execution_is_told_with_what_there_is(cloud: Cloud, place: Aws) -> None:
    script = "open('output/message', 'w').write('The data did not pass validation: 3 nulls.')"
    done = cloud.run(processing("Validate", f"{script}; print('looked'); raise SystemExit(1)"))
    words = Page(run_page(Runs(place).of(done["PipelineExecutionArn"]))).text
    assert "It failed at Validate" in words
    assert "the labelled data is not fit to learn from" in words
    assert "looked" in words
    assert "where the evaluation lies" not in words


@pytest.mark.parametrize(
    "change",
    [
        {"reliability": [{"confidence": "high"}], "mistakes": 7},
        {"reliability": [{"confidence": 2, "accuracy": 1, "rows": 1}], "mistakes": [[]]},
    ],
)
def test_damaged_parts_of_an_evaluation_cost_those_parts_only(
    cloud: Cloud, place: Aws, change: Document
) -> None:
    files = {"evaluation.json": EVALUATION | change, "statistics.json": []}
    run = Runs(place).of(cloud.run(writes("Evaluate", "evaluation", files))["PipelineExecutionArn"])
    assert run.reliability is None and run.mistakes is None and run.confusion == {}
    for part in ("the calibration", "the mistakes", "the confusion matrix"):
        assert f"{part} is damaged or of another version" in run.missing
    assert "93.0%" in Page(run_page(run)).text


def test_the_report_is_kept_with_the_execution_and_written_here(
    cloud: Cloud, place: Aws, rejected: str, tmp_path: Path
) -> None:
    written = write_report(place, rejected)
    identifier = rejected.rpartition("/")[2]
    assert written.path == tmp_path / "reports" / f"{identifier}.html"
    assert written.address.endswith(f"/runs/{identifier}/report.html")
    assert cloud.read(written.address) == written.path.read_text("utf-8")
    bucket, key = split_uri(written.address)
    head = cloud.client("s3").head_object(Bucket=bucket, Key=key)
    assert head["ContentType"] == "text/html; charset=utf-8"


def test_the_kept_report_is_taken_until_the_execution_goes_on(
    cloud: Cloud, place: Aws, rejected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_report(place, rejected)
    bucket, key = split_uri(written.address)
    cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=b"kept")
    kept = kept_report(place, rejected, tmp_path / "run.html")
    assert kept.path.read_bytes() == b"kept" and kept.address == written.address
    assert kept.kept_since is not None

    def goes_on(self: Control, execution: str) -> ExecutionStatus:
        found = original(self, execution)
        later = kept.kept_since and kept.kept_since + timedelta(seconds=1)
        return replace(found, steps=[replace(found.steps[0], ended=later), *found.steps[1:]])

    original = Control.status
    monkeypatch.setattr(Control, "status", goes_on)
    anew = kept_report(place, rejected, tmp_path / "run.html")
    assert anew.kept_since is None
    assert cloud.read(written.address) == anew.path.read_text("utf-8") != "kept"


def test_before_its_end_an_execution_has_a_report_that_is_not_kept(
    cloud: Cloud, place: Aws, rejected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = write_report(place, rejected).address
    bucket, key = split_uri(address)
    cloud.client("s3").delete_object(Bucket=bucket, Key=key)

    def runs(self: Control, execution: str) -> ExecutionStatus:
        found = original(self, execution)
        return replace(found, status="Executing", steps=found.steps[:1])

    original = Control.status
    monkeypatch.setattr(Control, "status", runs)
    written = kept_report(place, rejected)
    assert "It has not ended" in written.path.read_text("utf-8")
    assert not written.address and not written.fault
    with pytest.raises(ClientError):
        cloud.client("s3").head_object(Bucket=bucket, Key=key)


def test_texts_are_shown_only_where_they_are_asked_for_and_then_not_kept(
    cloud: Cloud, place: Aws, rejected: str
) -> None:
    kept = write_report(place, rejected)
    place.settings.state.chmod(0o755)
    written = write_with_texts(place, rejected)
    assert place.settings.state.stat().st_mode & 0o777 == 0o700
    assert "the 17th claim" in Page(written.path.read_text("utf-8")).text
    assert "It holds texts of claims" in written.path.read_text("utf-8")
    assert not written.address and written.path != kept.path
    assert "th claim" not in kept.path.read_text("utf-8") + cloud.read(kept.address)


def test_who_may_not_write_there_gets_the_file_here(
    place: Aws, rejected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Settings, "bucket", lambda _, purpose: f"no-such-{purpose}-bucket")
    written = write_report(place, rejected, tmp_path / "a" / "run.html")
    assert written.path.exists() and not written.address
    assert "NoSuchBucket" in written.fault and "\n" not in written.fault


def test_the_command_prints_the_path_and_opens_nothing_off_a_terminal(
    cloud: Cloud, rejected: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        **cloud.variables,
        "CLAIMFLOW_PROJECT": "t",
        "CLAIMFLOW_STAGE": "test",
        "AWS_DEFAULT_REGION": REGION,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # which may keep the keys of another test
    monkeypatch.setattr("webbrowser.open", lambda _: pytest.fail("opened"))
    path = tmp_path / "run.html"
    done = CliRunner().invoke(report_command.command, [rejected, "--output", str(path)])
    assert done.exit_code == 0 and done.stdout == f"{path}\n"
    Page(path.read_text("utf-8"))


def test_at_the_end_of_another_command_a_fault_is_one_line_and_nothing_more(
    place: Aws, rejected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report_command.report_at_the_end(place, rejected)
    assert capsys.readouterr().err.startswith("report: ")
    report_command.report_at_the_end(place, rejected + "x")
    assert re.fullmatch(r"there is no report: .*\n", capsys.readouterr().err)
