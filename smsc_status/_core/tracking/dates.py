"""Decides what date it is, from a local clock that may be wrong and from the dates in the server's replies.

Messages' ages and archive deadlines count by the vendor's date. The monotonic clock measures how time passes, and the
date is its instant plus an offset. There are two sources for the offset:

- The server's replies carry a `Date`. Where the local clock differs from it by more than a minute, the server is right.
  One such reply may come from a mirror or a cache whose clock is wrong, so a second reply has to confirm it. Until then
  the date is in doubt, and tracking ends no message because of it.
- Without a `Date` there is only the local clock. It may jump: because the machine slept, because somebody corrected it,
  or because it is wrong for a while. The three look alike, so a jump is believed only after it has lasted.
"""

from __future__ import annotations

from math import inf

TOLERANCE = 60.0
"""Two dates that differ by at most this many seconds count as the same."""

CONFIRMED_AFTER = 90.0
"""A local clock that has jumped is believed after this many seconds without another jump."""


class Dates:
    """The date as a function of the monotonic clock. Dates are seconds since 1970."""

    def __init__(self) -> None:
        self.offset: float = 0.0
        """The believed date minus the monotonic instant."""
        self.is_overruled: bool = False
        """Whether the local clock differs from the server's date, so that the server's date counts."""
        self._local: float | None = None
        self._server: float | None = None
        self._server_read_at = -inf
        # The local clock's offset after a jump that is not believed yet, and since when it has stayed the same.
        self._local_doubt: tuple[float, float] | None = None
        # The offset by a reply's date that no second reply has confirmed yet, and when the reply came in.
        self._server_doubt: tuple[float, float] | None = None

    def is_sure(self, *, now: float) -> bool:
        """Whether the date is not in doubt. A reply with another date leaves a doubt for `CONFIRMED_AFTER` seconds."""
        return self._server_doubt is None or now > self._server_doubt[1] + CONFIRMED_AFTER

    def read_local(self, date: float, *, now: float) -> None:
        """Take in that the local clock shows this date at the instant `now`."""
        is_first, self._local = self._local is None, date - now
        if is_first and self._server is None:
            self.offset = self._local
        elif abs(self._local - (self.offset if self._server is None else self._server)) <= TOLERANCE:
            self.offset, self._local_doubt = self._local, None
        elif self._local_doubt is None or abs(self._local - self._local_doubt[0]) > TOLERANCE:
            self._local_doubt = self._local, now
        elif now - self._local_doubt[1] >= CONFIRMED_AFTER and self._server_read_at < self._local_doubt[1]:
            self.offset, self._local_doubt = self._local, None

    def read_server(self, date: float, *, now: float) -> None:
        """Take in the date of a reply that came in at the instant `now`."""
        server = date - now
        known = [offset for offset in (self._server, self._local) if offset is not None]
        if known and all(abs(server - offset) > TOLERANCE for offset in known):
            before, self._server_doubt = self._server_doubt, (server, now)
            if before is None or abs(server - before[0]) > TOLERANCE:
                return
        self._server, self._server_read_at, self._server_doubt = server, now, None
        self.is_overruled = self._local is not None and abs(self._local - self._server) > TOLERANCE
        self.offset = self._server if self.is_overruled or self._local is None else self._local
