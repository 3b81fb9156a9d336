"""Those who wait in one loop: the order in which they are asked, and what is remembered of them."""

from __future__ import annotations

import itertools
import math
from functools import partial

import anyio
import pytest

from smsc_status._core.stale import SLACK
from smsc_status._waiters import Waiter, WaitQueue

pytestmark = pytest.mark.anyio


numbers = itertools.count()


def waiters(count: int, queue: WaitQueue, select: object = None) -> list[Waiter]:
    joined = [Waiter(next(numbers), select or object(), woken=anyio.Event()) for _ in range(count)]
    for waiter in joined:
        queue.join(waiter)
    return joined


def next_of(queue: WaitQueue, *, has_slot: bool = True) -> Waiter | None:
    """The next one, who is asked now."""
    waiter = queue.next_due(has_slot=has_slot, now=0.0)
    if waiter is not None:
        queue.unmark(waiter)
    return waiter


def due(queue: WaitQueue, now: float) -> list[Waiter]:
    """Those who are asked at this instant, whether or not a slot is free."""
    queue.mark_due_by(now)
    return list(iter(partial(next_of, queue, has_slot=False), None))


async def test_waiters_whose_instant_has_come_are_told_once_and_in_the_order_of_coming() -> None:
    """An instant that was replaced by another does not count."""
    queue = WaitQueue()
    first, second, third = waiters(3, queue)
    queue.defer(second, 5.0, has_slot=True)
    queue.defer(first, 7.0, has_slot=True)
    queue.defer(third, 1.0, has_slot=True)
    queue.defer(third, 50.0, has_slot=True)
    assert due(queue, 4.9) == []
    assert due(queue, 7.0) == [first, second]
    assert due(queue, 7.0) == []
    queue.defer(first, 7.0, has_slot=True)
    assert due(queue, 7.0) == [first]


async def test_only_the_last_of_a_waiter_s_instants_counts() -> None:
    """Also while the replaced ones are being cleared away."""
    for changes in range(1, 2 * SLACK):
        queue = WaitQueue()
        (waiter,) = waiters(1, queue)
        for at in range(changes):
            queue.defer(waiter, float(at), has_slot=True)
        assert due(queue, changes - 1.5) == []
        assert due(queue, changes - 1.0) == [waiter]


async def test_an_earlier_instant_wakes_and_a_later_one_does_not() -> None:
    queue = WaitQueue()
    (waiter,) = waiters(1, queue)
    queue.defer(waiter, 9.0, has_slot=True)
    waiter.woken = anyio.Event()
    queue.defer(waiter, 10.0, has_slot=True)
    assert not waiter.woken.is_set()
    queue.defer(waiter, 8.0, has_slot=True)
    assert waiter.woken.is_set()


async def test_slots_are_offered_in_the_order_of_coming() -> None:
    """To each once: those that were asked while there was none, and those that are to be asked anyway."""
    queue = WaitQueue()
    first, second, third, fourth = waiters(4, queue)
    for waiter in (third, second, third):
        queue.defer(waiter, math.inf, has_slot=False)
    queue.defer(fourth, math.inf, has_slot=True)
    queue.mark_due_with_slot(first)
    queue.leave(second)
    assert [next_of(queue) for _ in range(3)] == [first, third, None]
    queue.mark_all_due_with_slot()
    assert [next_of(queue) for _ in range(4)] == [first, third, fourth, None]


async def test_waiters_with_the_same_chooser_are_found_together() -> None:
    """As long as they wait."""
    queue, select = WaitQueue(), object()
    first, second = waiters(2, queue, select)
    waiters(3, queue)
    assert queue.with_selector(select) == [first, second]
    queue.leave(first)
    queue.leave(first)
    assert queue.with_selector(select) == [second]
    queue.leave(second)
    assert queue.with_selector(select) == []


async def test_entries_without_a_meaning_do_not_pile_up() -> None:
    """Neither instants that were replaced, nor slots that were offered to those who are gone."""
    queue = WaitQueue()
    (stays,) = waiters(1, queue)
    queue.defer(stays, math.inf, has_slot=False)
    for at in range(1000):
        queue.defer(stays, float(at), has_slot=True)
    for waiter in waiters(1000, queue):
        queue.defer(waiter, math.inf, has_slot=False)
        queue.leave(waiter)
    for waiter in waiters(1000, queue):
        queue.mark_due([waiter])
        queue.leave(waiter)
    # A bound of the memory: nothing outside tells how many entries are kept.
    assert len(queue._due) <= SLACK + 2
    assert len(queue._alarms) <= SLACK + 2
    assert len(queue._due_with_slot) <= SLACK + 2
    assert due(queue, 999.0) == [stays]
    assert next_of(queue) is None  # it was asked just now
