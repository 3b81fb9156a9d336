"""Keys that may be committed later are gaps below the highest key that was seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status.tables import _gaps
from smsc_status.tables._gaps import KEPT_FOR, MAX_RANGES, Gaps


def gaps_after(*looks: list[int]) -> Gaps:
    gaps = Gaps()
    for keys in looks:
        gaps.seen(keys, now=0.0)
    return gaps


@pytest.mark.parametrize(
    ("looks", "ranges"),
    [
        ([[]], []),
        ([[1, 5, 9]], []),  # what is missing at the start may have ended long ago
        ([[5], [5, 6, 7]], []),
        ([[5], [5, 7]], [(5, 7)]),
        ([[5], [5, 9, 10, 12]], [(5, 9), (10, 12)]),
        ([[5], [5, 7], [5, 7, 10]], [(5, 7), (7, 10)]),
        ([[5], [5, 7], [5, 6, 7]], [(5, 7)]),  # only `looked` closes a gap
        ([[], [5], [7]], [(5, 7)]),
        ([[5], []], []),
    ],
)
def test_keys_that_are_missing_between_new_ones_are_gaps(looks: list[list[int]], ranges: list[tuple[int, int]]) -> None:
    assert gaps_after(*looks).ranges(now=0.0) == ranges


def test_a_row_that_is_found_splits_its_gap() -> None:
    gaps = gaps_after([1], [1, 10, 12])
    gaps.looked([4, 5, 11])
    assert gaps.ranges(now=0.0) == [(1, 4), (5, 10)]


def test_a_gap_is_given_up_after_an_hour() -> None:
    gaps = gaps_after([1], [1, 3])
    gaps.seen([5], now=10.0)
    assert gaps.ranges(now=KEPT_FOR - 0.1) == [(1, 3), (3, 5)]
    assert gaps.ranges(now=KEPT_FOR) == [(3, 5)]
    assert gaps.ranges(now=KEPT_FOR + 10.0) == []


def test_the_lowest_of_too_many_gaps_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gaps, "MAX_GAPS", 2)
    assert gaps_after([1], [3, 5, 7]).ranges(now=0.0) == [(3, 5), (5, 7)]


def test_gaps_below_a_key_can_be_given_up() -> None:
    gaps = gaps_after([1], [3, 5, 7])
    gaps.give_up_below(3)
    assert gaps.ranges(now=0.0) == [(3, 5), (5, 7)]


def test_gaps_with_the_fewest_keys_in_between_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_gaps, "MAX_RANGES", 2)
    gaps = gaps_after([1], [3, *range(4, 20), 21, 22, 24])
    assert gaps.ranges(now=0.0) == [(1, 3), (19, 24)]
    monkeypatch.setattr(_gaps, "MAX_RANGES", 1)
    assert gaps.ranges(now=0.0) == [(1, 24)]


@pytest.mark.slow
@pytest.mark.measured
@given(st.sets(st.integers(0, 2_000)), st.sets(st.integers(0, 2_000)))
def test_each_missing_key_is_in_a_range_until_it_is_found(first: set[int], later: set[int]) -> None:
    """Whatever was committed when: each key below the highest that comes later is looked at, and in few ranges."""
    gaps = gaps_after([-1], sorted(first))
    ranges = gaps.ranges(now=0.0)
    late = {key for key in later - first if first and key < max(first)}
    assert all(any(low < key < high for low, high in ranges) for key in late)
    assert len(ranges) <= MAX_RANGES
    gaps.looked(sorted(first | late))
    missing = set(range(max(first, default=0))) - first - late
    assert {key for low, high in gaps for key in range(low + 1, high)} == missing
