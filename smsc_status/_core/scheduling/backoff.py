"""How long to wait before the next attempt, after failures of one message or of the whole server."""

from __future__ import annotations

FIRST_DELAY = 0.5
MAX_DELAY = 60.0
OUTAGE_AFTER = 4

MAX_RETRY_AFTER = 3600.0
"""Seconds. A longer pause that the server asks for is cut to this."""


def delay(tries: int, jitter: float) -> float:
    """Seconds to wait after the `tries`-th failure in a row (1 and up). It doubles from half a second up to a minute.

    `jitter` is the caller's random number, at least 0 and below 1. It shortens the pause by up to half, so that many
    clients that failed together do not all come back together.
    """
    longest = min(MAX_DELAY, FIRST_DELAY * 2.0 ** min(tries - 1, 30))
    return longest * (1.0 - jitter / 2)


class Outage:
    """Counts failures in a row, of any messages. After `OUTAGE_AFTER` of them the server is taken to be unreachable.

    A failure is anything but an answer of the vendor's script: no reply, another HTTP status, a page of HTML. A single
    failure concerns only its own messages. After several in a row all sending pauses, longer each time. Then only one
    message is asked at a time, so that an outage does not use up the retries of every waiting message.

    A pause that the server itself asks for (`Retry-After`) holds for all requests, even if others are answered
    meanwhile.
    """

    def __init__(self) -> None:
        self.is_on: bool = False
        """Whether the server is taken to be unreachable."""
        self.until_at: float = 0.0
        """No request starts before this instant."""
        self._failures = 0
        self._probe_at = 0.0
        self._retry_after_at = 0.0

    def record_failure(self, *, jitter: float, now: float, retry_after: float | None = None) -> None:
        """Count a request without a usable answer. `retry_after`: the pause in seconds that the server asked for."""
        self._failures += 1
        self.is_on = self._failures >= OUTAGE_AFTER
        if self.is_on:
            self._probe_at = max(self._probe_at, now + delay(self._failures - OUTAGE_AFTER + 1, jitter))
        if retry_after is not None:
            self._retry_after_at = max(self._retry_after_at, now + min(retry_after, MAX_RETRY_AFTER))
        self.until_at = max(self._probe_at, self._retry_after_at)

    def record_success(self) -> None:
        """A request got an answer, whatever the answer says. This ends the outage."""
        self._failures = 0
        self._probe_at = 0.0
        self.is_on = False
        self.until_at = self._retry_after_at
