"""Outcomes in lists: how many at most, how late at most, and nothing lost by a cancellation. In virtual time."""

from __future__ import annotations

import gc
import random
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from helpers import PHONE, answered_by, client_of, delivered

from smsc_status import AuthError, ConfigError, FailedCheck, Limits, MessageRef, StatusRecord
from smsc_status._operations import tracker as tracking
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC).timestamp()
BOTH = pytest.mark.parametrize("how", ["stream", "track"])


async def at(*times: tuple[float, MessageRef]) -> AsyncIterator[MessageRef]:
    """Each message at its time, in seconds from the first."""
    began_at = anyio.current_time()
    for seconds, ref in times:
        await anyio.sleep(began_at + seconds - anyio.current_time())
        yield ref


def ids(outcomes: Iterable[StatusRecord | FailedCheck]) -> list[Any]:
    return [outcome.ref.id for outcome in outcomes]


async def test_a_batch_is_given_at_most_so_long_after_its_first_outcome() -> None:
    """The time counts from the first outcome, not from the call; the last batch does not wait."""
    emulator = Emulator()
    a, b, c, d = delivered(emulator, range(4))
    async with client_of(emulator, round_trip=0.1) as client:
        messages = at((10.0, a), (10.2, b), (10.5, c), (20.0, d))
        began_at = anyio.current_time()
        got = [(anyio.current_time() - began_at, ids(batch)) async for batch in client.stream(messages).batches(10, 1)]
    assert [batch for _, batch in got] == [[0, 1, 2], [3]]
    assert [time for time, _ in got] == pytest.approx([11.1, 20.1], abs=0.01)


@pytest.mark.slow
async def test_a_batch_of_what_is_tracked_is_given_in_time() -> None:
    """Wherever the outcomes come from: the first of a batch waits for exactly so long, if the batch is not the last."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    now = anyio.current_time
    async with client_of(emulator, wall_clock=lambda: datetime.fromtimestamp(START + now(), UTC)) as client:
        messages = at(*[(id * 0.7, ref) for id, ref in enumerate(refs)])
        waits = [
            START + now() - batch[0].checked_at.timestamp()
            async for batch in client.track(messages).batches(100, 2.0)
            if isinstance(batch[0], StatusRecord)
        ]
    assert len(waits) > 2
    assert waits[:-1] == pytest.approx([2.0] * (len(waits) - 1), abs=0.01)


@BOTH
async def test_a_batch_has_at_most_so_many_outcomes(how: str) -> None:
    """A full one is given at once."""
    emulator = Emulator()
    refs = delivered(emulator, range(10))
    async with client_of(emulator) as client:
        began_at = anyio.current_time()
        sizes = [len(batch) async for batch in getattr(client, how)(refs).batches(4, 1000.0)]
        assert anyio.current_time() - began_at < 100
    assert sizes == [4, 4, 2]


async def test_who_comes_late_does_not_wait_again() -> None:
    """The outcomes that came meanwhile have waited long enough."""
    emulator = Emulator()
    a, b, c = delivered(emulator, range(3))
    async with client_of(emulator, round_trip=0.1) as client:
        batches = client.stream(at((0.0, a), (3.0, b), (60.0, c))).batches(10, 1.0)
        assert ids(await anext(batches)) == [0]
        await anyio.sleep(10)
        began_at = anyio.current_time()
        assert ids(await anext(batches)) == [1]
        assert anyio.current_time() == began_at
        await batches.aclose()


@BOTH
async def test_a_cancelled_wait_for_a_batch_loses_nothing(how: str) -> None:
    """What was gathered is pending, and comes with the next batch, or one by one."""
    emulator = Emulator()
    a, b, c = delivered(emulator, range(3))
    async with client_of(emulator, round_trip=0.1) as client:
        stream = getattr(client, how)(at((0.0, a), (0.1, b), (600.0, c)))
        batches = stream.batches(10, 200.0)
        with anyio.move_on_after(100.0) as scope:
            await anext(batches)
        assert scope.cancelled_caught
        assert set(batches.pending()) == set(stream.pending()) == {a, b}
        one = await anext(stream)
        (other,) = await anext(batches)
        assert {one.ref, other.ref} == {a, b}
        assert batches.pending() == []
        await batches.aclose()


@pytest.mark.slow
@BOTH
async def test_cancellations_at_any_moment_lose_nothing_and_double_nothing(how: str) -> None:
    """Each outcome comes exactly once, in a batch of the allowed size."""
    emulator = Emulator()
    refs = delivered(emulator, range(100))
    chance = random.Random(1)
    got: list[int] = []
    async with client_of(emulator, limits=Limits(max_bulk=10)) as client:
        batches = getattr(client, how)(refs).batches(7, 0.5)
        while True:
            with anyio.move_on_after(chance.choice([0.0, 0.01, 0.1, 1.0, 10.0, 30.0])):
                try:
                    batch = await anext(batches)
                except StopAsyncIteration:
                    break
                assert 1 <= len(batch) <= 7
                got += ids(batch)
                assert not set(got) & {ref.id for ref in batches.pending()}
    assert sorted(got) == list(range(100))


async def test_a_refused_account_ends_the_batches_after_what_was_gathered() -> None:
    """The gathered outcomes come out, without a wait; the error has the others."""
    good = b'{"status": 1, "last_date": "10.03.2026 20:41:43", "last_timestamp": 1773175303}'
    bad = b'{"error": "authorise error", "error_code": 2}'
    a, b = MessageRef(1, PHONE), MessageRef(2, PHONE)
    async with answered_by(good, bad) as client:
        batches = client.stream(at((0.0, a), (0.5, b))).batches(10, 100.0)
        assert ids(await anext(batches)) == [1]
        assert anyio.current_time() < 1000
        with pytest.raises(AuthError) as caught:
            await anext(batches)
    assert caught.value.pending == (b,)


async def test_an_error_of_the_input_comes_after_what_was_gathered() -> None:
    """And after it the end."""
    emulator = Emulator()
    (a,) = delivered(emulator, [1])

    async def broken() -> AsyncIterator[MessageRef]:
        yield a
        raise OSError("the disk is gone")

    async with client_of(emulator) as client:
        batches = client.stream(broken()).batches(10, 100.0)
        assert ids(await anext(batches)) == [1]
        with pytest.raises(OSError, match="disk"):
            await anext(batches)
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


@pytest.mark.slow
@pytest.mark.measured
@BOTH
async def test_a_batch_may_be_larger_than_what_is_held(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for it, so it does not wait in vain."""
    monkeypatch.setattr(tracking, "HELD", 4)
    emulator = Emulator()
    refs = delivered(emulator, range(60))
    client = client_of(emulator, limits=Limits(max_bulk=1))  # a stream holds 4
    async with client, getattr(client, how)(refs).batches(20, 10_000.0) as batches:
        sizes = [len(batch) async for batch in batches]
    assert sizes == [20, 20, 20]


async def test_a_tracker_goes_on_at_once_when_a_batch_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """It was full, and does not wait for its next look at the clock."""
    monkeypatch.setattr(tracking, "HELD", 2)
    emulator = Emulator()
    refs = delivered(emulator, range(1, 10))
    async with client_of(emulator, limits=Limits(max_bulk=1)) as client:
        batches = client.track(refs).batches(2, 1.0)
        got = await anext(batches)
        await anyio.sleep(611)
        left = client.stats().tracked
        got += await anext(batches)
        await anyio.sleep(5)
        assert client.stats().tracked < left
        async for batch in batches:
            got += batch
    assert sorted(ids(got)) == list(range(1, 10))


@BOTH
async def test_batches_that_are_dropped_end_their_stream(how: str) -> None:
    """As a stream itself that is dropped."""
    emulator = Emulator()
    refs = delivered(emulator, range(100))
    async with client_of(emulator, limits=Limits(max_bulk=5)) as client:
        async for _ in getattr(client, how)(refs).batches(1, 0.0):
            break
        gc.collect()
        await anyio.sleep(1)
        before = client.stats().requests
        await anyio.sleep(600)
        assert client.stats().requests == before


async def test_a_closed_stream_gives_no_more_batches() -> None:
    """`pending` stays."""
    emulator = Emulator()
    refs = delivered(emulator, range(3))
    async with client_of(emulator) as client:
        batches = client.stream(refs).batches(1, 0.0)
        await anext(batches)
        await anyio.sleep(10)
        await batches.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(batches)
        assert len(batches.pending()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0), "max_size 0: expected a whole number, at least 1$"),
        ((True, 1.0), "max_size True"),
        ((2.5, 1.0), "max_size 2.5"),
        ((5, -1.0), "max_seconds -1.0: expected seconds, at least 0"),
        ((5, None), "max_seconds None"),
        ((5, float("nan")), "max_seconds nan"),
    ],
)
async def test_bad_arguments_are_refused_by_an_error_that_names_them(arguments: Any, message: str) -> None:
    """Before anything is sent."""
    stream = client_of(Emulator()).stream([])
    with pytest.raises(ConfigError, match=message):
        stream.batches(*arguments)


async def test_batches_are_iterated_over_with_async_for() -> None:
    """The error says so."""
    batches: Any = client_of(Emulator()).stream([]).batches(1, 1.0)
    with pytest.raises(TypeError, match="async for"):
        iter(batches)
