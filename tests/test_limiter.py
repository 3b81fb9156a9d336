"""The limiter by itself: waiting, fairness, cancellation, loops."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
from functools import partial

import anyio
import attrs
import pytest
from virtual import VirtualLoop

from smsc_status import ConfigError, Limits, LocalLimiter, loops
from smsc_status.core.pacing import Pacer, Settlement
from smsc_status.limiter import shared
from smsc_status.line import Waiter
from smsc_status.models import Key

pytestmark = pytest.mark.anyio


@attrs.frozen
class One:
    """A request for these ids, whenever it may go."""

    keys: tuple[Key, ...] = (7,)
    bulk: bool = False

    def choose(self, pacer: Pacer, *, now: float) -> One | float:
        at = max([pacer.place_due_at(now=now), *(pacer.due_at(key, now=now) for key in self.keys)])
        at = max(at, pacer.bulk_due_at(now=now)) if self.bulk else at
        return self if at <= now else at


async def ask(limiter: LocalLimiter, one: One, *, takes: float = 0.0, how: Settlement = Settlement.REPLIED) -> None:
    permit = await limiter.take(one.choose)
    try:
        await anyio.sleep(takes)
    finally:
        await limiter.settle(permit, how)


async def test_what_may_go_goes_without_waiting() -> None:
    limiter = LocalLimiter()
    began_at = anyio.current_time()
    for _ in range(5):
        await ask(limiter, One())
    assert anyio.current_time() == began_at
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(61)


async def test_nobody_is_blocked_by_another_key() -> None:
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
    monkeypatch.setattr(loops, "here_and_now", lambda: (loops.this_loop(), now()))
    monkeypatch.setattr(loops, "now", now)
    for _ in range(50):
        await ask(limiter, One())


@attrs.define(eq=False)
class Counted:
    """A request for one id, and how often its chooser was asked."""

    one: One
    asked: int = 0

    def choose(self, pacer: Pacer, *, now: float) -> One | float:
        self.asked += 1
        return self.one.choose(pacer, now=now)


async def test_a_reply_asks_no_more_than_can_take_its_place() -> None:
    """However many wait: what asking costs grows with their number, not with its square."""
    limiter = LocalLimiter()
    waiters = [Counted(One((id,))) for id in range(400)]
    ends: list[float] = []

    async def go(waiter: Counted) -> None:
        permit = await limiter.take(waiter.choose)
        await anyio.sleep(1)
        await limiter.settle(permit, Settlement.REPLIED)
        ends.append(anyio.current_time())

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for waiter in waiters:
            group.start_soon(go, waiter)
    assert max(ends) - began_at == pytest.approx(100)  # and four were open all the time
    assert max(waiter.asked for waiter in waiters) <= 3


@pytest.mark.parametrize("how", Settlement)
async def test_a_place_goes_past_those_who_wait_for_something_else(how: Settlement) -> None:
    """Whoever needs only a place gets it in the moment in which it is free, however many are before him."""
    limiter = LocalLimiter(Limits(connections=1))
    for _ in range(5):
        await ask(limiter, One())
    holder = await limiter.take(One((8,)).choose)
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
        await limiter.settle(holder, how)
        await anyio.sleep(11)
        group.cancel_scope.cancel()
    assert got_at == [pytest.approx(12 if how is Settlement.GIVEN_UP else 2)]


async def test_a_bulk_slot_that_comes_back_early_is_offered_to_all() -> None:
    """Also to those who waited for the slot while a place was free."""
    limiter = LocalLimiter()
    holder = await limiter.take(One((1, 2), bulk=True).choose)
    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for id in range(3, 9):
            group.start_soon(partial(ask, limiter, One((id,), bulk=True), how=Settlement.NEVER_LEFT))
        await anyio.sleep(5)
        await limiter.settle(holder, Settlement.NEVER_LEFT)
    assert anyio.current_time() - began_at == pytest.approx(5)


async def test_a_chooser_is_asked_when_its_own_request_has_ended() -> None:
    """Though there is no place for another: it may have to tell somebody."""
    limiter = LocalLimiter(Limits(connections=1))
    asked_at: list[float] = []

    def choose(pacer: Pacer, *, now: float) -> One | float:
        asked_at.append(now)
        return One() if pacer.free_places(now=now) and pacer.tokens(7, now=now) == 5 else math.inf

    began_at = loops.now()
    permit = await limiter.take(choose)
    async with anyio.create_task_group() as group:
        group.start_soon(ask, limiter, One((8,)))  # it will take the place
        await anyio.sleep(1)
        group.start_soon(limiter.take, choose)
        await anyio.sleep(1)
        asked_at.clear()
        await limiter.settle(permit, Settlement.REPLIED)
        assert asked_at == [pytest.approx(began_at + 2)]
        group.cancel_scope.cancel()


async def test_one_change_of_mind_asks_nobody_else() -> None:
    """`reconsider` with a chooser asks that one; with none in line it asks nobody."""
    limiter = LocalLimiter()
    for _ in range(5):
        await ask(limiter, One())
    waiters = [Counted(One()) for _ in range(3)]
    limiter.reconsider(waiters[0].choose)
    limiter.reconsider()
    async with anyio.create_task_group() as group:
        for waiter in waiters:
            group.start_soon(limiter.take, waiter.choose)
        await anyio.sleep(1)
        before = [waiter.asked for waiter in waiters]
        limiter.reconsider(waiters[1].choose)
        assert [waiter.asked for waiter in waiters] == [before[0], before[1] + 1, before[2]]
        limiter.reconsider()
        assert [waiter.asked for waiter in waiters] == [before[0] + 1, before[1] + 2, before[2] + 1]
        group.cancel_scope.cancel()


async def test_a_chooser_may_have_the_others_asked() -> None:
    """Who has got something by that is not asked again."""
    limiter = LocalLimiter()
    wanted: list[One] = []
    asked: list[str] = []

    def meddle(pacer: Pacer, *, now: float) -> One | float:
        if wanted:
            limiter.reconsider(other)
        return math.inf

    def other(pacer: Pacer, *, now: float) -> One | float:
        asked.append("other")
        return wanted[0] if wanted else math.inf

    async with anyio.create_task_group() as group:
        group.start_soon(limiter.take, meddle)
        await anyio.sleep(1)
        group.start_soon(limiter.take, other)
        await anyio.sleep(1)
        asked.clear()
        wanted.append(One())
        limiter.reconsider()
        assert asked == ["other"]
        group.cancel_scope.cancel()


async def test_a_chooser_that_fails_fails_its_own_taker() -> None:
    """And nobody who was asked together with it."""
    limiter = LocalLimiter()
    at = loops.now() + 10

    def fail(pacer: Pacer, *, now: float) -> One | float:
        if now >= at:
            raise ValueError("a bug")
        return at

    async def expect_failure() -> None:
        with pytest.raises(ValueError, match="a bug"):
            await limiter.take(fail)

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(expect_failure)
        group.start_soon(limiter.take, lambda pacer, *, now: One() if now >= at else at)
    assert anyio.current_time() - began_at == pytest.approx(10)
    assert limiter.pacer.open_requests == 1


async def test_who_has_come_and_gone_leaves_nothing() -> None:
    """Neither among those who wait for an instant, nor among those who wait for a place."""
    limiter = LocalLimiter(Limits(connections=1))
    holder = await limiter.take(One().choose)
    async with anyio.create_task_group() as group:
        group.start_soon(limiter.take, One((8,)).choose)
        await anyio.sleep(0.1)
        for _ in range(300):
            with anyio.move_on_after(0.01):
                await limiter.take(lambda pacer, *, now: now + 1000)
        gc.collect()
        assert sum(type(thing) is Waiter for thing in gc.get_objects()) < 150
        await limiter.settle(holder, Settlement.REPLIED)
    assert not limiter._lines


async def test_first_come_first_served() -> None:
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
    assert limiter.pacer.tokens(7, now=loops.now()) == 0
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(61)

    holder = await limiter.take(One((1, 2, 3)).choose)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(ask, limiter, One((1,)), how=Settlement.NEVER_LEFT))
        await anyio.sleep(1)
        await limiter.settle(holder, Settlement.NEVER_LEFT)  # its turn comes, and in the same moment
        group.cancel_scope.cancel()
    assert limiter.pacer.tokens(1, now=loops.now()) == 1
    assert limiter.pacer.open_requests == 0


async def test_a_permit_is_settled_once() -> None:
    limiter = LocalLimiter()
    permit = await limiter.take(One().choose)
    await limiter.settle(permit, Settlement.NEVER_LEFT)
    await limiter.settle(permit, Settlement.REPLIED)
    assert limiter.is_idle()


async def test_a_lost_permit_counts_as_given_up() -> None:
    """Its place and tokens come back, as late as if it had been."""
    limiter = LocalLimiter(Limits(connections=1))
    permit = await limiter.take(One().choose)
    del permit
    gc.collect()
    began_at = anyio.current_time()
    await ask(limiter, One())
    assert anyio.current_time() - began_at == pytest.approx(10)
    assert not limiter.is_idle()
    await anyio.sleep(72)
    assert limiter.is_idle()


async def test_who_waits_for_a_lost_permit_s_place_is_told_when_it_is_found() -> None:
    """By whoever looks next; its place comes free when it can't arrive any more."""
    limiter = LocalLimiter(Limits(connections=1))
    permit = await limiter.take(One().choose)
    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(ask, limiter, One((8,)))
        await anyio.sleep(1)
        del permit
        gc.collect()
        assert not limiter.is_idle()
    assert anyio.current_time() - began_at == pytest.approx(11)


async def test_a_change_of_mind_is_heard() -> None:
    """What a waiting chooser would have may change; `reconsider` asks it again."""
    limiter = LocalLimiter()
    wanted: list[One] = []

    def choose(pacer: Pacer, *, now: float) -> One | float:
        return wanted[0] if wanted else now + 1000

    async def later() -> None:
        await anyio.sleep(5)
        wanted.append(One())
        limiter.reconsider()

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(later)
        await limiter.take(choose)
    assert anyio.current_time() - began_at == pytest.approx(5)


async def test_a_nearer_instant_is_waited_for() -> None:
    limiter = LocalLimiter()
    at = loops.now() + 1000

    def choose(pacer: Pacer, *, now: float) -> One | float:
        return One() if now >= at else at

    began_at = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(limiter.take, choose)
        await anyio.sleep(1)
        at = loops.now() + 1
        limiter.reconsider()
    assert anyio.current_time() - began_at == pytest.approx(2)


async def test_nothing_is_left_of_many_ids_when_their_period_is_over() -> None:
    limiter = LocalLimiter()
    for start in range(0, 100_000, 1000):
        await ask(limiter, One(tuple(range(start, start + 1000))))
    assert len(limiter.pacer) == 100_000
    await anyio.sleep(61)
    assert limiter.is_idle()
    assert len(limiter.pacer) == 0


def test_two_threads_with_a_loop_each_share_one_limiter() -> None:
    """Each is told when the other gives something back."""
    limiter = LocalLimiter(Limits(period=0.05, margin=0.01, checks_per_id=1))
    done: list[int] = []

    async def many(n: int) -> None:
        for _ in range(5):
            await ask(limiter, One(), takes=0.001)
            done.append(n)

    threads = [
        threading.Thread(target=partial(anyio.run, many, n, backend=backend))
        for n, backend in enumerate(["asyncio", "trio"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(done) == [0] * 5 + [1] * 5


def test_a_waiter_whose_loop_has_ended_holds_up_nobody() -> None:
    """It is forgotten as soon as somebody looks."""
    limiter = LocalLimiter(Limits(connections=1))
    loop = VirtualLoop()
    holder = loop.create_task(limiter.take(One().choose))
    waiter = loop.create_task(limiter.take(One((8,)).choose))
    loop.run_until_complete(asyncio.sleep(0.1))
    permit = holder.result()
    loop.close()

    async def main() -> None:
        await limiter.settle(permit, Settlement.NEVER_LEFT)
        assert not limiter._lines
        await ask(limiter, One())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was torn down on purpose


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
