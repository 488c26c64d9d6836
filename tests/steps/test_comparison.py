"""The comparison of two models: against enumeration, published figures and simulation."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steps.comparison import (
    NO_CHAMPION,
    Z,
    comparison,
    difference_of_macro_f1,
    difference_of_paired_shares,
    mcnemar,
)
from steps.metrics import confusion_matrix, macro_f1, score

LABELS = ["leak", "noise", "finish"]
counts = st.integers(0, 200)


@st.composite
def judged(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True labels and what two models took the rows for."""
    rows = draw(st.integers(1, 40))
    row = st.lists(st.integers(0, 2), min_size=rows, max_size=rows)
    return np.array(draw(row)), np.array(draw(row)), np.array(draw(row))


def drawn(rows: int, first: float, second: float, seed: int) -> tuple[np.ndarray, ...]:
    """Rows of three labels, and two models that know so large a share of them, else guess."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 3, rows)
    return targets, *(
        np.where(random.random(rows) < known, targets, random.integers(0, 3, rows))
        for known in (first, second)
    )


@given(judged())
def test_it_says_of_each_model_what_its_own_scores_say(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    targets, challenger, champion = rows
    found = comparison(*rows, LABELS)
    after, before = (score(targets, np.eye(3, dtype=np.float32)[one]) for one in rows[1:])
    assert found["regression"] == pytest.approx(before.accuracy - after.accuracy)
    assert found["macro_f1"]["difference"] == pytest.approx(after.macro_f1 - before.macro_f1)
    differing = found["only_challenger_right"], found["only_champion_right"]
    assert differing == (
        int(((challenger == targets) & (champion != targets)).sum()),
        int(((challenger != targets) & (champion == targets)).sum()),
    )
    assert found["p_value"] == mcnemar(*differing)
    assert set(found["classes"]) == {LABELS[number] for number in targets}
    for label, figures in found["classes"].items():
        number = LABELS.index(label)
        assert figures == {
            "challenger": pytest.approx(after.recall[number]),
            "champion": pytest.approx(before.recall[number]),
            "support": after.support[number],
        }


@given(judged())
def test_intervals_hold_what_was_found(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    found = comparison(*rows, LABELS)
    assert -1 <= found["regression_low"] <= found["regression"] <= found["regression_high"] <= 1
    assert found["macro_f1"]["low"] <= found["macro_f1"]["difference"] <= found["macro_f1"]["high"]
    assert 0 <= found["p_value"] <= 1


@given(judged())
def test_the_other_way_round_it_says_the_opposite(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    targets, challenger, champion = rows
    found, other = comparison(*rows, LABELS), comparison(targets, champion, challenger, LABELS)
    assert other["only_champion_right"] == found["only_challenger_right"]
    assert other["p_value"] == found["p_value"]
    assert other["regression"] == -found["regression"]
    assert other["regression_low"] == pytest.approx(-found["regression_high"], abs=1e-9)
    assert other["regression_high"] == pytest.approx(-found["regression_low"], abs=1e-9)
    assert other["macro_f1"]["difference"] == -found["macro_f1"]["difference"]


@given(judged())
def test_a_model_does_not_differ_from_itself(
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    targets, model, _ = rows
    found = comparison(targets, model, model, LABELS)
    assert found["p_value"] == 1
    assert found["regression"] == 0
    assert found["macro_f1"] == {"difference": 0, "low": 0, "high": 0}
    assert found["only_challenger_right"] == found["only_champion_right"] == 0
    assert all(one["challenger"] == one["champion"] for one in found["classes"].values())


def test_with_and_without_a_champion_it_has_the_same_form() -> None:
    found = comparison(*drawn(50, 0.9, 0.8, seed=1), LABELS)
    assert {name: type(one) for name, one in found.items()} == {
        name: type(one) for name, one in NO_CHAMPION.items()
    }
    assert set(found["macro_f1"]) == set(NO_CHAMPION["macro_f1"])


# McNemar's test.


@pytest.mark.parametrize(
    ("first", "second"), [(first, second) for first in range(8) for second in range(8)]
)
def test_few_discordant_rows_are_judged_as_all_outcomes_say(first: int, second: int) -> None:
    """Of equally good models each discordant row is a toss: 2^n outcomes, equally likely."""
    rows = first + second
    tail = sum(
        math.comb(rows, k) for k in range(rows + 1) if min(k, rows - k) <= min(first, second)
    )
    if rows <= 10:
        tosses = [sum(one) for one in itertools.product((0, 1), repeat=rows)]
        assert tail == sum(min(k, rows - k) <= min(first, second) for k in tosses)
    assert mcnemar(first, second) == pytest.approx(tail / 2**rows)


def test_many_discordant_rows_are_judged_by_chi_square() -> None:
    # 121 against 59: chi-square (with the correction) 20.672 of one degree of freedom.
    assert mcnemar(121, 59) == pytest.approx(5.450e-6, rel=1e-3)
    assert mcnemar(30, 30) == 1.0


@pytest.mark.parametrize("rows", [25, 40, 100, 400])
def test_chi_square_is_near_the_exact_test(rows: int) -> None:
    for first in range(rows + 1):
        tail = sum(math.comb(rows, k) for k in range(min(first, rows - first) + 1))
        exact = min(1.0, 2 * tail / 2**rows)
        assert mcnemar(first, rows - first) == pytest.approx(exact, abs=0.012)


def test_equal_models_are_seldom_called_different() -> None:
    random = np.random.default_rng(3)
    for rows in (8, 24, 60, 300):
        firsts = random.binomial(rows, 0.5, 4000)
        wrong = np.mean([mcnemar(int(one), rows - int(one)) <= 0.05 for one in firsts])
        assert wrong <= 0.06


# The interval of the difference of accuracies.


def test_the_interval_is_the_published_one() -> None:
    """Airway hyper-responsiveness before and after a transplantation (Bentur et al. 2009): 1 and 7
    discordant pairs of 21. Fagerland, Lydersen & Laake 2014, "Recommended tests and confidence
    intervals for paired binomial proportions": -0.286, Tango's interval -0.517 to -0.026."""
    found = difference_of_paired_shares(1, 7, 21)
    assert found.difference == pytest.approx(-0.286, abs=5e-4)
    assert (found.low, found.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(counts, counts, st.integers(1, 200))
@settings(max_examples=50)
def test_at_the_ends_of_the_interval_the_score_test_just_refuses(
    first: int, second: int, both: int
) -> None:
    """The most likely share under a difference is found by searching, not by the formula."""
    rows = first + second + both
    found = difference_of_paired_shares(first, second, rows)

    def distance(difference: float) -> float:
        low, high = max(0.0, -difference), (1 - difference) / 2

        def likelihood(share: float) -> float:
            parts = (share + difference, first), (share, second), (1 - 2 * share - difference, both)
            return sum(n * math.log(max(p, 1e-300)) for p, n in parts if n)

        for _ in range(200):  # it is concave: thirds are thrown away
            third = (high - low) / 3
            if likelihood(low + third) < likelihood(high - third):
                low += third
            else:
                high -= third
        variance = rows * (low + high + difference - difference**2)
        return abs(first - second - rows * difference) / math.sqrt(variance)

    assert distance(found.low) == pytest.approx(Z, rel=1e-3)
    assert distance(found.high) == pytest.approx(Z, rel=1e-3)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 1000))
def test_more_rows_of_the_same_make_it_narrower(first: int, second: int, both: int) -> None:
    rows = first + second + both + 1
    one, ten = (difference_of_paired_shares(first * k, second * k, rows * k) for k in (1, 10))
    assert ten.high - ten.low < one.high - one.low
    assert ten.difference == pytest.approx(one.difference)


@pytest.mark.parametrize("rows", [15, 40])
@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.2, 0.05), (0.3, 0.3), (0.02, 0.4)])
def test_nineteen_intervals_in_twenty_hold_the_truth(
    rows: int, first: float, second: float
) -> None:
    """Over all outcomes and their probabilities, not a sample of them."""
    held = 0.0
    for ones, others in itertools.product(range(rows + 1), repeat=2):
        if ones + others > rows:
            continue
        ways = math.comb(rows, ones) * math.comb(rows - ones, others)
        neither = (1 - first - second) ** (rows - ones - others)
        found = difference_of_paired_shares(ones, others, rows)
        if found.low <= first - second <= found.high:
            held += ways * first**ones * second**others * neither
    assert held >= 0.93


# The interval of the difference of the macro F1.


def exact_differences(
    targets: np.ndarray, challenger: np.ndarray, champion: np.ndarray
) -> np.ndarray:
    """The difference for every way to draw as many rows as there are."""
    every = itertools.product(range(len(targets)), repeat=len(targets))
    return np.array(
        [
            macro_f1(confusion_matrix(targets[rows], challenger[rows], 3))
            - macro_f1(confusion_matrix(targets[rows], champion[rows], 3))
            for rows in map(list, every)
        ]
    )


def test_resampling_comes_near_to_all_resamples() -> None:
    targets = np.array([0, 0, 1, 1, 2, 2])
    challenger, champion = np.array([0, 0, 1, 2, 2, 0]), np.array([0, 1, 1, 1, 0, 0])
    every = exact_differences(targets[:5], challenger[:5], champion[:5])
    found = difference_of_macro_f1(targets[:5], challenger[:5], champion[:5], 3, seed=0)
    # Few rows have few outcomes: an end is right if it is among those next to the exact one.
    for end, share in ((found.low, 0.025), (found.high, 0.975)):
        below, above = np.quantile(every, [max(0, share - 0.01), min(1, share + 0.01)])
        assert below - 1e-9 <= end <= above + 1e-9


def test_nineteen_intervals_of_the_macro_f1_in_twenty_hold_the_truth() -> None:
    true = drawn(400_000, 0.85, 0.75, seed=99)
    truth = difference_of_macro_f1(*true, 3, seed=0).difference
    assert truth == pytest.approx(0.1 * 2 / 3, abs=0.002)
    held = 0
    for seed in range(200):
        found = difference_of_macro_f1(*drawn(300, 0.85, 0.75, seed), 3, seed)
        held += found.low <= truth <= found.high
    assert 183 <= held <= 197


def test_the_same_rows_and_seed_give_the_same_interval() -> None:
    rows = drawn(200, 0.8, 0.8, seed=5)
    assert comparison(*rows, LABELS) == comparison(*rows, LABELS)
    assert comparison(*rows, LABELS) != comparison(*rows, LABELS, seed=1)


def test_many_rows_and_labels_cost_seconds_at_most_and_in_parts_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(2)
    targets = random.integers(0, 12, 200_000)
    models = [np.where(random.random(200_000) < 0.9, targets, 3) for _ in range(2)]
    began = time.process_time()
    found = difference_of_macro_f1(targets, *models, 12, seed=0)
    assert time.process_time() - began < 2
    monkeypatch.setattr("steps.comparison._ROOM", 1000)
    in_parts = difference_of_macro_f1(targets, *models, 12, seed=0)
    assert in_parts == found
