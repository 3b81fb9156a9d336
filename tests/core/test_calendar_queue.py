"""The queue of turns, against a sorted list."""

from __future__ import annotations

import random
from math import ceil, inf

from smsc_status._core.tracking.bucket import Bucket
from smsc_status._core.tracking.calendar_queue import CalendarQueue


class Item:
    def __init__(self) -> None:
        self.turn: Bucket[Item] | None = None


def test_items_are_taken_in_the_order_of_their_instants() -> None:
    """Whatever is added and taken, and whatever moves to another queue."""
    draw, agenda, other = random.Random(1), CalendarQueue[Item](0.5), CalendarQueue[Item](1.0)
    known: dict[Item, float] = {}
    for _ in range(3000):
        assert agenda.due_at() == min(known.values(), default=inf)
        assert set(agenda) == set(known)
        what = draw.random()
        if what < 0.55:
            item, at = Item(), draw.uniform(0, 20)
            agenda.add(item, at)
            known[item] = ceil(at / 0.5) * 0.5
        elif what < 0.8:
            at_most = draw.randrange(1, 4)
            taken = agenda.take(at_most)
            first = sorted(known.values())[:1]
            assert [known.pop(item) for item in taken] == first * len(taken)
            assert len(taken) <= at_most
            assert all(item.turn is None for item in taken)
        elif known:
            item = draw.choice(list(known))
            del known[item]
            other.add(item, 7.0)
            if draw.random() < 0.5:  # and comes back at the same time
                agenda.add(item, 7.0)
                known[item] = 7.0
        now = draw.uniform(0, 20)
        assert agenda.due(now) == sum(at <= now for at in known.values())
        if draw.random() < 0.05:
            agenda.forget_gone()
            assert agenda.entries == len(known)


def test_an_item_that_came_back_is_listed_once() -> None:
    agenda = CalendarQueue[Item](1.0)
    item = Item()
    agenda.add(item, 5.0)
    agenda.add(Item(), 5.0)
    CalendarQueue[Item](1.0).add(item, 1.0)
    agenda.add(item, 5.0)
    assert len(list(agenda)) == agenda.due(5.0) == 2
    assert agenda.entries == 3
    agenda.forget_gone()
    assert agenda.entries == 2
    assert len(agenda.take(10)) == 2
    assert agenda.take() == []
    agenda.add(item, 6.0)
    CalendarQueue[Item](1.0).add(item, 1.0)
    assert agenda.due_at() == inf
    assert agenda.entries == 0
