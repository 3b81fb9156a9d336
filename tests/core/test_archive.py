"""Until when a status can be read, and whose time is running out."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from smsc_status._core.tracking.archive import DAY, Deadlines, archive_deadline, next_deadline
from smsc_status._core.tracking.bucket import Bucket

MSK = timezone(timedelta(hours=3))
VLADIVOSTOK = timezone(timedelta(hours=10))


@attrs.define(eq=False)
class Item:
    sent_at: float
    deadline_bucket: Bucket[Any] | None = None


@pytest.mark.parametrize(
    ("sent_at", "deadline"),
    [
        (datetime(2026, 3, 10, 17, 59, 59, tzinfo=MSK), datetime(2026, 3, 11, 3, 0, 0, tzinfo=MSK)),
        (datetime(2026, 3, 10, 18, 0, 0, tzinfo=MSK), datetime(2026, 3, 11, 18, 0, 0, tzinfo=MSK)),
        (datetime(2026, 3, 11, 0, 0, 0, tzinfo=MSK), datetime(2026, 3, 12, 0, 0, 0, tzinfo=MSK)),
        (datetime(2026, 3, 11, 3, 0, 0, tzinfo=MSK), datetime(2026, 3, 12, 3, 0, 0, tzinfo=MSK)),
        (datetime(2028, 2, 28, 12, 0, 0, tzinfo=MSK), datetime(2028, 2, 29, 3, 0, 0, tzinfo=MSK)),
        (datetime(2028, 2, 29, 19, 0, 0, tzinfo=MSK), datetime(2028, 3, 1, 19, 0, 0, tzinfo=MSK)),
        (datetime(2026, 3, 10, 14, 59, 59, tzinfo=UTC), datetime(2026, 3, 11, 0, 0, 0, tzinfo=UTC)),
        (datetime(2026, 3, 11, 1, 0, 0, tzinfo=VLADIVOSTOK), datetime(2026, 3, 12, 1, 0, 0, tzinfo=VLADIVOSTOK)),
    ],
)
def test_the_deadline_is_the_earlier_of_the_two_rules(sent_at: datetime, deadline: datetime) -> None:
    assert archive_deadline(sent_at.timestamp()) == deadline.timestamp()


def test_what_was_not_final_at_the_sweep_stays_until_the_day_is_over() -> None:
    sent_at = datetime(2026, 3, 10, 17, 59, 59, tzinfo=MSK).timestamp()
    sweep_at = archive_deadline(sent_at)
    assert next_deadline(sent_at, sweep_at - 1) == sweep_at
    assert next_deadline(sent_at, sweep_at) == sent_at + DAY


def test_messages_are_called_as_late_as_all_can_still_be_asked() -> None:
    """The one with the earliest deadline first, and each once."""
    deadlines = Deadlines[Item]()
    late = [Item(12 * 3600.0 - 3600 + k) for k in range(100)]  # swept at midnight
    later = [Item(16 * 3600.0 + k) for k in range(100)]  # a day after it was sent
    for item in [*later, *late]:
        deadlines.watch(item)

    def due(date: float, at_most: int = 1000) -> list[tuple[Item, float]]:
        return deadlines.take(date, seconds_each=10.0, guard=60.0, at_most=at_most)

    assert due(DAY - 1061) == []
    assert [at for _, at in due(DAY - 1060, at_most=30)] == [DAY] * 30
    assert len(due(DAY - 760)) == 70
    assert due(DAY) == []
    assert len(due(DAY + 16 * 3600.0)) == 100
    assert deadlines.minutes == 0


def test_a_crowd_is_called_earlier_by_the_time_that_the_crowd_before_it_takes() -> None:
    """Two crowds, a minute apart: each alone would be in time."""
    deadlines = Deadlines[Item]()
    crowds = [[Item(16 * 3600 + 60.0 * k) for _ in range(100)] for k in (0, 1)]
    for item in [*crowds[0], *crowds[1]]:
        deadlines.watch(item)
    second_at = 16 * 3600 + 60 + DAY
    assert deadlines.take(second_at - 2001, seconds_each=10.0, guard=0.0, at_most=1000) == []
    assert len(deadlines.take(second_at - 2000, seconds_each=10.0, guard=0.0, at_most=1000)) == 200


def test_an_early_crowd_does_not_make_later_messages_be_called_early() -> None:
    """A late crowd does so to earlier messages, which must be out of its way."""
    deadlines = Deadlines[Item]()
    one = Item(15.5 * 3600)
    crowd = [Item(15.6 * 3600) for _ in range(1000)]
    for item in [one, *crowd]:
        deadlines.watch(item)
    taken = deadlines.take(39.5 * 3600 - 9000, seconds_each=10.0, guard=0.0, at_most=1)
    assert [item for item, _ in taken] == [one]
    assert deadlines.take(30 * 3600, seconds_each=1.0, guard=0.0, at_most=1) == []


def test_a_message_that_leaves_has_no_more_influence() -> None:
    """Whatever is watched, moved and forgotten, in any order; and no more is kept than matters."""
    draw, deadlines = random.Random(1), Deadlines[Item]()
    watched: dict[Item, None] = {}
    for _ in range(5000):
        what = draw.random()
        item = draw.choice(list(watched)) if watched else Item(0.0)
        if what < 0.45:
            item = Item(draw.uniform(0, 3 * 3600))
            deadlines.watch(item)
            watched[item] = None
        elif what < 0.7:
            item.sent_at = draw.uniform(0, 3 * 3600) + draw.choice([0, 16 * 3600])
            if item in watched:
                deadlines.watch(item)
        else:
            deadlines.forget(item)
            deadlines.forget(item)
            watched.pop(item, None)
    assert deadlines.entries <= 64 * deadlines.minutes + 3 * len(watched)
    taken = deadlines.take(100 * DAY, seconds_each=1.0, guard=0.0, at_most=10_000)
    assert {item for item, _ in taken} == set(watched)
    assert len(taken) == len(watched)
    assert [at for _, at in taken] == sorted(at for _, at in taken)
    for item in watched:
        deadlines.watch(item)
        bucket = item.deadline_bucket
        deadlines.watch(item)
        assert item.deadline_bucket is bucket
    for item in watched:
        deadlines.forget(item)
    assert deadlines.minutes == 0
