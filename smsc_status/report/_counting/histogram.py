"""Counts durations in a bounded number of buckets, and finds their quantiles."""

from __future__ import annotations

from collections import Counter
from math import ceil

EXACT = 128
"""Durations below this many seconds have a bucket for each second."""

STEPS = 64
"""From there on, each doubling of the duration has this many buckets."""

MAX_ERROR = 0.5 / STEPS
"""A quantile differs from the true one by at most this share of it. Below `EXACT` seconds it is the true one."""

LONGEST = 1 << 28
"""Seconds, more than eight years. A longer duration is counted as this one."""


class Histogram:
    """Durations in whole seconds. However many there are, it has at most about 1,500 buckets."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self.count = 0
        """How many durations were added."""
        self._counts: Counter[int] = Counter()

    def add(self, seconds: int) -> None:
        """Count a duration, which is not negative."""
        self.count += 1
        self._counts[_bucket(seconds)] += 1

    def update(self, other: Histogram) -> None:
        """Add the durations of another one."""
        self.count += other.count
        self._counts.update(other._counts)

    def quantile(self, share: float) -> float:
        """The least duration such that at least this share (above 0, at most 1) of all durations are not longer.

        Raises:
            ValueError: there are no durations.
        """
        left = ceil(round(share * self.count, 9))
        for bucket, count in sorted(self._counts.items()):
            left -= count
            if left <= 0:
                return _seconds(bucket)
        raise ValueError("no durations")

    def curve(self) -> list[tuple[float, float]]:
        """For each duration that occurs, in ascending order: the duration, and the share of those not longer."""
        so_far, points = 0, []
        for bucket, count in sorted(self._counts.items()):
            so_far += count
            points.append((_seconds(bucket), so_far / self.count))
        return points


def _bucket(seconds: int) -> int:
    if seconds < EXACT:
        return seconds
    seconds = min(seconds, LONGEST)
    doublings = seconds.bit_length() - EXACT.bit_length()
    # The leading bits, of which the first one is always set: so the buckets of one doubling follow those of the last.
    return EXACT + doublings * STEPS + (seconds >> (doublings + 1)) - STEPS


def _seconds(bucket: int) -> float:
    """The middle of a bucket."""
    if bucket < EXACT:
        return float(bucket)
    doublings, step = divmod(bucket - EXACT, STEPS)
    width = 2 << doublings
    return (STEPS + step) * width + (width - 1) / 2
