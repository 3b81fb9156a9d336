"""Virtual time for tests: an asyncio event loop whose clock jumps to the next timer instead of waiting for it.

A day of tracking then passes in seconds. `asyncio.Runner(loop_factory=VirtualLoop)` runs it. pytest-asyncio takes it
from the hook `pytest_asyncio_loop_factories`, and anyio's plugin from the fixture `anyio_backend`: the documentation
shows both. Trio has a virtual clock of its own, `trio.testing.MockClock(autojump_threshold=0)`.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from typing import Any

__all__ = ["VirtualLoop", "jump"]

_DEADLOCK_AFTER = 10.0


class _JumpingSelector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:  # only another thread can wake this loop
            ready = super().select(_DEADLOCK_AFTER)
            if not ready:
                raise RuntimeError("deadlock: no task can run, no timer is set")
            return ready
        self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop in virtual time, which begins at 0 and passes only while no task can run.

    Real sockets and threads take no virtual time, so the next timer may come before they are ready. If no task can run
    and no timer is set, the loop waits for ten real seconds for a thread or a socket, then raises RuntimeError.
    """

    def __init__(self) -> None:
        self._virtual = _JumpingSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """The virtual instant, in seconds."""
        return self._virtual.now

    def jump(self, seconds: float) -> None:
        """Move the clock on by this many seconds, in which nothing runs, as if `time.sleep` had been called."""
        self._virtual.now += seconds

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Ignore the timeout: the threads that it waits for run in real time."""
        await super().shutdown_default_executor()


def jump(seconds: float) -> bool:
    """Move the clock of the running event loop on by this many seconds, if it is a virtual one.

    Virtual are `VirtualLoop`, and trio with its `MockClock`. Returns whether such a loop runs. If none does, nothing
    happens.
    """
    clock = _running_clock()
    if clock is not None:
        clock.jump(seconds)
    return clock is not None


def _running_clock() -> Any:
    """What has the method `jump`: the running `VirtualLoop`, or the `MockClock` of the running trio loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _mock_clock()
    return loop if isinstance(loop, VirtualLoop) else None


def _mock_clock() -> Any:
    if "trio.testing" not in sys.modules:  # then nobody has made a MockClock
        return None
    from trio.lowlevel import current_clock  # noqa: PLC0415 (trio is an extra)
    from trio.testing import MockClock  # noqa: PLC0415 (likewise)

    try:
        clock = current_clock()
    except RuntimeError:  # trio does not run
        return None
    return clock if isinstance(clock, MockClock) else None
