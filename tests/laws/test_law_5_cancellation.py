"""Law 5: any call can be cancelled at any time; no token leaks, no other caller notices, nothing hangs."""

from __future__ import annotations

import anyio
import pytest
from helpers import PHONE, client_of, delivered, engine_of
from network import Network

from smsc_status import LocalLimiter, StatusClient, StatusRecord
from smsc_status.emulator import Emulator, Kind

pytestmark = pytest.mark.anyio

# Before the request, at its start, on its way, at its reply, after it.
MOMENTS = [0.0, 0.01, 0.05, 0.1, 0.15, 0.2, 0.25]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancelled_check_costs_the_others_nothing(moment: float) -> None:
    """Those who wait for the same message, or share its bulk request, get their answers in the same time."""
    emulator = Emulator()
    delivered(emulator, range(1, 21))
    records: list[StatusRecord] = []
    ends: list[float] = []

    async def check(client: StatusClient, id: int) -> None:
        records.append(await client.check(id, PHONE))
        ends.append(anyio.current_time())

    limiter = LocalLimiter()
    async with client_of(emulator, limiter=limiter) as client:
        began_at = anyio.current_time()
        async with anyio.create_task_group() as group:
            for k in range(1, 21):
                group.start_soon(check, client, k)
            async with anyio.create_task_group() as victims:
                for k in range(1, 11):
                    victims.start_soon(client.check, k, PHONE)
                await anyio.sleep(moment)
                victims.cancel_scope.cancel()
        assert len(records) == 20
        assert max(ends) - began_at <= 0.11
        assert client.stats().requests["bulk"] == 1
        assert emulator.referee.requests[Kind.BULK] == 1
        await anyio.sleep(75)
        assert limiter.is_idle()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("what", ["check", "stream", "delete", "everything"])
async def test_no_token_and_no_slot_leaks(moment: float, what: str) -> None:
    """When all is over, everything is back, and a new check goes at once."""
    emulator = Emulator(latency=0.02)
    delivered(emulator, range(1, 21))
    limiter = LocalLimiter()
    async with client_of(emulator, limiter=limiter, transport=Network(emulator, round_trip=0.15)) as client:
        with anyio.move_on_after(moment):
            async with anyio.create_task_group() as group:
                if what in ("check", "everything"):
                    for k in (1, 1, 2, 3, 4, 5, 6, 7):
                        group.start_soon(client.check, k, PHONE)
                if what in ("delete", "everything"):
                    for k in range(11, 17):
                        group.start_soon(client.delete, k, PHONE)
                if what in ("stream", "everything"):
                    async for _ in client.stream((k % 20 + 1, PHONE) for k in range(100)):
                        pass
        await anyio.sleep(100)
        stats = client.stats()
        assert (stats.open_requests, stats.waiting, stats.bulk_slot_in) == (0, 0, 0.0)
        assert limiter.is_idle()
        assert len(limiter.pacer) == 0
        assert engine_of(client).pending.is_empty
        assert engine_of(client).pending.waiting_with_deadline == 0
        assert engine_of(client).background_tasks <= 1  # the worker that stands by
        with anyio.fail_after(0.2):
            await client.check(20, PHONE)
    assert emulator.referee.no_violations


async def test_a_request_on_the_wire_is_not_aborted() -> None:
    """Its record serves the next caller that asks for it."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=10) as client:
        with anyio.move_on_after(5):
            await client.check(1, PHONE, max_age=10)
        await anyio.sleep(6)
        with anyio.fail_after(0.1):
            record = await client.check(1, PHONE, max_age=10)
    assert record.is_delivered
    assert emulator.referee.requests.total() == 1


async def test_ten_cancelled_waiters_cost_nothing() -> None:
    """A caller that gives up waiting for a token has used none."""
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        began_at = anyio.current_time()
        for _ in range(10):
            with anyio.move_on_after(1):
                await client.check(1, PHONE)
        await client.check(1, PHONE)
        assert anyio.current_time() - began_at < 61
