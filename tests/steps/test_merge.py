"""Files of labelled claims made one training set: what stays, in which order, and what is lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from steps.merge import merge, without_texts_of
from steps.table import Table

# Few texts, so that they meet; with and without outer blanks.
TEXTS = st.sampled_from(["", " ", "a", " a", "a\n", "b", "b\t", "c", "a b", "\u3000c"])
TABLES = st.lists(st.tuples(TEXTS, st.sampled_from(["", "fire", "water"])), max_size=8).map(
    lambda rows: table(*rows)
)
FILES = st.lists(TABLES, min_size=1, max_size=4)


def table(*rows: tuple[str, str]) -> Table:
    return Table([text for text, _ in rows], [label for _, label in rows])


def rows(given: Table) -> list[tuple[str, str]]:
    return list(zip(given.texts, given.labels, strict=True))


def test_a_later_label_of_the_same_claim_wins() -> None:
    first = table(("pump leaks", "fire"), ("door left open", "noise"))
    second = table((" pump leaks ", "water"))
    third = table(("motor is loud", "noise"))
    assert rows(merge([first, second, third])) == [
        ("door left open", "noise"),
        (" pump leaks ", "water"),
        ("motor is loud", "noise"),
    ]


def test_a_later_row_without_a_label_takes_nothing_back() -> None:
    first, second = table(("pump leaks", "water")), table(("pump leaks", ""))
    assert rows(merge([first, second])) == [("pump leaks", "water"), ("pump leaks", "")]


def test_a_row_without_a_text_is_never_the_claim_of_another() -> None:
    blanks = table(("", "fire"), (" ", "water"))
    assert rows(merge([blanks, blanks])) == rows(blanks) * 2
    assert without_texts_of(blanks, blanks) == blanks


@given(only=TABLES)
def test_within_one_file_nothing_is_merged(only: Table) -> None:
    assert merge([only]) == only


@given(files=FILES)
def test_of_a_claim_only_the_last_file_that_labels_it_and_what_follows_is_left(
    files: list[Table],
) -> None:
    expected = []
    for number, file in enumerate(files):
        later = {text.strip() for other in files[number + 1 :] for text in other.complete().texts}
        expected += [row for row in rows(file) if not row[0].strip() or row[0].strip() not in later]
    assert rows(merge(files)) == expected


@given(files=FILES)
def test_no_claim_loses_its_last_label(files: list[Table]) -> None:
    def last_labels(tables: list[Table]) -> dict[str, str]:
        return {text.strip(): label for one in tables for text, label in rows(one.complete())}

    assert last_labels([merge(files)]) == last_labels(files)


@given(files=FILES, test=TABLES)
def test_no_claim_of_the_test_set_is_left_and_no_other_is_lost(
    files: list[Table], test: Table
) -> None:
    merged = merge(files)
    training = without_texts_of(merged, test)
    tested = {text.strip() for text in test.texts} - {""}
    assert not tested & {text.strip() for text in training.texts}
    assert rows(training) == [row for row in rows(merged) if row[0].strip() not in tested]


@given(files=FILES, test=TABLES)
def test_every_row_that_is_left_was_given(files: list[Table], test: Table) -> None:
    given_rows = Counter(row for file in files for row in rows(file))
    assert Counter(rows(without_texts_of(merge(files), test))) <= given_rows
