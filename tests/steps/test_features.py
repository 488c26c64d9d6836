from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.errors import InputError
from steps.features import Features, FeatureSettings, features

BITS = FeatureSettings(22)
ANY_TEXT = st.text(st.characters(codec=None), max_size=200)


def buckets(text: str, seen: FeatureSettings = BITS) -> list[int]:
    return features([text], seen).buckets.tolist()


def same(left: Features, right: Features) -> bool:
    return np.array_equal(left.buckets, right.buckets) and np.array_equal(left.starts, right.starts)


def test_stored_models_still_fit_the_recipe() -> None:
    # A change of these numbers is a change of steps.features.RECIPE.
    assert buckets("Pump leaks!") == [
        320953,
        373232,
        693615,
        1507642,
        1910679,
        1942913,
        2542861,
        3095989,
        3301729,
        3395080,
        3514564,
    ]
    assert buckets("ärger") == [1234252, 1980374]
    assert buckets("漏水だ") == [
        455074,
        899545,
        1076352,
        1958526,
        2405111,
        2596602,
        2621300,
        2681868,
        2831517,
        3791803,
        4024696,
        4090193,
    ]


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=8))
def test_any_texts_have_the_features_that_each_has_alone(texts: list[str]) -> None:
    together = features(texts, BITS)
    assert len(together) == len(texts)
    for number, text in enumerate(texts):
        assert together.rows(number, number + 1).buckets.tolist() == buckets(text)


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=8))
def test_buckets_of_a_row_are_distinct_ascending_and_in_range(texts: list[str]) -> None:
    made = features(texts, FeatureSettings(10))
    for number in range(len(texts)):
        row = made.rows(number, number + 1).buckets
        assert (np.diff(row) > 0).all()
        assert ((row >= 0) & (row < 1024)).all()


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=6), st.integers(10, 21))
def test_narrowing_is_the_same_as_fewer_bits_from_the_start(texts: list[str], bits: int) -> None:
    narrowed = features(texts, BITS).narrowed(22, bits)
    assert same(narrowed, features(texts, FeatureSettings(bits)))


@settings(deadline=None)
@given(st.lists(ANY_TEXT, max_size=6), st.sets(st.integers(0, 1023), min_size=1))
def test_known_buckets_are_found_at_their_places(texts: list[str], some: set[int]) -> None:
    made, known = features(texts, FeatureSettings(10)), np.array(sorted(some))
    only = made.only(known, 1024)
    for number in range(len(texts)):
        row = made.rows(number, number + 1).buckets.tolist()
        kept = only.rows(number, number + 1).buckets
        assert known[kept].tolist() == [bucket for bucket in row if bucket in some]


@settings(deadline=None)
@given(st.data())
def test_rows_can_be_taken_in_any_order(data: st.DataObject) -> None:
    texts = data.draw(st.lists(ANY_TEXT, min_size=1, max_size=6))
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    made = features(texts, BITS)
    taken, where = made.take(np.array(rows, np.int64))
    assert same(taken, features([texts[row] for row in rows], BITS))
    assert np.array_equal(made.buckets[where], taken.buckets)


@settings(deadline=None)
@given(st.data())
def test_rows_are_counted_as_if_at_once(data: st.DataObject) -> None:
    texts = data.draw(st.lists(ANY_TEXT, min_size=1, max_size=6))
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    made = features(texts, FeatureSettings(10))
    some = made.take(np.array(rows, np.int64))[0].buckets
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("steps.features._TAKEN", data.draw(st.integers(1, 20)))
        counts = made.counts(np.array(rows, np.int64), 1024)
    assert counts.tolist() == np.bincount(some, minlength=1024).tolist()


@pytest.mark.parametrize("text", ["", " ", "\n\t", "@#~", "\x00"])
def test_texts_without_tokens_have_no_features(text: str) -> None:
    assert buckets(text) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Pump LEAKS", "pump leaks"),
        ("ÄRGER", "ärger"),
        ("pump   leaks", "pump\nleaks"),
        ("pump leaks again", "pump@leaks#again"),
    ],
)
def test_case_and_kind_of_gap_do_not_matter(one: str, other: str) -> None:
    assert buckets(one) == buckets(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("pump leaks", "leaks pump"),
        ("pump leaks", "pumpleaks"),
        ("leaks!", "leaks"),
        ("ab", "ba"),
        ("a", "aa"),
        ("no", "non"),
    ],
)
def test_order_gaps_and_marks_matter(one: str, other: str) -> None:
    assert buckets(one) != buckets(other)


def test_one_word_has_itself_and_itself_in_the_tail() -> None:
    assert len(buckets("pump")) == 2
    assert len(buckets("x")) == 2
    assert len(buckets("pump", FeatureSettings(22, tail=0))) == 1


def test_words_before_the_tail_count_once() -> None:
    words = [f"w{number}" for number in range(100)]
    # words, pairs, pairs around a word, and once more the words and pairs of the last 30
    assert len(buckets(" ".join(words))) == 100 + 99 + 98 + 30 + 29


@pytest.mark.parametrize("word", ["pump leaks badly. ", "ä", "x", "!", " "])
def test_a_text_of_megabytes_is_seen_as_its_parts_are(word: str) -> None:
    text = word * (1_000_000 // len(word))
    made = features(["before", text, "after"], BITS)
    assert made.rows(0, 1).buckets.tolist() == buckets("before")
    assert made.rows(2, 3).buckets.tolist() == buckets("after")
    if word.strip() and " " in word:
        assert len(made.rows(1, 2).buckets) < 30  # the same few n-grams over and over


def test_number_of_threads_and_rows_do_not_matter() -> None:
    texts = [f"claim {number} of {number % 7}" for number in range(1000)]
    assert same(features(texts, BITS, threads=1), features(texts, BITS, threads=2))
    assert features(texts, BITS).rows(777, 778).buckets.tolist() == buckets(texts[777])


@pytest.mark.parametrize(
    "wrong", [{"bits": 9}, {"bits": 25}, {"bits": 20, "tail": -1}, {"bits": 20, "recipe": "other"}]
)
def test_settings_of_another_version_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"features are 'other'|out of range"):
        FeatureSettings(**wrong)  # type: ignore[arg-type]
