"""Learns at what age messages end, from those that were followed."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import sqrt


class HazardModel:
    """The hazard of ending at each age, in bins that are wider for greater ages. It starts from a prior.

    Ages are in seconds, from 0 on.

    Args:
        prior_weight: how many messages the prior counts for.
    """

    EDGES = (0.0, *(1.25**k for k in range(-2, 58)))
    REFRESH_EVERY = 500
    _last = len(EDGES) - 1

    def __init__(self, prior_weight: float = 20.0) -> None:
        self._exposure: list[float] = []
        self._events: list[float] = []
        for low, high in zip(self.EDGES, (*self.EDGES[1:], 2 * self.EDGES[-1]), strict=True):
            # The prior hazard is 0.5 / (5 s + age); the prior's exposure falls with the age.
            exposure = prior_weight * (high - low) * sqrt(5.0 / (5.0 + low))
            self._exposure.append(exposure)
            self._events.append(exposure * 0.5 / (5.0 + low))
        # Messages that were followed through a whole bin, as differences from the bin before; not yet in the exposure.
        self._crossings = [0] * len(self.EDGES)
        self._unlearnt = 0
        self._learn()

    def survived(self, low: float, high: float) -> None:
        """Take in that a message was followed from the age `low` to the age `high`."""
        edges = self.EDGES
        first = bisect_right(edges, low) - 1
        if first == self._last or high < edges[first + 1]:
            self._exposure[first] += high - low
            return
        last = bisect_right(edges, high) - 1
        self._exposure[first] += edges[first + 1] - low
        self._exposure[last] += high - edges[last]
        self._crossings[first + 1] += 1
        self._crossings[last] -= 1

    def ended(self, age: float) -> None:
        """Take in that a message ended at this age."""
        self._events[bisect_right(self.EDGES, age) - 1] += 1
        self._unlearnt += 1
        if self._unlearnt >= self.REFRESH_EVERY:
            self._learn()

    def rate(self, age: float) -> float:
        """The square root of the hazard at an age. It is the rate at which such a message should be asked."""
        return self.outlook(age, 0.0)[0]

    def outlook(self, age: float, effort: float) -> tuple[float, float]:
        """The rate at an age, and after how many seconds from there the integral of the rate has grown by `effort`."""
        edges, rates, efforts = self.EDGES, self._rates, self._efforts
        bin = bisect_right(edges, age) - 1
        rate = rates[bin]
        wait = effort / rate
        if bin == self._last or age + wait <= edges[bin + 1]:
            return rate, wait
        target = efforts[bin] + rate * (age - edges[bin]) + effort
        bin = bisect_right(efforts, target) - 1
        return rate, edges[bin] + (target - efforts[bin]) / rates[bin] - age

    def _learn(self) -> None:
        self._unlearnt = 0
        for bin, through in enumerate(accumulate(self._crossings[:-1])):
            self._exposure[bin] += through * (self.EDGES[bin + 1] - self.EDGES[bin])
        self._crossings = [0] * len(self.EDGES)
        self._rates = [sqrt(events / time) for events, time in zip(self._events, self._exposure, strict=True)]
        self._efforts = [0.0]  # the integral of the rates up to each edge
        for rate, low, high in zip(self._rates, self.EDGES, self.EDGES[1:], strict=False):
            self._efforts.append(self._efforts[-1] + rate * (high - low))
