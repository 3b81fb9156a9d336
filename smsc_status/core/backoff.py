"""How long until the next attempt."""

from __future__ import annotations

FIRST = 0.5
LONGEST = 60.0
OUTAGE_AFTER = 4


def delay(tries: int, jitter: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row (1 and up): doubling from half a second to a minute.

    `jitter`, at least 0 and below 1, is the caller's random number: it takes off up to half, so that many clients that
    failed together do not come back together.
    """
    longest = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 30))
    return longest * (1.0 - jitter / 2)


class Outage:
    """Failures in a row, whatever messages they concerned: after a few of them the server is taken to be away.

    One lost request is its own messages' business. When several in a row are lost, all sending pauses, longer each
    time, and then only one message at a time is asked, so that an outage does not use up the retries of everything that
    waits.
    """

    def __init__(self) -> None:
        self._failures = 0
        self.until_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the server is taken to be away."""
        return self._failures >= OUTAGE_AFTER

    def failed(self, *, jitter: float, now: float) -> None:
        """A request got no usable answer."""
        self._failures += 1
        if self.is_on:
            self.until_at = max(self.until_at, now + delay(self._failures - OUTAGE_AFTER + 1, jitter))

    def answered(self) -> None:
        """A request got an answer, whatever it says."""
        self._failures = 0
        self.until_at = 0.0
