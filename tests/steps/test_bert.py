from __future__ import annotations

import json
import shutil
from pathlib import Path

import gluonnlp
import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps import artifact
from steps.errors import InputError
from steps.models.bert import Bert, BertHyperparameters, measure
from steps.train import train
from steps.word_pieces import PieceVocabulary, WordPieces
from tests.steps.small_models import (
    PIECES,
    SMALL,
    UNTRACKED,
    claims,
    pretrained_bert,
    trained,
    training_job,
)

ANY_TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained_bert(tmp_path_factory.mktemp("pretrained"))


def bert(folder: Path, **given: str) -> dict[str, str]:
    return SMALL["bert"] | {"pretrained_folder": str(folder)} | given


def pieces(length: int = 12, lower: bool = True) -> WordPieces:
    return WordPieces(PieceVocabulary(PIECES), length, lower)


def test_the_network_is_as_large_as_the_weights(folder: Path) -> None:
    sizes = measure(folder / "tiny.params")
    assert sizes == (len(PIECES), 2, 32, 64, 2, 64)


@settings(deadline=None)
@given(ANY_TEXTS, st.booleans())
def test_texts_are_cut_into_the_pieces_that_gluonnlp_cuts(texts: list[str], lower: bool) -> None:
    vocabulary = gluonnlp.vocab.BERTVocab(dict.fromkeys(PIECES, 1))
    tokenizer = gluonnlp.data.BERTTokenizer(vocabulary, lower=lower)
    numbers = PieceVocabulary(PIECES).numbers
    made = pieces(40, lower).rows([*texts, "Water  DRIPS, unpumped"])
    for row, text in enumerate([*texts, "Water  DRIPS, unpumped"]):
        expected = ["[CLS]", *tokenizer(text)[:38], "[SEP]"]
        seen = made.input(np.array([row])).asnumpy()[0].astype(int)
        assert seen[: len(expected)].tolist() == [numbers[piece] for piece in expected]
        assert (seen[len(expected) :] == numbers["[PAD]"]).all()


def test_no_more_pieces_are_looked_at_than_the_weights_have_places(folder: Path) -> None:
    rows = pieces(64).rows(["water " * 10_000, ""]).input(np.array([0, 1]))
    assert rows.shape == (2, 64)


def test_padding_changes_nothing(tmp_path: Path, folder: Path) -> None:
    model = trained(tmp_path, claims(100), **bert(folder, epochs="1"))
    network = mx.gluon.SymbolBlock.imports(
        str(model / artifact.SYMBOL), ["data"], str(model / artifact.PARAMS)
    )
    text = pieces().rows(["water drips"]).input(np.array([0])).asnumpy()
    padded = np.full((2, 48), PIECES.index("[PAD]"), np.float32)
    padded[:, : text.shape[1]] = text
    made = network(mx.nd.array(text)).asnumpy()
    assert np.allclose(made, network(mx.nd.array(padded)).asnumpy(), atol=1e-5)


def test_fine_tuning_begins_with_the_given_weights(tmp_path: Path, folder: Path) -> None:
    given = mx.nd.load(str(folder / "tiny.params"))["word_embed.0.weight"].asnumpy()
    for rate, same in (("1e-9", True), ("0.01", False)):
        given_ = bert(folder, epochs="1", learning_rate=rate)
        model = trained(tmp_path / rate, claims(100), **given_)
        stored = mx.nd.load(str(model / artifact.PARAMS))
        (table,) = (array for name, array in stored.items() if "word_embed" in name)
        assert np.allclose(table.asnumpy(), given, atol=1e-6) == same


def test_the_tokenisers_data_is_in_the_artifact(tmp_path: Path, folder: Path) -> None:
    model = trained(tmp_path, claims(100), **bert(folder, epochs="1", lower="false"))
    assert json.loads((model / artifact.VOCABULARY).read_text("utf-8"))["idx_to_token"] == PIECES
    info = json.loads((model / artifact.INFO).read_text("utf-8"))
    assert info["features"] == {"recipe": "word-pieces-1", "length": 32, "lower": 0}


def test_the_rate_rises_then_falls_to_nothing() -> None:
    made = BertHyperparameters(kind="bert", epochs=4, warmup=0.25)
    assert [made.rate(gone) for gone in (0, 0.5, 1, 2.5, 4)] == [0, 0.5, 1, 0.5, 0]
    assert BertHyperparameters(kind="bert", warmup=0.0).rate(0) == 1
    assert BertHyperparameters(kind="bert", warmup=1.0).rate(3) == pytest.approx(0)


def test_without_weights_one_line_says_how_to_get_them(tmp_path: Path) -> None:
    job = training_job(tmp_path / "channel", claims(50), **SMALL["bert"])
    shutil.rmtree(job.channel("pretrained"))
    with pytest.raises(InputError, match=r"channel 'pretrained' holds 0 files.*get_model") as one:
        train(job, UNTRACKED)
    with pytest.raises(InputError, match=r"folder '.*nowhere' holds 0 files") as other:
        trained(tmp_path / "folder", claims(50), **bert(tmp_path / "nowhere"))
    assert "\n" not in str(one.value) + str(other.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tiny.params": b"no weights"}, "holds no weights of a BERT"),
        ({"tiny.params": b""}, "holds no weights of a BERT"),
        ({"tiny.vocab": b"\xff"}, "cannot be read as a vocabulary"),
        ({"tiny.vocab": b"{}"}, "cannot be read as a vocabulary"),
        ({"tiny.vocab": b'{"idx_to_token": ["[PAD]"]}'}, "no vocabulary of BERT"),
        ({"tiny.vocab": b"water\nwater\n"}, "no vocabulary of BERT"),
        ({"tiny.vocab": "\n".join(PIECES[:-1]).encode()}, "but tiny.params weights for"),
        ({"other.params": b""}, "holds 2 files"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, bytes], message: str
) -> None:
    folder = pretrained_bert(tmp_path / "pretrained")
    for name, content in change.items():
        (folder / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as refused:
        trained(tmp_path, claims(50), **bert(folder))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"length": "65"}, "length is 65, but tiny.params knows 64 places"),
        ({"heads": "5"}, "32 dimensions, which cannot be shared by 5 attention heads"),
        ({"heads": "0"}, "set the hyperparameter heads"),
        ({"float16": "true"}, "float16 is true, but there is no GPU"),
    ],
)
def test_settings_that_the_weights_or_the_machine_cannot_do_are_refused(
    tmp_path: Path, folder: Path, given: dict[str, str], message: str
) -> None:
    if "float16" in given and mx.context.num_gpus():
        pytest.skip("there is a GPU here")
    with pytest.raises(InputError, match=message):
        trained(tmp_path, claims(50), **bert(folder) | given)


def test_only_weights_decay(folder: Path) -> None:
    from steps.descent import Examples, Split
    from steps.models.bert import prepare

    rows = np.arange(4)
    examples = Examples(["a", "b"] * 2, rows % 2, 2, Split(rows, rows[:0]), lambda _: folder)
    task = prepare(examples, BertHyperparameters(kind="bert", length=16, heads=2))
    assert isinstance(task.network, Bert)
    parameters = task.network.collect_params()
    undecayed = {name for name, each in parameters.items() if each.wd_mult == 0}
    assert undecayed == {name for name, each in parameters.items() if len(each.shape) == 1}, (
        "biases, gammas and betas are the vectors"
    )
