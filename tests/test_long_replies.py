"""A long reply is read in portions, and others in the event loop have their turn between these."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
import trio
from anyio.lowlevel import checkpoint
from helpers import PHONE, Answering, engine_of
from trio.testing import MockClock
from virtual import VirtualLoop

from smsc_status import (
    ClientClosed,
    Detail,
    Format,
    LocalLimiter,
    MessageRef,
    ProtocolError,
    SmscError,
    StatusClient,
    StatusRecord,
    _loops,
)
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._core.wire import codecs, jsonfast, protocol
from smsc_status._core.wire.portions import ROWS
from smsc_status._runtime import reading as reading_module
from smsc_status.limiter import Permit

pytestmark = pytest.mark.anyio

COUNT = 1000
RECORDS = [
    StatusRecord(
        ref=MessageRef(id, PHONE),
        checked_at=datetime.now(UTC),
        status=1,
        err=0,
        type=0,
        id=id,
        phone=PHONE,
        message="Слово " * 40,
    )
    for id in range(COUNT)
]


def odd(*ids: int) -> bytes:
    """JSON whose records are not as documented, and so are read one by one."""
    return b"[" + b",".join(b'{"id": %d, "phone": "%s", "status": "1"}' % (id, PHONE.encode()) for id in ids) + b"]"


ODD = odd(*range(COUNT))


def body_of(format: Format, detail: Detail = Detail.FULL) -> bytes:
    return codecs.encode(RECORDS, format=format, detail=detail, charset="utf-8", bulk=True)


def ids_of(request: httpx.Request) -> list[str]:
    return parse_qs(request.content.decode())["id"][0].strip(",").split(",")


class Releases(LocalLimiter):
    """A limiter that notes how requests ended. It takes so many seconds for it."""

    def __init__(self, *, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.begun = 0
        self.ends: list[RequestEnd] = []

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        self.begun += 1
        if self.seconds:
            await anyio.sleep(self.seconds)
        self.ends.append(how)
        await super().release(permit, how)


class Pauses:
    """Counts the pauses of all that is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = 0
        monkeypatch.setattr(reading_module, "checkpoint", self._pause)

    async def _pause(self) -> None:
        self.made += 1
        await checkpoint()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    return Pauses(monkeypatch)


class Reading:
    """`COUNT` checks that wait for one bulk reply, and how they end."""

    def __init__(self, *answers: bytes | httpx.Response, release: float = 0.0, **options: Any) -> None:
        self.limiter = Releases(seconds=release)
        known: dict[str, Any] = {"apikey": "demo-key", "base_url": "http://localhost", "limiter": self.limiter}
        known["transport"] = Answering(*answers, after=1.0)
        self.client = StatusClient(**known | options)
        self.ends: list[StatusRecord | SmscError] = []

    async def check(self, id: int) -> None:
        try:
            self.ends.append(await self.client.check(id, PHONE))
        except SmscError as error:
            self.ends.append(error)

    async def begun(self) -> None:
        """Wait until a portion is read, and the limiter is told that the reply has come."""
        await anyio.sleep(1.0)
        while not self.limiter.begun:
            await checkpoint()
        assert not self.ends


@pytest.mark.slow
@pytest.mark.parametrize("detail", [Detail.BASIC, Detail.FULL])
@pytest.mark.parametrize("format", Format)
async def test_others_have_their_turn_while_a_long_reply_is_read(
    format: Format, detail: Detail, pauses: Pauses
) -> None:
    body = ODD if format is Format.JSON and detail is Detail.BASIC else body_of(format, detail)
    transport = Answering(body, after=1.0)
    reading = Reading(transport=transport, format=format, detail=detail)
    async with reading.client, anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
        await reading.begun()
        turns = 0
        while not reading.ends:
            await checkpoint()
            turns += 1
        asked = [(int(id), PHONE) for id in ids_of(transport.requests[0])]
        expected = sum(
            1
            for _ in codecs.decode_in_portions(
                body, format=format, detail=detail, charset="utf-8", asked=asked, bulk=True
            )
        )
        assert expected >= 5
        # There is one more pause, before the outcomes. Trio runs the tasks of a turn in any order. So this task may see
        # the beginning, or the end, a turn later than the reading does.
        assert pauses.made == expected + 1
        assert expected <= turns <= expected + 2
    assert {type(end) for end in reading.ends} == {StatusRecord}
    assert reading.limiter.ends == [RequestEnd.REPLIED]


async def test_the_limiter_learns_of_a_long_reply_at_the_first_pause(pauses: Pauses) -> None:
    """So the slot is free while the reply is read. The limiter is told in a task of its own, which may run a turn
    later.
    """
    reading = Reading(ODD)
    async with reading.client, anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
        await anyio.sleep(1.0)
        while reading.limiter.slots().open_requests:
            await checkpoint()
        assert 1 <= pauses.made <= 3
        assert not reading.ends
    assert pauses.made == COUNT // ROWS
    assert reading.limiter.ends == [RequestEnd.REPLIED]


@pytest.mark.slow
async def test_closing_while_the_limiter_is_told_of_a_long_reply_waits_until_it_knows() -> None:
    reading = Reading(ODD, release=1.0)
    async with anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
        await reading.begun()
        await reading.client.aclose()
    assert reading.limiter.ends == [RequestEnd.REPLIED]
    assert reading.limiter.slots().open_requests == 0
    assert {type(end) for end in reading.ends} == {ClientClosed}


async def test_a_task_that_cannot_be_started_does_not_keep_the_permit(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(ODD)

    def spawn(*_: Any, **__: Any) -> None:
        raise LookupError("no task")

    async with reading.client, anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
        await anyio.sleep(0.5)
        monkeypatch.setattr(engine_of(reading.client), "spawn", spawn)
        await anyio.sleep(1.0)
        monkeypatch.undo()
    assert {str(end) for end in reading.ends} == {str(ProtocolError("the answer could not be used: LookupError"))}
    assert reading.limiter.ends == [RequestEnd.REPLIED]


@pytest.mark.parametrize("seconds", [0.1, 20.0], ids=["a worker waits", "no worker waits"])
async def test_a_message_that_a_long_reply_leaves_out_is_asked_again(seconds: float, pauses: Pauses) -> None:
    """Although the limiter is told of the reply before the message waits again."""
    count = ROWS + 10  # few enough outcomes to be told in one turn, after which the engine would look again anyway

    async def answer(request: httpx.Request) -> httpx.Response:
        ids = ids_of(request)
        if len(ids) == count:
            await anyio.sleep(2.0)
            return httpx.Response(200, content=odd(*range(1, count)))
        await anyio.sleep(seconds if ids == [str(count)] else 0.1)
        return httpx.Response(200, content=b'{"status": 1}')

    reading = Reading(transport=httpx.MockTransport(answer))
    async with reading.client:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for id in range(count):
                    group.start_soon(reading.check, id)
                await anyio.sleep(1.0)
                group.start_soon(reading.check, count)
                await anyio.sleep(9.0)
                assert len(reading.ends) == count + (seconds < 1.0)
    assert {type(end) for end in reading.ends} == {StatusRecord}
    assert pauses.made >= 2


async def test_closing_while_a_reply_is_read_fails_all_callers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read, generators = protocol.read_in_portions, []

    def noted(*args: Any, **kwargs: Any) -> Any:
        generators.append(read(*args, **kwargs))
        return generators[-1]

    monkeypatch.setattr(protocol, "read_in_portions", noted)
    reading = Reading(ODD)
    async with anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
        await reading.begun()
        began_at = anyio.current_time()
        await reading.client.aclose()
        assert anyio.current_time() == began_at
    assert len(reading.ends) == COUNT
    assert {type(end) for end in reading.ends} == {ClientClosed}
    assert reading.limiter.ends == [RequestEnd.REPLIED]
    assert reading.limiter.slots().open_requests == 0
    assert engine_of(reading.client).background_tasks == 0
    assert engine_of(reading.client).open_requests == 0
    assert [inspect.getgeneratorstate(generator) for generator in generators] == ["GEN_CLOSED"]


@pytest.mark.slow
async def test_a_caller_that_leaves_while_the_reply_is_read_does_not_stop_the_reading() -> None:
    reading = Reading(ODD)
    async with reading.client, anyio.create_task_group() as group, anyio.create_task_group() as leaving:
        for id in range(COUNT):
            (leaving if id % 2 else group).start_soon(reading.check, id)
        await reading.begun()
        leaving.cancel_scope.cancel()
    assert len(reading.ends) == COUNT // 2
    assert {type(end) for end in reading.ends} == {StatusRecord}


@pytest.mark.slow
async def test_a_mistake_while_a_long_reply_is_read_is_every_caller_s_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # A mistake in the midst of reading, which no reply brings about.
    good: Callable[[Any], StatusRecord] = jsonfast._record

    def bad(wire: Any) -> StatusRecord:
        if wire.id == COUNT - 1:
            raise LookupError("a mistake")
        return good(wire)

    monkeypatch.setattr(jsonfast, "_record", bad)
    reading = Reading(body_of(Format.JSON), detail=Detail.FULL)
    async with reading.client, anyio.create_task_group() as group:
        for id in range(COUNT):
            group.start_soon(reading.check, id)
    assert {str(end) for end in reading.ends} == {str(ProtocolError("the answer could not be used: LookupError"))}
    assert reading.limiter.ends == [RequestEnd.REPLIED]


async def test_a_short_reply_is_read_without_a_pause() -> None:
    reading = Reading(b'{"status": 1}')
    async with reading.client:
        await reading.check(1)
        assert engine_of(reading.client).background_tasks == 1, "the worker"
    assert reading.limiter.ends == [RequestEnd.REPLIED]


def left_in_asyncio(main: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())  # type: ignore[arg-type]  # a coroutine


def left_in_trio(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.slow
@pytest.mark.parametrize("run", [left_in_asyncio, left_in_trio])
def test_a_client_whose_loop_ends_while_a_reply_is_read_works_in_another(run: Callable[..., None]) -> None:
    """The end of a loop cancels what runs in it."""
    reading = Reading(ODD, odd(1))

    async def leave() -> None:
        for id in range(COUNT):
            _loops.spawn(partial(reading.check, id))
        await reading.begun()

    async def go_on() -> None:
        async with reading.client:
            assert (await reading.client.check(1, PHONE)).status == 1

    run(leave)
    assert {type(end) for end in reading.ends} <= {ClientClosed}
    assert engine_of(reading.client).open_requests == 0
    run(go_on)
    assert reading.limiter.ends == [RequestEnd.REPLIED] * 2


def test_a_task_that_is_destroyed_while_it_reads_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    """A loop of asyncio that is closed destroys its tasks later, perhaps while another loop runs."""
    reading = Reading(ODD, odd(1))
    client_engine = engine_of(reading.client)
    loop = VirtualLoop()
    request_tasks: list[Any] = []
    # To have the coroutines, which the loop would destroy at a time of its own.
    carry_out = client_engine._carry_out

    def noted(*args: Any) -> Any:
        request_tasks.append(carry_out(*args))
        return request_tasks[-1]

    async def leave() -> None:
        for id in range(COUNT):
            _loops.spawn(partial(reading.check, id))
        await reading.begun()

    async def go_on() -> None:
        await client_engine.bind()
        while request_tasks:
            request_tasks.pop().close()
        assert client_engine.open_requests == 0
        assert not client_engine._is_wake_scheduled
        async with reading.client:
            assert (await reading.client.check(1, PHONE)).status == 1

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(client_engine, "_carry_out", noted)
        loop.run_until_complete(leave())
    assert client_engine.open_requests == 1
    loop.close()
    left_in_asyncio(go_on)
    assert not reading.ends
    assert reading.limiter.ends == [RequestEnd.REPLIED] * 2
    assert not caplog.records
