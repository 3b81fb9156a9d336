"""Which date is it? Asked of a clock that may be wrong, and told by the server's replies.

HazardModel and archive deadlines are the vendor's. Time that passes is measured by the monotonic clock; a date is needed only
to place it, and is the monotonic instant plus an offset. There are two sources for the offset:

- The server's replies carry a `Date`. Where the local clock differs from it by more than a minute, the server is right.
  One such reply may come from a mirror or a cache whose clock is wrong, so a second one has to confirm it. Until then
  nothing ends by either date.
- Without a `Date` the local clock is all there is. It may jump: because the machine slept, because somebody has set it
  right, or because it is wrong for a while. The three look alike, so a jump is believed only once it has lasted.
"""

from __future__ import annotations

from math import inf

TOLERANCE = 60.0
"""Dates that differ by at most this many seconds are taken for the same."""

CONFIRMED_AFTER = 90.0
"""A local clock that has jumped is believed after this many seconds, if it goes on evenly."""


class Dates:
    """The date as a function of the monotonic clock. Dates are seconds since 1970."""

    def __init__(self) -> None:
        self.offset: float = 0.0
        """The believed date, less the monotonic instant."""
        self.is_overruled: bool = False
        """Whether the server's date counts because the local clock differs from it."""
        self._local: float | None = None
        self._server: float | None = None
        self._told_at = -inf
        # A reading that is not believed yet, and since when the clock has gone on evenly from it.
        self._odd: tuple[float, float] | None = None
        # What a reply has said that is not believed yet, and when.
        self._told_odd: tuple[float, float] | None = None

    def is_sure(self, *, now: float) -> bool:
        """Whether the believed date is not in doubt: no reply has just named another one."""
        return self._told_odd is None or now > self._told_odd[1] + CONFIRMED_AFTER

    def read(self, date: float, *, now: float) -> None:
        """The local clock shows this date at the instant `now`."""
        is_first, self._local = self._local is None, date - now
        if is_first and self._server is None:
            self.offset = self._local
        elif abs(self._local - (self.offset if self._server is None else self._server)) <= TOLERANCE:
            self.offset, self._odd = self._local, None
        elif self._odd is None or abs(self._local - self._odd[0]) > TOLERANCE:
            self._odd = self._local, now
        elif now - self._odd[1] >= CONFIRMED_AFTER and self._told_at < self._odd[1]:
            self.offset, self._odd = self._local, None

    def told(self, date: float, *, now: float) -> None:
        """A reply that came in at the instant `now` carries this date."""
        server = date - now
        known = [offset for offset in (self._server, self._local) if offset is not None]
        if known and all(abs(server - offset) > TOLERANCE for offset in known):
            before, self._told_odd = self._told_odd, (server, now)
            if before is None or abs(server - before[0]) > TOLERANCE:
                return
        self._server, self._told_at, self._told_odd = server, now, None
        self.is_overruled = self._local is not None and abs(self._local - self._server) > TOLERANCE
        self.offset = self._server if self.is_overruled or self._local is None else self._local
