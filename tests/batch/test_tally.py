from __future__ import annotations

import json
import random
import time
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.rows import Reject, Row
from batch.tally import BINS, KINDS, LEAST_CERTAIN, OTHER_REASONS, Tally


@dataclass(frozen=True)
class Made:
    """A prediction."""

    label: str
    confidence: float
    review: bool


def row(line: int) -> Row:
    return Row(line, "a claim", "a claim", ("text",))


def tally(*confidences: float, label: str = "fire", first_line: int = 1) -> Tally:
    made = Tally()
    rows = [row(first_line + place) for place in range(len(confidences))]
    made.add(rows, [Made(label, one, one < 0.5) for one in confidences])
    return made


_predicted = st.builds(
    Made,
    st.sampled_from(["fire", "water", "storm", ""]),
    # Few values, so that equal ones meet at the edge of the lowest.
    st.one_of(st.sampled_from([0.0, 0.25, 0.29, 1.0]), st.floats(0, 1, width=32)),
    st.booleans(),
)
_rejected = st.integers(0, 3 * KINDS).map(lambda number: f"reason {chr(0x4E00 + number)}")
_shares = st.lists(st.lists(st.one_of(_predicted, _rejected), max_size=120), min_size=3, max_size=3)


def counted(share: list[Made | str], blocks: int = 1) -> Tally:
    """The tally of a share, its lines counted from 1, read in blocks."""
    made = Tally()
    numbered = list(enumerate(share, 1))
    for start in range(0, len(numbered), max(1, len(numbered) // blocks)):
        block = numbered[start : start + max(1, len(numbered) // blocks)]
        good = [(line, one) for line, one in block if isinstance(one, Made)]
        made.add([row(line) for line, _ in good], [one for _, one in good])
        made.reject([Reject(line, one, b"") for line, one in block if isinstance(one, str)])
    return made


@given(_shares, st.integers(1, 5))
def test_shares_merge_to_the_whole_in_whatever_groups(
    shares: list[list[Made | str]], blocks: int
) -> None:
    first, second, third = (counted(share, blocks) for share in shares)
    one, two = len(shares[0]), len(shares[1])
    to_the_left = first.merge(second, one).merge(third, one + two)
    to_the_right = first.merge(second.merge(third, two), one)
    assert to_the_left == to_the_right == counted([row for share in shares for row in share])


@given(_shares)
def test_a_tally_survives_json(shares: list[list[Made | str]]) -> None:
    made = counted(shares[0])
    assert Tally.from_json(json.loads(json.dumps(made.to_json()))) == made


@given(_shares)
def test_every_row_is_counted_once_everywhere(shares: list[list[Made | str]]) -> None:
    share = shares[0]
    made = counted(share)
    assert made.predicted + made.rejected == len(share)
    assert sum(made.labels.values()) == sum(made.confidence) == made.predicted
    assert sum(made.reasons.values()) == made.rejected
    assert made.for_review == sum(one.review for one in share if isinstance(one, Made))


def test_merging_leaves_both_tallies_as_they_were() -> None:
    one, other = tally(0.1, 0.9), tally(0.2, label="water")
    before = json.dumps([one.to_json(), other.to_json()])
    one.merge(other, 2)
    assert json.dumps([one.to_json(), other.to_json()]) == before


def test_the_least_certain_rows_are_named_by_their_lines_in_the_whole_file() -> None:
    merged = tally(0.9, 0.3, first_line=2).merge(tally(0.1, 0.3, label="water"), 3)
    assert [one.line for one in merged.least_certain] == [4, 3, 5, 2]
    assert merged.least_certain[2] == (5, 0.3, "water")


def test_of_many_rows_the_twenty_lowest_are_kept() -> None:
    confidences = [number / 1000 for number in range(1000)]
    random.Random(0).shuffle(confidences)
    made = Tally()
    for start in range(0, 1000, 64):
        part = confidences[start : start + 64]
        made = made.merge(tally(*part), start)
    assert [one.confidence for one in made.least_certain] == sorted(confidences)[:LEAST_CERTAIN]
    assert all(confidences[one.line - 1] == one.confidence for one in made.least_certain)


@pytest.mark.parametrize(
    ("confidence", "place"), [(0.0, 0), (0.005, 0), (0.01, 1), (0.5, 50), (0.999, 99), (1.0, 99)]
)
def test_a_confidence_falls_into_its_hundredth(confidence: float, place: int) -> None:
    assert tally(confidence).confidence == [int(number == place) for number in range(BINS)]


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("17 fields, the header has 12", "N fields, the header has N"),
        ("a cell is longer than 1,000,000 characters", "a cell is longer than N characters"),
        ("not UTF-8 at byte 17 of the row", "not UTF-8 at byte N of the row"),
        ("no member 'text2' (setting TEXT_COLUMN)", "no member 'text2' (setting TEXT_COLUMN)"),
    ],
)
def test_reasons_that_differ_in_a_number_are_one_kind(reason: str, kind: str) -> None:
    made = Tally()
    made.reject([Reject(1, reason, b""), Reject(2, reason.replace("17", "4"), b"")])
    assert made.reasons == {kind: 2}


def test_kinds_of_reasons_stay_few() -> None:
    made = Tally()
    made.reject([Reject(n, f"reason {chr(0x4E00 + n % 200)}", b"") for n in range(1000)])
    assert len(made.reasons) == KINDS + 1
    assert made.reasons[OTHER_REASONS] == 150 * 5
    assert set(Counter(made.reasons.values())) == {5, 750}


def test_quantiles_are_right_to_within_a_bin() -> None:
    values = sorted(random.Random(1).betavariate(8, 2) for _ in range(5000))
    found = tally(*values).quantiles()
    assert list(found) == ["p05", "p25", "p50", "p75", "p95"]
    for name, value in found.items():
        assert value == pytest.approx(values[int(int(name[1:]) / 100 * 5000)], abs=1 / BINS)
    assert tally(1.0).quantiles()["p95"] <= 1


def test_without_predictions_there_are_no_quantiles() -> None:
    assert Tally().quantiles() == {}


def test_counting_costs_little_beside_predicting() -> None:
    rows = [row(number) for number in range(2048)]
    made = [Made(f"label {n % 7}", (n * 7919 % 2048) / 2048, n % 9 == 0) for n in range(2048)]
    counting = Tally()
    start = time.process_time()
    for _ in range(20):
        counting.add(rows, made)
    per_row = (time.process_time() - start) / 20 / 2048
    assert per_row < 5e-6, "a classifier takes 25 to 50 microseconds a row"
