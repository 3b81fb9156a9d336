"""What must not happen to those who wait, however the calls of others end."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any

import anyio
import httpx
import pytest
from engine_support import DELIVERED, note
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of
from network import Network

from smsc_status import (
    AuthError,
    Detail,
    LimitExceeded,
    Limits,
    LocalLimiter,
    MessageRef,
    RequestTimeout,
    StatusClient,
    StatusRecord,
    TransportError,
    _loops,
)
from smsc_status._core.scheduling.checks import Request
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._runtime.engine import Engine
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio


WRONG_LOGIN = b'{"error": "authorise error", "error_code": 2}'


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


@pytest.mark.slow
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
            for other in list(engine_of(client).enlisted):
                other.give_up(AuthError(2))
        assert isinstance(results[0], AuthError)
        assert limiter.is_idle()
    assert transport.requests == []


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


class Asking:
    """A subscriber that asks once more when it has its answer, and changes its mind at once."""

    start_by = inf
    link = None
    has_plan = False

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ref: MessageRef = MessageRef(1, PHONE)

    def on_result(self, outcome: object) -> None:
        check = self.engine.ask(Detail.BASIC, self, now=_loops.now())
        self.engine.drop(check, self)


async def test_work_that_comes_and_goes_with_an_answer_starts_no_second_worker() -> None:
    """The worker that has just become idle takes a look."""
    async with answered_by(DELIVERED) as client:
        engine = engine_of(client)
        await engine.bind()
        engine.ask(Detail.BASIC, Asking(engine), now=_loops.now())
        await anyio.sleep(10)
        assert engine.background_tasks == 1
        assert (await client.check(2, PHONE)).is_delivered
