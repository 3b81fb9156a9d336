"""The emulator's time: it may run faster than ours, from a date of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from smsc_status.errors import ConfigError


class EmulatedClock:
    """Seconds that pass `speed` times as fast as those of the event loop, counted from the first look at them.

    Args:
        speed: emulated seconds in a second.
        wall_clock: the aware datetime that is `now` when that is asked first; by default the system's.
    """

    def __init__(self, speed: float = 1.0, wall_clock: Callable[[], datetime] | None = None) -> None:
        if not 0 < speed < float("inf"):
            raise ConfigError(f"speed {speed!r}: expected a number above 0")
        self.speed = speed
        self._wall_clock = wall_clock
        self._seconds: Callable[[], float] = anyio.current_time
        self._epoch: float | None = None
        self._started_at: float | None = None
        self._elapsed = 0.0

    def use(self, seconds: Callable[[], float]) -> None:
        """Count from now on by another monotonic clock, one that works outside an event loop too."""
        self._elapsed = self.elapsed()
        self._seconds = seconds
        self._started_at = seconds() - self._elapsed / self.speed

    def elapsed(self) -> float:
        """Emulated seconds since the first look; outside an event loop, as many as at the latest look inside."""
        try:
            seconds = self._seconds()
        except RuntimeError:
            return self._elapsed
        if self._started_at is None:
            self._started_at = seconds
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
