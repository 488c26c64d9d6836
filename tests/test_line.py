"""The whole line as a user drives it: the command line, a local cloud of its own, real steps.

The tests of this file stand on each other and run in their order: one line, from an empty state
folder to predictions, a crash in the middle included.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.line import ROOT, Line, new_line

IMDB = ROOT.parent / "shared" / "data" / "imdb"


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    with new_line(tmp_path_factory.mktemp("line")) as line:
        yield line


def test_without_a_cloud_the_user_is_told_how_to_get_one(line: Line) -> None:
    said = line.run("pipeline", "list", code=2)
    assert said.count("\n") == 1
    assert "claimflow local up" in said


def test_the_local_cloud_starts_and_tells_where_it_is(line: Line) -> None:
    line.up()
    assert line.json("local", "status")["endpoint"] == line.variables["AWS_ENDPOINT_URL"]


def test_what_deploy_makes_in_it_is_what_all_that_follows_runs_on(line: Line) -> None:
    line.run("destroy", "--yes", "--delete-data")
    made = line.run("deploy", "--yes")
    assert all(f"claimflow-dev-{room}: done" in made for room in ("pipelines", "batch", "lambdas"))
    assert line.run("deploy").count("no change") == 4


def test_a_start_before_the_first_upsert_is_refused(line: Line) -> None:
    assert "claimflow pipeline upsert" in line.run("pipeline", "start", code=2)


def test_what_is_predicted_before_an_approval_is_kept(line: Line) -> None:
    said = line.run("predict", str(line.sample.new_claims), code=4)
    assert "kept" in said
    assert "claimflow model approve" in said


def test_an_upsert_of_the_same_definition_changes_nothing(line: Line) -> None:
    assert "created" in line.run("pipeline", "upsert")
    assert "unchanged" in line.run("pipeline", "upsert")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-p", "Epoch=3"), "did you mean Epochs?"),
        (("-p", "Epochs=many"), "expected a value of type Integer"),
        (("-p", "ModelKind=gpt"), "expected one of bert, cnn, fasttext"),
        (("-p", "MinAccuracy=80"), "expected a number, between 0 and 1"),
        (("-p", "Epochs"), "expected NAME=VALUE"),
        (("-p", 'Hyperparameters={"monitor": "f1"}'), "expected one of: loss, accuracy, macro_f1"),
        (("--train", "missing.csv"), "there is no such file"),
        (("--train", "data"), "this is a folder"),
        (("--train", "s3://nowhere/x.csv"), "there is nothing at s3://nowhere/x.csv"),
        ((), "give a file with --train"),
    ],
)
def test_what_does_not_fit_the_pipeline_is_one_line(
    line: Line, arguments: tuple[str, ...], said: str
) -> None:
    printed = line.run("pipeline", "start", *arguments, code=2)
    assert said in printed
    assert printed.count("\n") == 1


def test_bad_data_stops_before_training_and_says_why(line: Line) -> None:
    train = line.folder / "one_row_class.csv"
    train.write_text(
        line.sample.train.read_text("utf-8") + "x,a unique thing broke,lonely\n", "utf-8"
    )
    arguments = ("--train", str(train), "--test", str(line.sample.test), "--wait")
    said = line.run("pipeline", "start", *arguments, code=1)
    assert "lonely" in said
    execution = line.json("pipeline", "status")
    assert {step["name"] for step in execution["steps"]} == {"Validate", "Champion"}


def test_a_run_ends_with_a_registered_model_that_nobody_approved_yet(line: Line) -> None:
    execution = line.start()
    found = line.json("pipeline", "status", execution, "--watch")
    assert found["status"] == "Succeeded"
    assert [version["approval"] for version in line.json("model", "list")] == [
        "PendingManualApproval"
    ]


def test_a_version_that_does_not_exist_cannot_be_approved(line: Line) -> None:
    assert "the registry has: 1" in line.run("model", "approve", "7", "--why", "no such", code=2)


def test_approval_sends_the_waiting_upload_to_its_prediction(line: Line) -> None:
    line.run("model", "approve", "1", "--why", "first model")
    shown = line.json("model", "show", "1")
    assert (shown["approval"], shown["reason"]) == ("Approved", "first model")
    assert shown["metrics"]["multiclass_classification_metrics"]["accuracy"]["value"] > 0.85
    assert "accuracy               0.9" in line.run("model", "show", "1")
    assert "◄ predicts" in line.run("model", "list")
    s3 = line.client("s3")
    results = next(one["Name"] for one in s3.list_buckets()["Buckets"] if "results" in one["Name"])

    def manifests() -> list[str]:
        listed = s3.list_objects_v2(Bucket=results, Prefix="results/").get("Contents", [])
        return [one["Key"] for one in listed if one["Key"].endswith("manifest.json")]

    deadline = time.monotonic() + 60
    while not manifests() and time.monotonic() < deadline:
        time.sleep(0.2)
    manifest = json.loads(s3.get_object(Bucket=results, Key=manifests()[0])["Body"].read())
    assert manifest["rows_in"] == manifest["predicted"] + manifest["rejected"] == 200


def test_predict_fetches_every_row_labelled_or_rejected(line: Line) -> None:
    output = line.folder / "out"
    printed = line.run("predict", str(line.sample.new_claims), "--output", str(output))
    assert "rejected" in printed
    manifest = json.loads((output / "manifest.json").read_text("utf-8"))
    assert manifest["rejected"] > 0
    header = (output / "predictions.csv").read_text("utf-8").splitlines()[0]
    assert header.endswith("label,confidence,review,model_version")


def test_a_file_that_cannot_be_read_fails_with_one_line(line: Line) -> None:
    broken = line.folder / "empty.csv"
    broken.write_bytes(b"")
    assert "empty" in line.run("predict", str(broken), code=1).splitlines()[-1]


def test_a_file_without_a_row_to_predict_fails_and_says_what_was_wrong(line: Line) -> None:
    latin = line.folder / "latin.csv"
    latin.write_bytes(b"text\nGer\xe4usch\nL\xfcfter\n")
    said = line.run("predict", str(latin), code=1)
    assert "2 rejected" in said
    assert "not UTF-8" in said


def test_results_that_cannot_be_written_are_refused_before_the_upload(line: Line) -> None:
    said = line.run(
        "predict", str(line.sample.new_claims), "--output", str(line.sample.test), code=2
    )
    assert said.count("\n") == 1
    assert "uploaded" not in said


def test_the_same_data_again_reuses_what_was_paid_for(line: Line) -> None:
    execution = line.start()
    assert line.json("pipeline", "status", execution, "--watch")["status"] == "Succeeded"
    steps = line.steps(execution)
    assert steps["Validate"]["is_cached"]
    assert steps["Train"]["is_cached"]
    assert not steps["Evaluate"]["is_cached"], "there is a champion now"


def test_a_model_below_the_bar_is_rejected_with_the_figures(line: Line) -> None:
    files = ("--train", str(line.sample.train), "--test", str(line.sample.test))
    said = line.run("pipeline", "start", *files, "-p", "MinAccuracy=0.9999", "--wait", code=3)
    assert re.search(r"missed: accuracy 0\.\d+ is below MinAccuracy 0\.9999 by 0\.\d+", said)


def test_whoever_approves_or_rejects_is_told_which_version_predicts(line: Line) -> None:
    assert "version 1 predicts" in line.run("model", "reject", "2", "--why", "no better")
    assert "no approved version may predict" in line.run(
        "model", "reject", "1", "--why", "no better"
    )
    assert line.run("model", "approve", "1", "--why", "back").strip() == "version 1: Approved"


def test_two_executions_at_once_both_finish_and_do_not_mix(line: Line) -> None:
    before = len(line.json("model", "list"))
    more = ("-p", 'Hyperparameters={"class_weights": {"mechanical": 2.5}, "monitor": "macro_f1"}')
    executions = [line.start("-p", "Seed=11"), line.start("-p", "Seed=12", *more)]
    for execution in executions:
        assert line.json("pipeline", "status", execution, "--watch")["status"] == "Succeeded"
    versions = line.json("model", "list")
    assert len(versions) == before + 2
    shown = [line.json("model", "show", str(one["version"])) for one in versions[:2]]
    assert {one["metadata"]["execution"] for one in shown} == set(executions)
    assert len({one["artifact"] for one in shown}) == 2
    (weighed,) = [one for one in shown if one["metadata"]["execution"] == executions[1]]
    assert learnt(line, weighed["version"])["class_weights"] == '{"mechanical": 2.5}'
    card = line.run("model", "card", str(weighed["version"])).splitlines()
    document = json.loads((line.folder / next(p for p in card if p.endswith("json"))).read_text())
    told = document["training_details"]["training_job_details"]["hyper_parameters"]
    assert {"name": "monitor", "value": "macro_f1"} in told
    assert "hyperparameters" not in {one["name"] for one in told}


def learnt(line: Line, version: int) -> dict[str, Any]:
    """The hyperparameters that the model of a version was trained with."""
    folder = line.folder / "fetched"
    line.run("model", "fetch", str(version), "--output", str(folder))
    with tarfile.open(folder / "model.tar.gz") as archive:
        file = archive.extractfile("model.json")
        assert file
        found: dict[str, Any] = json.load(file)["hyperparameters"]
    return found


def test_a_crash_in_training_is_told_and_what_had_finished_is_kept(line: Line) -> None:
    execution = line.start("-p", "Seed=13", "-p", "LearningRate=0.001")
    deadline = time.monotonic() + 60
    while "Train" not in line.steps(execution) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(line.json("local", "status")["pid"], signal.SIGKILL)
    line.up()
    found = line.json("pipeline", "status", execution)
    assert found["status"] == "Failed"
    assert "local cloud ended" in found["reason"]
    steps = {step["name"]: step["status"] for step in found["steps"]}
    assert steps["Validate"] == "Succeeded"
    assert steps["Train"] == "Failed"
    assert [one["approval"] for one in line.json("model", "list")][-1] == "Approved"
    again = line.start("-p", "Seed=13", "-p", "LearningRate=0.001")
    assert line.json("pipeline", "status", again, "--watch")["status"] == "Succeeded"
    assert line.steps(again)["Validate"]["is_cached"]


def test_a_stop_of_the_cloud_is_told_as_the_reason(line: Line) -> None:
    execution = line.start("-p", "Seed=15")
    deadline = time.monotonic() + 60
    while "Train" not in line.steps(execution) and time.monotonic() < deadline:
        time.sleep(0.1)
    line.run("local", "down")
    line.up()
    found = line.json("pipeline", "status", execution)
    assert found["status"] == "Stopped"
    assert "local cloud was stopped" in found["reason"]


def test_stop_ends_an_execution(line: Line) -> None:
    execution = line.start("-p", "Seed=14")
    deadline = time.monotonic() + 60
    while "Train" not in line.steps(execution) and time.monotonic() < deadline:
        time.sleep(0.1)
    line.run("pipeline", "stop", execution)
    found = line.json("pipeline", "status", execution, "--watch", code=1)
    assert found["status"] == "Stopped"


def test_the_runs_are_in_mlflow_a_child_for_each_step(line: Line) -> None:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    address = line.variables["CLAIMFLOW_MLFLOW_TRACKING_URI"]
    deadline = time.monotonic() + 60
    while (
        time.monotonic() < deadline
    ):  # the cloud was started again a moment ago, and MLflow is slow
        try:
            urlopen(f"{address}/health", timeout=5)  # noqa: S310 - our own server
            break
        except URLError:
            time.sleep(0.2)

    def call(path: str, body: dict[str, Any]) -> Any:
        request = Request(  # noqa: S310 - our own server
            f"{address}/api/2.0/mlflow/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        return json.loads(urlopen(request, timeout=30).read())  # noqa: S310

    experiments = call("experiments/search", {"max_results": 100})["experiments"]
    ours = [one["experiment_id"] for one in experiments if one["name"] == "claimflow-dev"]
    runs = call("runs/search", {"experiment_ids": ours, "max_results": 200})["runs"]
    tags = [{tag["key"]: tag["value"] for tag in run["data"]["tags"]} for run in runs]
    parents = [
        run["info"]["run_id"]
        for run, tag in zip(runs, tags, strict=True)
        if "mlflow.parentRunId" not in tag
    ]
    children = [tag for tag in tags if tag.get("mlflow.parentRunId") in parents]
    names = {tag["mlflow.runName"] for tag in children}
    assert {"Validate", "Train", "Evaluate"} <= names
    assert any(run["data"].get("metrics") for run in runs)


@pytest.mark.skipif(not IMDB.exists(), reason="the IMDb reviews are not here")
def test_the_demo_on_imdb_reaches_ninety_per_cent(line: Line) -> None:
    files = ["--train", str(IMDB / "train.csv.xz"), "--test", str(IMDB / "test.csv.xz")]
    said = line.run("demo", *files)
    found = re.search(r"accuracy (0\.\d+)", said)
    assert found, said
    assert float(found.group(1)) >= 0.90
    assert "25,000 rows in" in said
