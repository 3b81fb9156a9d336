"""At what age do messages end? Learned from what is seen."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import sqrt


class HazardModel:
    """The hazard of ending by age, in bins that grow with it, from a prior on.

    HazardModel are in seconds, from 0 on.

    Args:
        prior_weight: as many messages the prior counts for.
    """

    EDGES = (0.0, *(1.25**k for k in range(-2, 58)))
    REFRESH_EVERY = 500
    _last = len(EDGES) - 1

    def __init__(self, prior_weight: float = 20.0) -> None:
        self._exposure: list[float] = []
        self._events: list[float] = []
        for low, high in zip(self.EDGES, (*self.EDGES[1:], 2 * self.EDGES[-1]), strict=True):
            # Before anything was seen: half of what is left at an age of 5 s ends within that time again, and so on.
            exposure = prior_weight * (high - low) * sqrt(5.0 / (5.0 + low))
            self._exposure.append(exposure)
            self._events.append(exposure * 0.5 / (5.0 + low))
        # How many more messages were seen through a whole bin than through the one before; not yet in the exposure.
        self._crossings = [0] * len(self.EDGES)
        self._news = 0
        self._learn()

    def survived(self, low: float, high: float) -> None:
        """A message was followed from one age to another."""
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
        """A message ended at this age."""
        self._events[bisect_right(self.EDGES, age) - 1] += 1
        self._news += 1
        if self._news >= self.REFRESH_EVERY:
            self._learn()

    def rate(self, age: float) -> float:
        """The root of the hazard at an age."""
        return self.outlook(age, 0.0)[0]

    def outlook(self, age: float, effort: float) -> tuple[float, float]:
        """The rate at an age, and how long it takes from there until the integral of the rate has grown by so much."""
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
        self._news = 0
        for bin, through in enumerate(accumulate(self._crossings[:-1])):
            self._exposure[bin] += through * (self.EDGES[bin + 1] - self.EDGES[bin])
        self._crossings = [0] * len(self.EDGES)
        self._rates = [sqrt(events / time) for events, time in zip(self._events, self._exposure, strict=True)]
        self._efforts = [0.0]  # the integral of the rates up to each edge
        for rate, low, high in zip(self._rates, self.EDGES, self.EDGES[1:], strict=False):
            self._efforts.append(self._efforts[-1] + rate * (high - low))
