from __future__ import annotations

import json
from pathlib import Path

import gluonnlp
import mxnet as mx
import numpy as np
import pytest

from steps import artifact, vectors
from steps.classifier import Classifier
from steps.container import Container
from steps.descent import Epoch
from steps.errors import InputError
from steps.train import train
from tests.steps.small_models import SMALL, UNTRACKED, WORDS, claims, trained, training_job

GLOVE = "the 0.5 -1 2e-1\npump 1 2 3\n, 0 0 0.25\nPump 9 9 9\nParis 4 5 6\n"


@pytest.fixture
def glove(tmp_path: Path) -> Path:
    path = tmp_path / "glove.txt"
    path.write_text(GLOVE)
    return path


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors that tell the label: a number for each label that a word speaks for."""
    path = tmp_path_factory.mktemp("vectors") / "words.vec"
    lines = [
        f"{word} {' '.join(str(float(label == other)) for other in WORDS)} 0.125"
        for label, words in WORDS.items()
        for word in words.split()
    ]
    path.write_text(f"{len(lines)} 5\n" + "\n".join(lines) + "\n")
    return path


def settings(mode: str, path: Path | str = "") -> dict[str, str]:
    chosen = {"vectors": mode, "vectors_file": str(path)} if path else {"vectors": mode}
    return SMALL["textcnn"] | chosen


def test_a_file_is_read_as_gluonnlp_reads_it(glove: Path) -> None:
    theirs = gluonnlp.embedding.TokenEmbedding.from_file(str(glove), unknown_token=None)
    ours = vectors.read(glove, ["the", "pump", ",", "unheard"])
    assert sorted(ours) == [",", "pump", "the"]
    for word, vector in ours.items():
        assert np.array_equal(vector, theirs[word].asnumpy())


def test_a_word_in_capitals_alone_serves_for_its_small_letters(glove: Path) -> None:
    assert vectors.read(glove, ["paris", "pump"])["paris"].tolist() == [4, 5, 6]
    assert vectors.read(glove, ["pump"])["pump"].tolist() == [1, 2, 3]


def test_words_without_a_vector_get_random_ones_of_the_same_spread(glove: Path) -> None:
    known = vectors.read(glove, ["pump", "the"])
    made = vectors.matrix(["pump", *map(str, range(5000))], known, seed=1)
    assert made[0].tolist() == [1, 2, 3]
    assert np.var(made[1:]) == pytest.approx(np.var(np.stack(list(known.values()))), rel=0.05)
    assert np.array_equal(made, vectors.matrix(["pump", *map(str, range(5000))], known, seed=1))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "glove.txt is empty"),
        (b"PK\x03\x04\0\0\0 1 2", "line 1 of glove.txt is no word vector"),
        (b"pump\n", "line 1 .* expected a word and its numbers"),
        (b"the 1 2 3\npump 1 2\n", "line 2 .* expected a word and 3 numbers"),
        (b"the 1 2 3\npump 1 x 3\n", "line 2 .* expected a word and 3 numbers"),
        (b"the 1 2 3\npump 1 nan 3\n", "line 2 .* expected a word and 3 numbers"),
        (b"x" * (1 << 21), "line 1 of glove.txt is no word vector"),
    ],
)
def test_a_file_that_holds_no_vectors_is_refused(glove: Path, content: bytes, message: str) -> None:
    glove.write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        vectors.read(glove, ["pump", "the"])
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("mode", ["frozen", "tuned", "both"])
def test_given_vectors_train_a_model_that_predicts(tmp_path: Path, given: Path, mode: str) -> None:
    model = trained(tmp_path, claims(300), **settings(mode, given))
    stored = mx.nd.load(str(model / artifact.PARAMS))
    tables = {name.split("_")[-1] for name, array in stored.items() if array.shape[1:] == (5,)}
    assert tables == {"frozen": {"frozen"}, "tuned": {"embedding"}}.get(
        mode, {"embedding", "frozen"}
    )
    unseen = claims(100, seed=1)
    made = [one.label for one in Classifier.load(model).predict(unseen.texts)]
    assert np.mean([a == b for a, b in zip(made, unseen.labels, strict=True)]) > 0.9


def test_frozen_vectors_stay_and_tuned_ones_are_learnt_on(tmp_path: Path, given: Path) -> None:
    model = trained(tmp_path, claims(300), **settings("both", given))
    stored = mx.nd.load(str(model / artifact.PARAMS))
    words = artifact_words(model)
    frozen, tuned = (stored[f"arg:textcnn_{name}"].asnumpy() for name in ("frozen", "embedding"))
    known = vectors.read(given, words)
    rows = [words.index(word) for word in known]
    assert np.array_equal(frozen[rows], np.stack(list(known.values())))
    assert not np.allclose(tuned[rows], frozen[rows], atol=1e-3)


def artifact_words(model: Path) -> list[str]:
    made: list[str] = json.loads((model / artifact.VOCABULARY).read_text())["idx_to_token"]
    return made


def with_channel(root: Path, lines: str, epochs: str = "3") -> Container:
    """A training job with vectors in its channel."""
    job = training_job(root, claims(200), **settings("both") | {"epochs": epochs})
    job.channel("vectors").mkdir(parents=True, exist_ok=True)
    (job.channel("vectors") / "words.vec").write_text(lines)
    job.checkpoints.mkdir(exist_ok=True)
    return job


def interrupt(job: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a training until its second epoch."""
    import steps.train

    def interrupted(epoch: Epoch, _run: object) -> None:
        if epoch.number == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(steps.train, "_report", interrupted)
        train(job, UNTRACKED)


@pytest.mark.parametrize("others", [False, True], ids=["the-same-vectors", "other-vectors"])
def test_a_run_is_continued_with_the_vectors_it_began_with_or_begun_anew(
    tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch, others: bool
) -> None:
    lines = given.read_text()
    interrupt(with_channel(tmp_path / "cut", lines), monkeypatch)
    if others:
        lines = lines.replace("0.125", "0.25")
    models = [with_channel(tmp_path / name, lines) for name in ("cut", "whole")]
    for job in models:
        train(job, UNTRACKED)
    one, other = ((job.model / artifact.PARAMS).read_bytes() for job in models)
    assert one == other


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="channel 'vectors' holds 0 files, expected one"):
        trained(tmp_path / "channel", claims(50), **settings("frozen"))
    with pytest.raises(InputError, match="vectors_file names no file"):
        trained(tmp_path / "file", claims(50), **settings("frozen", tmp_path / "none"))


def test_vectors_of_another_language_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.vec"
    path.write_text("wasser 1 2\npumpe 3 4\n")
    with pytest.raises(InputError, match=r"other\.vec has no vector for any of the \d+ words"):
        trained(tmp_path, claims(50), **settings("tuned", path))
