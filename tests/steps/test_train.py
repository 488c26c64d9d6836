from __future__ import annotations

import filecmp
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.rows import Row
from batch.tally import Tally
from steps import artifact, gradients
from steps.classifier import Classifier, Prediction
from steps.container import Container, Stopped
from steps.descent import Epoch
from steps.errors import InputError
from steps.table import Table
from steps.tracking import TrackingSettings
from steps.train import confidence_histogram, data_fingerprint, split_rows, train
from tests.steps.small_models import (
    SMALL,
    UNSPACED,
    UNTRACKED,
    claims,
    trained,
    training_job,
    unspaced_claims,
)

ROOT = Path(__file__).parents[2]
every_kind = pytest.mark.parametrize("kind", SMALL)


def same_files(one: Path, other: Path) -> bool:
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    return not filecmp.cmpfiles(one, other, names, shallow=False)[1]


@every_kind
@pytest.mark.parametrize("labels", [("leak", "noise"), ("leak", "noise", "electric", "finish")])
def test_a_trained_model_predicts_claims_it_has_not_seen(
    tmp_path: Path, labels: tuple[str, ...], kind: str
) -> None:
    model = Classifier.load(trained(tmp_path, claims(600, labels=labels), **SMALL[kind]))
    unseen = claims(200, seed=1, labels=labels)
    predicted = [prediction.label for prediction in model.predict(unseen.texts)]
    assert np.mean([a == b for a, b in zip(predicted, unseen.labels, strict=True)]) > 0.97


@pytest.mark.parametrize("kind", [kind for kind in SMALL if kind != "bert"])
@pytest.mark.parametrize("language", UNSPACED)
def test_claims_without_blanks_between_words_can_be_told_apart(
    tmp_path: Path, kind: str, language: str
) -> None:
    model = Classifier.load(trained(tmp_path, unspaced_claims(language, 500), **SMALL[kind]))
    unseen = unspaced_claims(language, 200, seed=1)
    predicted = [prediction.label for prediction in model.predict(unseen.texts)]
    assert np.mean([a == b for a, b in zip(predicted, unseen.labels, strict=True)]) > 0.9


@every_kind
def test_same_data_and_seed_make_the_same_bytes(tmp_path: Path, kind: str) -> None:
    given = SMALL[kind] | {"epochs": "2"}
    one = trained(tmp_path / "one", claims(300), **given, seed="3")
    assert same_files(one, trained(tmp_path / "other", claims(300), **given, seed="3"))
    assert not same_files(one, trained(tmp_path / "seed", claims(300), **given, seed="4"))


@every_kind
def test_a_resumed_run_ends_as_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import steps.train

    given = SMALL[kind] | {"epochs": "6", "patience": "6"}
    whole = trained(tmp_path / "whole", claims(300), **given)
    job = training_job(tmp_path / "cut", claims(300), **given)
    job.checkpoints.mkdir()
    report = steps.train._report
    seen: list[int] = []

    def interrupted(epoch: Epoch, run: object) -> None:
        seen.append(epoch.number)
        if epoch.number in (3, 5) and seen.count(epoch.number) == 1:
            raise KeyboardInterrupt
        report(epoch, run)  # type: ignore[arg-type]

    monkeypatch.setattr(steps.train, "_report", interrupted)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train(job, UNTRACKED)
        assert not job.model.exists()
    train(job, UNTRACKED)
    assert seen[:8] == [1, 2, 3, 3, 4, 5, 5, 6]  # and what later descents report
    assert same_files(whole, job.model)


def leave_a_checkpoint(job: Container, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Interrupts a training in its second epoch."""
    import steps.train

    def interrupted(epoch: Epoch, _run: object) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    job.checkpoints.mkdir()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(steps.train, "_report", interrupted)
        train(job, UNTRACKED)
    (stored,) = job.checkpoints.iterdir()
    assert stored.stat().st_size
    return stored


@pytest.mark.parametrize("change", ["data", "hyperparameters", "code", "damage"])
def test_a_checkpoint_of_another_training_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    table = claims(300)
    given = {"epochs": "3", "patience": "3"}
    job = training_job(tmp_path / "job", table, **given)
    stored = leave_a_checkpoint(job, monkeypatch)
    tracking = UNTRACKED
    if change == "data":
        table = claims(300, seed=5)
    elif change == "hyperparameters":
        given["seed"] = "3"
    elif change == "code":
        tracking = TrackingSettings(code_version="another")
    else:
        stored.write_bytes(stored.read_bytes()[:1000])
    again = training_job(tmp_path / "job", table, **given)
    train(again, tracking)
    params = sorted(path.name for path in again.model.glob("*.params"))
    fresh = trained(tmp_path / "fresh", table, **given)
    assert params
    for name in params:
        assert (again.model / name).read_bytes() == (fresh / name).read_bytes()
    seen = {path.name: path.stat().st_size for path in job.checkpoints.iterdir()}
    assert len(seen) == (1 if change == "damage" else 2), "a file for each training"


def test_a_training_that_has_ended_leaves_an_empty_checkpoint(tmp_path: Path) -> None:
    job = training_job(tmp_path / "job", claims(300), epochs="2")
    job.checkpoints.mkdir()
    train(job, UNTRACKED)
    assert [path.stat().st_size for path in job.checkpoints.iterdir()] == [0]


def test_the_artifact_tells_where_it_comes_from(tmp_path: Path) -> None:
    table = claims(300)
    info = json.loads((trained(tmp_path, table, seed="5") / artifact.INFO).read_text("utf-8"))
    assert info["labels"] == ["electric", "finish", "leak", "noise"]
    assert info["hyperparameters"]["seed"] == 5
    data = info["training_data"]
    assert data["sha256"] == data_fingerprint(table)
    assert data["rows"] == 300 == data["training_rows"] + data["validation_rows"]
    assert info["validation"]["validation_accuracy"] > 0.9
    assert set(info["versions"]) == {"code", "python", "mxnet", "numpy"}


def test_the_artifact_tells_what_its_data_and_its_confidences_were_like(tmp_path: Path) -> None:
    table = claims(400)
    model = trained(tmp_path, table)
    info = Classifier.load(model).info
    assert list(info["training_data"]["labels"]) == info["labels"]
    assert info["training_data"]["labels"] == Counter(table.labels)
    assert sum(info["validation_confidence"]) == info["training_data"]["validation_rows"]
    targets = np.array([info["labels"].index(label) for label in table.labels])
    _, rows = split_rows(targets, info["hyperparameters"]["validation_share"], 0)
    predictions = list(Classifier.load(model).predict([table.texts[row] for row in rows]))
    tally = Tally()
    tally.add([Row(int(row), "", "", ()) for row in rows], predictions)
    assert tally.confidence == info["validation_confidence"], "of the calibrated confidences"


@given(st.lists(st.floats(0, 1, width=32), max_size=50))
def test_training_and_prediction_count_confidences_in_the_same_bins(given: list[float]) -> None:
    tally = Tally()
    rows = [Row(1, "", "", ())] * len(given)
    tally.add(rows, [Prediction("leak", one, False) for one in given])
    made = np.array([[one, 0.0] for one in given], np.float32).reshape(-1, 2)
    assert confidence_histogram(made) == tally.confidence


@every_kind
def test_small_data_makes_a_small_model(tmp_path: Path, kind: str) -> None:
    given = SMALL[kind] if kind == "bert" else {"kind": kind}  # all others with their own sizes
    model = trained(tmp_path, claims(300), **given | {"epochs": "1"})
    assert sum(path.stat().st_size for path in model.iterdir()) < 1 << 20


def test_epochs_are_printed_as_metric_definitions_read_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, claims(300))
    printed = capsys.readouterr().out.splitlines()
    form = r"epoch=\d+ train_loss=\d\.\d{4} val_loss=\d\.\d{4} val_accuracy=\d\.\d{4} "
    form += r"val_macro_f1=\d\.\d{4} "
    assert re.fullmatch(form + r"samples_per_s=\d+", printed[0])


@pytest.mark.parametrize(
    ("asked", "is_said"), [("all", True), ("0", True), ("none", False), ("", False), (None, False)]
)
def test_an_image_for_gpus_says_when_it_finds_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str | None, is_said: bool
) -> None:
    environment = {"NVIDIA_VISIBLE_DEVICES": asked} if asked is not None else {}
    job = training_job(tmp_path, claims(40), epochs="1")
    expects = Container.from_environment(environment).expects_gpu
    train(replace(job, expects_gpu=expects), UNTRACKED)
    assert ("there is none here: training on the CPU" in capsys.readouterr().out) is is_said


@pytest.mark.parametrize(
    "rows",
    [
        [("water drips", "leak"), ("it squeaks", "noise")],
        [("water drips", "leak"), ("it squeaks", "noise")] * 2,
        [("water drips", "leak")] * 20 + [("it squeaks", "noise")],
        [("x", "leak"), ("?", "noise"), ("@", "dirt")] * 3,
        [("@", "leak"), ("#", "noise")] * 30,
        [("long " * 200_000, "leak"), ("short", "noise")] * 2,
    ],
    ids=["a-row-each", "two-rows-each", "one-rare", "one-letter", "no-tokens", "megabytes"],
)
@pytest.mark.parametrize("share", ["0.1", "0"])
@every_kind
def test_odd_data_trains_a_model_that_predicts(
    tmp_path: Path, rows: list[tuple[str, str]], share: str, kind: str
) -> None:
    table = Table([text for text, _ in rows], [label for _, label in rows])
    given = SMALL[kind] | {"validation_share": share, "epochs": "2"}
    model = Classifier.load(trained(tmp_path, table, **given))
    made = model.probabilities(["water drips", "", "\ud800", "never seen"])
    assert np.isfinite(made).all()


def test_labels_that_are_numbers_keep_their_text_and_order(tmp_path: Path) -> None:
    table = claims(200, labels=("leak", "noise", "finish"))
    numbers = {"leak": "10", "noise": "9", "finish": "-1"}
    table = Table(table.texts, [numbers[label] for label in table.labels])
    assert Classifier.load(trained(tmp_path, table)).labels == ["-1", "9", "10"]


@every_kind
def test_a_hundred_labels_have_a_probability_each(tmp_path: Path, kind: str) -> None:
    labels = [f"part {number}" for number in range(100)]
    table = Table([f"{label} broke again" for label in labels] * 3, labels * 3)
    made = Classifier.load(trained(tmp_path, table, **SMALL[kind] | {"epochs": "2"}))
    assert np.allclose(made.probabilities(["part 7 broke"]).sum(axis=1), 1, atol=1e-5)
    assert sorted(made.labels) == sorted(labels)


def test_one_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 1 label"):
        trained(tmp_path, Table(["a", "b"], ["leak", "leak"]))


def test_a_model_of_one_kind_can_take_the_place_of_anothers(tmp_path: Path) -> None:
    table = claims(100)
    for kind in ("fasttext", "ngram"):
        model = trained(tmp_path, table, **SMALL[kind], epochs="1")
        assert Classifier.load(model).info["kind"] == kind


@pytest.mark.parametrize("bits", ["5", "24"])
def test_bits_that_do_not_go_are_refused(tmp_path: Path, bits: str) -> None:
    table = Table(list("abcd"), list("wxyz"))
    with pytest.raises(InputError, match=f"bits is {bits}.*expected"):
        trained(tmp_path, table, bits=bits)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.floats(0, 0.5),
    st.integers(0, 100),
)
def test_a_split_is_complete_and_leaves_each_label_to_learn_from(
    labels: list[int], share: float, seed: int
) -> None:
    targets = np.array(labels)
    training, validation = split_rows(targets, share, seed)
    assert sorted([*training, *validation]) == list(range(len(labels)))
    assert set(targets[training]) == set(labels)
    for label in set(labels):
        rows = labels.count(label)
        held = int((targets[validation] == label).sum())
        assert held == min(rows - 1, round(rows * share)) or held <= 1


def test_a_fingerprint_knows_texts_labels_and_their_borders() -> None:
    tables = [
        Table(["ab", "c"], ["x", "y"]),
        Table(["a", "bc"], ["x", "y"]),
        Table(["ab", "c"], ["y", "x"]),
        Table(["c", "ab"], ["x", "y"]),
        Table(["ab", "cx"], ["", "y"]),
    ]
    assert len({data_fingerprint(table) for table in tables}) == len(tables)


@every_kind
def test_a_stop_in_an_epoch_loses_no_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    given = SMALL[kind] | {"epochs": "3", "patience": "3"}
    whole = trained(tmp_path / "whole", claims(300), **given)
    job = training_job(tmp_path / "cut", claims(300), **given)
    job.checkpoints.mkdir()
    step, steps = gradients.Steps.step, 0

    def stopped_in_the_second_epoch(self: gradients.Steps, rows: object, gone: float) -> None:
        nonlocal steps
        if gone > 1:
            steps += 1
        if steps == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, rows, gone)  # type: ignore[arg-type]

    monkeypatch.setattr(gradients.Steps, "step", stopped_in_the_second_epoch)
    with pytest.raises(Stopped):
        train(job, UNTRACKED)
    assert steps == 3 and not job.model.exists()
    train(job, UNTRACKED)
    assert same_files(whole, job.model)


def test_a_stop_ends_training_at_once_with_a_checkpoint(tmp_path: Path) -> None:
    job = training_job(tmp_path, claims(2000), epochs="1000", patience="1000")
    job.checkpoints.mkdir()
    with subprocess.Popen(
        [sys.executable, str(ROOT / "containers" / "entrypoint.py"), "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("epoch=1 ")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert not job.model.exists() or not any(job.model.iterdir())
    (stored,) = job.checkpoints.iterdir()
    assert np.load(stored)["place"].tolist()[1] >= 1
