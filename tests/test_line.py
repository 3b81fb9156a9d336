"""Those who wait in one loop: the order in which they are asked, and what is remembered of them."""

from __future__ import annotations

import itertools
import math
from functools import partial

import anyio
import pytest

from smsc_status.line import SLACK, Line, Waiter

pytestmark = pytest.mark.anyio


numbers = itertools.count()


def waiters(count: int, line: Line, choose: object = None) -> list[Waiter]:
    joined = [Waiter(next(numbers), choose or object(), anyio.Event()) for _ in range(count)]
    for waiter in joined:
        line.join(waiter)
    return joined


def next_of(line: Line, *, has_place: bool = True) -> Waiter | None:
    """The next one, who is asked now."""
    waiter = line.first(has_place=has_place, now=0.0)
    if waiter is not None:
        line.taken(waiter)
    return waiter


def due(line: Line, now: float) -> list[Waiter]:
    """Those who are asked at this instant, whether or not a place is free."""
    line.call_due(now)
    return list(iter(partial(next_of, line, has_place=False), None))


async def test_whose_instant_has_come_is_told_once_and_in_the_order_of_coming() -> None:
    """An instant that was replaced by another means nothing."""
    line = Line()
    first, second, third = waiters(3, line)
    line.answered(second, 5.0, has_place=True)
    line.answered(first, 7.0, has_place=True)
    line.answered(third, 1.0, has_place=True)
    line.answered(third, 50.0, has_place=True)
    assert due(line, 4.9) == []
    assert due(line, 7.0) == [first, second]
    assert due(line, 7.0) == []
    line.answered(first, 7.0, has_place=True)
    assert due(line, 7.0) == [first]


async def test_the_last_instant_stands_however_many_came_before_it() -> None:
    """Also when the others are being thrown away."""
    for changes in range(1, 2 * SLACK):
        line = Line()
        (waiter,) = waiters(1, line)
        for at in range(changes):
            line.answered(waiter, float(at), has_place=True)
        assert due(line, changes - 1.5) == []
        assert due(line, changes - 1.0) == [waiter]


async def test_an_earlier_instant_wakes_a_later_one_does_not() -> None:
    line = Line()
    (waiter,) = waiters(1, line)
    line.answered(waiter, 9.0, has_place=True)
    waiter.woken = anyio.Event()
    line.answered(waiter, 10.0, has_place=True)
    assert not waiter.woken.is_set()
    line.answered(waiter, 8.0, has_place=True)
    assert waiter.woken.is_set()


async def test_places_are_offered_in_the_order_of_coming() -> None:
    """To those who were asked while there was none, and to those who are to be asked anyway; to each once."""
    line = Line()
    first, second, third, fourth = waiters(4, line)
    for waiter in (third, second, third):
        line.answered(waiter, math.inf, has_place=False)
    line.answered(fourth, math.inf, has_place=True)
    line.offer_place(first)
    line.leave(second)
    assert [next_of(line) for _ in range(3)] == [first, third, None]
    line.offer_all()
    assert [next_of(line) for _ in range(4)] == [first, third, fourth, None]


async def test_waiters_with_the_same_chooser_are_found_together() -> None:
    """As long as they wait."""
    line, choose = Line(), object()
    first, second = waiters(2, line, choose)
    waiters(3, line)
    assert line.of(choose) == [first, second]
    line.leave(first)
    line.leave(first)
    assert line.of(choose) == [second]
    line.leave(second)
    assert line.of(choose) == []


async def test_notes_that_mean_nothing_do_not_pile_up() -> None:
    """Neither instants that were replaced, nor places that were offered to those who are gone."""
    line = Line()
    (stays,) = waiters(1, line)
    line.answered(stays, math.inf, has_place=False)
    for at in range(1000):
        line.answered(stays, float(at), has_place=True)
    for waiter in waiters(1000, line):
        line.answered(waiter, math.inf, has_place=False)
        line.leave(waiter)
    for waiter in waiters(1000, line):
        line.call([waiter])
        line.leave(waiter)
    assert len(line._called) <= SLACK + 2
    assert len(line._alarms) <= SLACK + 2
    assert len(line._for_place) <= SLACK + 2
    assert due(line, 999.0) == [stays]
    assert next_of(line) is None  # it was asked just now
