"""Nobody else in the event loop has to wait for long, however many are told, turned down, read or given up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from engine_support import note
from helpers import PHONE, Answering
from virtual import block

from smsc_status import (
    AuthError,
    ClientClosed,
    LimiterUnavailable,
    LimitExceeded,
    LocalLimiter,
    RequestTimeout,
    SmscError,
    StatusClient,
    StatusRecord,
    _loops,
)
from smsc_status._core.scheduling.pending import PORTION
from smsc_status._operations.source import READ_AT_ONCE
from smsc_status._runtime import engine
from smsc_status._runtime.engine import COALESCING_SECONDS

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

MANY = 2000
WRONG_LOGIN = b'{"error": "authorise error", "error_code": 2}'
BULK = b"[" + b",".join(b'{"id": %d, "phone": "%s", "status": 1}' % (id, PHONE.encode()) for id in range(1000)) + b"]"


class Turns:
    """Counts what happens in each turn of the loop. It keeps no turn going, so that virtual time can pass."""

    def __init__(self) -> None:
        self.happened: list[int] = []
        self._is_counting = False

    def note(self) -> None:
        """Something happens now."""
        if not self._is_counting:
            self._is_counting = True
            self.happened.append(0)
            _loops.call_soon(self._end_turn)
        self.happened[-1] += 1

    def _end_turn(self) -> None:
        self._is_counting = False

    @property
    def most(self) -> int:
        """How much has happened in one turn at the most."""
        return max(self.happened)


class Checks:
    """Many checks that wait, each in a task, and how each has ended."""

    def __init__(self, client: StatusClient, turns: Turns, *, one_message: bool = False, **options: Any) -> None:
        self.ends: list[StatusRecord | SmscError] = []
        self.begun = anyio.Event()
        self._client = client
        self._turns = turns
        self._one_message = one_message
        self._options = options

    async def wait_for(self, number: int) -> None:
        """One of them."""
        try:
            self.ends.append(await self._client.check(0 if self._one_message else number, PHONE, **self._options))
        except SmscError as error:
            self.ends.append(error)
        self._turns.note()
        self.begun.set()

    def kinds(self) -> set[type]:
        """What their ends are."""
        return {type(end) for end in self.ends}


def client_with(transport: Answering, **options: Any) -> StatusClient:
    return StatusClient(apikey="demo-key", base_url="http://localhost", transport=transport, **options)


def sizes(transport: Answering) -> list[int]:
    """Of how many messages the requests were."""
    return [len(parse_qs(request.content.decode())["id"][0].strip(",").split(",")) for request in transport.requests]


@pytest.mark.parametrize("one_message", [False, True])
async def test_closing_tells_all_callers_in_portions_before_it_returns(one_message: bool) -> None:
    turns = Turns()
    client = client_with(Answering(WRONG_LOGIN, after=5.0))
    async with anyio.create_task_group() as group:
        checks = Checks(client, turns, one_message=one_message)
        for number in range(MANY):
            group.start_soon(checks.wait_for, number)
        await anyio.sleep(1)
        await client.aclose()
        await checkpoint()
        await checkpoint()
        assert len(checks.ends) == MANY
    assert checks.kinds() == {ClientClosed}
    assert turns.most <= 2 * PORTION


async def test_a_cancelled_closing_waits_until_all_callers_are_told() -> None:
    turns = Turns()
    client = client_with(Answering(WRONG_LOGIN, after=5.0))
    async with anyio.create_task_group() as group:
        checks = Checks(client, turns)
        for number in range(MANY):
            group.start_soon(checks.wait_for, number)
        await anyio.sleep(1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.aclose()
    assert len(checks.ends) == MANY


async def test_an_account_error_is_told_in_portions_and_does_not_concern_later_callers() -> None:
    turns = Turns()
    transport = Answering(WRONG_LOGIN, b'{"status": 1}', after=1.0)
    async with client_with(transport) as client, anyio.create_task_group() as group:
        checks = Checks(client, turns)
        for number in range(MANY):
            group.start_soon(checks.wait_for, number)
        await checks.begun.wait()
        assert len(checks.ends) < MANY
        record = await client.check(MANY - 1, PHONE)  # as another is still to be told
        assert isinstance(record, StatusRecord)
    records = [end for end in checks.ends if isinstance(end, StatusRecord)]
    assert len(records) <= 3, "those that were on their way as well"
    assert checks.kinds() - {StatusRecord} == {AuthError}
    assert len(checks.ends) == MANY
    assert turns.most <= 2 * PORTION


async def test_a_caller_that_leaves_before_its_turn_is_told_nothing() -> None:
    """All others are told once."""
    turns = Turns()
    client = client_with(Answering(WRONG_LOGIN, after=1.0))
    async with anyio.create_task_group() as group:
        checks = Checks(client, turns)
        for number in range(MANY // 2):
            group.start_soon(checks.wait_for, number)
        async with anyio.create_task_group() as leaving:
            leavers = Checks(client, turns)
            for number in range(MANY // 2, MANY):
                leaving.start_soon(leavers.wait_for, number)
            await checks.begun.wait()
            leaving.cancel_scope.cancel()
    assert len(checks.ends) == MANY // 2
    assert len(leavers.ends) < MANY // 2
    assert client.stats().waiting == 0
    await client.aclose()


@pytest.mark.parametrize("one_message", [False, True])
async def test_a_reply_is_handed_out_in_portions(one_message: bool) -> None:
    turns = Turns()
    transport = Answering(b'{"status": 1}' if one_message else BULK, after=1.0)
    async with client_with(transport) as client:
        checks = Checks(client, turns, one_message=one_message)
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(checks.wait_for, number)
    assert checks.kinds() == {StatusRecord}
    assert sizes(transport) == [1 if one_message else 1000]
    assert turns.most <= 2 * PORTION


@pytest.mark.measured
async def test_one_of_many_callers_of_a_message_may_leave_before_its_turn() -> None:
    turns = Turns()
    async with client_with(Answering(b'{"status": 1}', after=1.0)) as client:
        checks = Checks(client, turns, one_message=True, timeout=5.0)
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(checks.wait_for, number)
            await checks.begun.wait()
            group.cancel_scope.cancel()
    assert len(checks.ends) <= 3 * PORTION


async def test_callers_whose_time_is_too_short_are_told_in_portions() -> None:
    turns = Turns()
    async with client_with(Answering(WRONG_LOGIN, after=9.0)) as client:
        checks = Checks(client, turns, max_wait=2.0)
        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(checks.wait_for, number)
            await anyio.sleep(5)
            assert MANY - 1010 < len(checks.ends) <= MANY - 1000
            assert checks.kinds() == {LimitExceeded}
    assert turns.most <= 2 * PORTION


class Failing(LocalLimiter):
    """A limiter that can't be reached."""

    async def acquire(self, select: Any) -> Any:
        """Not now."""
        raise OSError("away")


@pytest.mark.measured
async def test_callers_are_told_in_portions_of_a_limiter_that_fails() -> None:
    turns = Turns()
    async with client_with(Answering(WRONG_LOGIN), limiter=Failing()) as client:
        checks = Checks(client, turns, max_wait=0.0)
        async with anyio.create_task_group() as group:
            for number in range(MANY):
                group.start_soon(checks.wait_for, number)
    assert checks.kinds() == {LimiterUnavailable}
    assert len(checks.ends) == MANY
    assert turns.most <= 2 * PORTION


Inputs = Callable[[Turns], Any]


def a_list_that_is_read(turns: Turns) -> Iterator[tuple[int, str]]:
    for number in range(3000):
        turns.note()
        yield number, PHONE


async def a_generator_that_never_waits(turns: Turns) -> AsyncIterator[tuple[int, str]]:
    for value in a_list_that_is_read(turns):
        yield value


@pytest.mark.parametrize("of", [a_list_that_is_read, a_generator_that_never_waits])
@pytest.mark.parametrize("how", ["stream", "track"])
async def test_an_input_is_read_in_slices_and_the_first_request_is_full_all_the_same(of: Inputs, how: str) -> None:
    turns = Turns()
    transport = Answering(BULK, after=1.0)
    async with client_with(transport) as client:
        outcomes = client.stream(of(turns)) if how == "stream" else client.track(of(turns), look_ahead=None)
        async with outcomes:
            assert isinstance(await anext(outcomes), StatusRecord)
    assert sizes(transport)[0] == 1000
    assert turns.most <= 2 * READ_AT_ONCE


async def test_a_slow_input_does_not_hold_up_a_check_for_long() -> None:
    def slow() -> Iterator[tuple[int, str]]:
        for number in range(1, 20_000):
            block(COALESCING_SECONDS / READ_AT_ONCE / 10)
            yield number, PHONE

    transport = Answering(b'{"status": 1}')
    async with client_with(transport) as client, anyio.create_task_group() as group:
        group.start_soon(anext, client.track(slow(), look_ahead=None))
        began_at = anyio.current_time()
        await checkpoint()
        await client.check(0, PHONE)
        assert anyio.current_time() < began_at + 5 * COALESCING_SECONDS
        group.cancel_scope.cancel()


async def test_a_stream_that_was_left_is_given_up_in_portions_and_asks_no_more() -> None:
    transport = Answering(b'{"status": 1}', after=1.0)
    async with client_with(transport) as client, anyio.create_task_group() as group:
        ended: list[object] = []
        stream = client.stream([(number, PHONE) for number in range(5000)])

        async def take() -> None:
            ended.append(await anext(stream, None))

        group.start_soon(take)
        await anyio.sleep(0.5)
        waiting = client.stats().waiting
        left: list[int] = []

        async def watch() -> None:
            while not left or left[-1]:
                left.append(client.stats().waiting)
                await checkpoint()

        group.start_soon(watch)
        await stream.aclose()
        assert max(before - after for before, after in pairwise([waiting, *left])) <= 2 * PORTION
        assert client.stats().waiting == 0
        assert len(stream.pending()) == 4000
        await anyio.sleep(100)
        assert ended == [None]
        assert sum(sizes(transport)) <= 4000 - waiting


@pytest.mark.measured
async def test_outcomes_that_come_while_a_stream_is_closing_stay_pending() -> None:
    transport = Answering(BULK, after=1.0)
    async with client_with(transport) as client:
        stream = client.stream([(number, PHONE) for number in range(1000)])
        first = await anext(stream)
        await stream.aclose()
        assert isinstance(first, StatusRecord)
        assert len(stream.pending()) == 999
        assert await anext(stream, None) is None


async def test_a_check_that_times_out_while_others_are_told_ends_with_its_time_out() -> None:
    turns = Turns()
    async with client_with(Answering(BULK, after=1.0)) as client:
        checks = Checks(client, turns, timeout=1.0)
        async with anyio.create_task_group() as group:
            for number in range(1000):
                group.start_soon(checks.wait_for, number)
    assert len(checks.ends) == 1000
    assert checks.kinds() <= {StatusRecord, RequestTimeout}


async def test_a_large_request_is_made_in_another_turn_than_its_selection(monkeypatch: pytest.MonkeyPatch) -> None:
    others_have_had_turns = 0

    async def counted() -> None:
        nonlocal others_have_had_turns
        await checkpoint()
        others_have_had_turns += 1

    class Noting(LocalLimiter):
        async def acquire(self, select: Any) -> Any:
            nonlocal others_have_had_turns
            permit = await super().acquire(select)
            others_have_had_turns = 0
            return permit

    class Transport(Answering):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            turns.append(others_have_had_turns)
            return await super().handle_async_request(request)

    turns: list[int] = []
    monkeypatch.setattr(engine, "checkpoint", counted)
    client = StatusClient(apikey="k", base_url="http://localhost", limiter=Noting(), transport=Transport(BULK))
    async with client:
        outcomes = [outcome async for outcome in client.stream((id, PHONE) for id in range(1000))]
    assert all(isinstance(outcome, StatusRecord) for outcome in outcomes)
    assert len(turns) == 1
    assert turns[0] >= 1


async def test_a_large_request_whose_client_is_closed_in_that_turn_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of it was sent, so others may send at once."""

    async def held_up() -> None:
        await anyio.sleep(1.0)

    monkeypatch.setattr(engine, "checkpoint", held_up)
    limiter, transport = LocalLimiter(), Answering(BULK)
    client = StatusClient(apikey="k", base_url="http://localhost", limiter=limiter, transport=transport)
    async with anyio.create_task_group() as group:
        for id in range(1000):
            group.start_soon(note, [], client.check(id, PHONE))
        await anyio.sleep(0.5)
        assert limiter.slots().open_requests >= 1
        await client.aclose()
    assert limiter.slots().bulk_slot_in == 0.0
    assert not transport.requests
