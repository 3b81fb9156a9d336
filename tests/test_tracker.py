"""Messages followed to their end, through the client, in virtual time."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from helpers import PHONE, answered_by, client_of, engine_of
from network import Network

from smsc_status import (
    Archived,
    ConfigError,
    Detail,
    FailedCheck,
    Limits,
    LocalLimiter,
    MessageRef,
    StatusClient,
    StatusRecord,
    TrackingTimeout,
    TrackStream,
    _loops,
)
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._operations import source
from smsc_status._operations import tracker as tracking
from smsc_status.emulator import Emulator

pytestmark = pytest.mark.anyio

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC)


class Day:
    """An emulator and a client with a date of their own, in virtual time."""

    def __init__(self, start: datetime = START, **faults: float) -> None:
        self.start, self.began_at = start, anyio.current_time()
        self.emulator = Emulator(seed=1, wall_clock=self.now, faults=faults)

    def now(self) -> datetime:
        return self.start + timedelta(seconds=anyio.current_time() - self.began_at)

    def client(self, **options: Any) -> StatusClient:
        options = {"transport": Network(self.emulator, delay=0.15)} | options
        return StatusClient(apikey="demo-key", base_url="http://localhost", wall_clock=self.now, **options)

    def add(self, id: int, life: Any = None, *, ago: float = 0.0, phone: str = PHONE) -> MessageRef:
        return self.emulator.world.add(id, phone, sent_at=self.emulator.now() - ago, life=life)


def statuses(outcomes: list[StatusRecord | FailedCheck]) -> list[int | str]:
    return [o.status if isinstance(o, StatusRecord) else type(o.error).__name__ for o in outcomes]


async def _drain(stream: TrackStream) -> None:
    async for _ in stream:
        pass


@pytest.mark.slow
async def test_an_hour_of_messages_ends_right_within_the_limits_and_soon() -> None:
    """Each ends with the status that the world holds, within the limits, and soon."""
    day = Day()
    delays: list[float] = []
    ended: set[MessageRef] = set()

    async def feed() -> AsyncIterator[MessageRef]:
        for id in range(1, 61):
            yield day.add(id)
            await anyio.sleep(2)

    async with day.client() as client:
        async for outcome in client.track(feed()):
            assert isinstance(outcome, StatusRecord)
            if outcome.is_final:
                assert outcome.ref not in ended
                ended.add(outcome.ref)
                assert outcome.status == day.emulator.world.status_at(outcome.ref, day.emulator.now())
                change = next(s for s in day.emulator.world.life(outcome.ref) if s.status in (1, *range(20, 26), 3))
                assert outcome.ref.sent_at is not None
                delays.append(day.emulator.now() - outcome.ref.sent_at.timestamp() - change.after)
        stats = client.stats()
    assert len(ended) == 60
    assert day.emulator.referee.no_violations
    assert sorted(delays)[30] < 6
    assert sum(stats.done.values()) == 60
    assert stats.tracked == stats.due == stats.overdue == 0


@pytest.mark.slow
async def test_a_young_message_is_checked_soon_beside_a_backlog() -> None:
    """It gets its single checks while thousands fill the bulk lane."""
    day = Day()
    backlog = [day.add(id, [(0, 0)], ago=3600) for id in range(1, 5001)]
    young = day.add(10_000, [(0, 0), (12, 1)])
    async with day.client() as client, client.track([*backlog, young]) as outcomes:
        async for outcome in outcomes:
            if outcome.ref == young and isinstance(outcome, StatusRecord) and outcome.is_final:
                break
        stats = client.stats()
        assert len(outcomes.pending()) == 5000
    assert anyio.current_time() - day.began_at < 30
    assert stats.tracked == 5000
    assert stats.due > 3000
    assert stats.stalest > 3600
    assert day.emulator.referee.no_violations


@pytest.mark.slow
async def test_a_mailing_is_followed_by_the_bulk_lane() -> None:
    """One id, many phones: single checks find no token, and hold nobody up."""
    day = Day()
    mailing = [day.add(7, [(0, 0), (30, 1)], phone=f"7999{k:07}") for k in range(300)]
    other = day.add(8, [(0, 0), (10, 1)])
    async with day.client() as client:
        ends = {}
        async for outcome in client.track([*mailing, other]):
            if isinstance(outcome, StatusRecord) and outcome.is_final:
                ends[outcome.ref] = anyio.current_time() - day.began_at
    assert len(ends) == 301
    assert ends[other] < 30
    assert max(ends.values()) < 200
    assert day.emulator.referee.no_violations


@pytest.mark.parametrize(
    ("life", "until", "expected"),
    [
        ([(0, 0), (5, 1), (900, 4)], None, [0, 1]),
        ([(0, 0), (5, 1), (900, 4)], {4, 3, 20}, [0, 1, 4]),
        ([(0, 0), (5, 1), (400, 2)], {2}, [0, 1, 2]),
        ([(0, 0), (5, 6), (400, 1)], None, [0, 6, 1]),
        ([(0, -1), (5, -2), (7200, 1)], None, [-2, 1]),
        ([(0, -3), (20, 0), (300, 1)], None, [-3, 0, 1]),
    ],
)
async def test_the_first_status_and_each_change_come_out(
    life: Any, until: set[int] | None, expected: list[int]
) -> None:
    day = Day()
    refs = [day.add(1, life)]
    async with day.client() as client:
        chosen = None if until is None else lambda record: record.status in until
        outcomes = [outcome async for outcome in client.track(refs, until=chosen)]
    got = [status for status in statuses(outcomes) if status != -1]
    assert got == expected


@pytest.mark.slow
async def test_messages_that_will_not_become_final_end_as_archived_or_expired() -> None:
    """What will not become final for us ends as itself."""
    day = Day()
    gone = day.add(1, [(0, 1)], ago=90_000)
    stopped = day.add(2, [(0, -2)])
    unknown = MessageRef(3, PHONE)
    async with day.client() as client:
        outcomes = [o async for o in client.track([gone, unknown, stopped], expire_after=20_000)]
    ends = {o.ref: type(o.error) for o in outcomes if isinstance(o, FailedCheck)}
    assert ends == {gone: Archived, stopped: TrackingTimeout, unknown: TrackingTimeout}


@pytest.mark.slow
async def test_the_last_status_before_the_archive_is_read() -> None:
    """Final a minute before the sweep at 03:00: read in time."""
    day = Day(datetime(2026, 3, 10, 14, 50, tzinfo=UTC))
    refs = [day.add(id, [(0, 0), (33_000 - 20 - id, 1)]) for id in range(1, 6)]
    async with day.client() as client:
        outcomes = [outcome async for outcome in client.track(refs)]
    assert not [o for o in outcomes if isinstance(o, FailedCheck)]


async def test_a_message_without_a_date_is_asked_at_full_until_a_reply_tells_it() -> None:
    """It is asked at FULL until the reply has told it."""
    day = Day()
    day.add(1, [(0, 0), (4000, 1)], ago=3900)
    async with day.client() as client:
        outcomes = [outcome async for outcome in client.track([(1, PHONE)])]
    assert isinstance(outcomes[0], StatusRecord)
    assert outcomes[0].send_timestamp is not None
    assert isinstance(outcomes[-1], StatusRecord)
    assert outcomes[-1].is_final
    assert outcomes[-1].send_timestamp is None


async def test_bad_input_is_a_failure_of_its_own() -> None:
    day = Day()
    async with day.client() as client:
        outcomes = [o async for o in client.track([day.add(1, [(0, 1)]), "rubbish"])]  # type: ignore[list-item]  # on purpose
        assert sorted(map(str, statuses(outcomes))) == ["1", "ConfigError"]
        for options in ({"eagerness": 2}, {"look_ahead": 0}, {"expire_after": 0}, {"look_ahead": True}):
            with pytest.raises(ConfigError):
                client.track([], **options)
        with pytest.raises(ConfigError):
            client.track(5)  # type: ignore[call-overload]  # on purpose


@pytest.mark.slow
async def test_tracking_goes_on_after_each_fault() -> None:
    """Lost requests and refusals end no message."""
    day = Day(http_503=0.1, cut=0.1, spurious_9=0.05, missing_records=0.05)
    refs = [day.add(id) for id in range(1, 60)]
    async with day.client(retries=0) as client:
        outcomes = [outcome async for outcome in client.track(refs)]
    ends = [o.ref for o in outcomes if isinstance(o, StatusRecord) and o.is_final]
    assert sorted(ref.id for ref in ends) == sorted(ref.id for ref in refs)
    assert day.emulator.referee.no_violations


@pytest.mark.slow
async def test_requests_of_an_earlier_process_cost_no_message() -> None:
    """The vendor still counts them: the next process is refused, waits, and loses nothing."""
    day = Day()
    refs = [day.add(id, [(0, 0), (120, 1)], ago=60) for id in range(1, 31)]
    for _ in range(5):
        async with day.client() as client:  # a limiter of its own, as in another process
            outcomes = client.track(refs)
            with anyio.move_on_after(8.0):
                await _drain(outcomes)
            await outcomes.aclose()
    async with day.client() as client:
        ended = [o async for o in client.track(refs) if isinstance(o, StatusRecord) and o.is_final]
    assert {outcome.ref for outcome in ended} == set(refs)
    assert len(ended) == 30
    assert day.emulator.referee.refusals.total() > 0
    assert anyio.current_time() - day.began_at < 400


@pytest.mark.slow
async def test_a_message_that_can_not_be_checked_comes_out_as_a_failure() -> None:
    async with answered_by(b'{"error": "no", "error_code": 1}') as client:
        outcomes = [outcome async for outcome in client.track([(1, PHONE, START)])]
    assert statuses(outcomes) == ["ParametersError"]


@pytest.mark.slow
async def test_leaving_early_leaves_nothing_behind() -> None:
    """Broken off, cancelled, dropped: what was not done can be tracked again."""
    day = Day()
    refs = [day.add(id, [(0, 0), (100, 1)]) for id in range(1, 20)]
    async with day.client() as client:
        async with client.track(refs) as stream:
            async for _ in stream:
                break
        assert set(stream.pending()) == set(refs)
        other = client.track(refs)
        with anyio.move_on_after(1.0):
            async for _ in other:
                pass
        assert set(other.pending()) == set(refs)
        del other
        gc.collect()
        await anyio.sleep(5)
        assert client.stats().waiting == 0
        unused = client.track(refs)
        del unused
        await client.track(refs).aclose()
        ends = [o async for o in client.track(stream.pending()) if isinstance(o, StatusRecord) and o.is_final]
    assert len(ends) == 19


async def test_leaving_in_the_middle_of_the_input_closes_the_input() -> None:
    day = Day()
    closed = []

    async def source() -> AsyncIterator[MessageRef]:
        try:
            yield day.add(1, [(0, 0)], ago=60)
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async with day.client() as client, client.track(source()) as stream:
        await anext(stream)
    assert closed


async def test_an_answer_that_comes_after_leaving_changes_nothing() -> None:
    """It comes by another caller's request for more detail, to which the check had moved when its own was cut."""
    ref = MessageRef(1, PHONE, datetime.now(UTC) - timedelta(hours=1))
    records: list[StatusRecord] = []
    async with answered_by(httpx.ReadError("cut"), b'{"status": 1}', after=2.0) as client:

        async def check(detail: Detail) -> None:
            records.append(await client.check(1, PHONE, detail=detail))

        async with anyio.create_task_group() as group:
            stream = client.track([ref])
            outcomes: list[Any] = []

            async def follow() -> None:
                outcomes.extend([outcome async for outcome in stream])

            group.start_soon(follow)
            for pause, detail in ((0.5, Detail.BASIC), (0.5, Detail.FULL), (1.5, Detail.EXTENDED)):
                await anyio.sleep(pause)
                group.start_soon(check, detail)
            await anyio.sleep(0.2)
            await stream.aclose()
        assert len(records) == 3
        assert outcomes == []
        assert stream.pending() == [ref]
        assert client.stats().done == {}
        assert client.stats().tracked == 0


async def test_an_end_that_was_not_taken_is_pending() -> None:
    day = Day()
    refs = [day.add(id, [(0, 1)], ago=60) for id in range(1, 4)]
    async with day.client() as client:
        stream = client.track(refs)
        first = await anext(stream)
        await anyio.sleep(5)
        assert {first.ref, *stream.pending()} == set(refs)
        assert first.ref not in stream.pending()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert {first.ref, *stream.pending()} == set(refs)


async def test_an_error_of_closing_the_input_is_raised() -> None:
    day = Day()

    class Input:
        def __aiter__(self) -> Input:
            return self

        async def __anext__(self) -> MessageRef:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            raise LookupError("closing")

    async with day.client() as client:
        with pytest.raises(LookupError):
            await anext(client.track(Input()))


async def test_an_input_that_is_cancelled_by_itself_is_an_error() -> None:
    day = Day()

    async def source() -> AsyncIterator[MessageRef]:
        if anyio.get_cancelled_exc_class().__module__.startswith("trio"):
            raise RuntimeError("the input was cancelled")
        yield MessageRef(1, PHONE)
        raise anyio.get_cancelled_exc_class()

    day.add(1, [(0, 1)], ago=60)
    async with day.client() as client:
        with pytest.raises(RuntimeError, match="cancelled"):
            async for _ in client.track(source()):
                pass


async def test_a_mistake_in_until_is_raised() -> None:
    day = Day()
    refs = [day.add(1, [(0, 0)])]
    async with day.client() as client:
        stream = client.track(refs, until=lambda record: record.nothing)  # type: ignore[attr-defined]  # on purpose
        with pytest.raises(AttributeError):
            await anext(stream)
        assert stream.pending() == refs


async def test_no_more_messages_are_followed_than_look_ahead_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more are followed at once than asked for, however fast the input and slow the consumer."""
    monkeypatch.setattr(tracking, "HELD", 5)
    monkeypatch.setattr(source, "READ_AT_ONCE", 3)
    day = Day()
    most = 0
    refs = [day.add(id, [(0, 1)], ago=60) for id in range(1, 41)]
    async with day.client() as client:
        async for _ in client.track(iter(refs), look_ahead=10):
            most = max(most, client.stats().tracked)
            await anyio.sleep(1.0)
    assert 0 < most <= 10


async def test_a_slow_consumer_s_tracker_fills_up_no_more_bulk_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others' go half empty then: no more outcomes are held than its bound, and one request more."""
    monkeypatch.setattr(tracking, "HELD", 30)
    day = Day()
    refs = [day.add(id, [(60 * k, -k % 2) for k in range(200)], ago=30) for id in range(1, 41)]
    others = [day.add(id, [(0, 1)], ago=60) for id in range(1001, 1161)]
    limits = Limits(max_bulk=20)
    async with day.client(limits=limits) as client:
        stream = client.track(refs, eagerness=0.0, until=lambda record: False)
        await anext(stream)
        asked: list[int] = []
        for number in range(0, len(others), 8):
            before = client.stats().records
            assert len([outcome async for outcome in client.stream(others[number : number + 8])]) == 8
            await anyio.sleep(2 * 61)
            asked.append(client.stats().records - before)
        assert asked[0] > 8
        assert asked[10:] == [8] * 10
        held = 0
        with anyio.move_on_after(0):
            async for _ in stream:
                held += 1
        assert 30 <= held < 30 + limits.max_bulk
        assert (await anext(stream)).ref in refs
        await stream.aclose()


async def test_many_outcomes_that_are_there_do_not_starve_others() -> None:
    day = Day()
    refs = [day.add(id, [(0, 1)], ago=60) for id in range(1, 200)]
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async with day.client() as client, client.track(refs, eagerness=0, look_ahead=None) as stream:
        await anext(stream)
        await anyio.sleep(600)
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            for _ in range(150):
                await anext(stream)
            assert turns >= 1
            group.cancel_scope.cancel()
        assert len([o async for o in stream]) == 48


@pytest.mark.slow
async def test_the_turning_points_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing else: no line a message."""
    caplog.set_level("INFO", "smsc_status")
    day = Day(datetime(2026, 3, 10, 14, 50, tzinfo=UTC))
    refs = [day.add(id, [(0, 0), (32_980, 1)]) for id in range(1, 60)]
    async with day.client(limits=Limits(max_bulk=2)) as client:
        outcomes = [outcome async for outcome in client.track(refs, eagerness=0)]
    assert not [o for o in outcomes if isinstance(o, FailedCheck)]
    assert [record.message.partition(";")[0].partition(":")[0] for record in caplog.records] == [
        "the input has ended",
        "an archive deadline is near",
        "every message is done",
    ]


@pytest.mark.slow
async def test_done_messages_stay_counted_after_their_tracker_is_gone() -> None:
    day = Day()
    refs = [day.add(id, [(0, 1)], ago=60) for id in range(1, 4)]
    async with day.client() as client:
        for ref in refs:
            assert len([o async for o in client.track([ref])]) == 1
            gc.collect()
        assert client.stats().done == {"Delivered": 3}


async def test_last_calls_count_on_the_bulk_requests_that_other_trackers_of_the_limiter_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So they begin earlier while others are at work."""
    shared_by: list[int] = []

    def call_last(scheduler: PollScheduler, **options: Any) -> None:
        shared_by.append(options["shared_by"])
        original(scheduler, **options)

    original = PollScheduler.call_last
    monkeypatch.setattr(PollScheduler, "call_last", call_last)
    emulator, limiter = Emulator(), LocalLimiter()
    clients = [client_of(emulator, limiter=limiter) for _ in range(2)]
    refs = [emulator.world.add(id, PHONE, sent_at=emulator.now(), life=[(0, 0)]) for id in (1, 2)]
    async with clients[0], clients[1], anyio.create_task_group() as group:
        group.start_soon(_drain, clients[0].track(refs[:1]))
        await anyio.sleep(40)
        assert shared_by[-1] == 1
        async with clients[1].track(refs[1:]) as other:
            await anext(other)
            await anyio.sleep(40)
            assert shared_by[-2:] == [2, 2]
        await anyio.sleep(40)
        assert shared_by[-1] == 1
        group.cancel_scope.cancel()


async def test_single_checks_leave_a_token_of_a_mailing_for_bulk_requests() -> None:
    """Once a bulk request has found that more of its messages wait than it has tokens."""
    day = Day()
    refs = [day.add(1, [(0, 0)], phone=f"7999{k:07}") for k in range(40)]
    async with day.client(limits=Limits(max_bulk=10)) as client, anyio.create_task_group() as group:
        group.start_soon(_drain, client.track(refs))
        await anyio.sleep(5)
        assert client.stats().requests["bulk"] == 1
        before = client.stats().requests["single"]
        pacer = engine_of(client).limiter.pacer  # type: ignore[attr-defined]  # a `LocalLimiter`
        for _ in range(300):
            await anyio.sleep(1)
            assert pacer.tokens(1, now=_loops.now()) >= 1
        assert client.stats().requests["single"] - before >= 4
        assert client.stats().requests["bulk"] >= 5
        group.cancel_scope.cancel()
