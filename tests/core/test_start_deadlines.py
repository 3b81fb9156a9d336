"""Which callers are told that their checks can't start in time, and when."""

from __future__ import annotations

import weakref
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsc_status._core.scheduling.checks import PendingCheck
from smsc_status._core.scheduling.start_deadlines import EXAMINE_INTERVAL, EXAMINED_AT_ONCE, StartDeadlines, TooLate
from smsc_status._core.stale import SLACK
from smsc_status.models import Detail


def check_of(id: int) -> PendingCheck:
    return PendingCheck(str(id), "79990000000", (id, "79990000000"), Detail.BASIC, 0.0)


ONE, TWO = check_of(1), check_of(2)


def starting_at(**at: float) -> dict[int, float]:
    return {int(name.strip("_")): value for name, value in at.items()}


class Starts:
    """At which instants checks can start, and how often it was asked."""

    def __init__(self, default: float = 0.0, **at: float) -> None:
        self.default = default
        self.at = starting_at(**at)
        self.asked = 0

    def __call__(self, check: PendingCheck) -> float:
        self.asked += 1
        return self.at.get(int(check.id), self.default)


class TestOneByOne:
    def test_a_caller_whose_check_can_start_in_time_waits_on(self) -> None:
        """Up to the last instant at which it can start in time."""
        waiting: StartDeadlines[str] = StartDeadlines()
        waiting.join("a", ONE, 10.0)
        assert waiting.take_too_late(Starts(10.0), soonest=0.0, now=0.0) == []
        assert waiting.due_at(now=0.0) == 10.0
        assert waiting.take_too_late(Starts(9.9), soonest=9.9, now=9.9) == []
        assert waiting.take_too_late(Starts(10.0), soonest=10.0, now=10.0) == [TooLate("a", ONE, 10.0)]
        assert (len(waiting), waiting.due_at(now=10.0)) == (0, inf)

    def test_a_caller_whose_check_can_not_start_in_time_is_told_at_once(self) -> None:
        """And the others are not."""
        waiting: StartDeadlines[str] = StartDeadlines()
        waiting.join("a", ONE, 10.0)
        waiting.join("b", TWO, 10.0)
        assert waiting.take_too_late(Starts(_1=10.1), soonest=0.0, now=0.0) == [TooLate("a", ONE, 10.1)]
        assert len(waiting) == 1

    def test_the_last_caller_that_leaves_is_not_kept_alive(self) -> None:
        """However far its deadline is."""
        waiting: StartDeadlines[Starts] = StartDeadlines()
        caller = Starts()
        waiting.join(caller, ONE, 10.0)
        waiting.leave(caller)
        alive = weakref.ref(caller)
        del caller
        assert alive() is None

    def test_nothing_is_looked_up_for_callers_whose_time_is_too_short_for_any_start(self) -> None:
        """Callers whose time ends before any start is possible are told first."""
        waiting: StartDeadlines[int] = StartDeadlines()
        for k in range(1000):
            waiting.join(k, check_of(k), 5.0 + k)
        starts = Starts(55.0)
        late = waiting.take_too_late(starts, soonest=55.0, now=0.0)
        assert [one.subscriber for one in late] == list(range(50))
        assert starts.asked == 50 + EXAMINED_AT_ONCE

    def test_a_caller_that_left_is_told_nothing(self) -> None:
        """Nor is a caller that was never there."""
        waiting: StartDeadlines[str] = StartDeadlines()
        waiting.join("a", ONE, 10.0)
        waiting.leave("a")
        waiting.leave("b")
        assert waiting.due_at(now=0.0) == inf
        assert waiting.take_too_late(Starts(), soonest=0.0, now=20.0) == []

    def test_a_caller_that_moved_to_another_question_is_looked_up_once_for_that_one(self) -> None:
        """Once."""
        waiting: StartDeadlines[str] = StartDeadlines()
        waiting.join("a", ONE, 10.0)
        waiting.join("a", TWO, 10.0)
        assert waiting.take_too_late(Starts(_1=99.0), soonest=0.0, now=0.0) == []
        assert waiting.take_too_late(Starts(), soonest=0.0, now=10.0) == [TooLate("a", TWO, 0.0)]
        assert waiting.take_too_late(Starts(), soonest=0.0, now=10.0) == []

    def test_without_callers_nothing_is_told(self) -> None:
        waiting: StartDeadlines[str] = StartDeadlines()
        waiting.join("a", ONE, 10.0)
        waiting.join("b", TWO, 20.0)
        assert len(list(waiting.drain())) == 4, "one step for each of them, and each entry of the line"
        assert (len(waiting), waiting.due_at(now=0.0)) == (0, inf)

    def test_no_more_callers_are_taken_out_at_once_than_asked_for(self) -> None:
        """The few that are looked up come on top; the others are taken out the next time."""
        waiting: StartDeadlines[int] = StartDeadlines()
        for who in range(10 * EXAMINED_AT_ONCE):
            waiting.join(who, ONE, 10.0)
        taken = []
        while late := waiting.take_too_late(Starts(), soonest=10.0, now=10.0, at_most=EXAMINED_AT_ONCE):
            assert len(late) <= 2 * EXAMINED_AT_ONCE
            taken += [one.subscriber for one in late]
        assert sorted(taken) == list(range(10 * EXAMINED_AT_ONCE))


class TestMany:
    @pytest.fixture
    def waiting(self) -> StartDeadlines[int]:
        waiting: StartDeadlines[int] = StartDeadlines()
        for k in range(EXAMINED_AT_ONCE + 1):
            waiting.join(k, check_of(k), 100.0)
        return waiting

    def test_up_to_the_bound_all_callers_are_looked_up_each_time(self, waiting: StartDeadlines[int]) -> None:
        waiting.leave(0)
        starts = Starts()
        for _ in range(3):
            assert waiting.take_too_late(starts, soonest=0.0, now=1.0) == []
        assert starts.asked == 3 * EXAMINED_AT_ONCE
        assert waiting.due_at(now=1.0) == 100.0

    def test_more_callers_than_the_bound_are_looked_up_in_turns(self, waiting: StartDeadlines[int]) -> None:
        """The last to come is the first, and none is looked up twice before all were once."""
        starts = Starts(_0=200.0)
        assert waiting.take_too_late(starts, soonest=0.0, now=1.0) == []
        assert waiting.due_at(now=1.0) == 1.0 + EXAMINE_INTERVAL
        assert waiting.due_at(now=50.0) == 50.0
        assert waiting.take_too_late(starts, soonest=0.0, now=1.0 + 0.9 * EXAMINE_INTERVAL) == []
        assert starts.asked == EXAMINED_AT_ONCE
        late = waiting.take_too_late(starts, soonest=0.0, now=1.0 + EXAMINE_INTERVAL)
        assert [one.subscriber for one in late] == [0]

    def test_a_caller_whose_time_is_over_is_told_between_two_looks(self, waiting: StartDeadlines[int]) -> None:
        """It need not be looked up for that."""
        waiting.take_too_late(Starts(), soonest=0.0, now=1.0)
        waiting.join(-1, ONE, 1.01)
        assert waiting.due_at(now=1.0) == 1.01
        assert [one.subscriber for one in waiting.take_too_late(Starts(), soonest=0.0, now=1.01)] == [-1]


def test_callers_that_left_are_forgotten() -> None:
    """However many come and go before their time is over."""
    waiting: StartDeadlines[int] = StartDeadlines()
    for k in range(10_000):
        waiting.join(k, ONE, 1e6)
        waiting.leave(k - 10)
        assert waiting.entries <= 1 + SLACK + 2 * 11
    assert len(waiting) == 10


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0, 2.0, 5.0, 9.0])), max_size=12),
    st.lists(st.tuples(st.floats(0, 4), st.dictionaries(st.integers(0, 5), st.floats(0, 12))), max_size=6),
)
def test_few_callers_are_told_the_same_as_if_all_were_looked_up(
    joins: list[tuple[int, float]], looks: list[tuple[float, dict[int, float]]]
) -> None:
    """What can't start in time, or has no time left."""
    waiting: StartDeadlines[int] = StartDeadlines()
    naive: dict[int, tuple[int, float]] = {}
    for who, (id, start_by) in enumerate(joins):
        waiting.join(who, check_of(id), start_by)
        naive[who] = id, start_by
    now = 0.0
    for pause, at in looks:
        now += pause
        starts = {id: max(now, at.get(id, now)) for id in range(6)}
        late = waiting.take_too_late(
            lambda check, starts=starts: starts[int(check.id)],  # type: ignore[misc]  # mypy can't infer it
            soonest=min(starts.values()),
            now=now,
        )
        expected = {who for who, (id, by) in naive.items() if starts[id] > by or by <= now}
        assert {one.subscriber for one in late} == expected
        assert len(late) == len(expected)
        naive = {who: known for who, known in naive.items() if who not in expected}
        assert waiting.due_at(now=now) == min((by for _, by in naive.values()), default=inf)
