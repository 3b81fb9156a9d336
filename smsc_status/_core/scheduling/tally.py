"""What a client has counted since it was made."""

from __future__ import annotations

from collections import Counter, defaultdict

import attrs


@attrs.define
class Tally:
    """The numbers of one client. Whoever sees something happen counts it here; `StatusClient.stats` shows them."""

    requests: Counter[str] = attrs.field(factory=Counter)
    """Requests that were begun, by kind. Some may not have left, because there was no connection."""
    request_seconds: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    """By kind, how long the requests took together, in seconds. Requests that closing has cut short do not count."""
    wait_seconds: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    """By kind, how long they waited for the limits together, in seconds."""
    refusals: Counter[int] = attrs.field(factory=Counter)
    """The vendor's errors, by code."""
    done: Counter[str] = attrs.field(factory=Counter)
    """Tracked messages that are done, by outcome."""
    records: int = 0
    retries: int = 0
    replies_read: int = 0
    """Replies to checks that could be read."""

    def count_ended(self, kind: str, *, took: float, waited: float) -> None:
        """A request of this kind has ended. It took `took` seconds, after it had waited for `waited` seconds."""
        self.request_seconds[kind] += took
        self.wait_seconds[kind] += waited
