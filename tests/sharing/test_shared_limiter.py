"""The shared limiter, over a log in memory, in virtual time. Each `SharedLimiter` stands for a process."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TypeVar

import anyio
import attrs
import pytest
from anyio.lowlevel import checkpoint
from memory_store import MemoryLog, MemoryStore

from smsc_status import ConfigError, Limits, _loops
from smsc_status._core.scheduling.ledger import Ended, Joined, Quarantine, Took, Waits, decode, encode, ended
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._sharing.limiter import SharedLimiter, _reset_after_fork
from smsc_status._sharing.participant import Participant
from smsc_status._sharing.store import Store
from smsc_status._waiters import Waiter
from smsc_status.errors import LimiterUnavailable
from smsc_status.limiter import Permit, Slots
from smsc_status.models import Key

T = TypeVar("T")

pytestmark = pytest.mark.anyio


def process(
    log: MemoryLog, limits: Limits | None = None, *, budget: float = 30.0, knows: bool = False
) -> SharedLimiter:
    async def open_store() -> Store:
        return MemoryStore(log, has_seen_log=knows)

    limiter = SharedLimiter(limits or Limits(), open_store, where="memory")
    limiter.longest_request = budget
    return limiter


@attrs.frozen
class One:
    """A request for these ids, whenever it may go."""

    keys: tuple[Key, ...] = (7,)
    bulk: bool = False
    urgent: bool = False

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        at = max([pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in self.keys)])
        at = max(at, pacer.bulk_due_at(now=now) if self.bulk else pacer.singles_due_at(now=now))
        if at > now:
            return at
        return self if pacer.free_slots(now=now) > 0 else float("inf")

    def is_urgent(self, *, now: float) -> bool:
        return self.urgent

    def wants_bulk(self, *, now: float) -> bool:
        return self.bulk


async def ask(limiter: SharedLimiter, one: One, *, takes: float = 0.0, how: RequestEnd = RequestEnd.REPLIED) -> float:
    permit = await limiter.acquire(one.select)
    started_at = anyio.current_time()
    try:
        await anyio.sleep(takes)
    finally:
        await limiter.release(permit, how)
    return started_at


async def test_two_processes_share_the_tokens_of_an_id() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    began_at = anyio.current_time()
    for _ in range(2):
        await ask(one, One())
        await ask(other, One())
    await ask(one, One())
    assert anyio.current_time() == began_at
    await ask(other, One())
    assert anyio.current_time() - began_at == pytest.approx(61)


async def test_two_processes_share_the_slots() -> None:
    log, open_now, most = MemoryLog(), 0, 0

    async def hold(limiter: SharedLimiter, key: int) -> None:
        nonlocal open_now, most
        permit = await limiter.acquire(One((key,)).select)
        open_now += 1
        most = max(most, open_now)
        await anyio.sleep(1)
        open_now -= 1
        await limiter.release(permit, RequestEnd.REPLIED)

    processes = [process(log), process(log), process(log)]
    async with anyio.create_task_group() as tasks:
        for key in range(60):
            tasks.start_soon(hold, processes[key % 3], key)
    assert most == 4


async def test_two_processes_share_the_bulk_slot_in_turns() -> None:
    log, taken = MemoryLog(), []

    async def go_on(limiter: SharedLimiter, name: str) -> None:
        for key in range(4):
            await ask(limiter, One((name + str(key),), bulk=True), takes=0.1)
            taken.append(name)

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(go_on, process(log), name)
    assert all(Counter(taken[i : i + 3]) == Counter("abc") for i in range(0, 12, 3)), taken


async def test_a_check_waits_two_round_trips_at_most_beside_a_greedy_process() -> None:
    log = MemoryLog()
    greedy, web = process(log), process(log)
    keys = iter(range(10**6))

    async def stream() -> None:
        while True:
            await ask(greedy, One((next(keys),)), takes=0.1)

    waits = []
    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(stream)
        await anyio.sleep(1.03)
        for _ in range(20):
            began_at = anyio.current_time()
            waits.append(await ask(web, One((next(keys),), urgent=True), takes=0.1) - began_at)
            await anyio.sleep(0.777)
        tasks.cancel_scope.cancel()
    assert max(waits) <= 0.1


@pytest.mark.slow
async def test_no_process_starves_among_greedy_ones() -> None:
    log, counts = MemoryLog(), Counter[int]()
    keys = iter(range(10**6))

    async def stream(limiter: SharedLimiter, number: int) -> None:
        while True:
            await ask(limiter, One((next(keys),)), takes=0.1)
            counts[number] += 1

    async with anyio.create_task_group() as tasks:
        for number in range(7):
            limiter = process(log)
            for _ in range(3):
                tasks.start_soon(stream, limiter, number)
        await anyio.sleep(20)
        tasks.cancel_scope.cancel()
    assert counts.total() > 0.95 * 4 * 20 / 0.1
    assert min(counts.values()) > 0.5 * max(counts.values())


async def test_a_busy_process_keeps_its_ticket_between_two_requests() -> None:
    """It would write two more entries for each request otherwise. A ticket is renewed once a second."""
    log, keys = MemoryLog(), iter(range(10**6))
    processes = [process(log), process(log)]

    async def carry_out(limiter: SharedLimiter, permit: Permit[One]) -> None:
        await anyio.sleep(0.1)
        await limiter.release(permit, RequestEnd.REPLIED)

    async def stream(limiter: SharedLimiter) -> None:
        while True:
            permit = await limiter.acquire(One((next(keys),)).select)
            tasks.start_soon(carry_out, limiter, permit)

    async with anyio.create_task_group() as tasks:
        for limiter in processes:
            tasks.start_soon(stream, limiter)
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()
    assert len(records_of(log, Took)) > 150
    assert len(records_of(log, Waits)) < 40


async def test_a_process_that_wants_nothing_more_takes_back_its_ticket_at_once() -> None:
    """Otherwise the others would let it go first until the ticket expires."""
    log = MemoryLog()
    one, other = process(log), process(log)
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(ask, other, One((7,)), takes=1.0))
        await anyio.sleep(0.3)
        assert records_of(log, Waits)[-1].slot
        await one.release(permits[0], RequestEnd.REPLIED)
        await anyio.sleep(0.03)
        assert len(records_of(log, Took)) == 5
        assert not records_of(log, Waits)[-1].slot


# What the limiter does when the store is slow, away, or new.


def participant_of(limiter: SharedLimiter) -> Participant:
    return limiter._participants[_loops.this_loop()]


def records_of(log: MemoryLog, kind: type[T]) -> list[T]:
    return [record for record in map(decode, (entry.data for entry in log.entries)) if isinstance(record, kind)]


async def settle() -> None:
    for _ in range(20):
        await checkpoint()
    await anyio.sleep(0.01)


@pytest.mark.parametrize(("latency", "lost"), [(0.0, 2), (0.05, 1)])
async def test_a_lost_reply_costs_no_slot(latency: float, lost: int) -> None:
    """The request that nobody has a permit for is ended as not sent. Its caller is told, and asks again.

    A store that answers at once is asked twice.
    """
    log = MemoryLog(latency=latency)
    limiter = process(log)
    await ask(limiter, One())
    log.lost_replies = lost
    with pytest.raises(LimiterUnavailable):
        await limiter.acquire(One().select)
    for _ in range(4):
        await ask(limiter, One())
    assert [record.how for record in records_of(log, Ended)].count(list(RequestEnd).index(RequestEnd.NOT_SENT)) == lost
    assert len(records_of(log, Took)) == 5 + lost
    assert limiter.slots().open_requests == 0


async def test_a_lost_reply_to_a_wake_is_not_repeated_blindly() -> None:
    """A caller who waits idly gets work, and the reply to its request is lost."""
    log, has_work = MemoryLog(), False

    class Idle:
        def select(self, pacer: Pacer, *, now: float) -> One | float:
            return One().select(pacer, now=now) if has_work else float("inf")

        def has_work(self) -> bool:
            return has_work

    limiter, idle = process(log), Idle()
    errors = []

    async def wait() -> None:
        try:
            await limiter.acquire(idle.select)
        except LimiterUnavailable as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await settle()
        has_work, log.lost_replies = True, 2
        limiter.wake(idle.select)
        await settle()
        assert len(errors) == 1
        tasks.start_soon(ask, limiter, One())
    await settle()
    assert limiter.slots().open_requests == 0
    assert len(records_of(log, Took)) == len(records_of(log, Ended)) == 3


async def test_a_caller_whose_work_is_set_aside_is_told_that_the_store_is_away() -> None:
    """A selector that has named a request may have no further work."""
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One())

    class Once:
        left = 1

        def select(self, pacer: Pacer, *, now: float) -> One | float:
            self.left = 0
            return One()

        def has_work(self) -> bool:
            return bool(self.left)

    log.is_away = True
    with pytest.raises(LimiterUnavailable), anyio.fail_after(5):
        await limiter.acquire(Once().select)


async def test_the_store_goes_away_while_callers_wait_and_comes_back() -> None:
    log = MemoryLog()
    limiter, other = process(log), process(log)
    permits = [await limiter.acquire(One((key,)).select) for key in range(4)]
    errors = []

    async def wait() -> None:
        try:
            await other.acquire(One().select)
        except LimiterUnavailable as error:
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.sleep(0.5)
        log.is_away = True
        with pytest.raises(LimiterUnavailable):
            await limiter.release(permits[0], RequestEnd.REPLIED)
        assert not permits[0].released
        await anyio.sleep(5)
    assert len(errors) == 1
    log.is_away = False
    for permit in permits:
        await limiter.release(permit, RequestEnd.REPLIED)
    assert permits[0].released
    await ask(other, One())


async def test_the_store_is_away_at_first() -> None:
    log = MemoryLog(is_away=True)
    limiter = process(log)
    with pytest.raises(LimiterUnavailable):
        await limiter.acquire(One().select)
    log.is_away = False
    await ask(limiter, One())


async def test_two_processes_share_a_slow_store() -> None:
    log = MemoryLog(latency=0.02)
    one, other = process(log), process(log)
    async with anyio.create_task_group() as tasks:
        for key in range(10):
            tasks.start_soon(partial(ask, one, One((f"a{key}",)), takes=0.1))
            tasks.start_soon(partial(ask, other, One((f"b{key}",)), takes=0.1))
    assert len(records_of(log, Took)) == len(records_of(log, Ended)) == 20


@pytest.mark.parametrize("after", [0.001, 0.021, 0.041, 0.061, 0.081, 0.101])
async def test_a_caller_may_be_cancelled_at_each_step(after: float) -> None:
    """Then it holds nothing, and another caller, whose selector it may have been calling, goes on."""
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    has_permit = False
    with anyio.move_on_after(after):
        await limiter.acquire(One().select)
        has_permit = True
        await anyio.sleep(1)
    for _ in range(4):
        permit = await limiter.acquire(One((8,)).select)
        await limiter.release(permit, RequestEnd.REPLIED)
    await anyio.sleep(0.2)
    open_requests = len(records_of(log, Took)) - len(records_of(log, Ended))
    assert open_requests == limiter.slots().open_requests == has_permit


@pytest.mark.parametrize("after", [0.001, 0.021, 0.041])
async def test_those_who_wait_beside_a_cancelled_caller_go_on(after: float) -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    done = []

    async def wait() -> None:
        await ask(limiter, One((9,)))
        done.append(True)

    async with anyio.create_task_group() as tasks:
        with anyio.move_on_after(after):
            tasks.start_soon(wait)
            await limiter.acquire(One().select)
        await anyio.sleep(0.5)
        assert done


async def test_a_caller_that_is_cancelled_while_another_one_serves_it_holds_nothing() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    await ask(limiter, One())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, limiter, One((1,)))
        await checkpoint()
        with anyio.move_on_after(0.03):
            await limiter.acquire(One((2,)).select)
            raise AssertionError("it has not been served yet")
    await anyio.sleep(0.3)
    assert limiter.slots().open_requests == 0
    assert len(records_of(log, Took)) == len(records_of(log, Ended))


async def test_a_caller_that_is_cancelled_when_it_has_a_permit_gives_it_back() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    await ask(limiter, One())
    scope = anyio.CancelScope()

    class Cancelling(One):
        def select(self, pacer: Pacer, *, now: float) -> One | float:
            participant = participant_of(limiter)
            leave = participant._leave

            def leave_and_cancel(waiter: Waiter) -> None:
                leave(waiter)
                scope.cancel()

            participant._leave = leave_and_cancel  # type: ignore[method-assign]  # to cancel at this very step
            return super().select(pacer, now=now)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, limiter, One((2,)))  # it waits while the other one's request is written
        with scope:
            await limiter.acquire(Cancelling().select)
            raise AssertionError("it was cancelled")
    await anyio.sleep(0.3)
    assert limiter.slots().open_requests == 0


async def test_a_release_that_is_cancelled_is_written_later() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    permit = await limiter.acquire(One().select)
    with anyio.move_on_after(0.001):
        await limiter.release(permit, RequestEnd.REPLIED)
    await anyio.sleep(0.3)
    assert limiter.slots().open_requests == 0
    assert [record.how for record in records_of(log, Ended)] in ([0], [0, 0])
    await limiter.release(permit, RequestEnd.ABANDONED)
    assert permit.released


async def test_a_permit_counts_once_however_often_it_is_released() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log, Limits(singles_per_minute=2))
    permit = await limiter.acquire(One().select)
    async with anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(limiter.release, permit, RequestEnd.REPLIED)
    await limiter.release(permit, RequestEnd.REPLIED)
    began_at = anyio.current_time()
    await ask(limiter, One())
    assert anyio.current_time() - began_at < 1
    await ask(limiter, One())
    assert anyio.current_time() - began_at > 50


async def test_a_permit_of_another_loop_is_left_to_its_budget() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One().select)
    permit.loop = object()
    await limiter.release(permit, RequestEnd.REPLIED)
    assert not permit.released
    assert limiter.slots().open_requests == 1
    await anyio.sleep(31)
    await ask(limiter, One())
    assert limiter.slots().open_requests == 0


async def test_a_selector_that_raises_tells_its_own_caller_alone() -> None:
    log = MemoryLog()
    limiter = process(log)

    def broken(pacer: Pacer, *, now: float) -> One | float:
        raise ZeroDivisionError

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, limiter, One())
        with pytest.raises(ZeroDivisionError):
            await limiter.acquire(broken)
    await ask(limiter, One())


async def test_a_wake_before_the_store_is_open_is_not_lost() -> None:
    log = MemoryLog()
    limiter = process(log)
    limiter.wake()
    assert limiter.slots().open_requests == 0
    await ask(limiter, One())
    limiter.wake()


async def test_a_wake_sets_the_alarm_that_its_selector_names() -> None:
    """Nobody else serves meanwhile."""
    log, opens_at = MemoryLog(), float("inf")

    class Later:
        def select(self, pacer: Pacer, *, now: float) -> One | float:
            return One() if now >= opens_at else opens_at

        def has_work(self) -> bool:
            return opens_at < float("inf")

    limiter, later = process(log), Later()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.acquire, later.select)
        await anyio.sleep(1)
        opens_at = _loops.now() + 5
        limiter.wake(later.select)
        with anyio.fail_after(6):
            while not limiter.slots().open_requests:  # noqa: ASYNC110 (there is no event)
                await anyio.sleep(0.1)


async def test_a_selector_that_always_names_the_present_does_not_stop_the_loop() -> None:
    limiter = process(MemoryLog())
    with anyio.move_on_after(0.001):
        await limiter.acquire(lambda pacer, *, now: now)


# A new log.


async def test_a_log_that_is_lost_is_followed_by_a_quarantine(caplog: pytest.LogCaptureFixture) -> None:
    """All processes warn of it once."""
    log = MemoryLog()
    one, other = process(log), process(log)
    for limiter in (one, other):
        await ask(limiter, One())
    permit = await one.acquire(One().select)
    log.forget()
    began_at = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, one, One())
        tasks.start_soon(ask, other, One())
        await anyio.sleep(1)
        assert one.slots().quarantine_in == pytest.approx(100, abs=2)
        assert one.slots().open_requests == 0
        await one.release(permit, RequestEnd.REPLIED)
    assert anyio.current_time() - began_at == pytest.approx(60 + 1 + 10 + 30, abs=1.1)
    assert caplog.text.count("nothing is sent for up to") == 2


async def test_a_new_log_without_a_quarantine_gets_one_from_those_who_know_the_old_one() -> None:
    log = MemoryLog()
    old = process(log)
    for _ in range(5):
        await ask(old, One())
    log.forget()
    newcomer = process(log)
    await ask(newcomer, One((1,)))
    began_at = anyio.current_time()
    await ask(old, One())
    assert anyio.current_time() - began_at > 90
    assert [record.seconds > 0 for record in records_of(log, Quarantine)] == [False, True]


async def test_a_log_that_is_lost_while_a_request_is_written_is_joined_before_the_next_one() -> None:
    log = MemoryLog(latency=0.02)
    limiter = process(log)
    await ask(limiter, One())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, limiter, One((1,)))
        tasks.start_soon(ask, limiter, One((2,)))
        await anyio.sleep(0.01)
        log.forget()
    assert all(record.who for record in records_of(log, Took))
    assert len(records_of(log, Joined)) >= 1


async def test_a_log_that_is_lost_while_a_ticket_is_written() -> None:
    log = MemoryLog(latency=0.02)
    one, other = process(log), process(log)
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, other, One())
        while not records_of(log, Waits):  # noqa: ASYNC110 (likewise)
            await anyio.sleep(0.001)
        log.forget()
        for permit in permits:
            await one.release(permit, RequestEnd.REPLIED)
    assert not [record for record in records_of(log, Waits) if not record.who]


# Tickets, and what is repeated or forgotten.


async def test_tickets_are_left_renewed_and_taken_back() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(other, One())
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, other, One((9,)))
        await anyio.sleep(5)
        tickets = records_of(log, Waits)
        assert 4 <= len(tickets) <= 7
        assert all(ticket.slot for ticket in tickets)
        for permit in permits:
            await one.release(permit, RequestEnd.REPLIED)
    last = records_of(log, Waits)[-1]
    assert (last.slot, last.bulk) == (False, False)


async def test_a_ticket_that_has_expired_is_not_taken_back() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(other, One())
    permits = [await one.acquire(One((key,)).select) for key in range(4)]
    with anyio.move_on_after(0.5):
        try:
            await other.acquire(One((9,)).select)
        finally:
            log.is_away = True  # so that it can't be taken back at once
    await anyio.sleep(3)
    log.is_away = False
    for permit in permits:
        await one.release(permit, RequestEnd.REPLIED)
    await ask(other, One((9,)))
    assert len(records_of(log, Waits)) == 1


async def test_a_process_at_work_says_so_again_after_half_a_horizon() -> None:
    log = MemoryLog()
    limiter = process(log)
    for _ in range(6):
        await ask(limiter, One())
        await anyio.sleep(30)
    joined = records_of(log, Joined)
    assert len(joined) == 3
    assert [record.who for record in joined] == [0, joined[1].who, joined[1].who]


async def test_old_entries_are_dropped() -> None:
    log = MemoryLog()
    limiter = process(log)
    for _ in range(2):
        for key in range(200):
            await ask(limiter, One((key,)), takes=0.1)
        await anyio.sleep(300)
    assert log.entries[0].number > 300
    assert len(participant_of(limiter)._replica.ledger.members) == 1


async def test_a_reader_that_has_missed_dropped_entries_begins_anew() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(one, One())
    for _ in range(4):
        await ask(other, One())
    log.entries = log.entries[-2:]
    await ask(one, One((1,)))
    assert one.slots().open_requests == 0


async def test_other_limits_are_a_mistake() -> None:
    log = MemoryLog()
    await ask(process(log), One())
    other = process(log, Limits(period=30))
    for _ in range(2):
        with pytest.raises(ConfigError, match="period 60 and not 30"):
            await other.acquire(One().select)


async def test_a_record_of_another_version_is_a_mistake_until_it_is_gone() -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One())
    log.append(b"\x93\x63", _loops.now() + 1000)
    for _ in range(2):
        with pytest.raises(ConfigError, match="can't be read"):
            await limiter.acquire(One().select)
    del log.entries[-1]
    await ask(limiter, One())


# Loops, forks, and the end.


async def test_slots_outside_of_a_loop_tell_only_what_shares() -> None:
    limiter = process(MemoryLog())
    await ask(limiter, One())
    slots = await anyio.to_thread.run_sync(limiter.slots)
    assert slots == Slots(0, 0.0, shared_by="memory")
    assert limiter.slots().processes == 1


async def test_a_limiter_that_nobody_uses_closes_its_store() -> None:
    log = MemoryLog()
    limiter = process(log)
    await limiter.leave()
    permit = await limiter.acquire(One().select)
    await limiter.leave()
    assert limiter.slots().open_requests == 1
    await limiter.release(permit, RequestEnd.REPLIED)
    await limiter.leave()
    assert limiter.slots().processes == 1
    assert not limiter._participants
    limiter.wake()
    await limiter.leave()
    await ask(limiter, One())
    assert len(records_of(log, Joined)) == 2


async def test_a_forked_process_takes_part_anew() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One().select)
    before = participant_of(limiter)
    assert limiter.tally.counts()["appends"] > 0
    _reset_after_fork()
    assert limiter.slots().open_requests == 0
    assert limiter.tally.counts()["appends"] == 0
    await ask(limiter, One())
    assert participant_of(limiter) is not before
    assert limiter.slots().open_requests == 1  # the parent's
    await limiter.release(permit, RequestEnd.REPLIED)
    assert limiter.slots().open_requests == 1


def test_each_loop_takes_part_by_itself() -> None:
    """A loop that has ended is forgotten when the next one comes."""
    log = MemoryLog()
    limiter = process(log)
    for _ in range(3):
        asyncio.run(ask(limiter, One()))
    assert len(records_of(log, Joined)) == 3
    assert len(limiter._participants) <= 1


class Idle:
    """A caller that has nothing to send until `has` is set."""

    def __init__(self, key: Key = 7) -> None:
        self.has = False
        self._one = One((key,))

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        return self._one.select(pacer, now=now) if self.has else float("inf")

    def has_work(self) -> bool:
        return self.has


async def test_a_wake_that_the_store_can_not_answer_at_once_goes_on_in_the_background() -> None:
    log = MemoryLog()
    limiter, idle = process(log), Idle()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.acquire, idle.select)
        await settle()
        log.latency, idle.has = 0.05, True
        limiter.wake(idle.select)
        limiter.wake(idle.select)
        await anyio.sleep(0.5)
    assert len(records_of(log, Took)) == 1
    assert limiter.slots().open_requests == 1


async def test_callers_without_work_do_not_learn_that_the_store_is_away() -> None:
    log = MemoryLog()
    limiter, idle = process(log), Idle(8)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(limiter.acquire, idle.select)
        await settle()
        log.is_away = True
        with pytest.raises(LimiterUnavailable):
            await limiter.acquire(One().select)
        log.is_away, idle.has = False, True
        limiter.wake()


async def test_a_caller_learns_that_the_store_goes_away_when_the_log_has_changed() -> None:
    log = MemoryLog()
    one, other = process(log), process(log)
    await ask(other, One())
    for key in range(4):
        await one.acquire(One((key,)).select)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_away_after, log, 0.5)
        with pytest.raises(LimiterUnavailable), anyio.fail_after(1.5):
            await other.acquire(One((9,)).select)
    log.is_away, log.latency = False, 0.0


async def _away_after(log: MemoryLog, seconds: float) -> None:
    """Something else is written, and nobody can read it."""
    await anyio.sleep(seconds)
    log.append(encode(ended(who=1, serial=1, how=RequestEnd.REPLIED)), _loops.now() + 1000)
    log.is_away = True


async def test_a_log_that_is_read_anew_ends_no_request_in_flight() -> None:
    log = MemoryLog()
    limiter = process(log)
    permit = await limiter.acquire(One((1,)).select)
    log.append(b"of another version", 1000.0)
    with pytest.raises(ConfigError):
        await limiter.acquire(One((2,)).select)
    del log.entries[-1]
    await ask(limiter, One((3,)))
    assert limiter.slots().open_requests == 1
    await limiter.release(permit, RequestEnd.REPLIED)
    assert limiter.slots().open_requests == 0


async def test_one_log_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((1,)))
    for _ in range(2):
        log.append(encode(Quarantine(5.0, "lost")), log.entries[-1].at)
    await ask(limiter, One((2,)))
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_process_that_says_again_that_it_is_at_work_tells_when_its_last_bulk_request_was() -> None:
    """By then the entry of that request may have been dropped."""
    log = MemoryLog()
    limiter = process(log)
    await ask(limiter, One((1,), bulk=True))
    (took_at,) = [entry.at for entry in log.entries if isinstance(decode(entry.data), Took)]
    await anyio.sleep(80)
    await ask(limiter, One((2,)))
    assert [record.last_bulk_at for record in records_of(log, Joined)] == [float("-inf"), took_at]
