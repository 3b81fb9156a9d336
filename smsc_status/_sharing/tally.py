"""What is counted about a shared log."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping

APPENDS, CONFLICTS, TICKETS, QUARANTINES = "appends", "conflicts", "tickets", "quarantines"


class LogTally:
    """What this process has done with an account's log, in all of its event loops, since its limiter was made.

    - `appends`: the entries that it has appended.
    - `conflicts`: how often it could not append, because something newer had come.
    - `tickets`: the appended entries that were tickets.
    - `quarantines`: how often it has met a quarantine.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()  # event loops of several threads count here

    def count(self, what: str) -> None:
        """One more of these."""
        with self._lock:
            self._counts[what] += 1

    def counts(self) -> Mapping[str, int]:
        """All counts so far. Any thread may ask."""
        with self._lock:
            return {name: self._counts[name] for name in (APPENDS, CONFLICTS, TICKETS, QUARANTINES)}
