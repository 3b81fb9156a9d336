"""Feeds of the dispatcher: trackers, which are asked for messages while a request is selected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pytest
from dispatch_support import NOW, check_of, mailing, start, start_all, used, waiting

from smsc_status._core.scheduling.checks import CheckState, PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status.models import Key, Limits, id_key


class FakeFeed:
    """Messages due at given instants; those of `near` go before all that nobody waits for."""

    def __init__(self, due: dict[float, Sequence[Key]], *, near: Sequence[Key] = (), singly: bool = False) -> None:
        self.due = {at: list(ids) for at, ids in due.items()}
        self.near = list(near)
        self.singly = singly

    def due_at(self, *, singly: bool = False) -> float:
        if singly and not self.singly:
            return math.inf
        return -math.inf if self.near else min(self.due, default=math.inf)

    def has_priority(self, *, now: float) -> bool:
        return bool(self.near)

    def take(self, pacer: Pacer, *, at_most: int, until: float, now: float) -> list[PendingCheck]:
        taken: list[PendingCheck] = []
        while len(taken) < at_most and (self.near or self.due_at() <= until) and self.due_at() < math.inf:
            one = self._next()
            if pacer.tokens(id_key(one.id), now=now):
                taken.append(one)
        return taken

    def take_single(self, pacer: Pacer, *, now: float) -> PendingCheck | None:
        one = self._next()
        return one if pacer.tokens(id_key(one.id), now=now) else None

    def _next(self) -> PendingCheck:
        if self.near:
            id = self.near.pop(0)
        else:
            at = min(self.due)
            id = self.due[at].pop(0)
            if not self.due[at]:
                del self.due[at]
        fed = check_of(id)
        fed.state = CheckState.IN_FLIGHT
        return fed


def fed_by(*feeds: FakeFeed, checks: Iterable[PendingCheck] = (), max_bulk: int = 1000) -> Dispatcher:
    dispatcher = waiting(*checks, max_bulk=max_bulk)
    for feed in feeds:
        dispatcher.add_feed(feed)
    return dispatcher


def ids(request: Request | None) -> list[int]:
    assert request is not None
    return [int(one.id) for one in request.checks]


def test_a_batch_takes_due_messages_by_age_and_is_filled_up_with_the_next_ones() -> None:
    """Messages of groups and of feeds alike, from the instant at which they were due."""
    feed, other = FakeFeed({20.0: [11, 12], 60.0: [13], 500.0: [14]}), FakeFeed({30.0: [21]})
    dispatcher = fed_by(feed, other, checks=[check_of(1, rank=10.0), check_of(2, rank=25.0), check_of(3, rank=70.0)])
    assert ids(start(dispatcher, Pacer(Limits()))) == [1, 11, 12, 2, 21, 13, 3, 14]


def test_a_batch_has_as_many_messages_as_are_allowed() -> None:
    feed = FakeFeed({20.0: [11, 12, 13]})
    dispatcher = fed_by(feed, checks=[check_of(1, rank=10.0), check_of(2, rank=30.0)], max_bulk=3)
    assert ids(start(dispatcher, Pacer(Limits()))) == [1, 11, 12]
    assert dispatcher.waiting == 1
    assert feed.due == {20.0: [13]}


def test_near_a_deadline_a_feed_goes_before_all_messages_but_those_with_waiting_callers() -> None:
    """Even before those that have waited for longer than a check's head start."""
    check = check_of(5, rank=NOW - 300.0)
    check.head_start = 300.0
    feed = FakeFeed({20.0: [13]}, near=[11, 12])
    dispatcher = fed_by(feed, checks=[check_of(1, rank=-1000.0), check], max_bulk=4)
    assert ids(start(dispatcher, Pacer(Limits()))) == [5, 11, 12, 1]


def test_a_caller_who_joins_a_message_that_waits_goes_before_a_feed_s_deadline() -> None:
    old = check_of(1, rank=-1000.0)
    dispatcher = fed_by(FakeFeed({}, near=[11]), checks=[old], max_bulk=1)
    dispatcher.promote(old, NOW, head_start=300.0)
    assert ids(start(dispatcher, Pacer(Limits()))) == [1]


def test_many_messages_with_waiting_callers_fill_a_batch_alone() -> None:
    checks = [check_of(id, rank=0.0) for id in range(1, 9)]
    for check in checks:
        check.head_start = 300.0
    dispatcher = fed_by(FakeFeed({}, near=[11]), checks=checks, max_bulk=6)
    assert ids(start(dispatcher, Pacer(Limits()))) == [1, 2, 3, 4, 5, 6]


def test_a_feed_that_is_not_due_makes_no_batch() -> None:
    """What waits goes singly; and the feed's turn is an instant to look again at."""
    dispatcher = fed_by(FakeFeed({500.0: [11]}), checks=[check_of(1)])
    request = start(dispatcher, Pacer(Limits()))
    assert ids(request) == [1]
    assert request is not None
    assert not request.bulk
    assert dispatcher.has_work
    assert dispatcher.due_at(Pacer(Limits()), now=NOW) == 500.0
    assert not fed_by(FakeFeed({})).has_work


def test_a_feed_s_due_message_makes_a_batch_as_soon_as_the_bulk_slot_is_free() -> None:
    pacer = Pacer(Limits())
    used(pacer, 7, bulk=True)
    dispatcher = fed_by(FakeFeed({20.0: [11]}))
    assert start(dispatcher, pacer) is None
    assert dispatcher.due_at(pacer, now=NOW) == NOW + 61
    request = start(dispatcher, pacer, NOW + 61)
    assert request is not None
    assert request.bulk


@pytest.mark.parametrize(("due", "first"), [(NOW - 1.0, 11), (NOW, 1)])
def test_a_feed_s_message_has_a_head_start_of_a_minute_in_single_requests(due: float, first: int) -> None:
    pacer = Pacer(Limits())
    used(pacer, 7, bulk=True)
    dispatcher = fed_by(FakeFeed({due: [11]}, singly=True), checks=[check_of(1, rank=NOW - 60.5)])
    assert ids(start(dispatcher, pacer)) == [first]


def test_a_caller_goes_singly_before_a_feed_s_deadline() -> None:
    pacer = Pacer(Limits())
    used(pacer, 7, bulk=True)
    check = check_of(5, rank=0.0)
    check.head_start = 300.0
    dispatcher = fed_by(FakeFeed({}, near=[11], singly=True), checks=[check])
    assert [ids(request) for request in start_all(dispatcher, pacer)] == [[5], [11]]


def test_a_feed_s_message_without_a_token_gives_way_to_the_next() -> None:
    pacer = Pacer(Limits())
    used(pacer, 7, bulk=True)
    used(pacer, 11, times=5)
    dispatcher = fed_by(FakeFeed({20.0: [11, 12]}, singly=True))
    assert ids(start(dispatcher, pacer)) == [12]


def test_near_a_feed_s_deadline_a_caller_whose_id_has_no_token_to_spare_gives_way() -> None:
    """To other callers first; the last token of an id with two messages is kept for the bulk lane."""
    pacer = Pacer(Limits())
    used(pacer, 7, bulk=True)
    used(pacer, 4, times=5)
    used(pacer, 5, times=4)
    checks = [check_of(4, rank=0.0), *mailing(5, 2), check_of(6, rank=0.0)]
    for check in checks:
        check.head_start = 300.0
    dispatcher = fed_by(FakeFeed({}, near=[11], singly=True), checks=checks)
    assert [ids(request) for request in start_all(dispatcher, pacer)] == [[6], [11]]
    assert dispatcher.waiting == 3
