"""The end of a client and of its event loop, other loops, and forked processes."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from engine_support import DELIVERED, note
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of
from virtual import VirtualLoop

from smsc_status import (
    ClientClosed,
    ConfigError,
    Limits,
    LocalLimiter,
    StatusClient,
)
from smsc_status._core.scheduling.checks import Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._runtime import engine as engine_module
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


async def test_closing_a_client_in_the_turn_of_a_check_fails_the_check() -> None:
    results: list[Any] = []
    client = answered_by(DELIVERED, after=1)

    async def close() -> None:
        while not client.stats().waiting:
            await checkpoint()
        await client.aclose()

    async with anyio.create_task_group() as group:
        group.start_soon(note, results, client.check(1, PHONE))
        group.start_soon(close)
    assert isinstance(results[0], ClientClosed)


async def test_closing_does_not_wait_for_ever_for_a_transport_that_does_not_close() -> None:
    """Nor can whoever closes the client be cancelled meanwhile."""

    class Open(Answering):
        async def aclose(self) -> None:
            await anyio.sleep_forever()

    client = StatusClient(apikey="k", base_url="http://localhost", transport=Open(DELIVERED))
    await client.check(1, PHONE)
    began_at = anyio.current_time()
    with anyio.move_on_after(1):
        await client.aclose()
    assert anyio.current_time() - began_at == pytest.approx(10)


async def test_whoever_closes_a_client_once_more_waits_until_it_is_closed() -> None:
    class Slow(Answering):
        is_closed = False

        async def aclose(self) -> None:
            await anyio.sleep(3)
            self.is_closed = True

    transport = Slow(DELIVERED)
    client = StatusClient(apikey="k", base_url="http://localhost", transport=transport)
    await client.check(1, PHONE)
    async with anyio.create_task_group() as group:
        group.start_soon(client.aclose)
        await anyio.sleep(1)
        await client.aclose()
        assert transport.is_closed
    await client.aclose()


async def test_closing_does_not_wait_for_ever_for_a_transport_that_does_not_listen() -> None:
    class Deaf(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(100)
            return httpx.Response(200, content=DELIVERED)

    client = StatusClient(apikey="k", base_url="http://localhost", transport=Deaf())
    with anyio.move_on_after(1):
        await client.check(1, PHONE)
    began_at = anyio.current_time()
    await client.aclose()
    assert anyio.current_time() - began_at <= 10
    await anyio.sleep(100)


@pytest.mark.slow
async def test_the_limiter_of_clients_that_are_gone_is_gone() -> None:
    emulator = Emulator()
    delivered(emulator, [1])

    def limiters() -> int:
        gc.collect()
        return sum(isinstance(thing, LocalLimiter) for thing in gc.get_objects())

    before = limiters()
    for _ in range(20):
        async with client_of(emulator) as client:
            await client.check(1, PHONE)
    await anyio.sleep(100)
    del client
    assert limiters() - before < 2


def test_a_loop_that_was_torn_down_takes_its_waiters_along() -> None:
    """The client works on, in another one."""
    emulator = Emulator()
    delivered(emulator, range(1, 11))
    client = client_of(emulator, limits=Limits(connections=1))

    loop = VirtualLoop()
    tasks = [loop.create_task(client.check(k, PHONE)) for k in range(1, 11)]
    loop.run_until_complete(asyncio.sleep(0.05))
    for task in asyncio.all_tasks(loop):
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # torn down on purpose
    loop.close()
    del tasks, task
    gc.collect()

    async def main() -> None:
        assert (await client.check(1, PHONE)).is_delivered
        assert client.stats().waiting == 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_a_client_whose_idle_worker_was_cancelled_works_on() -> None:
    """Some frameworks cancel all tasks of a loop before they run it again."""
    client = answered_by(DELIVERED)
    loop = VirtualLoop()

    async def main() -> None:
        with anyio.fail_after(10):
            assert (await client.check(1, PHONE)).is_delivered

    loop.run_until_complete(main())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(1))
    loop.run_until_complete(main())
    loop.run_until_complete(client.aclose())
    loop.close()


def test_an_idle_worker_that_ends_in_the_loop_before_disturbs_none_in_the_present_one() -> None:
    client = answered_by(DELIVERED)
    before, present = VirtualLoop(), VirtualLoop()

    async def main() -> None:
        with anyio.fail_after(10):
            assert (await client.check(1, PHONE)).is_delivered

    for loop in (before, present):
        loop.run_until_complete(main())
    before.run_until_complete(asyncio.sleep(1))  # the worker there is told only now
    present.run_until_complete(main())
    assert engine_of(client).background_tasks == 1
    present.run_until_complete(client.aclose())
    for loop in (before, present):
        loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_slot_given_back_in_one_loop_wakes_waiters_of_another(backend: str) -> None:
    """Two threads, a loop each, one limiter with one slot."""
    limiter = LocalLimiter(Limits(connections=1))
    took: list[float] = []

    async def hold() -> None:
        async with answered_by(DELIVERED, after=0.5, limiter=limiter) as client:
            await client.check(1, PHONE)

    async def wait() -> None:
        async with answered_by(DELIVERED, limiter=limiter) as client:
            await anyio.sleep(0.1)
            await client.check(2, PHONE)
            took.append(time.monotonic() - began)

    began = time.monotonic()
    other = threading.Thread(target=lambda: anyio.run(hold, backend="asyncio"))
    mine = threading.Thread(target=lambda: anyio.run(wait, backend=backend))
    other.start()
    mine.start()
    mine.join(timeout=10)
    other.join(timeout=10)
    assert len(took) == 1
    assert took[0] < 3


def test_a_client_may_be_closed_in_another_loop_than_it_worked_in() -> None:
    client = answered_by(DELIVERED)
    anyio.run(client.check, 1, PHONE)
    anyio.run(client.aclose, backend="trio")
    assert "closed" in repr(client)


def test_a_client_leaves_nothing_at_work_in_the_loop_that_it_has_left() -> None:
    """Idle in one loop that stands still, used in another, and back."""
    limiter = LocalLimiter()
    client = answered_by(DELIVERED, limiter=limiter)

    async def elsewhere() -> None:
        await client.check(2, PHONE)
        permit = await limiter.acquire(lambda pacer, *, now: Request((), (7,), bulk=False))
        await limiter.release(permit, RequestEnd.NOT_SENT)

    async def back() -> None:
        await anyio.sleep(0.05)
        await client.check(3, PHONE)
        await client.aclose()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.check(1, PHONE))
    anyio.run(elsewhere, backend="trio")
    loop.run_until_complete(back())
    loop.close()


def test_a_worker_left_behind_in_another_loop_selects_nothing() -> None:
    """A limiter that asks it there gets no request."""
    client = answered_by(DELIVERED)
    anyio.run(client.check, 1, PHONE)
    engine = engine_of(client)

    async def elsewhere() -> None:
        pacer = Pacer(Limits())
        # A limiter has the selector; nobody else does.
        assert engine._select(pacer, now=0.0) == float("inf")

    anyio.run(elsewhere)


async def test_in_a_forked_process_a_client_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has counted, what waits, and its sockets are the parent's; whether it is closed stays."""
    one, other = answered_by(DELIVERED), answered_by(DELIVERED)
    # Only these two, and none of other tests.
    monkeypatch.setattr(
        "smsc_status._runtime.engine._all", type(engine_module._all)([engine_of(one), engine_of(other)])
    )
    await one.check(1, PHONE)
    await other.aclose()
    before = dict(vars(engine_of(one)))
    engine_module._reset_after_fork()  # what the module has a fork call in the child
    assert one.stats().records == 0
    # Its sockets, which nothing outside shows.
    assert engine_of(one)._exchange is not before["_exchange"]
    assert (await one.check(2, PHONE)).is_delivered
    with pytest.raises(ConfigError, match="closed"):
        await other.check(1, PHONE)
    await one.aclose()
    await before["_exchange"].aclose()


async def test_an_idle_client_of_a_loop_that_runs_is_refused_to_another_loop() -> None:
    """Its loop may use it again at any moment."""
    client = answered_by(DELIVERED)

    async def elsewhere() -> None:
        with pytest.raises(ConfigError, match="another event loop"):
            await client.check(2, PHONE)

    assert (await client.check(1, PHONE)).is_delivered
    with ThreadPoolExecutor(1) as thread:
        thread.submit(anyio.run, elsewhere).result()
    assert client.stats().records == 1
    await client.aclose()
