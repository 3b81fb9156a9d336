"""The buckets of tokens: instants in tables, and the limits as a server that counts arrivals sees them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smsc_status._core.scheduling.pacing import BULK, MIN_REVIEW_INTERVAL, SINGLE, Pacer, RequestEnd
from smsc_status.models import Key, Limits

REPLIED, REFUSED = RequestEnd.REPLIED, RequestEnd.REFUSED
ABANDONED, NOT_SENT = RequestEnd.ABANDONED, RequestEnd.NOT_SENT

ENDS = [(REPLIED, 61.0), (REFUSED, 61.0), (ABANDONED, 71.0), (NOT_SENT, 0.0)]


def asked(
    pacer: Pacer, *keys: Key, bulk: bool = False, at: float = 0.0, took: float = 0.0, how: RequestEnd = REPLIED
) -> None:
    """One request from start to end."""
    pacer.started(keys, bulk=bulk, now=at)
    pacer.finished(keys, bulk=bulk, how=how, now=at + took)


class TestTokens:
    def test_a_token_is_out_from_the_start_to_a_period_and_a_margin_after_the_reply(self) -> None:
        """Not a moment shorter, and not a moment longer."""
        pacer = Pacer(Limits())
        pacer.started([7], bulk=False, now=0.0)
        assert pacer.tokens(7, now=0.0) == 4
        assert pacer.tokens(7, now=500.0) == 4
        pacer.finished([7], bulk=False, how=REPLIED, now=500.0)
        assert pacer.tokens(7, now=560.99) == 4
        assert pacer.tokens(7, now=561.0) == 5

    @pytest.mark.parametrize(("how", "back_after"), ENDS)
    def test_the_way_in_which_a_request_ends_says_when_its_tokens_come_back(
        self, how: RequestEnd, back_after: float
    ) -> None:
        """An abandoned request counts longer than an answered one, and one that was not sent does not count."""
        pacer = Pacer(Limits())
        asked(pacer, 7, at=10.0, took=2.0, how=how)
        if back_after:
            assert pacer.tokens(7, now=math.nextafter(12.0 + back_after, 0)) < 5
        assert pacer.tokens(7, now=12.0 + back_after) == 5

    def test_an_id_has_five_tokens_and_no_sixth(self) -> None:
        """They come back one by one, in the order in which they are due."""
        pacer = Pacer(Limits())
        for at in range(5):
            assert pacer.due_at(7, now=float(at)) == at
            asked(pacer, 7, at=float(at))
        assert [pacer.tokens(7, now=at) for at in (4.0, 60.9, 61.0, 62.0, 65.0)] == [0, 0, 1, 2, 5]

    def test_each_id_has_tokens_of_its_own(self) -> None:
        """One id without tokens means nothing to another."""
        pacer = Pacer(Limits())
        for _ in range(5):
            asked(pacer, 7)
        assert pacer.tokens(7, now=1.0) == 0
        assert pacer.tokens("x", now=1.0) == 5

    def test_a_bulk_request_takes_a_token_of_each_id_and_the_bulk_slot(self) -> None:
        """The slot is a bucket like the others."""
        pacer = Pacer(Limits())
        asked(pacer, 1, 2, bulk=True, took=3.0)
        assert [pacer.tokens(key, now=3.0) for key in (1, 2, 3, BULK)] == [4, 4, 5, 0]
        assert pacer.bulk_due_at(now=3.0) == 64.0
        assert pacer.bulk_due_at(now=64.0) == 64.0
        assert pacer.singles_due_at(now=3.0) == 3.0

    def test_tokens_come_back_in_the_order_in_which_they_are_due(self) -> None:
        """A token that was given up comes back after those that were taken later and answered."""
        pacer = Pacer(Limits(checks_per_id=3))
        asked(pacer, 7, at=0.0, how=ABANDONED)
        asked(pacer, 7, at=5.0)
        pacer.started([7], bulk=False, now=6.0)
        assert [pacer.tokens(7, now=at) for at in (6.0, 66.0, 71.0)] == [0, 1, 2]
        pacer.finished([7], bulk=False, how=NOT_SENT, now=71.0)
        assert pacer.tokens(7, now=71.0) == 3


class TestDueAt:
    def test_due_at_with_spare_is_the_instant_at_which_more_than_so_many_tokens_are_there(self) -> None:
        """The instant at which more than so many are there."""
        pacer = Pacer(Limits())
        for at in range(5):
            asked(pacer, 7, at=float(at))
        assert [pacer.due_at(7, spare=spare, now=10.0) for spare in range(5)] == [61.0, 62.0, 63.0, 64.0, 65.0]
        assert pacer.due_at(8, spare=4, now=10.0) == 10.0

    def test_due_at_of_a_token_in_flight_is_as_if_its_reply_came_now(self) -> None:
        """Never too late, though perhaps too early."""
        pacer = Pacer(Limits(checks_per_id=1))
        pacer.started([7], bulk=False, now=0.0)
        assert pacer.due_at(7, now=0.0) == 61.0
        assert pacer.due_at(7, now=30.0) == 91.0

    def test_asking_for_more_tokens_than_an_id_has_gives_an_instant(self) -> None:
        """Asking for more tokens than an id has gives an instant to look again, not an error."""
        pacer = Pacer(Limits(checks_per_id=1))
        assert pacer.due_at(7, spare=1, now=5.0) == 66.0

    def test_a_given_up_token_is_due_when_it_comes_back(self) -> None:
        """With nothing in flight the instant is known, and so it is exact."""
        pacer = Pacer(Limits(checks_per_id=1))
        asked(pacer, 7, bulk=True, how=ABANDONED)
        assert pacer.due_at(7, now=0.0) == 71.0
        assert pacer.bulk_due_at(now=0.0) == 71.0

    def test_a_token_in_flight_may_come_back_before_one_that_was_given_up(self) -> None:
        """What was given up says nothing about the others."""
        pacer = Pacer(Limits(checks_per_id=2))
        asked(pacer, 7, how=ABANDONED)
        pacer.started([7], bulk=False, now=0.0)
        assert pacer.due_at(7, now=1.0) == 62.0


class TestPlaces:
    def test_four_requests_may_be_open(self) -> None:
        """A reply frees the slot at once."""
        pacer = Pacer(Limits())
        for key in range(4):
            assert pacer.slot_due_at(now=0.0) == 0.0
            pacer.started([key], bulk=False, now=0.0)
        assert pacer.free_slots(now=0.0) == 0
        assert pacer.slot_due_at(now=0.0) == math.inf
        assert pacer.open_requests == 4
        pacer.finished([0], bulk=False, how=REPLIED, now=1.0)
        assert (pacer.free_slots(now=1.0), pacer.open_requests) == (1, 3)

    def test_a_request_that_was_given_up_keeps_its_slot_while_it_lingers(self) -> None:
        """It keeps its slot, and the next instant at which one comes free is known."""
        pacer = Pacer(Limits(connections=2))
        asked(pacer, 1, at=0.0, how=ABANDONED)
        asked(pacer, 2, at=3.0, how=ABANDONED)
        assert pacer.open_requests == 0
        assert pacer.slot_due_at(now=4.0) == 10.0
        assert [pacer.free_slots(now=at) for at in (9.9, 10.0, 12.9, 13.0)] == [0, 1, 1, 2]

    def test_a_request_that_never_left_frees_its_slot_at_once(self) -> None:
        """And what was planned by the tokens it held may be planned anew."""
        pacer = Pacer(Limits(connections=1))
        asked(pacer, 1, bulk=True, how=NOT_SENT)
        assert pacer.free_slots(now=0.0) == 1
        assert pacer.bulk_due_at(now=0.0) == 0.0
        assert pacer.refunds == 1
        assert pacer.is_idle(now=0.0)


class TestRefusals:
    def test_a_refused_bulk_request_closes_the_bulk_lane(self) -> None:
        """For a period, with all its slots; its ids lose nothing but the tokens they took."""
        pacer = Pacer(Limits(bulk_requests=3))
        asked(pacer, 1, 2, bulk=True, took=1.0, how=REFUSED)
        assert pacer.bulk_due_at(now=1.0) == 62.0
        assert pacer.tokens(1, now=1.0) == 4
        assert pacer.tokens(BULK, now=62.0) == 3

    def test_a_refused_single_request_closes_its_id(self) -> None:
        """For a period; the others go on."""
        pacer = Pacer(Limits())
        asked(pacer, 1, took=1.0, how=REFUSED)
        assert pacer.due_at(1, now=1.0) == 62.0
        assert pacer.tokens(2, now=1.0) == 5
        assert pacer.singles_due_at(now=1.0) == 1.0
        assert pacer.tokens(1, now=62.0) == 5

    @pytest.mark.parametrize("bulk", [False, True])
    def test_tokens_that_come_back_after_a_refusal_wait_for_its_end(self, bulk: bool) -> None:
        """Tokens that were out already when the refusal came are no use before it is over."""
        pacer = Pacer(Limits(bulk_requests=5))
        for _ in range(4):
            asked(pacer, 1, bulk=bulk, at=0.0)
        asked(pacer, 1, bulk=bulk, at=58.0, how=REFUSED)
        key = BULK if bulk else 1
        assert pacer.due_at(key, now=58.0) == 119.0
        assert pacer.tokens(key, now=61.0) == 0
        assert pacer.tokens(key, now=118.9) == 0
        assert pacer.tokens(key, now=119.0) == 5

    def test_a_request_that_never_left_gives_a_closed_id_no_token(self) -> None:
        """A refund during a refusal is no way around it."""
        pacer = Pacer(Limits())
        pacer.started([1], bulk=False, now=0.0)
        asked(pacer, 1, at=0.0, took=1.0, how=REFUSED)
        pacer.finished([1], bulk=False, how=NOT_SENT, now=2.0)
        assert pacer.tokens(1, now=2.0) == 0
        assert pacer.due_at(1, now=2.0) == 62.0

    def test_three_refused_ids_within_a_period_close_the_single_lane(self) -> None:
        """For a period after the third; the bulk lane stays open."""
        pacer = Pacer(Limits())
        for at, key in enumerate([1, 1, 2]):
            asked(pacer, key, at=float(at), how=REFUSED)
            assert pacer.singles_due_at(now=float(at)) == at
        asked(pacer, 3, at=50.0, how=REFUSED)
        assert pacer.singles_due_at(now=50.0) == 111.0
        assert pacer.singles_due_at(now=111.0) == 111.0
        assert pacer.bulk_due_at(now=50.0) == 50.0

    def test_three_refused_ids_in_more_than_a_period_leave_the_single_lane_open(self) -> None:
        """Each refusal counts for a period only."""
        pacer = Pacer(Limits())
        for at, key in [(0.0, 1), (30.0, 2), (60.0, 3), (90.0, 4)]:
            asked(pacer, key, at=at, how=REFUSED)
            assert pacer.singles_due_at(now=at) == at

    def test_the_count_of_refused_ids_begins_anew_once_the_lane_was_closed(self) -> None:
        """Once the lane was closed, it takes three other refusals to close it again."""
        pacer = Pacer(Limits())
        for key in range(5):
            asked(pacer, key, at=float(key), how=REFUSED)
        assert pacer.singles_due_at(now=5.0) == 63.0


def test_the_cap_of_single_requests_is_kept() -> None:
    """So many single requests and no more; bulk requests don't count."""
    pacer = Pacer(Limits(singles_per_minute=2))
    asked(pacer, 1, bulk=True)
    asked(pacer, 1, at=1.0)
    assert pacer.singles_due_at(now=1.0) == 1.0
    asked(pacer, 2, at=2.0)
    assert pacer.singles_due_at(now=2.0) == 62.0
    assert pacer.tokens(SINGLE, now=2.0) == 0
    asked(pacer, 3, at=62.0, how=NOT_SENT)
    assert pacer.singles_due_at(now=62.0) == 62.0


def test_nothing_is_remembered_of_an_id_whose_tokens_are_back() -> None:
    """However many ids there were."""
    pacer = Pacer(Limits())
    for key in range(20_000):
        asked(pacer, key, at=key / 1000, how=ENDS[key % 4][0])
    assert len(pacer) == 15_000
    assert not pacer.is_idle(now=90.99)
    assert pacer.is_idle(now=91.0)
    assert len(pacer) == 0
    kept = {name: len(value) for name, value in vars(pacer).items() if hasattr(value, "__len__")}
    assert kept.pop("_capacity") == 1  # of the bulk lane, which is for good
    assert kept.pop("_refused") < 3  # which are looked through at the next refusal
    assert not any(kept.values())


def test_an_id_that_is_always_in_use_costs_a_bounded_amount_of_memory() -> None:
    """In hours of overlapping requests, some of them given up, and some refunded."""
    pacer = Pacer(Limits())
    ends = [REPLIED, ABANDONED, REPLIED, REPLIED, NOT_SENT, ABANDONED, REFUSED]
    now = 0.0
    for round in range(7 * 300):
        room = pacer.tokens(7, now=now)
        # Bounds of the memory, here and below: nothing outside tells how many entries are kept.
        assert all(at > now for at in pacer._review_at)
        for _ in range(room):
            pacer.started([7], bulk=False, now=now)
        for number in range(room):
            pacer.finished([7], bulk=False, how=ends[(round + number) % 7], now=now + number)
        now = pacer.due_at(7, now=now + 5)
        # Bounds of the memory, which nothing outside tells.
        assert len(pacer._review_queue) == len(pacer._review_at) <= 1
        assert len(pacer._lingering) <= 5
        assert all(len(out) <= 6 for out in pacer._out.values() if isinstance(out, list))
    assert now > 3600


def test_with_the_shortest_period_only_a_lingering_request_is_remembered() -> None:
    """Its tokens are out for as long as it lingers, and there is one instant to look again."""
    pacer = Pacer(Limits(period=5e-324, margin=0))
    asked(pacer, *range(1000), bulk=True, how=ABANDONED)
    assert [pacer.tokens(7, now=at) for at in (0.0, 9.99, 10.0)] == [4, 4, 5]
    assert len(pacer._review_at) == 1  # a bound of the memory, as above
    assert pacer._review_at[0] > 10.0
    assert pacer.is_idle(now=10.0)


# Random histories. All instants are multiples of 1/2, so that sums are exact.

PAUSES = (0.0, 0.0, 0.0, 0.5, 1.0, 5.0, 9.5, 10.0, 30.0, 50.0, 59.5, 60.0, 60.5, 61.0, 71.0)
KEYS: tuple[Key, ...] = (1, 2, "x")


@attrs.frozen
class Start:
    keys: tuple[Key, ...]
    bulk: bool


@attrs.frozen
class End:
    which: int
    how: RequestEnd
    arrived: float
    """Where between its first and its last possible instant it reaches the server."""


starts = st.builds(Start, st.sets(st.sampled_from(KEYS), min_size=1).map(tuple), st.booleans())
ends = st.builds(End, st.integers(0, 3), st.sampled_from(RequestEnd), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
histories = st.lists(st.tuples(st.sampled_from(PAUSES), st.one_of(starts, starts, ends)), max_size=60)
some_limits = st.sampled_from(
    [
        Limits(),
        Limits(singles_per_minute=2),
        Limits(checks_per_id=2, bulk_requests=2, connections=3),
        Limits(checks_per_id=1, connections=2, linger=20.0),
        Limits(period=0.5, margin=0),
    ]
)


@attrs.frozen
class Sent:
    keys: tuple[Key, ...]
    bulk: bool
    started_at: float

    def names(self) -> tuple[Key, ...]:
        return (*self.keys, BULK if self.bulk else SINGLE)


@attrs.define
class Account:
    """A pacer, a naive memory of everything that happened, and what the server saw."""

    limits: Limits
    pacer: Pacer
    now: float = 0.0
    open: list[Sent] = attrs.field(factory=list)
    back: list[tuple[float, Sent]] = attrs.field(factory=list)
    arrivals: list[tuple[float, Sent]] = attrs.field(factory=list)
    held: list[tuple[float, float]] = attrs.field(factory=list)
    """From when to when a request may have been open at the server."""

    def room(self, name: Key) -> int:
        special: dict[Key, int] = {BULK: self.limits.bulk_requests, SINGLE: self.limits.singles_per_minute or 10**9}
        return special.get(name, self.limits.checks_per_id)

    def naive_tokens(self, name: Key) -> int:
        """Counted from the whole history."""
        out = [sent for sent in self.open if name in sent.names()]
        out += [sent for back_at, sent in self.back if back_at > self.now and name in sent.names()]
        return self.room(name) - len(out)

    def do(self, step: Start | End) -> None:
        if isinstance(step, Start):
            self.start(Sent(step.keys if step.bulk else step.keys[:1], step.bulk, self.now))
        elif self.open:
            self.end(self.open[step.which % len(self.open)], step.how, step.arrived)

    def start(self, sent: Sent) -> None:
        pacer, now = self.pacer, self.now
        lane_at = pacer.bulk_due_at(now=now) if sent.bulk else pacer.singles_due_at(now=now)
        has_tokens = all(pacer.tokens(key, now=now) > 0 for key in sent.keys)
        if lane_at <= now and has_tokens and pacer.free_slots(now=now) > 0:
            pacer.started(sent.keys, bulk=sent.bulk, now=now)
            self.open.append(sent)

    def end(self, sent: Sent, how: RequestEnd, arrived: float) -> None:
        self.pacer.finished(sent.keys, bulk=sent.bulk, how=how, now=self.now)
        self.open.remove(sent)
        if how is NOT_SENT:
            return
        last_at = self.now + (self.limits.linger if how is ABANDONED else 0.0)
        self.back.append((last_at + self.limits.period + self.limits.margin, sent))
        self.arrivals.append((sent.started_at + arrived * (last_at - sent.started_at), sent))
        self.held.append((sent.started_at, last_at))

    def assert_limits_held(self) -> None:
        for name in {name for _, sent in self.arrivals for name in sent.names()}:
            at = sorted(at for at, sent in self.arrivals if name in sent.names())
            room = self.room(name)
            assert all(later - earlier > self.limits.period for earlier, later in zip(at, at[room:], strict=False))
        changes = sorted([(start, 1) for start, _ in self.held] + [(end, -1) for _, end in self.held])
        count = 0
        for _, change in changes:
            count += change
            assert count <= self.limits.connections


def live(limits: Limits, history: Sequence[tuple[float, Start | End]]) -> Account:
    account = Account(limits, Pacer(limits))
    for pause, step in history:
        account.now += pause
        account.do(step)
    for sent in list(account.open):
        account.end(sent, REPLIED, 0.5)
    return account


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=300, deadline=None)
def test_a_server_that_counts_arrivals_never_sees_a_limit_broken(
    limits: Limits, history: list[tuple[float, Start | End]]
) -> None:
    """Whenever between its start and its end, or up to `linger` after it was given up, each request arrives."""
    live(limits, history).assert_limits_held()


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_no_token_leaks(limits: Limits, history: list[tuple[float, Start | End]]) -> None:
    """When all has ended and the longest time is over, everything is as in the beginning."""
    account = live(limits, history)
    pacer = account.pacer
    end_at = account.now + limits.linger + limits.period + limits.margin
    assert pacer.is_idle(now=end_at)
    assert len(pacer) == 0
    assert pacer.free_slots(now=end_at) == limits.connections
    assert pacer.singles_due_at(now=end_at) == pacer.bulk_due_at(now=end_at) == end_at
    assert [pacer.tokens(key, now=end_at) for key in KEYS] == [limits.checks_per_id] * len(KEYS)


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_tokens_are_as_the_whole_history_counts_them(limits: Limits, history: list[tuple[float, Start | End]]) -> None:
    """No more than a log of everything would allow, and where nothing was refused no fewer."""
    account = Account(limits, Pacer(limits))
    refused = False
    names = [*KEYS, BULK, *([SINGLE] if limits.singles_per_minute else [])]
    for pause, step in history:
        account.now += pause
        account.do(step)
        refused = refused or (isinstance(step, End) and step.how is REFUSED)
        for name in names:
            tokens, naive = account.pacer.tokens(name, now=account.now), account.naive_tokens(name)
            assert 0 <= tokens <= naive
            assert refused or tokens == naive


@pytest.mark.slow
@given(some_limits, histories, st.sampled_from([0, 1, 2]))
@settings(max_examples=200, deadline=None)
def test_due_at_is_never_too_late(limits: Limits, history: list[tuple[float, Start | End]], spare: int) -> None:
    """Without further events the tokens are not there a moment earlier; with none in flight they are there then."""
    account = Account(limits, Pacer(limits))
    for pause, step in history:
        account.now += pause
        account.do(step)
    pacer, now = account.pacer, account.now
    in_flight = Counter(name for sent in account.open for name in sent.names())
    names: list[Key] = [key for key in KEYS if spare < limits.checks_per_id]
    due = {name: pacer.due_at(name, spare=spare, now=now) for name in names}
    for name, at in sorted(due.items(), key=lambda item: item[1]):
        if at > now:
            assert pacer.tokens(name, now=math.nextafter(at, 0)) <= spare
    last_at = now + limits.linger + limits.period + limits.margin
    for name in names:
        assert pacer.tokens(name, now=last_at) > spare or in_flight[name]


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_due_at_is_exact_once_all_requests_have_ended(limits: Limits, history: list[tuple[float, Start | End]]) -> None:
    """After any sequence of replies, refunds and requests given up, for any number of tokens."""
    account = live(limits, [step for step in history if getattr(step[1], "how", None) is not REFUSED])
    pacer, now = account.pacer, account.now
    for name in [*KEYS, BULK, *([SINGLE] if limits.singles_per_minute else [])]:
        room = account.room(name)
        back = sorted(at for at, sent in account.back if at > now and name in sent.names())
        due = [pacer.due_at(name, spare=spare, now=now) for spare in range(room)]
        assert due == [now] * (room - len(back)) + back


def test_one_look_after_a_long_silence_brings_all_tokens_back() -> None:
    """Also those of requests that were given up before, between and after replies."""
    pacer = Pacer(Limits(checks_per_id=6))
    for at, how in enumerate([ABANDONED, REPLIED, ABANDONED, REPLIED, REFUSED, ABANDONED]):
        asked(pacer, 7, at=float(at), how=how)
    assert pacer.tokens(7, now=60.0) == 0
    assert pacer.due_at(7, spare=5, now=60.0) == 76.0
    assert pacer.is_idle(now=76.0)


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_ids_without_tokens_out_are_forgotten_by_themselves(
    limits: Limits, history: list[tuple[float, Start | End]]
) -> None:
    """A period after the last token is back only what is in flight is remembered, though nobody has asked for it."""
    account = Account(limits, Pacer(limits))
    for pause, step in history:
        account.now += pause
        account.do(step)
        queued = Counter(
            key for names in account.pacer._review_queue for key in (names if isinstance(names, tuple) else (names,))
        )
        assert all(count == 1 for count in queued.values())
    period = limits.period + limits.margin
    for at in (
        account.now + limits.linger + period,
        account.now + limits.linger + period + max(period, MIN_REVIEW_INTERVAL),
    ):
        account.pacer.free_slots(now=at)
    no_buckets = set() if limits.singles_per_minute else {SINGLE}
    assert set(account.pacer._out) == {name for sent in account.open for name in sent.names()} - no_buckets


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=100, deadline=None)
def test_a_slot_is_free_when_it_is_due(limits: Limits, history: list[tuple[float, Start | End]]) -> None:
    """Neither earlier nor later, unless a reply comes."""
    account = Account(limits, Pacer(limits))
    for pause, step in history:
        account.now += pause
        account.do(step)
    pacer, now = account.pacer, account.now
    at = pacer.slot_due_at(now=now)
    assert (at == now) == (pacer.free_slots(now=now) > 0)
    if now < at < math.inf:
        assert pacer.free_slots(now=math.nextafter(at, 0)) == 0
        assert pacer.free_slots(now=at) > 0


def test_an_id_that_is_refused_again_stays_closed_for_the_longer() -> None:
    """From the second refusal on, a whole period."""
    pacer = Pacer(Limits())
    for _ in range(2):
        pacer.started([7], bulk=False, now=0.0)
    pacer.finished([7], bulk=False, how=RequestEnd.REFUSED, now=1.0)
    pacer.finished([7], bulk=False, how=RequestEnd.REFUSED, now=3.0)
    assert pacer.tokens(7, now=62.0) == 0
    assert pacer.due_at(7, now=62.0) == 64.0
    assert pacer.tokens(7, now=64.0) == 5
    assert pacer.is_idle(now=64.0)
