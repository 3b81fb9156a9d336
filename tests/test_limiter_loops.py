"""The local limiter with several event loops: turns, loops that end or stand still, forks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from itertools import pairwise

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from limiter_support import One, Urgent, ask, join, two_loops
from virtual import VirtualLoop

from smsc_status import Limits, LocalLimiter, _loops
from smsc_status import limiter as limiter_module
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status.limiter import shared

pytestmark = pytest.mark.anyio


@pytest.mark.slow
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
