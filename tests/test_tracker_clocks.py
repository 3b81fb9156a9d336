"""Tracking by clocks that are wrong, jump or run at another speed: no message is lost, nothing ends too early."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import httpx
import pytest
from helpers import PHONE, answered_by
from network import Network

from smsc_status import ConfigError, FailedCheck, MessageRef, StatusClient, StatusRecord
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)


class WithoutDate(httpx.AsyncBaseTransport):
    """A network whose replies carry no `Date`."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._network.handle_async_request(request)
        response.headers.pop("date", None)
        return response


class Day:
    """An emulator, and a client whose wall clock can be set."""

    def __init__(self, *, says_date: bool) -> None:
        self.began_at = anyio.current_time()
        self.emulator = Emulator(seed=1, wall_clock=self.true)
        network = Network(self.emulator, delay=0.15)
        self.transport: httpx.AsyncBaseTransport = network if says_date else WithoutDate(network)
        self.wrong_by = timedelta()

    def true(self) -> datetime:
        return START + timedelta(seconds=anyio.current_time() - self.began_at)

    def shown(self) -> datetime:
        return self.true() + self.wrong_by

    def client(self) -> StatusClient:
        return StatusClient(
            apikey="demo-key", base_url="http://localhost", wall_clock=self.shown, transport=self.transport
        )

    def add(self, id: int, life: Any) -> MessageRef:
        return self.emulator.world.add(id, PHONE, sent_at=self.emulator.now(), life=life)


@pytest.mark.slow
@pytest.mark.parametrize("says_date", [True, False])
@pytest.mark.parametrize("jump", [-300.0, -3 * 86_400.0, 7200.0])
async def test_a_wall_clock_that_is_set_costs_no_message(jump: float, says_date: bool) -> None:
    """Back or forward, by minutes or days: each message comes out with its end, soon, and nothing is raised."""
    day = Day(says_date=says_date)
    refs = [day.add(id, [(0, 0), (60 + 3 * id, 1)]) for id in range(1, 41)]
    ends: list[StatusRecord | FailedCheck] = []

    async def follow(client: StatusClient) -> None:
        ends.extend([o async for o in client.track(refs) if isinstance(o, FailedCheck) or o.is_final])

    async with day.client() as client, anyio.create_task_group() as group:
        group.start_soon(follow, client)
        await anyio.sleep(100)
        day.wrong_by = timedelta(seconds=jump)
    assert [outcome for outcome in ends if isinstance(outcome, FailedCheck)] == []
    assert sorted(int(outcome.ref.id) for outcome in ends) == list(range(1, 41))
    assert (day.true() - START).total_seconds() < 360 + 150


@pytest.mark.slow
@pytest.mark.parametrize("says_date", [True, False])
async def test_a_wall_clock_that_is_days_ahead_for_a_minute_ends_no_message(says_date: bool) -> None:
    day = Day(says_date=says_date)
    refs = [day.add(id, [(0, 0), (900, 1)]) for id in range(1, 11)]
    lost = MessageRef(99, PHONE, day.true())  # answered by -3, which means "archived" only after the deadline
    outcomes: list[StatusRecord | FailedCheck] = []

    async def follow(client: StatusClient) -> None:
        async for outcome in client.track([*refs, lost], expire_after=1500):
            outcomes.append(outcome)  # noqa: PERF401 (they are looked at meanwhile)

    async with day.client() as client, anyio.create_task_group() as group:
        group.start_soon(follow, client)
        for _ in range(2):
            await anyio.sleep(200)
            day.wrong_by = timedelta(days=3)
            await anyio.sleep(60)
            day.wrong_by = timedelta()
        assert not [o for o in outcomes if isinstance(o, FailedCheck)]
    assert [o.ref for o in outcomes if isinstance(o, FailedCheck)] == [lost]
    assert len({o.ref for o in outcomes if isinstance(o, StatusRecord) and o.is_final}) == 10


async def test_the_server_s_date_overrules_a_local_clock_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Three days ahead from the start: nobody is taken for archived, and the clock is named once."""
    day = Day(says_date=True)
    day.wrong_by = timedelta(days=3)
    refs = [day.add(id, [(0, -3), (300, 0), (400, 1)]) for id in range(1, 11)]
    async with day.client() as client:
        outcomes = [outcome async for outcome in client.track(refs)]
    assert not [o for o in outcomes if isinstance(o, FailedCheck)]
    assert caplog.text.count("clock differs") == 1


@pytest.mark.parametrize("sent_at", [datetime(2100, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)])
@pytest.mark.parametrize("replied", ["4102444800", "0", "-1", "999999999999"])
async def test_odd_times_of_sending_and_change_are_survived(sent_at: datetime, replied: str) -> None:
    """Of the caller, and of the reply: the status comes out."""
    body = b'{"status": 1, "err": 0, "last_timestamp": %s, "send_timestamp": %s}' % (replied.encode(), replied.encode())
    async with answered_by(b'{"status": 0}', body) as client:
        outcomes = [outcome async for outcome in client.track([(1, PHONE, sent_at)], until=lambda r: r.status == 1)]
    assert [o.status for o in outcomes if isinstance(o, StatusRecord)][-1:] == [1]


@pytest.mark.slow
async def test_a_message_that_is_sent_later_is_asked_once_a_minute() -> None:
    day = Day(says_date=True)
    ref = MessageRef(1, PHONE, day.true() + timedelta(hours=1))
    day.emulator.world.add(1, PHONE, sent_at=day.emulator.now(), life=[(0, -1), (3600, 0), (3620, 1)])
    async with day.client() as client:
        outcomes = [o async for o in client.track([ref]) if isinstance(o, StatusRecord)]
        asked = sum(client.stats().requests.values())
    assert [outcome.status for outcome in outcomes] == [-1, 0, 1]
    assert asked < 90


async def test_a_tracker_follows_an_emulator_that_is_faster_than_real_time() -> None:
    """It sees the young ages: each message first before it is sent, then on its way, then at its end."""
    emulator = Emulator(seed=1, speed=60)
    refs = [
        emulator.world.add(id, PHONE, sent_at=emulator.now(), life=[(0, -1), (8, 0), (40, 1)]) for id in range(1, 6)
    ]
    async with StatusClient(
        apikey="demo-key",
        base_url="http://localhost",
        transport=Network(emulator, delay=0.005),
        limits=emulator.client_limits(),
        wall_clock=emulator.wall_clock,
    ) as client:
        seen: dict[MessageRef, list[int]] = {}
        async for outcome in client.track(refs, speed=60):
            assert isinstance(outcome, StatusRecord)
            seen.setdefault(outcome.ref, []).append(outcome.status)
    assert list(seen.values()) == [[-1, 0, 1]] * 5
    assert emulator.referee.no_violations


@pytest.mark.parametrize("speed", [0.3, 0.7, 1.1, 3.3, 7.7, 59.9])
async def test_a_speed_that_rounds_makes_nobody_busy(speed: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message is due at the same instant by our time and by the server's: none is looked for in vain."""
    looks = 0

    def counted(method: Any) -> Any:
        def look(*args: Any, **options: Any) -> Any:
            nonlocal looks
            looks += 1
            if looks > 10_000:
                raise RecursionError("busy for nothing")
            return method(*args, **options)

        return look

    for name in ("take", "take_single"):
        monkeypatch.setattr(PollScheduler, name, counted(getattr(PollScheduler, name)))
    emulator = Emulator(seed=1, speed=speed)
    refs = [emulator.world.add(id, PHONE, sent_at=emulator.now(), life=[(0, 0), (60, 1)]) for id in range(1, 6)]
    async with StatusClient(
        apikey="demo-key",
        base_url="http://localhost",
        transport=Network(emulator, round_trip=0.1 / speed),
        limits=emulator.client_limits(),
        wall_clock=emulator.wall_clock,
    ) as client:
        with anyio.fail_after(600 / speed):
            outcomes = [outcome async for outcome in client.track(refs, speed=speed)]
        requests = sum(client.stats().requests.values())
    assert sum(isinstance(outcome, StatusRecord) and outcome.is_final for outcome in outcomes) == 5
    assert looks <= 5 * requests


@pytest.mark.slow
async def test_one_reply_with_a_wrong_date_ends_no_message() -> None:
    """Hours ahead, of a mirror or a cache; the replies before and after it are right."""

    class OnceWrong(Network):
        wrong_by = timedelta()
        said = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            if self.wrong_by:
                response.headers["date"] = format_datetime(day.true() + self.wrong_by, usegmt=True)
                self.wrong_by = timedelta()
                self.said += 1
            return response

    day = Day(says_date=True)
    network = day.transport = OnceWrong(day.emulator, round_trip=0.1)
    # The last ones are answered by -3 for a while, which means "archived" only after the deadline.
    refs = [day.add(id, [(0, 0 if id < 5 else -3), (300, 0), (400, 1)]) for id in range(1, 9)]
    outcomes: list[StatusRecord | FailedCheck] = []

    async def follow(client: StatusClient) -> None:
        outcomes.extend([outcome async for outcome in client.track(refs, expire_after=7200)])

    async with day.client() as client, anyio.create_task_group() as group:
        group.start_soon(follow, client)
        for hours in (20, 40, -5):
            await anyio.sleep(100)
            network.wrong_by = timedelta(hours=hours)
    assert network.said == 3
    assert not [outcome for outcome in outcomes if isinstance(outcome, FailedCheck)]
    assert len({o.ref for o in outcomes if isinstance(o, StatusRecord) and o.is_final}) == 8


@pytest.mark.slow
async def test_two_consumers_may_take_from_one_tracker() -> None:
    """Neither waits for ever, and each outcome goes to one of them."""
    day = Day(says_date=True)
    refs = [day.add(id, [(0, 0), (20, 1)]) for id in range(1, 200)]
    ends: list[MessageRef] = []

    async def consume(stream: Any) -> None:
        async for outcome in stream:
            await anyio.sleep(0.001)
            if outcome.is_final:
                ends.append(outcome.ref)

    async with day.client() as client, anyio.create_task_group() as group:
        stream = client.track(refs)
        for _ in range(3):
            group.start_soon(consume, stream)
    assert sorted(int(ref.id) for ref in ends) == list(range(1, 200))


async def _async_until(record: StatusRecord) -> bool:
    return record.is_final


class _AsyncCallable:
    async def __call__(self, record: StatusRecord) -> bool:
        return record.is_final


@pytest.mark.parametrize("until", [_async_until, _AsyncCallable(), 5, "final", True])
async def test_until_must_be_a_plain_function(until: Any) -> None:
    """An async one would end each message at its first record."""
    async with answered_by(b'{"status": 0}') as client:
        with pytest.raises(ConfigError, match="until"):
            client.track([(1, PHONE)], until=until)


class _Later:
    """An awaitable that is no coroutine."""

    def __init__(self, _record: StatusRecord) -> None: ...

    def __await__(self) -> Iterator[Any]:
        yield


@pytest.mark.parametrize("given", [_async_until, _Later])
async def test_an_until_that_gives_an_awaitable_is_an_error(given: Any) -> None:
    def until(record: StatusRecord) -> Any:
        return given(record)

    async with answered_by(b'{"status": 0}') as client:
        stream = client.track([(1, PHONE)], until=until)
        with pytest.raises(ConfigError, match="awaitable"):
            await anext(stream)
        assert [ref.id for ref in stream.pending()] == [1]


@pytest.mark.parametrize("speed", [0, -1, "60", float("nan")])
async def test_a_speed_is_more_than_0(speed: Any) -> None:
    async with answered_by(b'{"status": 0}') as client:
        with pytest.raises(ConfigError, match="speed"):
            client.track([(1, PHONE)], speed=speed)
