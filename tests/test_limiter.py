"""The limiter by itself: waiting, fairness, cancellation, loops."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import anyio
import attrs
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from virtual import VirtualLoop

from smsc_status import ConfigError, Limits, LocalLimiter, _loops
from smsc_status import limiter as limiter_module
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._waiters import Waiter
from smsc_status.limiter import shared
from smsc_status.models import Key

pytestmark = pytest.mark.anyio


@attrs.frozen
class One:
    """A request for these ids, whenever it may go."""

    keys: tuple[Key, ...] = (7,)
    bulk: bool = False

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        at = max([pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in self.keys)])
        at = max(at, pacer.bulk_due_at(now=now)) if self.bulk else at
        return self if at <= now else at


@attrs.frozen
class Late(One):
    """One that may go at that instant."""

    at: float = attrs.field(default=0.0, kw_only=True)

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        return self if now >= self.at else self.at


async def ask(limiter: LocalLimiter, one: One, *, takes: float = 0.0, how: RequestEnd = RequestEnd.REPLIED) -> None:
    permit = await limiter.acquire(one.select)
    try:
        await anyio.sleep(takes)
    finally:
        await limiter.release(permit, how)


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


async def test_a_permit_is_settled_once() -> None:
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


def test_a_waiter_whose_loop_has_ended_holds_up_no_other() -> None:
    """It is forgotten as soon as somebody looks."""
    limiter = LocalLimiter(Limits(connections=1))
    loop = VirtualLoop()
    holder = loop.create_task(limiter.acquire(One().select))
    waiter = loop.create_task(limiter.acquire(One((8,)).select))
    loop.run_until_complete(asyncio.sleep(0.1))
    permit = holder.result()
    loop.close()

    async def main() -> None:
        await limiter.release(permit, RequestEnd.NOT_SENT)
        assert limiter.waiting == 0
        await ask(limiter, One())

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was torn down on purpose


@contextmanager
def two_loops() -> Iterator[tuple[BlockingPortal, BlockingPortal]]:
    """Asyncio's in one thread and trio's in another, in real time."""
    with start_blocking_portal("asyncio") as one, start_blocking_portal("trio") as other:
        yield one, other


def join(limiter: LocalLimiter, loop: BlockingPortal, work: Callable[[], object]) -> Future[object]:
    """Start what will wait for the limiter in this loop; it is in the queue when this returns."""
    before = limiter.waiting
    future: Future[object] = loop.start_task_soon(work)
    deadline = time.monotonic() + 10
    while limiter.waiting == before:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    return future


def test_a_slot_goes_to_the_first_comer_of_whichever_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop in which the slot has come free has no advantage."""
    monkeypatch.setattr("smsc_status.limiter.TURN_TIMEOUT", 10.0)  # however busy this machine is
    limiter = LocalLimiter(Limits(connections=1))
    order: list[str] = []

    async def wait(name: str) -> None:
        permit = await limiter.acquire(One((name,)).select)
        order.append(name)
        await limiter.release(permit, RequestEnd.REPLIED)

    with two_loops() as (one, other):
        holder = one.call(limiter.acquire, One().select)
        names = ["other 1", "one 1", "other 2", "other 3", "one 2", "one 3", "other 4"]
        futures = [join(limiter, one if name.startswith("one") else other, partial(wait, name)) for name in names]
        one.call(limiter.release, holder, RequestEnd.REPLIED)
        for future in futures:
            future.result(timeout=20)
    assert order == names


def test_busy_loops_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks again and again gives a slot to the other's after what was before it, and no later."""
    monkeypatch.setattr("smsc_status.limiter.TURN_TIMEOUT", 10.0)
    limiter = LocalLimiter(Limits(connections=2))
    started: list[str] = []
    is_over = threading.Event()

    async def go_on(name: str) -> None:
        while not is_over.is_set():
            await ask(limiter, One((f"{name} {len(started)}",)), takes=0.002)
            started.append(name)

    async def once() -> None:
        await ask(limiter, One((f"once {len(started)}",)))
        started.append("once")

    with two_loops() as (one, other):
        greedy = [one.start_task_soon(go_on, f"greedy {k}") for k in range(6)]
        while len(started) < 20:
            time.sleep(0.001)
        for k in range(10):
            other.start_task_soon(once).result(timeout=20)
            assert started.count("once") == k + 1
        is_over.set()
        for future in greedy:
            future.result(timeout=20)
    positions = [k for k, name in enumerate(started) if name == "once"]
    # Others were in queue before it, in flight, or ended while the threads changed.
    assert max(b - a for a, b in pairwise(positions)) < 60


def test_a_loop_that_is_stuck_delays_others_only_once() -> None:
    """Its turn passes on after `TURN_TIMEOUT`, and it is not waited for again until it is seen to run."""
    limiter = LocalLimiter(Limits(connections=1))
    is_free = threading.Event()
    order: list[str] = []

    async def wait(name: str) -> None:
        permit = await limiter.acquire(One((name,)).select)
        order.append(name)
        await limiter.release(permit, RequestEnd.REPLIED)

    with two_loops() as (one, other):
        holder = one.call(limiter.acquire, One().select)
        stuck = [join(limiter, other, partial(wait, f"stuck {k}")) for k in range(3)]
        block(other, is_free)
        waiting = [join(limiter, one, partial(wait, f"well {k}")) for k in range(3)]
        began_at = time.monotonic()
        one.call(limiter.release, holder, RequestEnd.REPLIED)
        for future in waiting:
            future.result(timeout=20)
        one.call(wait, "late comer")
        assert time.monotonic() - began_at < 5
        assert order == ["well 0", "well 1", "well 2", "late comer"]
        is_free.set()
        for future in stuck:
            future.result(timeout=20)
    assert order[4:] == ["stuck 0", "stuck 1", "stuck 2"]


def block(loop: BlockingPortal, until: threading.Event) -> Future[object]:
    """Block the loop, as a blocking call of the user's own does; it is blocked when this returns."""
    is_blocked = threading.Event()

    async def sleep_in_thread_of_loop() -> None:
        is_blocked.set()
        until.wait(20)

    future: Future[object] = loop.start_task_soon(sleep_in_thread_of_loop)
    assert is_blocked.wait(10)
    return future


@attrs.define(eq=False)
class Urgent:
    """One that may be urgent."""

    one: One
    urgent: bool = True

    def select(self, pacer: Pacer, *, now: float) -> One | float:
        return self.one.select(pacer, now=now)

    def is_urgent(self, *, now: float) -> bool:
        assert now > -math.inf
        return self.urgent


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


def test_urgent_waiters_of_another_loop_are_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsc_status.limiter.TURN_TIMEOUT", 10.0)
    limiter = LocalLimiter(Limits(connections=1))
    order: list[str] = []

    async def wait(name: str, selector: One | Urgent) -> None:
        permit = await limiter.acquire(selector.select)
        order.append(name)
        await limiter.release(permit, RequestEnd.REPLIED)

    with two_loops() as (one, other):
        holder = one.call(limiter.acquire, One().select)
        futures = [
            join(limiter, one, partial(wait, "first", One((8,)))),
            join(limiter, other, partial(wait, "urgent", Urgent(One((9,))))),
        ]
        one.call(limiter.release, holder, RequestEnd.REPLIED)
        for future in futures:
            future.result(timeout=20)
    assert order == ["urgent", "first"]


def test_a_turn_passes_over_a_loop_that_has_ended() -> None:
    """Also if another loop is late as well."""
    limiter = LocalLimiter(Limits(connections=1))
    gone = VirtualLoop()
    waiter = gone.create_task(limiter.acquire(One((8,)).select))

    async def main() -> None:
        holder = await limiter.acquire(One().select)
        gone_soon = anyio.current_time()
        with anyio.move_on_after(0):
            await limiter.acquire(One((9,)).select)
        await anyio.to_thread.run_sync(lambda: gone.run_until_complete(asyncio.sleep(0.1)))
        assert limiter.waiting == 1
        async with anyio.create_task_group() as group:
            group.start_soon(ask, limiter, One((10,)))
            await anyio.sleep(0.01)
            gone.close()
            await limiter.release(holder, RequestEnd.REPLIED)
        assert anyio.current_time() - gone_soon < 5

    anyio.run(main)
    assert limiter.waiting == 0
    waiter._log_destroy_pending = False  # type: ignore[attr-defined]  # its loop was torn down on purpose


def test_a_loop_that_ended_without_being_closed_gives_its_slots_back() -> None:
    """When its requests must have timed out, and can't arrive any more. If it goes on after all, nothing happens."""
    limiter = LocalLimiter()
    still = VirtualLoop()
    takers = [still.create_task(ask(limiter, One((k,)), takes=1000)) for k in range(4)]
    still.run_until_complete(asyncio.sleep(0.1))

    async def main() -> float:
        began_at = anyio.current_time()
        await ask(limiter, One((8,)))
        assert limiter.pacer.open_requests == 0
        return anyio.current_time() - began_at

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == pytest.approx(40, abs=2)
    still.run_until_complete(asyncio.gather(*takers))
    assert limiter.pacer.open_requests == 0
    still.close()


def test_a_loop_that_stood_still_for_a_moment_keeps_its_places() -> None:
    limiter = LocalLimiter(Limits(connections=1))
    still = VirtualLoop()
    taker = still.create_task(ask(limiter, One(), takes=1000))
    still.run_until_complete(asyncio.sleep(0.1))

    async def look() -> None:
        with anyio.move_on_after(20):
            await ask(limiter, One((8,)))

    async def elsewhere() -> None:
        for _ in range(4):
            await look()
            await anyio.to_thread.run_sync(lambda: still.run_until_complete(wait_in_line()))
        assert limiter.pacer.open_requests == 1

    async def wait_in_line() -> None:
        with anyio.move_on_after(0.1):
            await limiter.acquire(One((9,)).select)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(elsewhere())
    still.run_until_complete(taker)
    still.close()


def test_a_permit_that_was_given_up_before_it_was_noticed_is_waited_for_again() -> None:
    """Its loop stood still right after its turn had come. Nothing is sent on tokens that count for others by now."""
    limiter = LocalLimiter(Limits(connections=1))
    still = VirtualLoop()
    gone: list[object] = []

    async def begin() -> asyncio.Task[None]:
        holder = await limiter.acquire(One().select)
        task = asyncio.ensure_future(ask(limiter, One((8, 9), bulk=True)))
        await asyncio.sleep(0.1)
        asyncio.ensure_future(limiter.release(holder, RequestEnd.REPLIED)).add_done_callback(gone.append)
        still.call_soon(still.stop)
        return task

    async def elsewhere() -> None:
        await ask(limiter, One((1, 2), bulk=True))

    beginning = still.create_task(begin())
    still.run_forever()
    task = beginning.result()
    assert gone == []
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(elsewhere())
    assert limiter.pacer.bulk_due_at(now=_loops.now()) > _loops.now() + 50
    still.run_until_complete(task)
    assert limiter.pacer.open_requests == 0
    still.close()


def test_each_loop_that_stands_still_delays_the_others_a_little() -> None:
    """By `TURN_TIMEOUT`, and only once."""
    limiter = LocalLimiter(Limits(connections=1))
    stills = [VirtualLoop(), VirtualLoop()]

    async def main() -> float:
        holder = await limiter.acquire(One().select)
        waiting = []
        for loop in stills:
            waiting.append(loop.create_task(ask(limiter, One((8,)))))
            await anyio.to_thread.run_sync(loop.run_until_complete, asyncio.sleep(0.1))
        began_at = anyio.current_time()
        async with anyio.create_task_group() as group:
            for id in (10, 11):
                group.start_soon(ask, limiter, One((id,)))
            await anyio.sleep(0.01)
            await limiter.release(holder, RequestEnd.REPLIED)
        took = anyio.current_time() - began_at
        for loop, task in zip(stills, waiting, strict=True):
            await anyio.to_thread.run_sync(loop.run_until_complete, task)
            loop.close()
        return took

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) == pytest.approx(0.01 + 2 * 0.05, abs=0.02)


def test_a_waiter_that_comes_during_another_loop_s_turn_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the others look meanwhile; a third loop waits as well."""
    monkeypatch.setattr("smsc_status.limiter.TURN_TIMEOUT", 10.0)
    limiter = LocalLimiter(Limits(connections=1))
    is_free = threading.Event()
    order: list[str] = []

    async def wait(name: str) -> None:
        permit = await limiter.acquire(One((name,)).select)
        order.append(name)
        await limiter.release(permit, RequestEnd.REPLIED)

    with two_loops() as (one, other), start_blocking_portal("asyncio") as third:
        holder = one.call(limiter.acquire, One().select)
        futures = [join(limiter, other, partial(wait, "other")), join(limiter, third, partial(wait, "third"))]
        futures.append(block(other, is_free))
        one.call(limiter.release, holder, RequestEnd.REPLIED)
        futures.append(join(limiter, one, partial(wait, "one")))
        with pytest.raises(TimeoutError):
            one.call(give_up_after, 0.01, partial(wait, "impatient"))
        assert order == []
        is_free.set()
        for future in futures:
            future.result(timeout=20)
    assert order == ["other", "third", "one"]


async def give_up_after(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    with anyio.fail_after(seconds):
        await work()


def test_a_fork_holds_every_lock_and_renews_it_in_the_child() -> None:
    """In the parent they are given back; a shared limiter is made and found in either."""
    account = shared("an account that is forked", Limits())
    # These three are what the module has the fork call.
    for after in (limiter_module._unlock_all, limiter_module._reset_in_child):
        lock = account.lock
        limiter_module._lock_all()
        assert not asyncio.run(asyncio.wait_for(asyncio.to_thread(lock.acquire, blocking=False), 10))
        after()
        assert shared("an account that is forked", Limits()) is account
        assert asyncio.run(asyncio.wait_for(asyncio.to_thread(account.lock.acquire, blocking=False), 10))
        assert (account.lock is lock) is (after is limiter_module._unlock_all)
        account.begin_anew()


def test_in_a_forked_process_nothing_of_the_parent_is_its_own_but_the_tokens() -> None:
    """Requests in flight count as given up, those who wait are forgotten, and the lock is a new one."""
    limiter = LocalLimiter()
    loop = VirtualLoop()
    takers = [loop.create_task(ask(limiter, One((k,)), takes=5)) for k in range(6)]
    loop.run_until_complete(asyncio.sleep(0.1))
    lock = limiter.lock
    limiter.begin_anew()
    now = _loops.now()
    assert limiter.lock is not lock
    assert limiter.waiting == 0
    assert limiter.pacer.open_requests == 0
    assert limiter.pacer.slot_due_at(now=now) == pytest.approx(now + 10, abs=1)
    assert [limiter.pacer.tokens(k, now=now + 70.5) for k in (0, 4)] == [4, 5]
    assert limiter.pacer.tokens(0, now=now + 72) == 5
    for taker in takers:
        taker.cancel()
    loop.run_until_complete(asyncio.gather(*takers, return_exceptions=True))
    assert limiter.pacer.open_requests == 0
    loop.close()


@pytest.mark.slow
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
