"""How long until the next attempt."""

from __future__ import annotations

FIRST = 0.5
LONGEST = 60.0
OUTAGE_AFTER = 4

LONGEST_TOLD = 3600.0
"""A pause that the server asks for is kept up to so many seconds."""


def delay(tries: int, jitter: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row (1 and up): doubling from half a second to a minute.

    `jitter`, at least 0 and below 1, is the caller's random number: it takes off up to half, so that many clients that
    failed together do not come back together.
    """
    longest = min(LONGEST, FIRST * 2.0 ** min(tries - 1, 30))
    return longest * (1.0 - jitter / 2)


class Outage:
    """Failures in a row, whatever messages they concerned: after a few of them the server is taken to be away.

    A failure is anything that is not an answer of the vendor's script: no reply, another HTTP status, a page of HTML.
    One alone is its own messages' business. When several in a row fail, all sending pauses, longer each time, and then
    only one message at a time is asked, so that an outage does not use up the retries of everything that waits.

    A pause that the server itself asks for (`Retry-After`) is kept by all requests, whatever others are answered.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._probe_at = 0.0
        self._told_at = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the server is taken to be away."""
        return self._failures >= OUTAGE_AFTER

    @property
    def until_at(self) -> float:
        """No request starts before this instant."""
        return max(self._probe_at, self._told_at)

    def record_failure(self, *, jitter: float, now: float, retry_after: float | None = None) -> None:
        """A request got no usable answer; the server may have said in how many seconds to come again."""
        self._failures += 1
        if self.is_on:
            self._probe_at = max(self._probe_at, now + delay(self._failures - OUTAGE_AFTER + 1, jitter))
        if retry_after is not None:
            self._told_at = max(self._told_at, now + min(retry_after, LONGEST_TOLD))

    def record_success(self) -> None:
        """A request got an answer, whatever it says."""
        self._failures = 0
        self._probe_at = 0.0
