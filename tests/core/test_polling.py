"""The plan of tracking: deadlines, ages, who is next."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from math import inf

import pytest

from smsc_status import Archived, Expired, MessageRef, StatusRecord
from smsc_status.core.ages import Ages
from smsc_status.core.archive import archive_deadline
from smsc_status.core.polling import Plan, Policy


def plan(**options: float) -> Plan:
    return Plan(Policy(**options), max_bulk=10, cycle=61.0, places=4, checks=5)


def ref(id: int, sent_at: float | None = None) -> MessageRef:
    return MessageRef(id, "79990000000", None if sent_at is None else datetime.fromtimestamp(sent_at, UTC))


def test_the_wait_is_as_long_as_the_effort_takes() -> None:
    ages = Ages()
    for age in (0.0, 0.3, 5.0, 77.0, 4000.0, 400_000.0, 1e6):
        for effort in (0.01, 1.0, 3.0):
            (_, wait), steps = ages.outlook(age, effort), 4000
            grown = sum(ages.rate(age + wait * (k + 0.5) / steps) for k in range(steps)) * wait / steps
            assert grown == pytest.approx(effort, rel=1e-3)


def test_the_ages_learn_where_messages_end() -> None:
    """Checks move to where the changes are."""
    ages, draw = Ages(), random.Random(1)
    before = ages.rate(100.0) / ages.rate(10.0)
    for _ in range(3000):
        end = draw.uniform(90, 110)
        ages.survived(0.0, end)
        ages.ended(end)
    assert ages.rate(100.0) / ages.rate(10.0) > 10 * before
    ages.survived(1e6, 2e6)


def test_old_messages_are_due_at_once_and_new_ones_soon() -> None:
    p = plan()
    p.offset = 1000.0
    p.add(ref(1, 1000.0), now=0.0)
    assert 3 <= p.due_at() <= 10
    p.add(ref(2, 500.0), now=0.0)
    assert p.due_at() == 0.0
    assert [item.ref.id for item in p.take_bulk(now=0.0)] == [2, 1]
    assert p.due_at() == inf
    assert not p.take_bulk(now=0.0)
    assert len(p) == 0


def test_the_young_go_first_in_single_checks() -> None:
    p = plan()
    p.offset = 100_000.0
    for id in range(1, 30):
        p.add(ref(id, 50_000.0), now=0.0)
    p.add(ref(99, 99_900.0), now=0.0)
    first = p.take_single(now=0.0)
    assert first is not None
    assert first.ref.id == 99
    assert p.due(now=0.0) == (29, 0)
    assert p.due(now=100.0) == (29, 29)
    assert p.stalest(now=0.0) == 50_000.0
    p.polled(first, StatusRecord(status=1), done=True, now=1.0)
    p.forget(first)
    assert p.stalest(now=1.0) == 50_001.0


def test_an_id_gets_no_more_checks_than_it_has_tokens() -> None:
    p = plan()
    p.add(ref(1, 0.0), now=0.0)
    starts: list[float] = []
    while len(starts) < 20:
        now = p.due_at()
        item = p.take_single(now=now)
        assert item is not None
        starts.append(now)
        assert p.polled(item, StatusRecord(status=0), done=False, now=now) == (len(starts) == 1)
        p.put_back(item, now=now)
    assert all(later - start > 61 for start, later in zip(starts, starts[5:], strict=False))


def test_messages_of_an_id_without_tokens_go_in_bulk() -> None:
    p = plan()
    p.offset = 1000.0
    for k in range(70):  # more ids than are remembered for nothing
        p.add(ref(k, 900.0), now=k * 100.0)
        item = p.take_single(now=k * 100.0)
        assert item is not None
        p.held_up(item, now=k * 100.0)
    p.add(MessageRef(69, "79991111111", datetime.fromtimestamp(900.0, UTC)), now=6901.0)
    assert p.take_single(now=6901.0) is None
    assert p.due_at(singly=True) == inf
    assert len(p.take_bulk(now=6901.0)) == 10


def test_last_calls_go_first() -> None:
    """Those that could not all be asked any more are asked before anything else; each once."""
    p = plan(guard=90.0)
    sent_at = 1_000_000_800.0
    p.offset = sent_at
    for id in range(60):
        p.add(ref(id, sent_at), now=0.0)
    deadline = archive_deadline(sent_at) - sent_at
    for id in range(100, 300):
        p.add(ref(id, sent_at + 60_000), now=deadline - 500)
    asked = []
    in_flight = p.take_single(now=deadline - 500)
    assert in_flight is not None
    for k in range(6):
        now = deadline - 400 + 61 * k
        for item in p.take_bulk(now=now):
            asked.append(int(item.ref.id))
            p.polled(item, StatusRecord(status=0), done=False, now=now)
            p.put_back(item, now=now)
    assert {id for id in asked if id < 60} | {in_flight.ref.id} == set(range(60)) | {in_flight.ref.id}


def test_towards_the_deadline_ever_more_often() -> None:
    p = plan()
    sent_at = 1_000_000_000.0
    p.offset = sent_at
    p.add(ref(1, sent_at), now=0.0)
    deadline = archive_deadline(sent_at) - sent_at
    last = 0.0
    while (now := p.due_at()) < deadline:
        last = now
        item = p.take_single(now=now)
        assert item is not None
        p.polled(item, StatusRecord(status=0), done=False, now=now)
        p.put_back(item, now=now)
    assert deadline - last < 70


def test_a_reply_tells_the_time_of_sending() -> None:
    p = plan()
    p.offset = 1_000_000.0
    item = p.add(ref(1), now=0.0)
    other = p.add(ref(2), now=0.0)
    assert not item.is_dated
    for _ in range(2):
        p.polled(item, StatusRecord(status=0, send_timestamp=900_000), done=False, now=1.0)
    assert item.is_dated
    assert item.sent_at == 900_000
    p.polled(item, StatusRecord(status=0, send_timestamp=900_001), done=False, now=2.0)
    assert item.sent_at == 900_001
    p.polled(item, StatusRecord(status=0, send_timestamp=0), done=False, now=3.0)
    assert item.sent_at == 900_001
    assert p.stalest(now=5.0) == 5.0
    for ended in (item, other):
        p.forget(ended)
    assert p.stalest(now=5.0) == 0.0


def test_how_it_ends() -> None:
    p = plan()
    sent_at = 1_000_000_000.0
    p.offset = sent_at
    item = p.add(ref(1, sent_at), now=0.0)
    assert p.ending(item) is None
    p.polled(item, StatusRecord(status=-3), done=False, now=10.0)
    assert p.ending(item) is None
    p.polled(item, StatusRecord(status=-3), done=False, now=86_400.0)
    assert isinstance(p.ending(item), Archived)
    p.polled(item, StatusRecord(status=-2), done=False, now=100_000.0)
    assert p.ending(item) is None
    p.put_back(item, now=100_000.0)
    p.polled(item, StatusRecord(status=-2), done=False, now=172_800.0)
    assert isinstance(p.ending(item), Expired)


def test_what_means_nothing_any_more_is_dropped() -> None:
    """A last call leaves an entry behind where the message waited before."""
    p = plan(guard=1e6)
    sent_at = 1_000_000_000.0
    p.offset = sent_at
    for id in range(200):
        p.add(ref(id, sent_at), now=0.0)
    while p.take_bulk(now=0.0):
        pass
    assert list(p) == []
    assert [line.entries for line in (p._young, p._old, p._patient, p._last_call)] == [0, 0, 0, 0]


def test_a_million_with_one_deadline_are_called_in_parts() -> None:
    """A bulk request at a time, and the next one's in advance, so that all of them go at once."""
    p = plan(guard=1e6)
    p.offset = 1_000_000_000.0
    for id in range(200):
        p.add(ref(id, 1_000_000_000.0), now=0.0)
    for left in range(190, -1, -10):
        assert len(p.take_bulk(now=0.0)) == 10
        assert p._last_call.due(inf) <= 10
        assert p.due_at() == (-inf if left else inf)
    assert len(p) == 0


def test_single_checks_that_are_slow_stretch_the_intervals() -> None:
    def due_of(round_trip: float) -> float:
        p = plan()
        for _ in range(100):
            p.answered_in(round_trip)
        for id in range(1000):
            p.add(ref(id, 0.0), now=0.0)
        item = p.add(ref(5000, 0.0), now=0.0)
        assert item.turn is not None
        return item.turn.at

    assert due_of(2.0) > due_of(0.1)
