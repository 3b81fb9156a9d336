"""Law 6: if a request that the limits allow could serve a waiting message now, it is on its way now."""

from __future__ import annotations

import anyio
import pytest
from network import Network

from benchmarks.schedule import best_schedule
from smsc_status import FailedCheck, Limits, MessageRef, ParametersError, StatusClient
from smsc_status.emulator import Emulator

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROUND_TRIP = 0.1


@pytest.mark.parametrize(
    ("messages", "anyio_backend"),
    [(3, "asyncio"), (3, "trio"), (900, "asyncio"), (900, "trio"), (10_000, "asyncio")],  # more only go on as these do
    indirect=["anyio_backend"],
)
async def test_a_stream_ends_within_two_percent_of_the_best_schedule(messages: int) -> None:
    """Both lanes are busy whenever they may be."""
    emulator = Emulator()
    refs = [
        emulator.world.add(k, "79990000000", sent_at=emulator.now() - 3600, life=[(0, 1, 0)])
        for k in range(1, messages + 1)
    ]
    transport = Network(emulator, round_trip=ROUND_TRIP)
    async with StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport) as client:
        began_at = anyio.current_time()
        outcomes = [outcome async for outcome in client.stream(refs)]
        took = anyio.current_time() - began_at
    assert {outcome.ref for outcome in outcomes} == set(refs)
    assert len(outcomes) == messages
    assert took <= 1.02 * best_schedule(messages, ROUND_TRIP, Limits())
    assert emulator.referee.no_violations


@pytest.mark.parametrize(
    ("bad", "anyio_backend"),  # the search for the bad one knows no loop
    [(None, "asyncio"), (None, "trio"), (1234, "asyncio"), (9111, "trio")],
    indirect=["anyio_backend"],
)
async def test_a_mailing_goes_by_the_bulk_lane(bad: int | None) -> None:
    """One id and ten thousand phones: a thousand a minute; a bad phone among them costs a few requests, not answers."""
    emulator = Emulator()
    refs = [
        emulator.world.add(77, f"7999{k:07}", sent_at=emulator.now() - 3600, life=[(0, 1, 0)]) for k in range(10_000)
    ]
    if bad is not None:
        refs[bad] = MessageRef(77, "7999000123x")  # the server minds the letter
    transport = Network(emulator, round_trip=ROUND_TRIP)
    async with StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport) as client:
        began_at = anyio.current_time()
        outcomes = [outcome async for outcome in client.stream(refs)]
        took = anyio.current_time() - began_at
        stats = client.stats()
    assert sorted(outcome.ref.phone for outcome in outcomes) == sorted(ref.phone for ref in refs)
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedCheck)]
    assert [outcome.ref for outcome in failed] == ([] if bad is None else [refs[bad]])
    assert all(isinstance(outcome.error, ParametersError) for outcome in failed)
    assert emulator.referee.no_violations
    cycle = ROUND_TRIP + 61
    assert took <= (10 if bad is None else 17) * cycle
    assert stats.requests["single"] >= 2 * (took // cycle)  # the single lane has its share all the while


async def test_other_ids_are_not_held_up_by_a_mailing() -> None:
    """An id without tokens holds up no message behind it."""
    emulator = Emulator()
    now = emulator.now()
    mailing = [emulator.world.add(1, f"7999{k:07}", sent_at=now - 3600, life=[(0, 1, 0)]) for k in range(1500)]
    others = [emulator.world.add(k, "79990000000", sent_at=now - 3600, life=[(0, 1, 0)]) for k in range(2, 302)]
    transport = Network(emulator, round_trip=ROUND_TRIP)
    async with StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport) as client:
        began_at = anyio.current_time()
        ends = {}
        async for outcome in client.stream([*mailing, *others]):
            ends[outcome.ref] = anyio.current_time() - began_at
    assert max(ends[ref] for ref in others) < 300 / 4 * ROUND_TRIP + 1
