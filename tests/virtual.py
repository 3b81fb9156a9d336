"""An asyncio event loop in virtual time, which the benchmarks use too, and a way to block one."""

from __future__ import annotations

import asyncio

import trio
from trio.testing import MockClock

from benchmarks.virtual import VirtualLoop

__all__ = ["VirtualLoop", "block"]


def block(seconds: float) -> None:
    """Block the event loop that runs, `VirtualLoop` or trio's with a `MockClock`, for so many seconds."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, MockClock)
        clock.jump(seconds)
    else:
        assert isinstance(loop, VirtualLoop)
        loop.block(seconds)
