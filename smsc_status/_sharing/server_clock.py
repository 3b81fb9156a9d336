"""How the log's time follows from the server's clock, although that clock may be set while the log is in use.

The log's time is the server's time plus a *correction*, which is in the log: each entry tells the one in force. So
everybody has the same log time, and a correction is made only once.

Each process compares the server's time with its own clock, which nobody sets. The server reads its clock between the
instant at which the command was sent and the one at which the reply was received. So each reply tells an interval in
which *log time minus own time* lies. Both clocks run at nearly the same rate, so the intervals of all replies overlap,
once each has been widened by the drift since then. If one lies apart by more than a tolerance, the server's clock has
been set. The process then changes the correction, so that the log's time goes on evenly.

All numbers are whole microseconds, so that nothing is lost by rounding.
"""

from __future__ import annotations

from typing import Final

DRIFT_PPM: Final = 500
"""By how much the two clocks' rates may differ, in millionths: NTP changes a clock's rate by no more."""

MICROSECONDS: Final = 1_000_000


class ServerClock:
    """The log's time, as far as this process knows it.

    `tolerance` is how far the log's time may be off before it is corrected, in microseconds. Within one period it may
    gain twice the tolerance at most, if the server's clock is set several times.
    """

    def __init__(self, tolerance: int) -> None:
        self.tolerance = tolerance
        self.correction = 0
        """The correction of the next entry."""
        self._logged = 0
        self._last = 0
        # The bounds of log time minus own time, and at which own time they were found.
        self._base = 0, 0, 0
        self.is_known = False
        """Whether there has been a reply."""

    def now(self, own: int) -> int | None:
        """The least log time that it may be when the own clock shows `own`. `None` before the first reply."""
        if not self.is_known:
            return None
        return max(own + self._offsets(own)[0], self._last)

    def bounds(self, sent: int) -> tuple[int, int]:
        """Between which of the server's times a command may be executed that is sent now.

        The server has to compare: if its clock was set a moment ago, it must not stamp an entry. A command that arrives
        later than after the tolerance is beyond the bounds too.
        """
        low, high = self._offsets(sent)
        return sent + low - self.correction - self.tolerance, sent + high - self.correction + self.tolerance

    def observe(self, raw: int, *, sent: int, received: int, logged: int | None = None, last: int = 0) -> int:
        """Take in a reply, and return by how much the server's clock was set, as far as that has to be corrected now.

        `raw` is the server's time, `sent` and `received` are the own clock's. `logged` and `last` are the last entry's
        correction and stamp, if there is a log.
        """
        self._last = last
        if logged is not None and logged != self._logged:  # another process has corrected the log's time
            self.correction = self._logged = logged
            self.is_known = False
        time = raw + self.correction
        if not self.is_known:
            self.is_known = True
            # Where nobody has seen how the clock was set, the last stamp still tells that it was set back.
            if time < last - self.tolerance:
                return self._go_on_from(last, raw, sent, received)
            self._base = time - received, time + 1 - sent, received
            return 0
        low, high = self._offsets(received)
        seen_low, seen_high = time - received, time + 1 - sent
        gap = max(low, seen_low) - min(high, seen_high)
        if gap > self.tolerance:
            return self._go_on_from(sent + low, raw, sent, received)
        # A small gap stays until the drift covers it. Otherwise many small steps could add up to a large one.
        self._base = (max(low, seen_low), min(high, seen_high), received) if gap <= 0 else (low, high, received)
        return 0

    def _go_on_from(self, time: int, raw: int, sent: int, received: int) -> int:
        step = raw + self.correction - time
        self.correction -= step
        self._base = time - received, time + 1 - sent, received
        return step

    def _offsets(self, own: int) -> tuple[int, int]:
        """The bounds of log time minus own time when the own clock shows `own`."""
        low, high, at = self._base
        drift = (max(0, own - at) * DRIFT_PPM + MICROSECONDS - 1) // MICROSECONDS
        return low - drift, high + drift
