"""Streams and trackers inside the engine: inputs, consumers, and how they are closed or dropped."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, Self

import anyio
import httpx
import pytest
from engine_support import DELIVERED, note
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of
from virtual import VirtualLoop

from smsc_status import (
    ClientClosed,
    FailedCheck,
    LocalLimiter,
    ProtocolError,
    SmscError,
    StatusClient,
    StatusRecord,
)
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_two_consumers_may_take_from_one_stream() -> None:
    emulator = Emulator()
    delivered(emulator, range(1, 11))
    got: list[Any] = []

    async def consume(stream: Any) -> None:
        async for outcome in stream:
            got.append(outcome)
            await anyio.sleep(0.01)

    async with client_of(emulator) as client, anyio.create_task_group() as group:
        stream = client.stream([(k, PHONE) for k in range(1, 11)])
        group.start_soon(consume, stream)
        group.start_soon(consume, stream)
    assert sorted(outcome.ref.id for outcome in got) == list(range(1, 11))


async def test_closing_the_client_ends_a_stream_that_waits_for_its_input() -> None:
    async def silent() -> AsyncIterator[tuple[int, str]]:
        yield 1, PHONE
        await anyio.sleep_forever()

    client = answered_by(DELIVERED)
    stream = client.stream(silent())
    assert isinstance(await anext(stream), StatusRecord)
    async with anyio.create_task_group() as group:
        results: list[Any] = []
        group.start_soon(note, results, stream.__anext__())
        await anyio.sleep(1)
        await client.aclose()
    assert isinstance(results[0], ClientClosed)


@pytest.mark.slow
async def test_a_stream_of_a_closed_client_asks_no_more() -> None:
    """It ends with what it has, and takes no token."""
    emulator = Emulator()
    delivered(emulator, range(1, 5000))
    limiter = LocalLimiter()
    client = client_of(emulator, limiter=limiter)
    stream = client.stream((k, PHONE) for k in range(1, 5000))
    await anext(stream)
    await client.aclose()
    await anyio.sleep(80)
    ends: list[Any] = []
    while not ends or not isinstance(ends[-1], SmscError):
        await note(ends, stream.__anext__())
    assert isinstance(ends[-1], ClientClosed)
    assert len(ends[-1].pending) > 0
    assert limiter.is_idle()


class Bare:
    """An async iterator that can't be closed."""

    def __init__(self) -> None:
        self.left = [(1, PHONE), (2, PHONE)]

    def __aiter__(self) -> Bare:
        return self

    async def __anext__(self) -> tuple[int, str]:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop()


class Closing(Bare):
    """An input whose end fails."""

    async def aclose(self) -> None:
        raise ConnectionError("gone")


async def test_an_error_of_closing_the_input_is_raised() -> None:
    async with answered_by(DELIVERED) as client:
        stream = client.stream(Closing())
        assert isinstance(await anext(stream), StatusRecord)
        assert isinstance(await anext(stream), StatusRecord)
        with pytest.raises(ConnectionError, match="gone"):
            await anext(stream)


@pytest.mark.asyncio
@pytest.mark.virtual
async def test_an_input_that_waits_for_something_cancelled_fails() -> None:
    """Its cancellation is not the stream's."""

    async def odd() -> AsyncIterator[tuple[int, str]]:
        yield 1, PHONE
        task = asyncio.ensure_future(asyncio.sleep(100))
        task.cancel()
        await task

    async with answered_by(DELIVERED) as client:
        stream = client.stream(odd())
        assert isinstance(await anext(stream), StatusRecord)
        with pytest.raises(RuntimeError, match="cancelled"):
            await anext(stream)


async def test_input_that_arrives_after_a_stream_was_closed_is_pending_and_not_asked() -> None:
    gate = anyio.Event()

    async def gated() -> AsyncIterator[tuple[int, str]]:
        yield 1, PHONE
        try:
            await gate.wait()
        finally:
            pass
        yield 2, PHONE

    transport = Answering(DELIVERED)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        stream = client.stream(gated())
        await anext(stream)
        gate.set()
        await stream.aclose()
        await anyio.sleep(1)
    assert len(transport.requests) == 1


async def test_an_input_of_both_kinds_is_read_as_what_it_is_in_async_code() -> None:
    """Its synchronous methods may block, or raise because they are not to be used."""

    class Both:
        left = 3

        def __iter__(self) -> Self:
            return self

        def __next__(self) -> tuple[int, str]:
            raise TypeError("use `async for`")

        def __aiter__(self) -> Self:
            return self

        async def __anext__(self) -> tuple[int, str]:
            if not self.left:
                raise StopAsyncIteration
            self.left -= 1
            return self.left + 1, PHONE

    emulator = Emulator()
    delivered(emulator, [1, 2, 3])
    async with client_of(emulator) as client:
        assert len([record async for record in client.stream(Both())]) == 3
        assert len([record async for record in client.track(Both())]) == 3


async def test_nothing_is_kept_of_a_stream_that_was_dropped_with_all_its_answers_in() -> None:
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        stream = client.stream(refs)
        await anext(stream)
        await anyio.sleep(1)
        del stream
        gc.collect()
        await anyio.sleep(1)
        assert not engine_of(client).enlisted
        assert len([outcome async for outcome in client.stream(refs)]) == 10
        assert not engine_of(client).enlisted


async def test_a_stream_item_can_fail_by_itself() -> None:
    async with answered_by(httpx.Response(403)) as client:
        (outcome,) = [outcome async for outcome in client.stream([(1, PHONE)])]
    assert isinstance(outcome, FailedCheck)
    assert isinstance(outcome.error, ProtocolError)


def test_a_dropped_stream_lets_others_go_at_once() -> None:
    """By a callback of the loop, outside of any task."""

    async def main() -> None:
        emulator = Emulator()
        delivered(emulator, [1])
        async with client_of(emulator) as client:
            for _ in range(4):
                await client.check(1, PHONE)
            async with anyio.create_task_group() as group:  # the bulk slot is out
                for k in range(20, 30):
                    group.start_soon(client.check, k, PHONE)
            results: list[Any] = []
            async with anyio.create_task_group() as group:
                stream = client.stream([(5, PHONE), (1, "79990000001")])
                group.start_soon(note, results, client.check(1, "79990000002"))
                await anext(stream)
                await anyio.sleep(1)
                assert not results
                began_at = anyio.current_time()
                del stream
                gc.collect()
            assert isinstance(results[0], StatusRecord)
            assert anyio.current_time() - began_at < 1

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


async def test_a_stream_that_was_closed_is_not_failed_by_an_error_in_the_same_moment() -> None:
    """The client tells all that were there when it began to tell them."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        stream = client.stream(refs)
        await anext(stream)
        others = list(engine_of(client).enlisted)
        await stream.aclose()
        for other in others:
            other.give_up(ClientClosed("the client was closed"))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


async def test_any_async_iterator_will_do() -> None:
    async with answered_by(DELIVERED) as client:
        assert len([outcome async for outcome in client.stream(Bare())]) == 2
