"""What has happened, counted in plain numbers.

Counting and keeping are cheap. What an instrument of the SDK does with one value takes fifty times as long, so that is
done when metrics are read, or for many values at once.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram

from smsc_status._sharing.tally import LogTally

Key = tuple[str, ...]
"""Names a time series. The instrument knows which attributes these are; an empty text stands for none."""


KEPT = 256
"""A histogram's values are handed over at the latest when this many have come."""

Attributes = Mapping[str, str | int]


class Values:
    """The values of a histogram, which are handed over in portions. Any thread may add and hand over."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._values: deque[tuple[float, Attributes]] = deque()

    def __len__(self) -> int:
        """How many values have not been handed over."""
        return len(self._values)

    def add(self, value: float, attributes: Attributes) -> None:
        """Take a value of the time series with these attributes, which do not change any more."""
        self._values.append((value, attributes))
        if len(self._values) >= KEPT:
            self.hand_over()

    def hand_over(self) -> None:
        """Give all values that have come so far to the histogram."""
        for _ in range(len(self._values)):
            try:
                value, attributes = self._values.popleft()
            except IndexError:  # another thread does the same
                return
            self._histogram.record(value, attributes, _NO_CONTEXT)

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()


_NO_CONTEXT = Context()


class Counts:
    """The counts of all clients that share one `Telemetry`. Any thread may count and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: defaultdict[str, Counter[Key]] = defaultdict(Counter)
        self._of_logs: Counter[str] = Counter()
        self._seen_of_logs: WeakKeyDictionary[LogTally, Mapping[str, int]] = WeakKeyDictionary()

    def add(self, name: str, key: Key, number: int = 1) -> None:
        """Add to the time series of this metric with these attributes."""
        with self._lock:
            self._counts[name][key] += number

    def of(self, name: str) -> list[tuple[Key, int]]:
        """All time series of a metric."""
        with self._lock:
            return list(self._counts[name].items())

    def take_in(self, tally: LogTally) -> None:
        """Add what this tally has counted since it was last taken in. The counts remain when the limiter is gone."""
        counts = tally.counts()
        with self._lock:
            seen = self._seen_of_logs.get(tally, {})
            self._seen_of_logs[tally] = counts
            for name, number in counts.items():
                self._of_logs[name] += number - seen.get(name, 0)

    def of_logs(self, name: str) -> int:
        """How often this has happened in shared logs."""
        with self._lock:
            return self._of_logs[name]
