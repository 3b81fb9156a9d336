"""The plan of tracking: deadlines, ages, who is next."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

import pytest

from smsc_status import Archived, MessageRef, StatusRecord, TrackingTimeout
from smsc_status._core.tracking.archive import archive_deadline
from smsc_status._core.tracking.hazard import HazardModel
from smsc_status._core.tracking.polling import Policy, PollScheduler, Tracked


def plan(**options: float) -> PollScheduler:
    return PollScheduler(Policy(**options), max_bulk=10, cycle=61.0, slots=4, checks=5)


def bulk(p: PollScheduler, *, now: float) -> list[Tracked]:
    """What goes into a bulk request of ten, if one of the messages is due."""
    p.call_last(now=now)
    return p.take(10, now=now) if p.due_at() <= now else []


def ref(id: int, sent_at: float | None = None) -> MessageRef:
    return MessageRef(id, "79990000000", None if sent_at is None else datetime.fromtimestamp(sent_at, UTC))


def test_old_messages_are_due_at_once_and_new_ones_soon() -> None:
    p = plan()
    p.dates.offset = 1000.0
    p.add(ref(1, 1000.0), now=0.0)
    assert 3 <= p.due_at() <= 10
    p.add(ref(2, 500.0), now=0.0)
    assert p.due_at() == 0.0
    assert [item.ref.id for item in bulk(p, now=0.0)] == [2, 1]
    assert p.due_at() == inf
    assert not bulk(p, now=0.0)
    assert len(p) == 0


def test_the_young_go_first_in_single_checks() -> None:
    p = plan()
    p.dates.offset = 100_000.0
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
    p.dates.offset = 1000.0
    for k in range(70):  # more ids than are remembered for nothing
        p.add(ref(k, 900.0), now=k * 100.0)
        item = p.take_single(now=k * 100.0)
        assert item is not None
        p.put_back_for_bulk(item, now=k * 100.0)
    p.add(MessageRef(69, "79991111111", datetime.fromtimestamp(900.0, UTC)), now=6901.0)
    assert p.take_single(now=6901.0) is None
    assert p.due_at(singly=True) == inf
    assert len(bulk(p, now=6901.0)) == 10


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


def test_a_reply_tells_the_time_of_sending() -> None:
    p = plan()
    p.dates.offset = 1_000_000.0
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


def test_entries_that_have_no_meaning_any_more_are_dropped() -> None:
    """A last call leaves an entry behind where the message waited before."""
    p = plan(guard=1e6)
    sent_at = 1_000_000_000.0
    p.dates.offset = sent_at
    for id in range(200):
        p.add(ref(id, sent_at), now=0.0)
    while bulk(p, now=0.0):
        pass
    assert list(p) == []
    # A bound of the memory: `len` counts messages, and these are the entries.
    assert [line.entries for line in (p._young, p._old, p._bulk_only, p._last_call)] == [0, 0, 0, 0]


def test_a_million_with_one_deadline_are_called_in_parts() -> None:
    """A bulk request at a time, and the next one's in advance, so that all of them go at once."""
    p = PollScheduler(Policy(guard=1e6), max_bulk=10, cycle=61.0, slots=0, checks=5)
    p.dates.offset = 1_000_000_000.0
    for id in range(200):
        p.add(ref(id, 1_000_000_000.0), now=0.0)
    for left in range(190, -1, -10):
        assert len(bulk(p, now=0.0)) == 10
        assert p._last_call.due(inf) <= 10
        assert p.due_at() == (-inf if left else inf)
    assert len(p) == 0


def test_single_checks_that_are_slow_stretch_the_intervals() -> None:
    def due_of(round_trip: float) -> float:
        p = plan()
        for _ in range(100):
            p.record_round_trip(round_trip)
        for id in range(1000):
            p.add(ref(id, 0.0), now=0.0)
        item = p.add(ref(5000, 0.0), now=0.0)
        assert item.due_bucket is not None
        return item.due_bucket.at

    assert due_of(2.0) > due_of(0.1)


# The plan in numbers: a message's next instant, as the formulas of the module's docstring give it.

FREE = {"least_interval": 0.0, "least_share": 0.0, "longest_interval": inf, "longest_turn": inf}
"""A policy in which nothing but the effort decides."""
SINGLES = 2 / 0.3
"""Single checks a second: half of four slots, by the round trip that is believed at first."""
BULK = 10 / 61.0


def due_of(item: Tracked) -> float:
    assert item.due_bucket is not None
    return item.due_bucket.at


def is_just_after(at: float, expected: float, *, grain: float) -> bool:
    return expected - 1e-6 <= at < expected + grain


def asked(p: PollScheduler, item: Tracked, *, now: float, status: int = 0) -> float:
    """Take in an answer, and put the message back; when it is due then."""
    p.polled(item, StatusRecord(status=status), done=False, now=now)
    p.put_back(item, now=now)
    return due_of(item)


@pytest.mark.parametrize(("eagerness", "capacity"), [(0.5, SINGLES + BULK), (0.0, BULK), (0.25, SINGLES / 2 + BULK)])
def test_intervals_grow_with_the_number_of_messages(eagerness: float, capacity: float) -> None:
    """Its effort grows by the sum of the rates, divided by the checks a second."""
    p = plan(young=0.0, eagerness=eagerness, **FREE)
    for id in range(101):
        p.add(ref(id, 0.0), now=0.0)
    first, second, *rest = bulk(p, now=0.0)
    assert len(rest) == 8
    others = 91 * p.hazard.rate(0.0)
    for item in (first, second):
        due = asked(p, item, now=50.0)
        rate, wait = p.hazard.outlook(50.0, others / capacity)
        assert is_just_after(due, 50.0 + wait, grain=1.0)
        others += rate


@pytest.mark.parametrize(("answers", "round_trip"), [([], 0.3), ([1.3], 0.4), ([0.0], 0.271), ([1.3, 0.4], 0.4)])
def test_the_intervals_of_the_young_depend_on_the_young_alone(answers: list[float], round_trip: float) -> None:
    """And on how fast single checks, which they take first, were answered lately."""
    p = plan(**FREE)
    for seconds in answers:
        p.record_round_trip(seconds)
    for id in range(20):
        p.add(ref(id, 0.0), now=0.0)
    for id in range(100, 300):
        p.add(ref(id, -10_000.0), now=0.0)
    item = p.take_single(now=0.0)
    assert item is not None
    _, wait = p.hazard.outlook(1.0, 19 * p.hazard.rate(0.0) * round_trip / 2)
    assert is_just_after(asked(p, item, now=1.0), 1.0 + wait, grain=0.1)


def test_a_message_alone_is_asked_at_the_least_interval() -> None:
    """Or, when it is old, after a fixed share of its age."""
    p = plan(least_interval=4.0, least_share=0.005)
    item = p.add(ref(1, 0.0), now=0.0)
    assert is_just_after(due_of(item), 4.0, grain=0.1)
    assert p.take_single(now=4.0) is item
    assert is_just_after(asked(p, item, now=10.0), 14.0, grain=0.1)
    assert bulk(p, now=20.0) == [item]
    assert is_just_after(asked(p, item, now=10_000.0), 10_050.0, grain=1.0)


@pytest.mark.parametrize(("age", "due"), [(3.0, 4.0), (4.0, 0.0), (5.0, 0.0)])
def test_a_message_that_is_old_enough_is_due_at_once(age: float, due: float) -> None:
    """When it is added. Once it was asked, it waits like any other."""
    p = plan(least_interval=4.0)
    item = p.add(ref(1, -age), now=0.0)
    assert due_of(item) == pytest.approx(due)
    bulk(p, now=due)
    assert asked(p, item, now=due) == pytest.approx(due + 4.0, abs=0.1)


def test_no_message_waits_longer_than_the_policy_says() -> None:
    """In seconds, and in turns of all that wait."""
    for options, longest in (({"longest_interval": 9.0}, 9.0), ({"longest_turn": 0.5}, 0.5 * 91 / (SINGLES + BULK))):
        p = plan(young=0.0, **(FREE | options))
        for id in range(101):
            p.add(ref(id, -1000.0), now=0.0)
        item = bulk(p, now=0.0)[0]
        assert is_just_after(asked(p, item, now=0.0), longest, grain=1.0)


@pytest.mark.parametrize(("record", "wait"), [((-2, None), 600.0), ((0, -2), 4.0), ((0, None), 4.0)])
def test_a_stopped_message_is_asked_slowly(record: tuple[int, int | None], wait: float) -> None:
    p = plan(least_interval=4.0)
    item = p.add(ref(1, -100.0), now=0.0)
    bulk(p, now=0.0)
    p.polled(item, StatusRecord(status=record[0], err=record[1]), done=False, now=0.0)
    p.put_back(item, now=0.0)
    assert is_just_after(due_of(item), wait, grain=1.0)


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


def test_an_id_s_tokens_are_waited_for() -> None:
    """Five checks, and the next when the first of them is a minute and the lag ago."""
    p = plan(least_interval=4.0)
    item = p.add(ref(1, -100.0), now=0.0)
    starts = []
    for _ in range(11):
        starts.append(p.due_at())
        assert p.take_single(now=starts[-1]) is item
        asked(p, item, now=starts[-1])
    assert starts == [0, 4, 8, 12, 16, 62, 66, 70, 74, 78, 124]


def test_a_bulk_request_is_not_filled_up_with_messages_that_have_no_token() -> None:
    """They would make the request wait, and keep their places."""
    p = plan(least_interval=1.0, least_share=0.0)
    spent = p.add(ref(1, -100.0), now=0.0)
    for now in range(5):
        assert p.take_single(now=now) is spent
        asked(p, spent, now=now)
    assert due_of(spent) == 62.0
    other = p.add(ref(2, -100.0), now=10.0)
    assert bulk(p, now=10.0) == [other]
    assert list(p) == [spent]
    assert len(p) == 1
    assert due_of(spent) == 62.0
    assert bulk(p, now=61.9) == []
    assert bulk(p, now=62.0) == [spent]
    asked(p, spent, now=62.0)
    later = p.add(ref(3, -100.0), now=62.0)  # a token is back: it may fill up again
    assert set(bulk(p, now=62.0)) == {spent, later}


def test_a_bulk_request_has_as_many_messages_as_it_takes() -> None:
    """First those that are due, then those that are due next."""
    p = plan(young=0.0)
    first = [p.add(ref(id, -100.0), now=0.0) for id in range(7)]
    next_ones = [p.add(ref(id, 0.0), now=3.0) for id in range(10, 18)]
    taken = bulk(p, now=3.0)
    assert len(taken) == 10
    assert set(taken) > set(first)
    assert set(taken) < {*first, *next_ones}
    assert len(p) == 5


def test_a_message_that_has_aged_among_the_young_goes_to_the_others() -> None:
    p = plan(young=120.0)
    p.dates.offset = 50_000.0
    aged, old_enough = p.add(ref(1, 50_000.0), now=0.0), p.add(ref(2, 50_001.0), now=1.0)
    young = p.add(ref(3, 50_110.0), now=110.0)
    assert p.take_single(now=121.0) is old_enough
    assert p.take_single(now=121.0) is young
    assert p.take_single(now=121.0) is aged
    assert p.take_single(now=121.0) is None


def test_messages_wait_in_one_of_five_lines() -> None:
    """All of them are counted and found."""
    p = plan(guard=100.0)
    p.dates.offset = sent_at = 1_000_000_000.0
    called = p.add(ref(1, sent_at), now=0.0)
    deadline = archive_deadline(sent_at) - sent_at
    bulk(p, now=deadline - 100.0)
    p.put_back(called, now=deadline - 100.0)
    others = [p.add(ref(2, sent_at + deadline - 100.0), now=deadline - 100.0)]
    others.append(p.add(ref(3, sent_at + deadline - 1000.0), now=deadline - 100.0))
    held = p.take_single(now=deadline - 100.0)
    assert held is others[1]
    p.put_back_for_bulk(held, now=deadline - 100.0)
    last = [p.add(ref(id, sent_at), now=deadline - 99.0) for id in range(10, 15)]
    p.call_last(now=deadline - 99.0)
    assert p.last_calls == 5
    assert set(p) == {called, *others, *last}
    assert len(p) == 8
    assert p.take_single(now=deadline - 99.0) in last
    assert p.due(now=deadline - 98.0) == (4 + 1, 0)  # the last calls, and the one that was held up


def test_the_hazard_model_is_told_the_ages_at_which_messages_were_followed_and_ended() -> None:
    """As far as the replies tell them."""

    class Told(HazardModel):
        def __init__(self) -> None:
            super().__init__()
            self.all: list[tuple[str, float, float]] = []

        def survived(self, low: float, high: float) -> None:
            self.all.append(("followed", low, high))

        def ended(self, age: float) -> None:
            self.all.append(("ended", age, age))

    def of(changed_at: int | None, *, now: float, before: float | None = None) -> list[tuple[str, float, float]]:
        p = plan()
        p.dates.offset = 1_000_000.0
        p.hazard = told = Told()
        item = p.add(ref(1, 1_000_100.0), now=100.0)
        if before is not None:
            p.polled(item, StatusRecord(status=0), done=False, now=before)
        p.polled(item, StatusRecord(status=1, last_timestamp=changed_at), done=True, now=now)
        return told.all

    assert of(None, now=150.0) == [("ended", 50.0, 50.0), ("followed", 0.0, 50.0)]
    assert of(1_000_120, now=150.0) == [("ended", 20.0, 20.0), ("followed", 0.0, 20.0)]
    assert of(1_000_190, now=150.0) == [("ended", 50.0, 50.0), ("followed", 0.0, 50.0)]  # a clock that is wrong
    assert of(1_000_050, now=150.0) == [("ended", 0.0, 0.0), ("followed", 0.0, 0.0)]
    assert of(None, now=90.0) == [("ended", 0.0, 0.0), ("followed", 0.0, 0.0)]
    assert of(1_000_140, now=160.0, before=130.0) == [
        ("followed", 0.0, 30.0),
        ("ended", 40.0, 40.0),
        ("followed", 30.0, 40.0),
    ]
    assert of(1_000_120, now=160.0, before=130.0)[1:] == [("ended", 30.0, 30.0), ("followed", 30.0, 30.0)]


def test_a_new_message_has_the_date_that_its_sender_gave() -> None:
    p = plan()
    p.dates.offset = 1_000_000.0
    dated, undated = p.add(ref(1, 900_000.0), now=0.0), p.add(ref(2), now=5.0)
    assert (dated.is_dated, dated.sent_at, dated.last) == (True, 900_000.0, None)
    assert (undated.is_dated, undated.sent_at) == (False, 1_000_005.0)
    p.polled(undated, StatusRecord(status=0), done=False, now=6.0)
    assert not undated.is_dated
    p.polled(undated, StatusRecord(status=0, send_timestamp=1_000_005), done=False, now=7.0)
    assert undated.is_dated


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


def test_an_id_that_found_no_token_is_left_to_the_bulk_lane_for_a_period() -> None:
    """Its message is due in bulk at once, and still has all its checks."""
    p = plan()
    p.dates.offset = 1000.0
    item = p.add(ref(7, 900.0), now=0.0)
    assert p.take_single(now=0.0) is item
    assert item.checks_in_cycle == 1
    p.put_back_for_bulk(item, now=0.5)
    assert item.checks_in_cycle == 0
    assert due_of(item) == 1.0
    twin = p.add(MessageRef("007", "79991111111", datetime.fromtimestamp(900.0, UTC)), now=1.0)
    assert p.take_single(now=61.4) is None  # it has gone to the bulk lane, too
    assert set(bulk(p, now=61.4)) == {item, twin}
    for one in (item, twin):
        asked(p, one, now=61.4)
        assert p.take_single(now=due_of(one)) is one


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


def test_a_message_whose_check_had_no_answer_is_due_again_soon() -> None:
    """It is due again soon, whatever its interval; near its deadline before all others; when its tokens are back."""
    p = plan(least_interval=4.0)
    p.dates.offset = sent_at = datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp()
    item = p.add(ref(1, sent_at), now=0.0)
    assert p.take(1, now=30.0) == [item]
    p.put_back_unanswered(item, now=31.0)
    assert is_just_after(due_of(item), 36.0, grain=0.1)
    assert item.last is None
    deadline = archive_deadline(sent_at) - sent_at
    p.take(1, now=deadline - 100.0)
    p.put_back_unanswered(item, now=deadline - 99.0)
    p.call_last(now=deadline - 93.0)
    assert p.has_priority
    for _ in range(5):
        p.take(1, now=deadline + 1.0)
        p.put_back_unanswered(item, now=deadline + 2.0)
    assert due_of(item) >= deadline + 62.0


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


@pytest.mark.parametrize("sent_at", [0.0, 4_102_444_800.0])
def test_an_impossible_time_of_sending_counts_as_unknown(sent_at: float) -> None:
    p = plan()
    p.dates.offset = 1_773_000_000.0
    item = p.add(ref(1, sent_at), now=0.0)
    assert (item.is_dated, item.sent_at) == (False, 1_773_000_000.0)
    p.polled(item, StatusRecord(status=0, send_timestamp=int(sent_at) or 1), done=False, now=1.0)
    assert (item.is_dated, item.sent_at) == (False, 1_773_000_000.0)


def test_a_message_that_waits_for_a_token_has_not_used_one() -> None:
    p = plan()
    item = p.add(ref(1, -100.0), now=0.0)
    assert p.take(1, now=0.0) == [item]
    p.put_back_until_token(item, 50.0, now=0.0)
    assert item.checks_in_cycle == 0
    assert due_of(item) == 50.0


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
