"""Who is told what: callers, streams and trackers that share messages, and mistakes that must stay alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import parse_qs

import anyio
import httpx
import pytest
from helpers import PHONE, Answering, answered_by, client_of, delivered, engine_of
from network import Network
from virtual import block

from smsc_status import Detail, FailedCheck, Limits, MessageRef, ProtocolError, SmscError, StatusClient, StatusRecord
from smsc_status._core.scheduling.recent import MAX_BYTES, RecentRecords
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._operations.streaming import Streaming
from smsc_status._operations.tracker import Tracker
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

DELIVERED = b'{"status": 1}'
REFUSED = b'{"error": "too many", "error_code": 9}'
ONE_LEFT_OUT = b'[{"status": 1, "id": 900, "phone": "79990000900"}]'


def raising_for(method: Any, is_it: Any, *, times: float = 1) -> Any:
    """The method, which raises when the arguments are those."""

    def raises(*args: Any, **options: Any) -> Any:
        nonlocal times
        if times > 0 and is_it(*args):
            times -= 1
            raise ZeroDivisionError("a mistake of ours")
        return method(*args, **options)

    return raises


async def collect(stream: Any) -> dict[int, list[StatusRecord | FailedCheck]]:
    came: dict[int, list[StatusRecord | FailedCheck]] = {}
    async for outcome in stream:
        came.setdefault(outcome.ref.id, []).append(outcome)
    return came


@pytest.mark.slow
@pytest.mark.measured
@pytest.mark.parametrize(
    ("owner", "name", "is_it", "fails"),
    [
        (PollScheduler, "polled", lambda _plan, item, *_: item.ref.id == 7, True),
        (PollScheduler, "ending", lambda _plan, item: item.ref.id == 7, True),
        (Tracker, "_take_record", lambda _tracker, item, *_: item.ref.id == 7, True),
        (Tracker, "take_in", lambda _tracker, poll, *_: poll.ref.id == 7, False),
    ],
)
async def test_a_mistake_with_one_tracked_message_costs_no_other_its_outcome(
    owner: Any, name: str, is_it: Any, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message itself comes out as a failure, or after another try."""
    emulator = Emulator()
    sent_at = emulator.now() - 3600
    life = [(0, 0, 0), (3700, 1, 0)]
    refs = [emulator.world.add(id, PHONE, sent_at=sent_at, life=life) for id in range(1, 41)]
    monkeypatch.setattr(owner, name, raising_for(getattr(owner, name), is_it))
    async with client_of(emulator) as client:
        with anyio.fail_after(2000):
            came = await collect(client.track(refs))
        assert client.stats().tracked == 0
    assert sorted(came) == list(range(1, 41))
    assert all(outcomes[-1].is_final for id, outcomes in came.items() if id != 7)  # type: ignore[union-attr]  # a failure would fail the test
    last = came[7][-1]
    assert isinstance(last, FailedCheck) is fails
    if isinstance(last, FailedCheck):
        assert isinstance(last.error, ProtocolError)
        assert "ZeroDivisionError" in str(last.error)


async def test_a_mistake_with_one_item_of_a_stream_costs_no_other_its_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The item itself comes out as a failure."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    monkeypatch.setattr(
        Streaming, "take_in", raising_for(Streaming.take_in, lambda _state, item, _outcome: item.ref.id == 7)
    )
    async with client_of(emulator) as client:
        with anyio.fail_after(200):
            came = await collect(client.stream(refs))
    assert sorted(came) == list(range(1, 41))
    assert [id for id, outcomes in came.items() if isinstance(outcomes[0], FailedCheck)] == [7]
    assert all(len(outcomes) == 1 for outcomes in came.values())


async def test_a_subscriber_that_raises_costs_no_other_subscriber_its_outcome(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 11))
    is_it = raising_for(Streaming.take_in, lambda _state, item, _outcome: item.ref.id == 7, times=99)
    monkeypatch.setattr(Streaming, "take_in", is_it)
    came = []
    async with client_of(emulator) as client:
        with anyio.move_on_after(100):
            async for outcome in client.stream(refs):
                came.append(outcome.ref.id)  # noqa: PERF401 (it does not end)
    assert sorted(came) == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert "an outcome could not be handed over" in caplog.text


# What is given again.


async def test_a_stream_that_is_fed_a_message_again_two_hours_later_asks_again() -> None:
    """Its first record is two hours old then."""
    emulator = Emulator()
    ref = emulator.world.add(1, PHONE, sent_at=emulator.now(), life=[(0, 0, 0), (3600, 1, 0)])

    async def feed() -> AsyncIterator[MessageRef]:
        yield ref
        await anyio.sleep(7200)
        yield ref

    async with client_of(emulator) as client:
        outcomes = [outcome async for outcome in client.stream(feed())]
        assert client.stats().requests["single"] == 2
    assert [outcome.status for outcome in outcomes if isinstance(outcome, StatusRecord)] == [0, 1]


async def test_a_record_is_not_given_again_after_an_input_that_has_held_up_the_loop() -> None:
    """Such as one that reads a slow file: what came in just before it is old by then."""
    emulator = Emulator()
    ref = emulator.world.add(1, PHONE, sent_at=emulator.now(), life=[(0, 0, 0), (3600, 1, 0)])
    others = delivered(emulator, [2, 3, 4])

    def feed() -> Iterator[MessageRef]:
        yield from [ref, *others]
        block(7200)
        yield ref

    async with client_of(emulator, limits=Limits(max_bulk=1)) as client:
        outcomes = [outcome async for outcome in client.stream(feed())]
    came = [outcome.status for outcome in outcomes if isinstance(outcome, StatusRecord) and outcome.ref is ref]
    assert came == [0, 1]


@pytest.mark.parametrize(("pause", "requests"), [(0.0, 1), (0.05, 1), (0.9, 1), (1.5, 2)])
async def test_twins_within_a_second_share_a_request(pause: float, requests: int) -> None:
    """The one on its way, or the one that was answered in that time."""
    emulator = Emulator()
    [ref] = delivered(emulator, [1])

    async def feed() -> AsyncIterator[MessageRef]:
        yield ref
        await anyio.sleep(pause)
        yield MessageRef(1, PHONE)

    async with client_of(emulator, round_trip=0.1) as client:
        outcomes = [outcome async for outcome in client.stream(feed())]
        assert client.stats().requests["single"] == requests
    assert len(outcomes) == 2
    assert outcomes[0].ref is ref
    assert outcomes[1].ref is not ref


@pytest.mark.slow
@pytest.mark.measured
async def test_no_record_is_kept_until_somebody_may_be_given_one_again() -> None:
    """Neither checks nor trackers need any; `max_age` and streams do."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 51))
    async with client_of(emulator) as client:
        engine = engine_of(client)
        await client.check(1, PHONE)
        await collect(client.track(refs))
        assert engine.records_kept == 0
        await client.check(2, PHONE, max_age=60)
        assert engine.records_kept == 1
        assert len(await collect(client.stream(refs))) == 50
        assert engine.records_kept > 1


async def test_ten_thousand_long_e_mails_are_kept_within_the_bound() -> None:
    """However long somebody may want them."""
    text = "Здравствуйте! " * 300

    class Mails(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json={"status": 1, "message": text})

    async with StatusClient(apikey="k", base_url="http://localhost", transport=Mails(), detail=Detail.FULL) as client:
        record = await client.check(1, "a@example.com")
    recent = RecentRecords()
    recent.want(86_400)
    for id in range(10_000):
        recent.keep((id, PHONE), record, Detail.FULL, now=0.0)
    assert len(recent) * len(text) * 2 <= MAX_BYTES
    assert len(recent) > 500


# A caller and a tracker wait for one message.


async def note(into: list[Any], call: Any) -> None:
    try:
        into.append(await call)
    except SmscError as error:
        into.append(error)


async def call_and_track(client: StatusClient, comes_first: str, *, after: float) -> tuple[list[Any], list[Any]]:
    """What a caller and a tracker of one message get; the second comes so many seconds after the first."""
    called: list[Any] = []
    tracked: list[Any] = []

    async def track() -> None:
        tracked.extend([outcome async for outcome in client.track([(1, PHONE)])])

    works = [lambda: note(called, client.check(1, PHONE)), track]
    with anyio.fail_after(3000):
        async with anyio.create_task_group() as group:
            for work in works if comes_first == "check" else reversed(works):
                group.start_soon(work)
                await anyio.sleep(after)
    return called, tracked


@pytest.mark.parametrize("is_in_flight", [True, False])
@pytest.mark.parametrize("comes_first", ["check", "track"])
@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ReadError("cut"),
        httpx.ConnectError("refused"),
        httpx.Response(503),
        httpx.Response(403),
        b"<html>",
        b"",
        REFUSED,
    ],
    ids=["lost", "not connected", "HTTP 503", "HTTP 403", "unreadable", "empty", "refused"],
)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow), pytest.param(7, marks=pytest.mark.slow)])
async def test_a_caller_and_a_tracker_of_one_message_each_get_an_outcome(
    trouble: Any, times: int, comes_first: str, is_in_flight: bool
) -> None:
    """The caller gets its record, or the reason after five tries; the tracker gets its record, however late."""
    transport = Answering(*[trouble] * times, DELIVERED, after=1.0)
    async with StatusClient(apikey="k", base_url="http://localhost", transport=transport) as client:
        called, tracked = await call_and_track(client, comes_first, after=0.5 if is_in_flight else 1.2)
    assert [type(outcome) for outcome in tracked] == [StatusRecord]
    assert len(called) == 1
    if trouble is REFUSED or times < 5:
        assert isinstance(called[0], StatusRecord)
    else:  # the tracker's own tries may be among the seven
        assert isinstance(called[0], StatusRecord | SmscError)


@pytest.mark.parametrize("comes_first", ["check", "track"])
async def test_a_caller_and_a_tracker_are_both_told_that_replies_leave_their_message_out(comes_first: str) -> None:
    """Both are told that they do; the tracker after as many tries of its own."""
    emulator = Emulator()
    others = delivered(emulator, range(900, 910))
    async with answered_by(ONE_LEFT_OUT, after=1.0) as client:
        called, tracked = await call_and_track(client, comes_first, after=0.5)
    assert others
    assert [type(error) for error in called] == [ProtocolError]
    assert [type(outcome) for outcome in tracked] == [FailedCheck]
    assert isinstance(tracked[0].error, ProtocolError)


@pytest.mark.parametrize("is_dated", [True, False])
@pytest.mark.parametrize("streams_first", [True, False])
async def test_a_stream_and_a_tracker_of_the_same_messages_share_their_bulk_requests(
    streams_first: bool, is_dated: bool
) -> None:
    """Each message stands once in a request, also where the tracker wants more of it; both get their outcomes."""
    emulator = Emulator()
    refs = delivered(emulator, range(1, 41))
    if not is_dated:  # the tracker wants to know the time of sending
        refs = [MessageRef(ref.id, ref.phone) for ref in refs]
    network = Network(emulator, round_trip=0.1)
    came: dict[str, dict[int, list[StatusRecord | FailedCheck]]] = {}
    async with client_of(emulator, transport=network) as client:

        async def collect_from(kind: str) -> None:
            came[kind] = await collect(getattr(client, kind)(refs))

        async with anyio.create_task_group() as group:
            for kind in ("stream", "track") if streams_first else ("track", "stream"):
                group.start_soon(collect_from, kind)
        assert client.stats().requests["bulk"] == 1
    asked = [parse_qs(body.decode())["id"][0].strip(",").split(",") for body in network.bodies]
    assert max(len(ids) for ids in asked) == 40
    assert all(len(set(ids)) == len(ids) for ids in asked)
    for outcomes in came.values():
        assert sorted(outcomes) == list(range(1, 41))
        assert all(isinstance(one, StatusRecord) for ones in outcomes.values() for one in ones)
        assert all(len(ones) == 1 for ones in outcomes.values())
    assert len(came) == 2
