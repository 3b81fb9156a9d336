"""The limiter by itself: waiting, fairness, cancellation, loops."""

from __future__ import annotations

import gc
import math
from functools import partial
from typing import Any

import anyio
import attrs
import pytest
from limiter_support import Late, One, Urgent, ask

from smsc_status import ConfigError, Limits, LocalLimiter, _loops
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._waiters import Waiter
from smsc_status.limiter import shared

pytestmark = pytest.mark.anyio


async def test_a_request_that_may_go_does_not_wait() -> None:
    limiter = LocalLimiter()
    began_at = anyio.current_time()
    for _ in range(5):
        await ask(limiter, One())
    assert anyio.current_time() == began_at
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(61)


async def test_no_request_is_blocked_by_another_id() -> None:
    limiter = LocalLimiter()
    for _ in range(5):
        await ask(limiter, One())
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(ask, limiter, One())
        await anyio.sleep(1)
        with anyio.fail_after(0.001):
            await ask(limiter, One((8,)))
        group.cancel_scope.cancel()


async def test_a_pause_shorter_than_the_clock_can_tell_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instants of different loops differ by an offset, so that a pause may end a rounding error too early."""
    limiter, looks = LocalLimiter(Limits(period=0.06, margin=0.001)), 0

    def now() -> float:
        nonlocal looks
        looks += 1
        assert looks < 1000
        return anyio.current_time() - began_at

    await anyio.sleep(80_000)
    began_at = anyio.current_time()
    monkeypatch.setattr(_loops, "here_and_now", lambda: (_loops.this_loop(), now()))
    monkeypatch.setattr(_loops, "now", now)
    for _ in range(50):
        await ask(limiter, One())


@attrs.define(eq=False)
class Counted:
    """A request for one id, and how often its selector was asked."""

    one: One
    asked: int = 0

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        self.asked += 1
        return self.one.select(pacer, now=now)


async def test_a_reply_asks_no_more_waiters_than_can_take_its_slot() -> None:
    """However many wait: what asking costs grows with their number, not with its square."""
    limiter = LocalLimiter()
    waiters = [Counted(One((id,))) for id in range(400)]
    ends: list[float] = []

    async def go(waiter: Counted) -> None:
        permit = await limiter.acquire(waiter.select)
        await anyio.sleep(1)
        await limiter.release(permit, RequestEnd.REPLIED)
        ends.append(anyio.current_time())

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for waiter in waiters:
            group.start_soon(go, waiter)
    assert max(ends) - began_at == pytest.approx(100)  # and four were open all the time
    assert max(waiter.asked for waiter in waiters) <= 3


@pytest.mark.parametrize("how", RequestEnd)
async def test_a_slot_goes_past_waiters_for_something_else(how: RequestEnd) -> None:
    """A waiter that needs only a slot gets it as soon as it is free, however many came before."""
    limiter = LocalLimiter(Limits(connections=1))
    for _ in range(5):
        await ask(limiter, One())
    holder = await limiter.acquire(One((8,)).select)
    began_at = anyio.current_time()
    got_at: list[float] = []

    async def go() -> None:
        await ask(limiter, One((9,)))
        got_at.append(anyio.current_time() - began_at)

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(ask, limiter, One())
        await anyio.sleep(1)
        group.start_soon(go)
        await anyio.sleep(1)
        await limiter.release(holder, how)
        await anyio.sleep(11)
        group.cancel_scope.cancel()
    assert got_at == [pytest.approx(12 if how is RequestEnd.ABANDONED else 2)]


async def test_a_bulk_slot_that_comes_back_early_is_offered_to_all() -> None:
    """Also to those who waited for the slot while a slot was free."""
    limiter = LocalLimiter()
    holder = await limiter.acquire(One((1, 2), bulk=True).select)
    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for id in range(3, 9):
            group.start_soon(partial(ask, limiter, One((id,), bulk=True), how=RequestEnd.NOT_SENT))
        await anyio.sleep(5)
        await limiter.release(holder, RequestEnd.NOT_SENT)
    assert anyio.current_time() - began_at == pytest.approx(5)


async def test_a_selector_is_asked_when_its_own_request_has_ended() -> None:
    """Also without a slot for another request: it may have callers to tell."""
    limiter = LocalLimiter(Limits(connections=1))
    asked_at: list[float] = []

    def select(pacer: Pacer, *, now: float) -> One | float:
        asked_at.append(now)
        return One() if pacer.free_slots(now=now) and pacer.tokens(7, now=now) == 5 else math.inf

    began_at = _loops.now()
    permit = await limiter.acquire(select)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, limiter, One((8,)))  # it will take the slot
        await anyio.sleep(1)
        group.start_soon(limiter.acquire, select)
        await anyio.sleep(1)
        asked_at.clear()
        await limiter.release(permit, RequestEnd.REPLIED)
        assert asked_at == [pytest.approx(began_at + 2)]
        group.cancel_scope.cancel()


async def test_wake_with_a_selector_asks_no_other() -> None:
    """If that one does not wait, none is asked."""
    limiter = LocalLimiter()
    for _ in range(5):
        await ask(limiter, One())
    waiters = [Counted(One()) for _ in range(3)]
    limiter.wake(waiters[0].select)
    limiter.wake()
    async with anyio.create_task_group() as group:
        for waiter in waiters:
            group.start_soon(limiter.acquire, waiter.select)
        await anyio.sleep(1)
        before = [waiter.asked for waiter in waiters]
        limiter.wake(waiters[1].select)
        assert [waiter.asked for waiter in waiters] == [before[0], before[1] + 1, before[2]]
        limiter.wake()
        assert [waiter.asked for waiter in waiters] == [before[0] + 1, before[1] + 2, before[2] + 1]
        group.cancel_scope.cancel()


async def test_a_selector_may_have_the_others_asked() -> None:
    """A waiter that was served meanwhile is not asked again."""
    limiter = LocalLimiter()
    wanted: list[One] = []
    asked: list[str] = []

    def meddle(pacer: Pacer, *, now: float) -> One | float:
        if wanted:
            limiter.wake(other)
        return math.inf

    def other(pacer: Pacer, *, now: float) -> One | float:
        asked.append("other")
        return wanted[0] if wanted else math.inf

    async with anyio.create_task_group() as group:
        group.start_soon(limiter.acquire, meddle)
        await anyio.sleep(1)
        group.start_soon(limiter.acquire, other)
        await anyio.sleep(1)
        asked.clear()
        wanted.append(One())
        limiter.wake()
        assert asked == ["other"]
        group.cancel_scope.cancel()


async def test_a_selector_that_raises_fails_its_own_caller_alone() -> None:
    """Waiters that were asked together with it are not affected."""
    limiter = LocalLimiter()
    at = _loops.now() + 10

    def fail(pacer: Pacer, *, now: float) -> One | float:
        if now >= at:
            raise ValueError("a bug")
        return at

    async def expect_failure() -> None:
        with pytest.raises(ValueError, match="a bug"):
            await limiter.acquire(fail)

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(expect_failure)
        group.start_soon(ask, limiter, Late(at=at))
    assert anyio.current_time() - began_at == pytest.approx(10)
    assert limiter.pacer.tokens(7, now=_loops.now()) == 4


@pytest.mark.slow
async def test_a_waiter_that_left_leaves_nothing_behind() -> None:
    """Neither among those who wait for an instant, nor among those who wait for a slot."""
    limiter = LocalLimiter(Limits(connections=1))
    holder = await limiter.acquire(One().select)
    async with anyio.create_task_group() as group:
        group.start_soon(limiter.acquire, One((8,)).select)
        await anyio.sleep(0.1)
        for _ in range(300):
            with anyio.move_on_after(0.01):
                await limiter.acquire(lambda pacer, *, now: now + 1000)
        gc.collect()
        assert sum(type(thing) is Waiter for thing in gc.get_objects()) < 150
        await limiter.release(holder, RequestEnd.REPLIED)
    assert limiter.waiting == 0


async def test_slots_go_to_waiters_in_the_order_of_coming() -> None:
    limiter = LocalLimiter(Limits(checks_per_id=1))
    order: list[int] = []

    async def wait(n: int) -> None:
        await anyio.sleep(n / 1000)
        await ask(limiter, One())
        order.append(n)

    async with anyio.create_task_group() as group:
        for n in (3, 1, 4, 2, 5):
            group.start_soon(wait, n)
    assert order == [1, 2, 3, 4, 5]


async def test_cancelled_waiters_take_nothing() -> None:
    """Neither while they wait, nor in the moment in which their turn comes."""
    limiter = LocalLimiter(Limits(checks_per_id=1))
    await ask(limiter, One())
    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(ask, limiter, One())
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert limiter.pacer.tokens(7, now=_loops.now()) == 0
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(61)

    holder = await limiter.acquire(One((1, 2, 3)).select)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(ask, limiter, One((1,)), how=RequestEnd.NOT_SENT))
        await anyio.sleep(1)
        await limiter.release(holder, RequestEnd.NOT_SENT)  # its turn comes, and in the same moment
        group.cancel_scope.cancel()
    assert limiter.pacer.tokens(1, now=_loops.now()) == 1
    assert limiter.pacer.open_requests == 0


async def test_a_permit_is_released_once() -> None:
    limiter = LocalLimiter()
    permit = await limiter.acquire(One().select)
    await limiter.release(permit, RequestEnd.NOT_SENT)
    await limiter.release(permit, RequestEnd.REPLIED)
    assert limiter.is_idle()


async def test_a_lost_permit_counts_as_given_up() -> None:
    """Its slot and tokens come back, as late as if it had been."""
    limiter = LocalLimiter(Limits(connections=1))
    permit = await limiter.acquire(One().select)
    del permit
    gc.collect()
    began_at = anyio.current_time()
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(10)
    assert not limiter.is_idle()
    await anyio.sleep(72)
    assert limiter.is_idle()


async def test_a_waiter_for_the_slot_of_a_lost_permit_is_told_when_the_permit_is_found() -> None:
    """The next look finds it. Its slot comes free when its request can't arrive any more."""
    limiter = LocalLimiter(Limits(connections=1))
    permit = await limiter.acquire(One().select)
    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, limiter, One((8,)))
        await anyio.sleep(1)
        del permit
        gc.collect()
        assert not limiter.is_idle()
    assert anyio.current_time() - began_at == pytest.approx(11)


async def test_wake_asks_a_waiting_selector_again() -> None:
    """What it wants may have changed."""
    limiter = LocalLimiter()
    wanted: list[One] = []

    def select(pacer: Pacer, *, now: float) -> One | float:
        return wanted[0] if wanted else now + 1000

    async def later() -> None:
        await anyio.sleep(5)
        wanted.append(One())
        limiter.wake()

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(later)
        await limiter.acquire(select)
    assert anyio.current_time() - began_at == pytest.approx(5)


async def test_a_nearer_instant_is_waited_for() -> None:
    limiter = LocalLimiter()
    at = _loops.now() + 1000

    def select(pacer: Pacer, *, now: float) -> One | float:
        return One() if now >= at else at

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(limiter.acquire, select)
        await anyio.sleep(1)
        at = _loops.now() + 1
        limiter.wake()
    assert anyio.current_time() - began_at == pytest.approx(2)


async def test_nothing_is_left_of_many_ids_when_their_period_is_over() -> None:
    limiter = LocalLimiter()
    for start in range(0, 100_000, 1000):
        await ask(limiter, One(tuple(range(start, start + 1000))))
    assert len(limiter.pacer) == 100_000
    await anyio.sleep(61)
    assert limiter.is_idle()
    assert len(limiter.pacer) == 0


@pytest.mark.parametrize("bulk", [False, True])
async def test_urgent_waiters_are_asked_before_those_that_came_first(bulk: bool) -> None:
    """Whether a slot or an instant is waited for; as long as they are urgent."""
    limiter = LocalLimiter(Limits(connections=1))
    order: list[str] = []

    async def wait(name: str, selector: Any) -> None:
        permit = await limiter.acquire(selector.select)
        order.append(name)
        await anyio.sleep(1)
        await limiter.release(permit, RequestEnd.REPLIED)

    holder = await limiter.acquire(One((1, 2), bulk=bulk).select)
    fickle = Urgent(One((5, 6), bulk=bulk))
    async with anyio.create_task_group() as group:
        for name, selector in {
            "first": One((3, 4), bulk=bulk),
            "was urgent": fickle,
            "urgent": Urgent(One((7, 8), bulk=bulk)),
            "urgent too": Urgent(One((9, 10), bulk=bulk)),
            "last": One((11, 12), bulk=bulk),
        }.items():
            group.start_soon(wait, name, selector)
            await anyio.sleep(0.01)
        fickle.urgent = False
        await limiter.release(holder, RequestEnd.REPLIED)
    assert order == ["urgent", "urgent too", "first", "was urgent", "last"]


@pytest.mark.slow
@pytest.mark.measured
async def test_an_account_has_one_limiter_until_its_last_token_is_back() -> None:
    limiter = shared("an account", Limits())
    assert shared("an account", Limits()) is limiter
    with pytest.raises(ConfigError, match="in use in this process"):
        shared("an account", Limits(checks_per_id=1))
    await ask(limiter, One())
    key = id(limiter)
    del limiter
    gc.collect()
    assert id(shared("an account", Limits())) == key
    await anyio.sleep(62)
    shared("another", Limits())
    gc.collect()
    assert shared("an account", Limits(checks_per_id=1)).limits.checks_per_id == 1
