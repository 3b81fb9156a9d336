"""The plan of tracking: deadlines, ages, who is next."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import ClassVar

import pytest
from polling_support import asked, bulk, due_of, is_just_after, plan, ref

from smsc_status import MessageRef, StatusRecord
from smsc_status._core.tracking.archive import archive_deadline
from smsc_status._core.tracking.hazard import HazardModel


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
    assert p.entries == 0


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


def test_a_date_that_is_corrected_between_two_answers_gives_the_hazard_model_no_age_below_0() -> None:
    """An age is counted by the date, the time between two answers by the monotonic clock."""

    class Told(HazardModel):
        lows: ClassVar[list[float]] = []

        def survived(self, low: float, high: float) -> None:
            self.lows.append(low)
            super().survived(low, high)

    p = plan()
    p.dates.offset, p.hazard = 1_000_000.0, Told()
    item = p.add(ref(1, 1_000_100.0), now=100.0)
    p.polled(item, StatusRecord(status=0), done=False, now=400.0)
    p.dates.offset -= 330.0
    p.polled(item, StatusRecord(status=0), done=False, now=460.0)
    assert Told.lows == [0.0, 0.0]


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
