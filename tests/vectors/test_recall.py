"""Recall, its confidence interval, and the neighbors that count as right."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgvector_seed.vectors.queries import sample_percentage
from pgvector_seed.vectors.recall import confidence_interval, recall_of

SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=50)


@pytest.mark.parametrize(
    ("found", "truth", "share"),
    [
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 9], [1, 2, 3], 2 / 3),
        ([1, 2], [1, 2, 3], 2 / 3),  # fewer rows than asked for
        ([], [1, 2, 3], 0),
        ([3, 3, 3], [3, 3, 3], 1),  # ties: another row, as near
        ([-5, -4, -1], [-5, -4, -3], 2 / 3),  # inner products are negative
        ([0, 0], [0, 0], 1),
        ([1, 2, 3], [1, 2], 1),  # never more than all
        ([0.3000001], [0.3], 1),  # rounding
        ([0.301], [0.3], 0),
    ],
)
def test_a_neighbor_counts_by_its_distance(found: list[float], truth: list[float], share: float) -> None:
    """Of two rows at the same distance, either is right."""
    assert recall_of(found, truth) == pytest.approx(share)


def test_the_interval_is_of_queries() -> None:
    """The sample is of queries: ten failed and ninety perfect ones are less certain than 90 % in each."""
    wide = confidence_interval([0.0] * 10 + [1.0] * 90)
    narrow = confidence_interval([0.9] * 100)
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.low < 0.85 < narrow.low
    assert narrow.high < 0.91 < wide.high < 1
    assert wide.queries == 100


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """The interval covers the true recall in 99 of 100 cases, with a tolerance for chance."""
    import random

    dice = random.Random(1)
    covered = 0
    for _ in range(100):
        interval = confidence_interval([float(dice.random() < 0.8) for _ in range(100)])
        covered += interval.low <= 0.8 <= interval.high
    assert covered >= 95


@given(SHARES)
def test_the_interval_holds_its_mean_and_stays_between_nothing_and_all(values: list[float]) -> None:
    interval = confidence_interval(values)
    assert 0 <= interval.low <= interval.mean + 1e-9
    assert interval.mean - 1e-9 <= interval.high <= 1
    assert confidence_interval(values) == interval, "the same recalls get the same verdict"


def test_how_much_of_a_table_is_sampled() -> None:
    assert sample_percentage(0) == 100
    assert sample_percentage(500 * 8192) == 100
    assert sample_percentage(50_000 * 8192) == pytest.approx(1)
