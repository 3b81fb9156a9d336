"""What has happened, counted in plain numbers.

An instrument that is asked for its values costs nothing while requests are sent. One that is told of each request takes
about as long as a tenth of a whole check does.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from smsc_status._sharing.tally import LogTally

Key = tuple[tuple[str, str | int], ...]
"""The attributes of a time series: names and values."""


class Counts:
    """The counts of all clients that share one `Telemetry`. Any thread may count and ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Counter[Key]] = {}
        self._of_logs: Counter[str] = Counter()
        self._seen_of_logs: WeakKeyDictionary[LogTally, Mapping[str, int]] = WeakKeyDictionary()

    def add(self, name: str, key: Key, number: int = 1) -> None:
        """Add to the time series of this metric with these attributes."""
        with self._lock:
            counts = self._counts.get(name)
            if counts is None:
                counts = self._counts[name] = Counter()
            counts[key] += number

    def of(self, name: str) -> list[tuple[Key, int]]:
        """All time series of a metric."""
        with self._lock:
            return list(self._counts.get(name, Counter()).items())

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
