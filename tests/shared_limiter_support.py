"""What the tests of the shared limiter share. Each `SharedLimiter` stands for a process."""

from __future__ import annotations

from typing import TypeVar

import anyio
import attrs
from anyio.lowlevel import checkpoint
from memory_store import MemoryLog, MemoryStore

from smsc_status import Limits, _loops
from smsc_status._core.scheduling.ledger import decode
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.participant import Participant
from smsc_status._sharing.store import Store
from smsc_status.models import Key

T = TypeVar("T")


def process(
    log: MemoryLog, limits: Limits | None = None, *, budget: float = 30.0, knows: bool = False
) -> SharedLimiter:
    async def open_store() -> Store:
        return MemoryStore(log, has_seen_log=knows)

    limiter = SharedLimiter(limits or Limits(), open_store, where="memory")
    limiter.longest_request = budget
    return limiter


@attrs.frozen
class One:
    """A request for these ids, whenever it may go."""

    keys: tuple[Key, ...] = (7,)
    bulk: bool = False
    urgent: bool = False

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        at = max([pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in self.keys)])
        at = max(at, pacer.bulk_due_at(now=now) if self.bulk else pacer.singles_due_at(now=now))
        if at > now:
            return at
        return self if pacer.free_slots(now=now) > 0 else float("inf")

    def is_urgent(self, *, now: float) -> bool:
        return self.urgent

    def wants_bulk(self, *, now: float) -> bool:
        return self.bulk


async def ask(limiter: SharedLimiter, one: One, *, takes: float = 0.0, how: RequestEnd = RequestEnd.REPLIED) -> float:
    permit = await limiter.acquire(one.select)
    started_at = anyio.current_time()
    try:
        await anyio.sleep(takes)
    finally:
        await limiter.release(permit, how)
    return started_at


def participant_of(limiter: SharedLimiter) -> Participant:
    """What takes part for this event loop: to see, or to disturb, a single step of it."""
    return limiter._participants[_loops.this_loop()]


def records_of(log: MemoryLog, kind: type[T]) -> list[T]:
    return [record for record in map(decode, (entry.data for entry in log.entries)) if isinstance(record, kind)]


async def settle() -> None:
    for _ in range(20):
        await checkpoint()
    await anyio.sleep(0.01)
