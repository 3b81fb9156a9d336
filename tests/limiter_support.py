"""What the tests of the local limiter share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import anyio
import attrs
from anyio.from_thread import BlockingPortal, start_blocking_portal

from smsc_status import LocalLimiter
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status.models import Key


@attrs.frozen
class One:
    """A request for these ids, whenever it may go."""

    keys: tuple[Key, ...] = (7,)
    bulk: bool = False

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        at = max([pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in self.keys)])
        at = max(at, pacer.bulk_due_at(now=now)) if self.bulk else at
        return self if at <= now else at


@attrs.frozen
class Late(One):
    """One that may go at that instant."""

    at: float = attrs.field(default=0.0, kw_only=True)

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        return self if now >= self.at else self.at


@attrs.define(eq=False)
class Urgent:
    """One that may be urgent."""

    one: One
    urgent: bool = True

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        return self.one.select(pacer, now=now)

    def is_urgent(self, *, now: float) -> bool:
        assert now > -math.inf
        return self.urgent


async def ask(limiter: LocalLimiter, one: One, *, takes: float = 0.0, how: RequestEnd = RequestEnd.REPLIED) -> None:
    permit = await limiter.acquire(one.select)
    try:
        await anyio.sleep(takes)
    finally:
        await limiter.release(permit, how)


@contextmanager
def two_loops() -> Iterator[tuple[BlockingPortal, BlockingPortal]]:
    """Asyncio's in one thread and trio's in another, in real time."""
    with start_blocking_portal("asyncio") as one, start_blocking_portal("trio") as other:
        yield one, other


def join(limiter: LocalLimiter, loop: BlockingPortal, work: Callable[[], object]) -> Future[object]:
    """Start what will wait for the limiter in this loop; it is in the queue when this returns."""
    before = limiter.waiting
    future: Future[object] = loop.start_task_soon(work)
    deadline = time.monotonic() + 10
    while limiter.waiting == before:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return future
