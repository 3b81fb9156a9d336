"""The poll scheduler near the archive deadline: last calls, what ends, and dates in doubt."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

import pytest
from polling_support import asked, bulk, due_of, is_just_after, plan, ref

from smsc_status import Archived, MessageRef, StatusRecord, TrackingTimeout
from smsc_status._core.tracking.archive import archive_deadline
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._core.tracking.tracked import Policy, Tracked


def test_last_calls_go_before_all_other_messages() -> None:
    """Those that could not all be asked any more are asked before anything else; each once."""
    p = plan(guard=90.0)
    sent_at = 1_000_000_800.0
    p.dates.offset = sent_at
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
        for item in bulk(p, now=now):
            asked.append(int(item.ref.id))
            p.polled(item, StatusRecord(status=0), done=False, now=now)
            p.put_back(item, now=now)
    assert {id for id in asked if id < 60} | {in_flight.ref.id} == set(range(60)) | {in_flight.ref.id}


def test_a_message_is_asked_ever_more_often_towards_its_deadline() -> None:
    p = plan()
    sent_at = 1_000_000_000.0
    p.dates.offset = sent_at
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


def test_a_message_ends_when_it_is_archived_or_was_followed_for_long_enough() -> None:
    p = plan()
    sent_at = 1_000_000_000.0
    p.dates.offset = sent_at
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
    assert isinstance(p.ending(item), TrackingTimeout)


def test_a_million_with_one_deadline_are_called_in_parts() -> None:
    """A bulk request at a time, and the next one's in advance, so that all of them go at once."""
    p = PollScheduler(Policy(guard=1e6), max_bulk=10, cycle=61.0, slots=0, checks=5)
    p.dates.offset = 1_000_000_000.0
    for id in range(200):
        p.add(ref(id, 1_000_000_000.0), now=0.0)
    for left in range(190, -1, -10):
        assert len(bulk(p, now=0.0)) == 10
        assert p.last_calls <= 10
        assert p.due_at() == (-inf if left else inf)
    assert len(p) == 0


@pytest.mark.parametrize(
    ("sent_after_18", "age", "wait"),
    [
        (-1, 31_900.0, (32_401 - 3 - 31_900) / 2),  # the sweep is nine hours and a second after it was sent
        (-1, 30_000.0, 600.0),
        (-1, 32_402.0, 600.0),  # the sweep has left it: a day, then
        (-1, 86_000.0, (86_400 - 3 - 86_000) / 2),
        (-1, 86_394.0, 3.6),
        (-1, 86_399.0, 600.0),  # nothing can be done any more
        (0, 31_900.0, 600.0),
        (0, 86_000.0, (86_400 - 3 - 86_000) / 2),
    ],
)
def test_before_its_deadline_a_message_is_asked_in_half_the_time_left(
    sent_after_18: float, age: float, wait: float
) -> None:
    """However seldom it would be asked otherwise."""
    sent_at = datetime(2026, 3, 10, 15, 0, tzinfo=UTC).timestamp() + sent_after_18
    p = plan(least_share=0.0)
    p.dates.offset = sent_at
    item = p.add(ref(1, sent_at), now=0.0)
    bulk(p, now=10.0)
    assert is_just_after(asked(p, item, now=age, status=-2), age + wait, grain=1.0)


@pytest.mark.parametrize("singly", [True, False])
@pytest.mark.parametrize(("age", "goes_first"), [(31_900.0, True), (31_200.0, False)])
def test_a_message_that_its_deadline_makes_due_goes_before_others(age: float, goes_first: bool, singly: bool) -> None:
    """As soon as it is due, though the others have been due for longer."""
    sent_at = datetime(2026, 3, 10, 15, 0, tzinfo=UTC).timestamp() - 1
    p = plan(least_share=0.0)
    p.dates.offset = sent_at
    item = p.add(ref(1, sent_at), now=0.0)
    bulk(p, now=10.0)
    due_at = asked(p, item, now=age, status=-2)
    others = [p.add(ref(id, sent_at + age - 7200), now=age) for id in range(2, 30)]

    def first(now: float) -> Tracked | None:
        return p.take_single(now=now) if singly else bulk(p, now=now)[0]

    assert first(due_at - 10.0) in others
    assert (first(due_at + 1.0) is item) == goes_first


def test_a_message_ends_at_the_second_of_its_deadline_and_says_why() -> None:
    """To the second, and in words."""
    p = plan(expire_after=100_000.0)
    p.dates.offset = sent_at = 1_000_000_000.0
    item = p.add(ref(1, sent_at), now=0.0)
    deadline = archive_deadline(sent_at) - sent_at
    for status, now, why in (
        (-3, deadline - 1.0, None),
        (-3, deadline, "the vendor's archive has it: no final status was read before"),
        (0, deadline, None),
        (0, 99_999.0, None),
        (0, 100_000.0, "followed for 100000 s: status 0 is not final"),
    ):
        p.polled(item, StatusRecord(status=status), done=False, now=now)
        ending = p.ending(item)
        assert (ending and str(ending)) == why


@pytest.mark.parametrize(("before", "called"), [(762.0, 0), (760.0, 20)])
def test_a_last_call_begins_as_early_as_its_bulk_requests_need(before: float, called: int) -> None:
    """A hundred in tens take ten minutes, and there is the guard; as many as two requests take are called."""
    p = PollScheduler(Policy(guard=90.0), max_bulk=10, cycle=61.0, slots=0, checks=5)
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    deadline = archive_deadline(sent_at) - sent_at
    for id in range(100):
        p.add(ref(id, sent_at), now=deadline - 5000.0)
    p.call_last(now=deadline - before)
    assert p.last_calls == called
    p.call_last(now=deadline - before)
    assert p.last_calls == called


def test_messages_that_the_sweep_has_left_are_called_again_at_the_end_of_the_day() -> None:
    """What was not final at 03:00 stays until 24 hours are over; what was sent after 18:00 has one deadline."""
    for hour, calls in ((12, 2), (16, 1)):
        p = plan(guard=90.0, least_share=0.0)
        p.dates.offset = sent_at = datetime(2026, 3, 10, hour, 0, tzinfo=UTC).timestamp()
        item = p.add(ref(1, sent_at), now=0.0)
        times = []
        for now in range(0, 86_400, 60):
            p.call_last(now=float(now))
            if p.last_calls:
                times.append(now)
                assert bulk(p, now=float(now)) == [item]
                asked(p, item, now=float(now), status=-2)
        assert len(times) == calls
        assert times[-1] in (86_400 - 180, 86_400 - 120)


def test_messages_near_their_deadline_go_before_all_others_and_the_nearest_first() -> None:
    """Once their turn has come: the nearest first, in bulk and singly; they are counted as due meanwhile."""
    sent_at = datetime(2026, 3, 10, 15, 0, tzinfo=UTC).timestamp() - 1
    p = plan(least_share=0.0)
    p.dates.offset = sent_at
    later, sooner = p.add(ref(1, sent_at + 120.0), now=0.0), p.add(ref(2, sent_at), now=0.0)
    bulk(p, now=200.0)
    for item in (later, sooner):  # half of the time that is left, so about 150 s before their deadlines
        asked(p, item, now=86_400.0 - 300.0, status=-2)
    others = [p.add(ref(id, sent_at + 80_000.0), now=86_100.0) for id in range(10, 30)]
    assert not p.has_priority
    p.call_last(now=86_390.0)
    assert p.has_priority
    assert p.due_at() == p.urgent_due_at() == -inf
    assert p.due(now=86_390.0)[0] == 22
    assert p.take(1, until=-inf, now=86_390.0) == [sooner]
    assert p.take_single(now=86_390.0, near_deadline=True) is later
    assert p.take(5, until=-inf, now=86_390.0) == []
    assert p.take_single(now=86_390.0, near_deadline=True) is None
    assert set(p.take(20, now=86_390.0)) == set(others)


def test_a_message_whose_last_deadline_is_over_is_owed_a_check_and_no_other_last_call() -> None:
    p = plan(least_interval=4.0)
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    item = p.add(ref(1, sent_at), now=90_000.0)
    for _ in range(2):  # for the sweep, and for the end of the day
        p.call_last(now=90_000.0)
    assert p.take(1, now=90_000.0) == [item]
    p.put_back_unanswered(item, now=90_001.0)
    p.call_last(now=90_200.0)
    assert p.last_calls == 0
    assert not p.has_priority
    assert is_just_after(due_of(item), 90_006.0, grain=1.0)


def test_near_its_deadline_a_message_whose_id_has_no_token_keeps_its_priority_in_bulk() -> None:
    """One of a mailing, say: it is left to the bulk requests, where it goes before everything else."""
    p = plan()
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    now = archive_deadline(sent_at) - sent_at - 100.0
    first, second = (
        p.add(MessageRef(7, f"7999000000{k}", datetime.fromtimestamp(sent_at, UTC)), now=0.0) for k in (1, 2)
    )
    other = p.add(ref(8, sent_at + 30_000.0), now=now - 1000.0)
    p.call_last(now=now)
    item = p.take_single(now=now, near_deadline=True)
    assert item in (first, second)
    p.put_back_for_bulk(item, now=now)
    assert p.take_single(now=now, near_deadline=True) is None
    assert p.has_priority
    assert p.due_at() == -inf
    assert p.due_at(singly=True) > -inf
    assert len(p) == 3
    assert p.due(now=now) == (3, 1)
    assert set(p) == {first, second, other}
    assert set(p.take(5, until=-inf, now=now)) == {first, second}
    p.put_back_until_token(first, now + 10.0, now=now)
    p.call_last(now=now + 11.0)
    assert p.take(5, until=-inf, now=now + 11.0) == [first]
    assert p.take(5, now=now + 11.0) == [other]


@pytest.mark.parametrize(("before", "called"), [(1433.0, 0), (1431.0, 100)])
def test_last_calls_begin_earlier_where_the_bulk_requests_are_shared(before: float, called: int) -> None:
    """By two plans: twice as early; and as many are called as single requests can ask until the next look."""
    p = plan(guard=90.0)
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    deadline = archive_deadline(sent_at) - sent_at
    for id in range(100):
        p.add(ref(id, sent_at), now=deadline - 5000.0)
    p.call_last(now=deadline - before, shared_by=2)
    assert p.last_calls == called


def test_a_last_call_without_an_answer_is_called_again() -> None:
    """Though its deadline is not near yet: there were many to be called."""
    p = plan(guard=90.0)
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    now = archive_deadline(sent_at) - sent_at - 700.0
    items = [p.add(ref(id, sent_at), now=now - 4000.0) for id in range(100)]
    p.call_last(now=now)
    called = p.take(10, until=-inf, now=now)
    assert len(called) == 10
    for item in called:
        p.put_back_unanswered(item, now=now + 1.0)
    p.call_last(now=now + 2.0)
    assert p.last_calls == len(items)


def test_while_the_date_is_in_doubt_nothing_ends() -> None:
    p = plan(expire_after=100.0)
    p.dates.read_local(1_773_144_000.0, now=0.0)
    item = p.add(ref(1), now=0.0)
    p.dates.read_server(1_773_144_000.0 + 86_400.0, now=200.0)
    p.polled(item, StatusRecord(status=0), done=False, now=200.0)
    assert p.ending(item) is None
    p.polled(item, StatusRecord(status=0), done=False, now=400.0)
    assert isinstance(p.ending(item), TrackingTimeout)
