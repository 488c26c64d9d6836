from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps import artifact
from steps.classifier import Classifier
from steps.errors import InputError
from tests.steps.small_models import SMALL, archived, claims, trained

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=SMALL)
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = SMALL[request.param]
    if request.param == "ngram":  # else it has learnt from the rows that judged it
        given = given | {"descents": "1"}
    return trained(tmp_path_factory.mktemp("job"), claims(400), **given)


@pytest.fixture(scope="module")
def stored_ngram(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("job"), claims(400))


@pytest.fixture(scope="module")
def model(stored: Path) -> Classifier:
    return Classifier.load(stored)


def resigned(model: Path, name: str, content: bytes) -> None:
    """Replaces a file, with a manifest that agrees."""
    (model / name).write_bytes(content)
    manifest = json.loads((model / artifact.MANIFEST).read_text())
    manifest["sha256"][name] = artifact._sha256(model / name)
    (model / artifact.MANIFEST).write_text(json.dumps(manifest))


def copied(stored: Path, folder: Path) -> Path:
    for path in stored.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return copied(stored, tmp_path)


@pytest.fixture
def ngram_copy(stored_ngram: Path, tmp_path: Path) -> Path:
    return copied(stored_ngram, tmp_path)


def stored_kind(model: Path) -> str:
    return str(json.loads((model / artifact.INFO).read_text("utf-8"))["kind"])


def redescribed(model: Path, change: dict[str, object]) -> None:
    info = json.loads((model / artifact.INFO).read_text("utf-8")) | change
    resigned(model, artifact.INFO, json.dumps(info).encode())


def test_a_stored_model_reaches_on_validation_what_training_said(stored: Path) -> None:
    from steps.train import split_rows

    table, model = claims(400), Classifier.load(stored)
    targets = np.array([model.labels.index(label) for label in table.labels])
    _, validation = split_rows(targets, 0.1, 0)
    made = model.probabilities([table.texts[row] for row in validation])
    said = model.info["validation"]
    right = float((made.argmax(axis=1) == targets[validation]).mean())
    assert right == said["validation_accuracy"]
    given_ = made[np.arange(len(validation)), targets[validation]]
    assert -np.log(given_).mean() == pytest.approx(said["validation_log_loss"], rel=1e-4)
    assert (made.max(axis=1) < model.threshold).mean() == said["review_share"]


@pytest.mark.parametrize("kind", SMALL)
def test_a_model_says_the_same_before_and_after_it_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    import steps.train
    from steps.network import scores

    texts = [*claims(40, seed=3).texts, "", "x", "漏水", "water " * 500]
    before = []
    export = steps.train._export

    def exported(task: Any, folder: Path) -> None:
        rows = task.inputs.rows(texts)
        before.append(scores(task.network, rows, np.arange(len(texts)), task.columns))
        export(task, folder)

    monkeypatch.setattr(steps.train, "_export", exported)
    model = Classifier.load(trained(tmp_path, claims(200), **SMALL[kind] | {"epochs": "2"}))
    assert np.array_equal(model.probabilities(texts), model._calibration.probabilities(before[0]))


def test_an_archive_predicts_as_the_folder_it_was_made_of(
    stored: Path, model: Classifier, tmp_path: Path
) -> None:
    archived(stored, tmp_path)
    texts = claims(50, seed=9).texts
    assert np.array_equal(
        Classifier.load_archive(tmp_path).probabilities(texts), model.probabilities(texts)
    )


def test_a_folder_may_be_given_as_text(stored_ngram: Path, tmp_path: Path) -> None:
    archived(stored_ngram, tmp_path)
    expected = list(Classifier.load(stored_ngram).predict(["water"]))
    assert list(Classifier.load(str(stored_ngram)).predict(["water"])) == expected
    for load in (Classifier.load_archive, Classifier.load_either):
        assert list(load(str(tmp_path)).predict(["water"])) == expected


def test_a_packed_model_where_an_unpacked_one_is_expected_is_told_from_none(
    stored_ngram: Path, tmp_path: Path
) -> None:
    archived(stored_ngram, tmp_path)
    with pytest.raises(InputError, match=r"packed model, model\.tar\.gz: .*load_archive"):
        Classifier.load(tmp_path)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(st.characters(codec=None)), max_size=20))
def test_any_texts_have_predictions_in_order(model: Classifier, texts: list[str]) -> None:
    made = model.probabilities(texts)
    assert made.shape == (len(texts), len(model.labels))
    assert np.allclose(made.sum(axis=1), 1, atol=1e-5)
    for row, prediction in zip(made, model.predict(texts), strict=True):
        assert prediction.label == model.labels[int(row.argmax())]
        assert prediction.confidence == pytest.approx(float(row.max()))
        assert prediction.review == (prediction.confidence < model.threshold)


MEGABYTES = {
    "words": "leak " * 200_000,
    "one-word": "x" * 1_000_000,
    "blanks": " " * 1_000_000,
    "without-blanks": "漏水" * 170_000,
    "marks": "\u0301\u0323" * 250_000,
    "pictographs": "👍🏽" * 130_000,
}


@pytest.mark.parametrize("text", MEGABYTES.values(), ids=MEGABYTES)
def test_a_megabyte_has_a_prediction(model: Classifier, text: str) -> None:
    (made,) = model.probabilities([text])
    assert made.sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "x", "leak " * 200_000, "\x00", "\ud83d", "漏水" * 100])
def test_a_text_means_the_same_alone_and_among_others(model: Classifier, text: str) -> None:
    others = claims(1500, seed=2).texts
    among = model.probabilities([*others[:700], text, *others[700:]])[700]
    assert np.allclose(model.probabilities([text])[0], among, atol=1e-6)


def test_predictions_are_made_while_texts_still_come(model: Classifier) -> None:
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "water drips under the pump"

    first = next(model.predict(endless()))
    assert first.label == "leak"
    assert taken <= 1024


def test_long_texts_are_held_few_at_a_time(model: Classifier) -> None:
    taken = 0

    def long_texts() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "water drips " * 100_000

    next(model.predict(long_texts()))
    assert taken <= 4


def test_predicting_does_not_import_what_trains(stored: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom steps.classifier import Classifier\n"
        f"list(Classifier.load(Path({str(stored)!r})).predict(['water']))\n"
        "print(*(name for name in sys.modules if name.startswith(('steps', 'gluonnlp'))))"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "steps.classifier" in loaded
    assert not loaded & {"steps.train", "steps.descent", "steps.hyperparameters", "steps.table"}
    assert not any(name.startswith("steps.models.") for name in loaded)
    assert ("gluonnlp" in loaded) == (stored_kind(stored) == "bert"), "for its tokeniser"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gru"}, "kind 'gru', which this version does not know"),
        ({"features": {"bits": 10, "tail": 30, "recipe": "older"}}, "features are 'older'"),
        ({"features": {"bits": 99}}, "out of range"),
        ({"features": {"bits": "x"}}, "malformed"),
        ({"features": None}, "malformed"),
        ({"labels": ["leak", "noise"]}, "does not fit"),
        ({"features": {"bits": 20}}, "does not fit"),
    ],
)
def test_a_model_of_another_make_is_refused(
    ngram_copy: Path, change: dict[str, object], message: str
) -> None:
    redescribed(ngram_copy, change)
    with pytest.raises(InputError, match=message):
        Classifier.load(ngram_copy)


def test_a_model_whose_labels_or_kind_are_anothers_is_refused(copy: Path) -> None:
    kind = stored_kind(copy)
    redescribed(copy, {"labels": ["leak", "noise"]})
    with pytest.raises(InputError, match="does not fit"):
        Classifier.load(copy)
    alike = {"cnn", "lstm", "textcnn"}  # they see texts alike, and the network is what it is
    for other in SMALL.keys() - (alike if kind in alike else {kind}):
        redescribed(copy, {"kind": other})
        with pytest.raises(InputError, match=r"features are|malformed"):
            Classifier.load(copy)


@pytest.mark.parametrize("name", [artifact.SYMBOL, artifact.PARAMS])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 64])
def test_a_network_that_is_none_is_refused_in_one_line(
    copy: Path, name: str, content: bytes
) -> None:
    resigned(copy, name, content)
    with pytest.raises(InputError, match=r"network cannot be loaded|does not fit") as refused:
        Classifier.load(copy)
    assert "\n" not in str(refused.value)
