"""Virtual time for the limiters: an event loop whose clock jumps, and the same clock for libraries that read another.

aiolimiter and aiometer read the event loop's clock, as this library does. pyrate-limiter accepts a clock as an
argument. limits and throttled-py call `time.time` and `time.monotonic`: while a benchmark runs, the name `time` in
their modules, and nowhere else, is replaced by an object that reads the loop's clock.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest.mock import patch

import limits.aio.storage.memory
import limits.aio.strategies
import throttled.utils
from pyrate_limiter.clocks import AbstractClock

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What `time.time` returns at the start."""


class _Jumping(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Instead of waiting for a timer, its clock jumps to the timer's instant."""

    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """The virtual instant."""
        return self._jumping.now

    def jump(self, seconds: float) -> None:
        """Advance the clock by this many seconds at once."""
        self._jumping.now += seconds

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Ignore the timeout: the threads that it waits for run in real time."""
        await super().shutdown_default_executor()


def this_loop() -> VirtualLoop:
    """The loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


class LoopTime:
    """Replaces the module `time` in a peer."""

    def time(self) -> float:
        """See `time.time`."""
        return EPOCH + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        """See `time.monotonic`."""
        return asyncio.get_running_loop().time()


class PyrateClock(AbstractClock):
    """The loop's clock in milliseconds. It also works in the thread in which pyrate-limiter tidies up."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def now(self) -> int:
        """The virtual instant."""
        return int((EPOCH + self._loop.time()) * 1000)


@contextmanager
def _peers_go_by_the_loop() -> Iterator[None]:
    clock = LoopTime()
    with (
        patch.object(limits.aio.storage.memory, "time", clock),
        patch.object(limits.aio.strategies, "time", clock),
        patch.object(throttled.utils, "time", clock),
    ):
        yield


def run(main: Callable[[], Awaitable[T]]) -> T:
    """Run `main` in virtual time, which begins at 0."""

    async def call() -> T:
        return await main()

    with _peers_go_by_the_loop(), asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(call())
