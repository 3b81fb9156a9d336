"""The calendar queue, against a sorted list."""

from __future__ import annotations

import random
from math import ceil, inf

from smsc_status._core.tracking.bucket import Bucket
from smsc_status._core.tracking.calendar_queue import CalendarQueue


class Item:
    def __init__(self) -> None:
        self.due_bucket: Bucket[Item] | None = None


def test_items_are_taken_in_the_order_of_their_instants() -> None:
    """Whatever is added and taken, and whatever moves to another queue."""
    draw, queue, other = random.Random(1), CalendarQueue[Item](0.5), CalendarQueue[Item](1.0)
    known: dict[Item, float] = {}
    for _ in range(3000):
        assert queue.due_at() == min(known.values(), default=inf)
        assert set(queue) == set(known)
        what = draw.random()
        if what < 0.55:
            item, at = Item(), draw.uniform(0, 20)
            queue.add(item, at)
            known[item] = ceil(at / 0.5) * 0.5
        elif what < 0.8:
            at_most = draw.randrange(1, 4)
            taken = queue.take(at_most)
            first = sorted(known.values())[:1]
            assert [known.pop(item) for item in taken] == first * len(taken)
            assert len(taken) <= at_most
            assert all(item.due_bucket is None for item in taken)
        elif known:
            item = draw.choice(list(known))
            del known[item]
            other.add(item, 7.0)
            if draw.random() < 0.5:  # and comes back at the same time
                queue.add(item, 7.0)
                known[item] = 7.0
        now = draw.uniform(0, 20)
        assert queue.due(now) == sum(at <= now for at in known.values())
        if draw.random() < 0.05:
            queue.forget_gone()
            assert queue.entries == len(known)


def test_an_item_that_came_back_is_listed_once() -> None:
    queue = CalendarQueue[Item](1.0)
    item = Item()
    queue.add(item, 5.0)
    queue.add(Item(), 5.0)
    CalendarQueue[Item](1.0).add(item, 1.0)
    queue.add(item, 5.0)
    assert len(list(queue)) == queue.due(5.0) == 2
    assert queue.entries == 3
    queue.forget_gone()
    assert queue.entries == 2
    assert len(queue.take(10)) == 2
    assert queue.take() == []
    queue.add(item, 6.0)
    CalendarQueue[Item](1.0).add(item, 1.0)
    assert queue.due_at() == inf
    assert queue.entries == 0
