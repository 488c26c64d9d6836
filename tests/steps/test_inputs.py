from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import gluonnlp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps import artifact, inputs
from steps.errors import InputError
from steps.inputs import WordBags, WordSequences
from steps.vocabulary import PADDING, UNKNOWN, Vocabulary, build

TEXTS = ["The pump leaks, the seal drips", "Pump leaks again!", "the ÄRGER the ärger"]
ANY_TEXTS = st.lists(st.text(st.characters(codec=None), max_size=60), max_size=12)


def words(vocabulary: Vocabulary) -> list[str]:
    made: list[str] = json.loads(vocabulary.text)["idx_to_token"]
    return made


def numbered(vocabulary: Vocabulary, *given: str) -> list[int]:
    return [words(vocabulary).index(word) for word in given]


def test_a_vocabulary_holds_the_most_frequent_words_as_gluonnlp_counts_them() -> None:
    made = build(TEXTS, size=3, least=2)
    counter = Counter({"the": 4, "pump": 2, "leaks": 2, "ärger": 2})
    theirs = gluonnlp.Vocab(counter, max_size=3, bos_token=None, eos_token=None)
    assert words(made) == theirs.idx_to_token == ["<unk>", "<pad>", "the", "leaks", "pump"]
    assert len(made) == 5
    assert gluonnlp.Vocab.from_json(made.text)["pump"] == 4


@settings(deadline=None)
@given(ANY_TEXTS, st.integers(1, 50), st.integers(1, 3))
def test_any_texts_make_a_vocabulary_that_survives_storing(
    texts: list[str], size: int, least: int
) -> None:
    made = build(texts, size, least)
    assert 2 <= len(made) <= size + 2
    read = Vocabulary(made.text)
    hashes = np.arange(1000, dtype=np.uint64)
    assert np.array_equal(read.numbers(hashes), made.numbers(hashes))


def test_words_have_their_numbers_in_order_up_to_the_length() -> None:
    vocabulary = build(TEXTS, size=100, least=1)
    rows = WordSequences(vocabulary, 5, margin=4).rows(
        ["the PUMP never leaks, the pump", "", "seal"]
    )
    made = rows.input(np.array([0, 1, 2])).asnumpy().astype(int)
    the, pump, leaks, comma, seal = numbered(vocabulary, "the", "pump", "leaks", ",", "seal")
    assert made[0, :6].tolist() == [the, pump, UNKNOWN, leaks, comma, PADDING]
    assert made[2, 0] == seal
    assert (made[0, 5:] == PADDING).all() and (made[1] == PADDING).all()
    assert made.shape[1] >= 5 + 4


def test_a_bag_holds_each_feature_with_its_share() -> None:
    vocabulary = build(TEXTS, size=100, least=1)
    bags = WordBags(vocabulary, 16)
    (made,) = bags.rows(["pump leaks pump leaks unheard"]).input(np.array([0])).asnumpy()
    pump, leaks = numbered(vocabulary, "pump", "leaks")
    # Two words twice; pairs: "pump leaks" twice, "leaks pump" and "leaks unheard" once.
    assert made[[pump, leaks]].tolist() == pytest.approx([2 / 8, 2 / 8])
    assert sorted(made[len(vocabulary) :][made[len(vocabulary) :] > 0]) == pytest.approx(
        [1 / 8, 1 / 8, 2 / 8]
    )
    assert made[[UNKNOWN, PADDING]].tolist() == [0, 0]
    assert made.sum() == pytest.approx(1)


@settings(deadline=None)
@given(ANY_TEXTS.filter(len), st.randoms())
def test_rows_are_the_same_alone_and_among_others(texts: list[str], random: object) -> None:
    vocabulary = build(TEXTS, size=100, least=1)
    for made in (WordBags(vocabulary, 8), WordSequences(vocabulary, 7, margin=4)):
        together = made.rows(texts).input(np.arange(len(texts))).asnumpy()
        for number, text in enumerate(texts):
            alone = made.rows([text]).input(np.array([0])).asnumpy()[0]
            assert np.array_equal(together[number], alone)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=300), st.integers(1, 70))
def test_groups_and_batches_hold_each_row_once(lengths: list[int], size: int) -> None:
    made = WordSequences(build(TEXTS, 100, 1), 2500, margin=4).rows(
        ["pump " * count for count in lengths]
    )
    rows = np.arange(len(lengths))
    groups = made.groups(rows)
    assert sorted(np.concatenate([rows[:0], *groups]).tolist()) == rows.tolist()
    for group in groups:
        cells = made.input(group).shape
        assert len(group) == 1 or cells[0] * cells[1] <= 1 << 15
    random = np.random.default_rng(0)
    batches = made.batches(random.permutation(rows), size, random)
    assert sorted(np.concatenate([rows[:0], *batches]).tolist()) == rows.tolist()
    assert len(batches) == -(-len(rows) // size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"idx_to_token": 3}',
        '{"idx_to_token": ["a", "b"]}',
        '{"idx_to_token": ["<unk>", "<pad>", 7]}',
        '{"idx_to_token": ["<unk>", "<pad>", "two words"]}',
        '{"idx_to_token": ["<unk>", "<pad>", ""]}',
    ],
)
def test_a_vocabulary_that_is_none_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"vocabulary\.json of the model") as refused:
        Vocabulary(text)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "described", "message"),
    [
        ("gru", {}, "kind 'gru', which this version does not know"),
        ("fasttext", {"recipe": "older", "bits": 10}, "features are 'older'"),
        ("textcnn", {"recipe": "unicode-bags-2", "length": 10}, "features are 'unicode-bags-2'"),
        ("fasttext", {"recipe": "unicode-bags-2", "bits": 99}, "out of range"),
        ("fasttext", {"recipe": "unicode-bags-2", "bits": True}, "malformed"),
        ("textcnn", {"recipe": "unicode-words-2", "length": "9"}, "malformed"),
        ("textcnn", {"recipe": "unicode-words-2"}, "malformed"),
        ("textcnn", None, "malformed"),
        ("cnn", {"recipe": "unicode-words-2", "length": 9, "margin": 100}, "out of range"),
        ("lstm", {"recipe": "unicode-words-2", "length": 9}, "malformed"),
        ("bert", {"recipe": "unicode-words-2", "length": 9}, "features are 'unicode-words-2'"),
        ("bert", {"recipe": "word-pieces-1", "length": 2, "lower": 1}, "out of range"),
        ("bert", {"recipe": "word-pieces-1", "length": 9, "lower": True}, "malformed"),
        ("bert", {"recipe": "word-pieces-1", "length": 9, "lower": 1}, "lacks 'vocabulary.json'"),
        (
            "textcnn",
            {"recipe": "unicode-words-2", "length": 9, "margin": 4},
            "lacks 'vocabulary.json'",
        ),
    ],
)
def test_inputs_of_another_make_are_refused(
    tmp_path: Path, kind: str, described: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        inputs.read(kind, described, tmp_path)


def test_a_vocabulary_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / artifact.VOCABULARY).write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="malformed"):
        Vocabulary.read(tmp_path)
