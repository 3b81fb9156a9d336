"""At what age messages end: the prior, and what is learned."""

from __future__ import annotations

import random
from math import inf, sqrt

import pytest

from smsc_status._core.tracking.hazard import HazardModel

EDGES = (0.0, *(1.25**k for k in range(-2, 58)))


def bin_of(age: float) -> int:
    return max(k for k, edge in enumerate(EDGES) if edge <= age)


class Counted:
    """The same by counting: for each bin, how long messages were seen in it, and how many ended there."""

    def __init__(self, weight: float) -> None:
        self.exposure, self.events = [], []
        for low, high in zip(EDGES, [*EDGES[1:], 2 * EDGES[-1]], strict=True):
            self.exposure.append(weight * (high - low) * sqrt(5.0 / (5.0 + low)))
            self.events.append(self.exposure[-1] * 0.5 / (5.0 + low))

    def survived(self, low: float, high: float) -> None:
        for k, (start, end) in enumerate(zip(EDGES, [*EDGES[1:], inf], strict=True)):
            self.exposure[k] += max(0.0, min(high, end) - max(low, start))

    def rate(self, age: float) -> float:
        return sqrt(self.events[bin_of(age)] / self.exposure[bin_of(age)])


def test_the_prior_lets_half_of_the_messages_end_within_their_age_again() -> None:
    """Half of what is left at an age of 5 s and more ends within that time again."""
    ages = HazardModel()
    for age in (0.0, 0.63, 0.65, 4.9, 5.0, 60.0, 3600.0, 86_400.0):
        assert ages.rate(age) == pytest.approx(sqrt(0.5 / (5.0 + EDGES[bin_of(age)])))


@pytest.mark.parametrize("weight", [20.0, 3.0])
def test_each_second_and_each_end_is_counted_in_its_bin(weight: float) -> None:
    """Each second that a message was followed in its bin, and each end, from the prior on."""
    draw = random.Random(1)
    ages, counted = HazardModel() if weight == 20.0 else HazardModel(weight), Counted(weight)
    starts = [0.0, 0.3, 0.64, 1.0, *EDGES[5:9], *(draw.uniform(0, 1000) for _ in range(300)), 4e5, 1e6]
    for low in starts:
        for high in (low, low + 0.1, low * 1.1, low + 20.0, low * 3, low + 1e6):
            ages.survived(low, high)
            counted.survived(low, high)
    for k in range(HazardModel.REFRESH_EVERY):
        age = draw.uniform(0, 50) if k % 2 else 2e5 * draw.random()
        ages.ended(age)
        counted.events[bin_of(age)] += 1
    for age in (0.0, *EDGES[1:], 5e5, 1e7):
        assert ages.rate(age) == pytest.approx(counted.rate(age)), age
    for _ in range(HazardModel.REFRESH_EVERY):  # what was counted in counts once
        ages.ended(7.0)
        counted.events[bin_of(7.0)] += 1
    for age in (0.0, *EDGES[1:]):
        assert ages.rate(age) == pytest.approx(counted.rate(age)), age


def test_the_model_learns_after_many_ends_and_not_at_each() -> None:
    """Not at every end: that would cost more than the end."""
    ages = HazardModel()
    before = ages.rate(7.0)
    for _ in range(HazardModel.REFRESH_EVERY - 1):
        ages.ended(7.0)
    assert ages.rate(7.0) == before
    ages.ended(7.0)
    learned = ages.rate(7.0)
    assert learned > before
    for _ in range(HazardModel.REFRESH_EVERY - 1):
        ages.ended(7.0)
    assert ages.rate(7.0) == learned


def test_the_wait_is_as_long_as_the_effort_takes() -> None:
    """The integral of the rate over the wait is the effort, wherever it begins and ends."""
    ages = HazardModel()
    for age in (0.0, 0.3, 5.0, 77.0, 4000.0, 400_000.0, 1e6):
        for effort in (0.01, 1.0, 3.0):
            (rate, wait), steps = ages.outlook(age, effort), 4000
            grown = sum(ages.rate(age + wait * (k + 0.5) / steps) for k in range(steps)) * wait / steps
            assert grown == pytest.approx(effort, rel=1e-3)
            assert rate == ages.rate(age)


def test_the_rate_is_high_where_messages_end() -> None:
    ages, draw = HazardModel(), random.Random(1)
    before = ages.rate(100.0) / ages.rate(10.0)
    for _ in range(3000):
        end = draw.uniform(90, 110)
        ages.survived(0.0, end)
        ages.ended(end)
    assert ages.rate(100.0) / ages.rate(10.0) > 10 * before
