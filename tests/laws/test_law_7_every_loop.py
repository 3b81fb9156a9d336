"""Law 7: every public call works on every kind of event loop, in real time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import outcome
import pytest
import trio
import uvloop
from helpers import PHONE, answered_by, client_of, delivered, engine_of

from smsc_status import ConfigError, MessageRef, StatusClient
from smsc_status.emulator import Emulator

Main = Callable[[], Coroutine[Any, Any, None]]


def in_debug_mode(main: Main) -> None:
    asyncio.run(main(), debug=True)


def with_eager_tasks(main: Main) -> None:
    """Each task runs as soon as it is made, and may have ended before whoever made it goes on."""

    async def eager() -> None:
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]  # since 3.12
        await asyncio.create_task(main())

    asyncio.run(eager())


def on_uvloop(main: Main) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def as_guest(main: Callable[[], Awaitable[None]]) -> None:
    """Trio, inside an event loop of asyncio's."""

    async def host() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[outcome.Outcome[None]] = loop.create_future()
        trio.lowlevel.start_guest_run(
            main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=ended.set_result
        )
        (await ended).unwrap()

    asyncio.run(host())


KINDS: dict[str, Callable[[Main], None]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "asyncio in debug mode": in_debug_mode,
    "uvloop": on_uvloop,
    "trio": trio.run,
    "trio as a guest": as_guest,
}
if hasattr(asyncio, "eager_task_factory"):  # Python 3.12
    KINDS["asyncio with eager tasks"] = with_eager_tasks

AN_HOUR_AGO = datetime.now(UTC) - timedelta(hours=1)
REFS = [MessageRef(k, PHONE, AN_HOUR_AGO) for k in range(1, 8)]


async def check(client: StatusClient) -> None:
    assert (await client.check(1, PHONE)).is_delivered


async def check_many_at_once(client: StatusClient) -> None:
    async with anyio.create_task_group() as group:
        for k in (1, 1, 2, 3, 4, 5, 6, 7):
            group.start_soon(client.check, k, PHONE)


async def be_cancelled(client: StatusClient) -> None:
    with anyio.move_on_after(0.001):
        await client.check(1, PHONE)
    assert (await client.check(2, PHONE, max_wait=5, max_age=1, timeout=5)).is_delivered


async def stream(client: StatusClient) -> None:
    assert len([outcome async for outcome in client.stream(REFS)]) == len(REFS)


async def stream_from_an_async_generator(client: StatusClient) -> None:
    async with client.stream(endless()) as outcomes:
        async for _ in outcomes:
            break


async def leave_a_stream(client: StatusClient) -> None:
    async for _ in client.stream(REFS):
        break


async def track(client: StatusClient) -> None:
    assert len([outcome async for outcome in client.track(REFS)]) == len(REFS)


async def leave_a_track(client: StatusClient) -> None:
    tracked = client.track(endless())
    assert await anext(tracked)
    await tracked.aclose()
    assert tracked.pending()


async def delete(client: StatusClient) -> None:
    await client.delete(1, PHONE)
    with anyio.move_on_after(0.001):
        await client.delete(2, PHONE)


async def close_at_work(client: StatusClient) -> None:
    tracked, streamed = client.track(REFS), client.stream(endless())
    await anext(tracked)
    await anext(streamed)
    await client.aclose()
    assert client.stats().open_requests == 0


async def endless() -> AsyncIterator[MessageRef]:
    for ref in REFS:
        yield ref
    await anyio.sleep_forever()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "call",
    [
        check,
        check_many_at_once,
        be_cancelled,
        stream,
        stream_from_an_async_generator,
        leave_a_stream,
        track,
        leave_a_track,
        delete,
        close_at_work,
    ],
    ids=lambda call: call.__name__,
)
def test_every_call_works_on_every_loop(kind: str, call: Callable[[StatusClient], Awaitable[None]]) -> None:
    """And closing the client ends all that it has begun."""
    emulator = Emulator()
    delivered(emulator, range(1, 8))

    async def main() -> None:
        with anyio.fail_after(10):
            client = client_of(emulator, round_trip=0.002)
            await call(client)
            await client.aclose()
            assert engine_of(client).background_tasks == 0

    KINDS[kind](main)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_second_of_two_loops_that_come_at_once_is_refused(kind: str) -> None:
    """However the threads are switched; the other's calls are answered."""

    async def once() -> None:
        barrier.wait(10)
        try:
            with anyio.fail_after(10):
                records = [await client.check(k, PHONE) for k in (1, 2)]
            said.append(f"{len(records)} answers")
        except ConfigError as error:
            said.append(str(error).partition(":")[0])
        finally:
            await anyio.to_thread.run_sync(barrier.wait, 10)

    for _ in range(20):
        client, barrier = answered_by(b'{"status": 1}'), threading.Barrier(2)
        said: list[str] = []
        threads = [threading.Thread(target=KINDS[of], args=[once]) for of in ("asyncio", kind)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert sorted(said) == ["2 answers", "this client is at work in another event loop"]
