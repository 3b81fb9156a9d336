"""The shared limiter with several loops, in a forked process, and at its end."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from memory_store import MemoryLog
from shared_limiter_support import One, ask, participant_of, process, records_of

from smsc_status._core.scheduling.ledger import Ended, Joined
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._sharing.limiter import _reset_after_fork
from smsc_status.limiter import Slots

pytestmark = pytest.mark.anyio


async def test_slots_outside_of_a_loop_tell_only_what_shares() -> None:
    limiter = process(MemoryLog())
    await ask(limiter, One())
    slots = await anyio.to_thread.run_sync(limiter.slots)
    assert slots == Slots(0, 0.0, shared_by="memory")
    assert limiter.slots().processes == 1


async def test_a_limiter_that_nobody_uses_closes_its_store() -> None:
    log = MemoryLog()
    limiter = process(log)
    await limiter.leave()
    permit = await limiter.acquire(One().select)
    await limiter.leave()
    assert limiter.slots().open_requests == 1
    await limiter.release(permit, RequestEnd.REPLIED)
    await limiter.leave()
    assert limiter.slots().processes == 1
    assert limiter.loops == 0
    limiter.wake()
    await limiter.leave()
    await ask(limiter, One())
    assert len(records_of(log, Joined)) == 2


async def test_a_forked_process_takes_part_anew() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One().select)
    before = participant_of(limiter)
    assert limiter.tally.counts()["appends"] > 0
    _reset_after_fork()
    assert limiter.slots().open_requests == 0
    assert limiter.tally.counts()["appends"] == 0
    await ask(limiter, One())
    assert participant_of(limiter) is not before
    assert limiter.slots().open_requests == 1  # the parent's
    await limiter.release(permit, RequestEnd.REPLIED)
    assert limiter.slots().open_requests == 1


def test_each_loop_takes_part_by_itself() -> None:
    """A loop that has ended is forgotten when the next one comes."""
    log = MemoryLog()
    limiter = process(log)
    for _ in range(3):
        asyncio.run(ask(limiter, One()))
    assert len(records_of(log, Joined)) == 3
    assert limiter.loops <= 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_end_of_a_request_is_told_when_the_loop_ends(backend: str) -> None:
    """Also if nobody closes the client. Otherwise the request would count as in flight until its budget is over."""
    log = MemoryLog()
    anyio.run(ask, process(log), One(), backend=backend)
    assert len(records_of(log, Ended)) == 1
