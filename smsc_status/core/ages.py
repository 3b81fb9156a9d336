"""At what age do messages end? Learned from what is seen."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import sqrt


class Ages:
    """The hazard of ending by age, in bins that grow with it, from a prior on.

    Ages are in seconds, from 0 on.

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
        edges, first, last = self.EDGES, self._bin(low), self._bin(high)
        if first == last:
            self._exposure[first] += high - low
            return
        self._exposure[first] += edges[first + 1] - low
        self._exposure[last] += high - edges[last]
        self._crossings[first + 1] += 1
        self._crossings[last] -= 1

    def ended(self, age: float) -> None:
        """A message ended at this age."""
        self._events[self._bin(age)] += 1
        self._news += 1
        if self._news >= self.REFRESH_EVERY:
            self._learn()

    def rate(self, age: float) -> float:
        """The root of the hazard at an age."""
        return self._rates[self._bin(age)]

    def wait(self, age: float, effort: float) -> float:
        """How long it takes from an age on until the integral of `rate` has grown by so much."""
        bin = self._bin(age)
        rate = self._rates[bin]
        if bin == self._last or age + effort / rate <= self.EDGES[bin + 1]:
            return effort / rate
        target = self._efforts[bin] + rate * (age - self.EDGES[bin]) + effort
        bin = bisect_right(self._efforts, target) - 1
        return self.EDGES[bin] + (target - self._efforts[bin]) / self._rates[bin] - age

    def _bin(self, age: float) -> int:
        return bisect_right(self.EDGES, age) - 1

    def _learn(self) -> None:
        self._news = 0
        for bin, through in enumerate(accumulate(self._crossings[:-1])):
            self._exposure[bin] += through * (self.EDGES[bin + 1] - self.EDGES[bin])
        self._crossings = [0] * len(self.EDGES)
        self._rates = [sqrt(events / time) for events, time in zip(self._events, self._exposure, strict=True)]
        self._efforts = [0.0]  # the integral of the rates up to each edge
        for rate, low, high in zip(self._rates, self.EDGES, self.EDGES[1:], strict=False):
            self._efforts.append(self._efforts[-1] + rate * (high - low))
