"""Durations in buckets, and their quantiles."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status.report._counting.histogram import EXACT, LONGEST, MAX_ERROR, Histogram

SECONDS = st.integers(0, EXACT - 1) | st.integers(0, 10**6) | st.integers(0, LONGEST)


def histogram(seconds: list[int]) -> Histogram:
    made = Histogram()
    for one in seconds:
        made.add(one)
    return made


@pytest.mark.slow
@given(st.lists(SECONDS, min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_exact_below_two_minutes_and_within_its_error_above(seconds: list[int], share: float) -> None:
    """By the definition: the least that at least this share of all do not exceed."""
    true = sorted(seconds)[ceil(round(share * len(seconds), 9)) - 1]
    found = histogram(seconds).quantile(share)
    if true < EXACT:
        assert found == true
    else:
        assert abs(found - true) <= MAX_ERROR * true


def test_the_error_is_as_large_as_the_text_says_and_no_larger() -> None:
    """Over every bucket of the durations that occur."""
    worst = max(
        abs(histogram([seconds]).quantile(1.0) - seconds) / seconds
        for doubling in range(7, 22)
        for first in range(64)
        for step in (((64 + first) << (doubling - 6)),)
        for seconds in (step, step + (1 << (doubling - 6)) - 1)
    )
    assert 0.9 * MAX_ERROR < worst <= MAX_ERROR


def test_however_many_durations_there_are_the_buckets_are_few() -> None:
    made = Histogram()
    for seconds in range(0, 10**7, 61):
        made.add(seconds)
    assert len(made.curve()) < 1300
    assert made.count == len(range(0, 10**7, 61))


def test_a_duration_of_centuries_is_counted_as_the_longest() -> None:
    assert abs(histogram([10**12]).quantile(1.0) - LONGEST) <= MAX_ERROR * LONGEST


def test_a_curve_rises_to_all() -> None:
    assert histogram([5, 1, 5, 9]).curve() == [(1.0, 0.25), (5.0, 0.75), (9.0, 1.0)]


def test_histograms_add_up() -> None:
    both = histogram([1, 2])
    both.update(histogram([3, 4, 5]))
    assert (both.count, both.quantile(0.5)) == (5, 3.0)


def test_nothing_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="no durations"):
        Histogram().quantile(0.5)
