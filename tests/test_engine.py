"""What must not happen to those who wait, however the calls of others end."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Self

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of, held_by
from network import Network
from virtual import VirtualLoop

from smsc_status import (
    AuthError,
    ClientClosed,
    ConfigError,
    Detail,
    FailedCheck,
    LimitExceeded,
    Limits,
    LocalLimiter,
    ProtocolError,
    RequestTimeout,
    SmscError,
    StatusClient,
    StatusRecord,
    TransportError,
)
from smsc_status._core.drafts import bind
from smsc_status._core.scheduling.dispatch import Dispatcher, Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.scheduling.pending import PendingChecks
from smsc_status._runtime import engine as engine_module
from smsc_status._runtime.engine import Engine
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

DELIVERED = b'{"status": 1}'
WRONG_LOGIN = b'{"error": "authorise error", "error_code": 2}'


async def note(into: list[Any], call: Any) -> None:
    try:
        into.append(await call)
    except SmscError as error:
        into.append(error)


async def test_the_last_caller_may_leave_while_others_come() -> None:
    """Callers that come in the same turn of the loop are served."""
    emulator = Emulator()
    delivered(emulator, [1, 2, 3])
    async with client_of(emulator) as client:
        for _ in range(5):
            await client.check(1, PHONE)
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as victim:
                    victim.start_soon(client.check, 1, PHONE)
                    await anyio.sleep(1)
                    group.start_soon(note, results, client.check(2, PHONE))
                    group.start_soon(note, results, client.check(3, PHONE))
                    scope.cancel()
        assert [type(result) for result in results] == [StatusRecord, StatusRecord]


async def test_a_message_behind_one_that_was_given_up_goes_at_once() -> None:
    """Two messages share an id's last token, kept for the bulk lane; when one is given up, the other may go singly."""
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
            group.start_soon(note, results, client.check(1, "79990000001", max_wait=30))
            group.start_soon(note, results, client.check(1, "79990000002"))
        assert isinstance(results[0], LimitExceeded)
        assert results[0].retry_after == pytest.approx(61, abs=1)
        assert isinstance(results[1], StatusRecord)
        assert client.stats().bulk_slot_in > 60


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


@pytest.mark.parametrize("shown", [OSError("no clock"), datetime(2026, 3, 10), None, "noon"])
async def test_a_wall_clock_that_fails_is_replaced_by_the_system_s(
    shown: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is the caller's own: no answer is lost by it, and one line says so."""

    def broken() -> Any:
        if isinstance(shown, Exception):
            raise shown
        return shown

    async with answered_by(DELIVERED, wall_clock=broken) as client:
        for id in (1, 2):
            record = await client.check(id, PHONE)
            assert abs((datetime.now(UTC) - record.checked_at).total_seconds()) < 60
        tracked = [outcome async for outcome in client.track([(3, PHONE)])]
    assert [type(outcome) for outcome in tracked] == [StatusRecord]
    assert caplog.text.count("wall_clock failed") == 1


async def test_a_limiter_that_fails_is_asked_again_for_what_waits(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(LocalLimiter):
        failures = 1

        async def acquire(self, select: Any) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError("no connection to the other machines")
            return await super().acquire(select)

    async with answered_by(DELIVERED, limiter=Failing()) as client:
        assert (await client.check(1, PHONE)).status == 1
        assert [outcome.ref.id async for outcome in client.stream([(2, PHONE)])] == [2]
        assert [outcome.ref.id async for outcome in client.track([(3, PHONE)])] == [3]
        assert client.stats().waiting == 0
    assert "the limiter failed, and is asked again: OSError: no connection" in caplog.text


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


async def test_checks_one_after_the_other_are_the_work_of_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started for them."""
    started: list[Any] = []
    async with answered_by(DELIVERED) as client:
        await client.check(1, PHONE)
        monkeypatch.setattr(Engine, "spawn", lambda _engine, work: started.append(work))
        for k in range(2, 12):
            await client.check(k, PHONE)
    assert not started


async def test_a_refused_account_is_not_asked_again_for_what_was_on_its_way() -> None:
    class Mixed(httpx.AsyncBaseTransport):
        sent = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.sent += 1
            if self.sent == 1:
                await anyio.sleep(0.1)
                return httpx.Response(200, content=WRONG_LOGIN)
            await anyio.sleep(0.2)
            raise httpx.ReadError("cut")

    transport = Mixed()
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            for k in range(3):
                group.start_soon(note, results, client.check(k, PHONE))
        await anyio.sleep(100)
    assert [type(result) for result in results] == [AuthError] * 3
    assert transport.sent == 3


@pytest.mark.parametrize("ending", ["refused", "cancelled"])
async def test_a_deletion_that_was_given_up_is_never_sent(ending: str) -> None:
    """Also if its turn comes in the same moment."""
    transport = Answering(WRONG_LOGIN, after=1)
    limits = Limits(connections=1)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, limits=limits) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(note, results, client.check(1, PHONE))
            await anyio.sleep(0.5)
            with anyio.move_on_after(0.5 if ending == "cancelled" else None):
                await note(results, client.delete(2, PHONE))
        await anyio.sleep(30)
        assert {type(result) for result in results} == {AuthError}
    assert len(transport.requests) == 1


async def test_a_deletion_is_tried_again_only_if_it_surely_never_left() -> None:
    transport = Answering(httpx.ConnectError("refused"), httpx.ConnectError("refused"), b"OK")
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        await client.delete(1, PHONE)
    assert len(transport.requests) == 3
    transport = Answering(httpx.ReadError("cut"), b"OK")
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        with pytest.raises(TransportError):
            await client.delete(1, PHONE)
    assert len(transport.requests) == 1


async def test_a_call_moved_to_a_better_request_can_still_be_given_up() -> None:
    """Asked at BASIC and cut; meanwhile asked at FULL: one request serves both, and none if both have left."""

    class CutFirst(Network):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if not self.bodies:
                self.bodies.append(b"")
                await anyio.sleep(1)
                raise httpx.ReadError("cut")
            return await super().handle_async_request(request)

    emulator = Emulator()
    delivered(emulator, [1])
    for patience in (None, 2):
        network = CutFirst(emulator, round_trip=0.1)
        # One connection, which the cut request keeps for ten seconds.
        async with client_of(emulator, transport=network, limits=Limits(connections=1)) as client:
            results: list[Any] = []
            async with anyio.create_task_group() as group:
                with anyio.move_on_after(patience):
                    async with anyio.create_task_group() as inner:
                        inner.start_soon(note, results, client.check(1, PHONE))
                        await anyio.sleep(0.5)
                        inner.start_soon(note, results, client.check(1, PHONE, detail=Detail.FULL))
                group.cancel_scope.cancel()
            await anyio.sleep(60)
            assert len(network.bodies) == (2 if patience is None else 1)
            assert len(results) == (2 if patience is None else 0)


async def test_a_message_answered_at_a_higher_level_and_then_lost_at_the_lower_is_asked_once_more() -> None:
    """Once for all callers."""

    class Odd(Network):
        count = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.count += 1
            if self.count == 1:
                await anyio.sleep(3)
                raise httpx.ReadError("cut")
            return await super().handle_async_request(request)

    emulator = Emulator()
    delivered(emulator, [1])
    network = Odd(emulator, round_trip=1)
    async with client_of(emulator, transport=network) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(note, results, client.check(1, PHONE))
            await anyio.sleep(0.5)
            group.start_soon(note, results, client.check(1, PHONE, detail=Detail.FULL))
            await anyio.sleep(2.6)
            group.start_soon(note, results, client.check(1, PHONE))
        assert network.count == 3
        assert all(isinstance(result, StatusRecord) for result in results)
        assert engine_of(client).pending.is_empty


async def test_each_caller_has_an_error_of_its_own() -> None:
    async with answered_by(httpx.ReadError("cut"), limits=Limits(connections=1), retries=9) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            for phone in ("79990000001", "79990000001"):
                group.start_soon(note, results, client.check(1, phone, max_wait=5))
    one, two = results
    assert one is not two
    assert type(one) is type(two)


async def test_a_transport_s_own_time_out_is_a_request_timeout() -> None:
    async with answered_by(TimeoutError("its own"), retries=0) as client:
        with pytest.raises(RequestTimeout, match="its own") as caught:
            await client.check(1, PHONE)
        assert isinstance(caught.value.__cause__, TimeoutError)


async def test_a_call_that_moved_to_another_request_is_told_what_happened_to_the_first() -> None:
    """Another caller asks for more detail meanwhile. The first request had left in time, and was lost."""
    async with answered_by(
        httpx.ReadError("cut"), after=1.0, limits=Limits(connections=1), retries=3, timeout=20
    ) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            group.start_soon(note, results, client.check(1, PHONE, max_wait=0.5))
            await anyio.sleep(0.2)
            group.start_soon(note, results, client.check(1, PHONE, detail=Detail.FULL, timeout=5))
        assert type(results[0]) is TransportError
        assert "cut" in str(results[0])


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


async def test_many_impatient_callers_are_told_in_time() -> None:
    emulator = Emulator()
    delivered(emulator, [1])
    async with client_of(emulator, round_trip=1, limits=Limits(max_bulk=10)) as client:
        results: list[Any] = []
        async with anyio.create_task_group() as group:
            for k in range(200):
                group.start_soon(note, results, client.check(k + 1, PHONE, max_wait=5))
            await anyio.sleep(0.01)
            group.start_soon(note, results, client.check(999, PHONE, max_wait=5))
        assert len(results) == 201
        assert {type(result) for result in results} <= {StatusRecord, LimitExceeded}


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
        assert not engine_of(client).cancellables
        assert len([outcome async for outcome in client.stream(refs)]) == 10
        assert not engine_of(client).cancellables


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


async def test_a_stream_item_can_fail_by_itself() -> None:
    async with answered_by(httpx.Response(403)) as client:
        (outcome,) = [outcome async for outcome in client.stream([(1, PHONE)])]
    assert isinstance(outcome, FailedCheck)
    assert isinstance(outcome.error, ProtocolError)


async def test_a_deletion_given_up_in_the_moment_of_its_grant_is_not_sent() -> None:
    transport = Answering(b"OK")
    limiter = LocalLimiter(Limits(connections=1))
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport, limiter=limiter) as client:
        results: list[Any] = []
        permit = await limiter.acquire(lambda pacer, *, now: Request((), (7,), bulk=False))
        async with anyio.create_task_group() as group:
            group.start_soon(note, results, client.delete(1, PHONE))
            await anyio.sleep(1)
            await limiter.release(permit, RequestEnd.NOT_SENT)
            for other in list(engine_of(client).cancellables):
                other.give_up(AuthError(2))
        assert isinstance(results[0], AuthError)
        assert limiter.is_idle()
    assert transport.requests == []


def test_a_client_may_be_closed_in_another_loop_than_it_worked_in() -> None:
    client = answered_by(DELIVERED)
    anyio.run(client.check, 1, PHONE)
    anyio.run(client.aclose, backend="trio")
    assert "closed" in repr(client)


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


async def test_a_stream_that_was_closed_is_not_failed_by_an_error_in_the_same_moment() -> None:
    """The client tells all that were there when it began to tell them."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        stream = client.stream(refs)
        await anext(stream)
        others = list(engine_of(client).cancellables)
        await stream.aclose()
        for other in others:
            other.give_up(ClientClosed("the client was closed"))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)


@pytest.mark.parametrize("slow_id", [1, 2])
async def test_a_retry_does_not_wait_for_the_end_of_another_request(slow_id: int) -> None:
    """The one is cut at once, and answered at its second try; the other's answer takes long."""

    class Uneven(httpx.AsyncBaseTransport):
        has_cut = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if f"id={slow_id}&".encode() in await request.aread():
                await anyio.sleep(20)
            elif not self.has_cut:
                self.has_cut = True
                raise httpx.ReadError("cut")
            return httpx.Response(200, content=DELIVERED)

    answered_at: dict[int, float] = {}
    async with StatusClient(apikey="k", base_url="http://localhost", transport=Uneven()) as client:

        async def wait(id: int) -> None:
            await client.check(id, PHONE)
            answered_at[id] = anyio.current_time()

        began_at = anyio.current_time()
        async with anyio.create_task_group() as group:
            for id in (1, 2):
                group.start_soon(wait, id)
    assert answered_at[3 - slow_id] - began_at < 1
    assert answered_at[slow_id] - began_at >= 20


async def test_a_message_that_nobody_waits_for_is_not_asked_again() -> None:
    transport = Answering(httpx.ReadError("cut"), after=2)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        with anyio.move_on_after(1):
            await client.check(1, PHONE)
        await anyio.sleep(100)
        assert engine_of(client).pending.is_empty
    assert len(transport.requests) == 1


async def test_an_error_in_the_middle_of_a_reply_spoils_no_other_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = 0

    def odd(*args: Any) -> StatusRecord:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise ValueError("a bug")
        return bind(*args)

    monkeypatch.setattr("smsc_status._core.scheduling.pending.bind", odd)
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(refs)]
    assert len(outcomes) == 10
    assert sum(isinstance(outcome, StatusRecord) for outcome in outcomes) == 9


@pytest.mark.parametrize("work", ["check", "stream", "track"])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(engine_module, "read"), (PendingChecks, "conclude")],
    ids=["while it is read", "while it is handed out"],
)
async def test_an_unexpected_error_with_a_reply_leaves_no_caller_waiting(
    owner: Any, name: str, work: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each message has an outcome, or is tracked on; the slots are free again, and the client goes on."""
    method, mistakes = getattr(owner, name), 1

    def odd(*args: Any, **options: Any) -> Any:
        nonlocal mistakes
        if mistakes:
            mistakes -= 1
            raise ZeroDivisionError("a mistake of ours")
        return method(*args, **options)

    monkeypatch.setattr(owner, name, odd)
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    limiter = LocalLimiter()
    results: list[Any] = []
    async with client_of(emulator, limiter=limiter) as client:
        with anyio.fail_after(200):
            if work == "check":
                async with anyio.create_task_group() as group:
                    for ref in refs:
                        group.start_soon(note, results, client.check(ref.id, ref.phone))
            else:
                results = [outcome async for outcome in getattr(client, work)(refs)]
        assert len(results) == 10
        failures = [result.error if isinstance(result, FailedCheck) else result for result in results]
        if work == "track":  # which asks again by itself
            assert all(isinstance(result, StatusRecord) for result in results)
        else:
            assert {type(failure) for failure in failures} == {ProtocolError}
            assert all("ZeroDivisionError" in str(failure) for failure in failures)
        assert limiter.slots().open_requests == 0
        assert client.stats().waiting == 0
        assert engine_of(client).pending.is_empty
        assert (await client.check(1, PHONE)).is_delivered
        await anyio.sleep(80)
        assert limiter.is_idle()
    assert caplog.text.count("an answer could not be used") == 1


async def test_an_unexpected_error_after_a_reply_was_handed_out_changes_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the reply left out is asked again all the same."""

    def odd(*_: Any) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(Dispatcher, "bulk_succeeded", odd)
    rows = [{"status": 1, "id": id, "phone": PHONE} for id in range(2, 11)]
    results: list[Any] = []
    async with answered_by(json.dumps(rows).encode(), DELIVERED) as client:
        async with anyio.create_task_group() as group:
            for id in range(1, 11):
                group.start_soon(note, results, client.check(id, PHONE))
        assert client.stats().requests == {"bulk": 1, "single": 1, "delete": 0}
    assert sorted(result.ref.id for result in results) == list(range(1, 11))


async def test_secrets_are_taken_out_of_whatever_a_transport_raises() -> None:
    """Texts, bytes, containers, notes, chains and groups."""
    key = "key-of-ours"
    inner = ValueError({"form": [f"apikey={key}".encode(), 7, None]})
    inner.add_note(f"sent: {key}")
    error = ExceptionGroup("both", [inner, OSError(5, f"apikey={key}")])
    error.__context__ = RuntimeError((f"apikey={key}",))
    async with answered_by(error, apikey=key, retries=0) as client:
        with pytest.raises(TransportError) as caught:
            await client.check(1, PHONE)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [type(member) for member in cause.exceptions] == [ValueError, OSError]
    assert cause.exceptions[0].__notes__ == ["sent: ***"]
    assert isinstance(cause.__context__, RuntimeError)
    assert not [text for text in held_by(caught.value) if key in text]


async def test_any_async_iterator_will_do() -> None:
    async with answered_by(DELIVERED) as client:
        assert len([outcome async for outcome in client.stream(Bare())]) == 2


@pytest.mark.asyncio
@pytest.mark.virtual
async def test_a_waiter_cancelled_in_the_moment_of_its_grant_gives_the_permit_back() -> None:
    """As asyncio's own cancellation can do."""
    limiter = LocalLimiter(Limits(connections=1))
    permit = await limiter.acquire(lambda pacer, *, now: Request((), (7,), bulk=False))

    def select(pacer: Pacer, *, now: float) -> Request | float:
        return Request((), (8,), bulk=False) if pacer.free_slots(now=now) else float("inf")

    waiter = asyncio.ensure_future(limiter.acquire(select))
    await asyncio.sleep(1)
    await limiter.release(permit, RequestEnd.NOT_SENT)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    assert limiter.is_idle()


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
    monkeypatch.setattr(
        "smsc_status._runtime.engine._all", type(engine_module._all)([engine_of(one), engine_of(other)])
    )
    await one.check(1, PHONE)
    await other.aclose()
    before = dict(vars(engine_of(one)))
    engine_module._reset_after_fork()  # what the module has a fork call in the child
    assert one.stats().records == 0
    assert engine_of(one)._exchange is not before["_exchange"]
    assert (await one.check(2, PHONE)).is_delivered
    with pytest.raises(ConfigError, match="closed"):
        await other.check(1, PHONE)
    await one.aclose()
    await before["_exchange"].aclose()
