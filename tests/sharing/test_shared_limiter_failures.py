"""The shared limiter when the store is slow or away, and when callers are cancelled; in virtual time."""

from __future__ import annotations

from functools import partial

import anyio
import pytest
from anyio.lowlevel import checkpoint
from memory_store import MemoryLog
from shared_limiter_support import One, ask, participant_of, process, records_of, settle

from smsc_status import Limits, _loops
from smsc_status._core.scheduling.ledger import Ended, Took, encode, ended
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._waiters import Waiter
from smsc_status.errors import LimiterUnavailable
from smsc_status.models import Key

pytestmark = pytest.mark.anyio


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
    await anyio.sleep(0.1)  # the last end is in the log by now
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


@pytest.mark.slow
async def test_a_selector_that_always_names_the_present_does_not_stop_the_loop() -> None:
    limiter = process(MemoryLog())
    with anyio.move_on_after(0.001):
        await limiter.acquire(lambda pacer, *, now: now)


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
