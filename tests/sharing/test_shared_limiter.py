"""The shared limiter, over a log in memory, in virtual time. Each `SharedLimiter` stands for a process."""

from __future__ import annotations

from collections import Counter
from functools import partial

import anyio
import pytest
from memory_store import MemoryLog
from shared_limiter_support import One, ask, process, records_of

from smsc_status._core.scheduling.ledger import Took, Waits
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status.limiter import Permit

pytestmark = pytest.mark.anyio


async def test_two_processes_share_the_tokens_of_an_id() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    began_at = anyio.current_time()
    for _ in range(2):
        await ask(one, One())
        await ask(other, One())
    await ask(one, One())
    assert anyio.current_time() == began_at
    await ask(other, One())
    assert anyio.current_time() - began_at == pytest.approx(61)


async def test_two_processes_share_the_slots() -> None:
    log, open_now, most = MemoryLog(), 0, 0

    async def hold(limiter: SharedLimiter, key: int) -> None:
        nonlocal open_now, most
        permit = await limiter.acquire(One((key,)).select)
        open_now += 1
        most = max(most, open_now)
        await anyio.sleep(1)
        open_now -= 1
        await limiter.release(permit, RequestEnd.REPLIED)

    processes = [process(log), process(log), process(log)]
    async with anyio.create_task_group() as tasks:
        for key in range(60):
            tasks.start_soon(hold, processes[key % 3], key)
    assert most == 4


async def test_two_processes_share_the_bulk_slot_in_turns() -> None:
    log, taken = MemoryLog(), []

    async def go_on(limiter: SharedLimiter, name: str) -> None:
        for key in range(4):
            await ask(limiter, One((name + str(key),), bulk=True), takes=0.1)
            taken.append(name)

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(go_on, process(log), name)
    assert all(Counter(taken[i : i + 3]) == Counter("abc") for i in range(0, 12, 3)), taken


@pytest.mark.slow
async def test_a_check_waits_two_round_trips_at_most_beside_a_greedy_process() -> None:
    log = MemoryLog()
    greedy, web = process(log), process(log)
    keys = iter(range(10**6))

    async def stream() -> None:
        while True:
            await ask(greedy, One((next(keys),)), takes=0.1)

    waits = []
    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(stream)
        await anyio.sleep(1.03)
        for _ in range(20):
            began_at = anyio.current_time()
            waits.append(await ask(web, One((next(keys),), urgent=True), takes=0.1) - began_at)
            await anyio.sleep(0.777)
        tasks.cancel_scope.cancel()
    assert max(waits) <= 0.1


@pytest.mark.slow
async def test_no_process_starves_among_greedy_ones() -> None:
    log, counts = MemoryLog(), Counter[int]()
    keys = iter(range(10**6))

    async def stream(limiter: SharedLimiter, number: int) -> None:
        while True:
            await ask(limiter, One((next(keys),)), takes=0.1)
            counts[number] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(7):
            limiter = process(log)
            for _ in range(3):
                tasks.start_soon(stream, limiter, number)
        await anyio.sleep(20)
        tasks.cancel_scope.cancel()
    assert counts.total() > 0.95 * 4 * 20 / 0.1
    assert min(counts.values()) > 0.5 * max(counts.values())


@pytest.mark.slow
async def test_a_busy_process_keeps_its_ticket_between_two_requests() -> None:
    """It would write two more entries for each request otherwise. A ticket is renewed once a second."""
    log, keys = MemoryLog(), iter(range(10**6))
    processes = [process(log), process(log)]

    async def carry_out(limiter: SharedLimiter, permit: Permit[One]) -> None:
        await anyio.sleep(0.1)
        await limiter.release(permit, RequestEnd.REPLIED)

    async def stream(limiter: SharedLimiter) -> None:
        while True:
            permit = await limiter.acquire(One((next(keys),)).select)
            tasks.start_soon(carry_out, limiter, permit)

    async with anyio.create_task_group() as tasks:
        for limiter in processes:
            tasks.start_soon(stream, limiter)
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()
    assert len(records_of(log, Took)) > 150
    assert len(records_of(log, Waits)) < 40


async def test_a_process_that_wants_nothing_more_takes_back_its_ticket_at_once() -> None:
    """Otherwise the others would let it go first until the ticket expires."""
    log = MemoryLog()
    one, other = process(log), process(log)
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(ask, other, One((7,)), takes=1.0))
        await anyio.sleep(0.3)
        assert records_of(log, Waits)[-1].slot
        await one.release(permits[0], RequestEnd.REPLIED)
        await anyio.sleep(0.03)
        assert len(records_of(log, Took)) == 5
        assert not records_of(log, Waits)[-1].slot
