"""The emulator's clock. It may run faster than real time, and may begin at any date."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from weakref import ref

import anyio
from anyio.lowlevel import current_token

from smsc_status.emulator import virtual
from smsc_status.errors import ConfigError


class EmulatedClock:
    """Counts seconds that pass `speed` times as fast as those of the event loop, from the first reading on.

    In another event loop it goes on from its last reading, as each loop's own clock has a different origin.

    Args:
        speed: emulated seconds in a second.
        wall_clock: returns the aware datetime that `now` gives at its first call; by default the system's.
    """

    def __init__(self, speed: float = 1.0, wall_clock: Callable[[], datetime] | None = None) -> None:
        if not 0 < speed < float("inf"):
            raise ConfigError(f"speed {speed!r}: expected a number above 0")
        self.speed = speed
        self._wall_clock = wall_clock
        self._seconds: Callable[[], float] = anyio.current_time
        self._follows_event_loop = True
        self._epoch: float | None = None
        self._loop: Callable[[], object] = object  # a weak reference, once a loop has been met
        self._started_at = 0.0
        self._elapsed = 0.0

    def use(self, seconds: Callable[[], float]) -> None:
        """From now on, count by another monotonic clock: one that works outside an event loop too."""
        self._elapsed = self.elapsed()
        self._seconds = seconds
        self._follows_event_loop = False
        self._started_at = seconds() - self._elapsed / self.speed

    def advance(self, seconds: float) -> None:
        """Move on by this many emulated seconds, together with the running event loop if that is in virtual time.

        Raises:
            ConfigError: `seconds` is negative or not finite.
        """
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not isfinite(seconds) or seconds < 0:
            raise ConfigError(f"seconds {seconds!r}: expected seconds, at least 0")
        self.now()  # the date from which it moves on
        if self._follows_event_loop and virtual.jump(seconds / self.speed):
            return
        self._started_at -= seconds / self.speed
        self._elapsed += seconds

    def elapsed(self) -> float:
        """Emulated seconds since the first reading. Outside an event loop it is the value last read inside one."""
        try:
            seconds = self._seconds()
        except RuntimeError:
            return self._elapsed
        if self._follows_event_loop and self._loop() is not (loop := current_token().native_token):
            self._loop = ref(loop)
            self._started_at = seconds - self._elapsed / self.speed
        self._elapsed = (seconds - self._started_at) * self.speed
        return self._elapsed

    def now(self) -> float:
        """The emulated date, in seconds since 1970."""
        if self._epoch is None:
            date = self._wall_clock().timestamp() if self._wall_clock else time.time()
            self._epoch = date - self.elapsed()
        return self._epoch + self.elapsed()

    def wall_clock(self) -> datetime:
        """The emulated date, as an aware datetime."""
        return datetime.fromtimestamp(self.now(), UTC)
