"""An asyncio event loop in virtual time: instead of waiting for a timer, its clock jumps to the timer's instant."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any

DEADLOCK_AFTER = 10.0


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only another thread can wake this loop
            ready = super().select(DEADLOCK_AFTER)
            if not ready:
                raise RuntimeError("deadlock: no task can run, no timer is set")
            return ready
        self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes only while no task can run."""

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """The virtual instant."""
        return self._virtual.now

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Ignore the timeout: the threads that it waits for run in real time."""
        await super().shutdown_default_executor()

    def block(self, seconds: float) -> None:
        """Let this many seconds pass in which nothing can run, as if somebody had called `time.sleep`."""
        self._virtual.now += seconds
