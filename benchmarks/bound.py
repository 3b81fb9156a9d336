"""The informed bound: how soon could ends be noticed, if the distribution of lives were known?

Each message is asked at the ages `a1 < a2 < …` until it has ended. Each check costs a price, and each second between
the end and the next check costs one. Let `W(a)` be the least cost that is still to come after a check at age `a`. Then

    W(a) = min over b > a of   the sum over lives that end in (a, b] of (b - end)
                             + price x the number of lives that are not over at a
                             + W(b).

This is computed from the last age backwards, over a grid of ages (dynamic programming). A lower price gives more
checks. The price is chosen so that all messages together use just the checks that are available. Then no plan can do
better on average. Real requests are bound to lanes and to the turns of bulk requests, which is left out here, and a
real plan has to learn the distribution that is known here. Only one limit is kept: five checks a minute, and only over
the first minute.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf
from statistics import fmean

import attrs

FIRST_MINUTE = 61.0
CHECKS = 5
FINE = 0.25, 80.0
"""The grid of ages: steps of 0.25 s up to 80 s, then steps of a hundredth of the age."""


@attrs.frozen
class Bound:
    """A schedule of checks, and the delays that it gives."""

    ages: Sequence[float]
    price: float
    checks: float
    """The checks of a message, on average."""
    delays: Sequence[float] = attrs.field(repr=False)

    @property
    def mean(self) -> float:
        """The mean delay, in seconds."""
        return fmean(self.delays)

    def quantile(self, share: float) -> float:
        """The delay that this share (0 to 1) of the messages does not exceed."""
        return sorted(self.delays)[min(len(self.delays) - 1, int(share * len(self.delays)))]


def informed(ends: Iterable[float], *, checks: float, reply: float) -> Bound:
    """The bound for messages that end at these ages, with `checks` checks for each on average.

    A record takes `reply` seconds from the server to the client.
    """
    lives = _Lives(ends)
    low, high = 1e-3, 1e4
    while high / low > 1.02:  # the price is found by bisection
        price = (low * high) ** 0.5
        if lives.checks(lives.schedule(price)) > checks:
            low = price
        else:
            high = price
    ages = lives.schedule(high)
    return Bound(ages, high, lives.checks(ages), [delay + reply for delay in lives.delays(ages)])


class _Lives:
    def __init__(self, ends: Iterable[float]) -> None:
        self.ends = sorted(ends)
        sums = [0.0, *accumulate(self.ends)]
        step, until = FINE
        grid = [step * k for k in range(int(until / step) + 1)]
        while grid[-1] < self.ends[-1]:
            grid.append(grid[-1] * 1.01)
        self._grid = grid
        self._over = [bisect_right(self.ends, age) for age in grid]
        self._sums = [sums[over] for over in self._over]

    def schedule(self, price: float) -> list[float]:
        """The ages at which to ask, if a check costs as much as `price` seconds of delay."""
        grid, over, sums, count = self._grid, self._over, self._sums, len(self.ends)
        last = len(grid) - 1
        first = bisect_right(grid, FIRST_MINUTE)
        # By the number of checks left in the first minute, and by age: the cost from there on, and the next age.
        cost = [[inf] * (last + 1) for _ in range(CHECKS + 1)]
        after = [[last] * (last + 1) for _ in range(CHECKS + 1)]
        for row in cost:
            row[last] = 0.0
        for i in range(last - 1, -1, -1):
            fee = price * (count - over[i])
            for left in range(CHECKS + 1) if i < first else (0,):
                best, next_one = inf, last
                for j in range(i + 1 if left or i + 1 >= first else first, last + 1):
                    waits = grid[j] * (over[j] - over[i]) - (sums[j] - sums[i])
                    if waits + fee >= best:
                        break  # a later check only costs more
                    total = waits + fee + cost[left - 1 if j < first else 0][j]
                    if total < best:
                        best, next_one = total, j
                cost[left][i], after[left][i] = best, next_one
        ages, i, left = [], 0, CHECKS
        while over[i] < count:
            i = after[left if i < first else 0][i]
            left -= i < first
            ages.append(grid[i])
        return ages

    def checks(self, ages: Sequence[float]) -> float:
        """How many checks a message takes on average: those before its end, and the one that notices it."""
        return sum(len(self.ends) - bisect_right(self.ends, age) for age in [0.0, *ages[:-1]]) / len(self.ends)

    def delays(self, ages: Sequence[float]) -> list[float]:
        """The seconds from each end to the next of these ages."""
        return [ages[min(bisect_left(ages, end), len(ages) - 1)] - end for end in self.ends]
