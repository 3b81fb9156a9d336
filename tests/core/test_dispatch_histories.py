"""Random histories of the dispatcher, against an oracle that reads the rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import attrs
import pytest
from dispatch_support import NOW, REPLIED, check_of, drained, used
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsc_status._core.scheduling.checks import CheckState, PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status.models import Limits

# Random histories against an oracle. All instants are multiples of 1/2, so that sums are exact.


@attrs.frozen
class Add:
    key: int
    rank: float
    pause: float


@attrs.frozen
class Change:
    """Withdraw or promote one of those that came in."""

    which: int
    rank: float | None


@attrs.frozen
class End:
    which: int
    how: RequestEnd
    retry: float | None
    """After how long its messages come back, if they do."""
    is_refused: bool = False


@attrs.frozen
class Rival:
    """Another client of the account asks for this id."""

    key: int


Step = Add | Change | End | Rival


PAUSES = (0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 10.0, 30.0, 60.0, 61.0)


keys = st.sampled_from([1, 1, 1, 2, 2, 3])


some_ranks = st.sampled_from([0.0, 1.0, 2.0, 3.0, 4.0])


adds = st.builds(Add, keys, some_ranks, st.sampled_from([0.0, 0.0, 0.0, 5.0]))


ends = st.builds(
    End,
    st.integers(0, 3),
    st.sampled_from([REPLIED, REPLIED, RequestEnd.ABANDONED, RequestEnd.NOT_SENT, RequestEnd.REFUSED]),
    st.sampled_from([None, 0.0, 2.0]),
    st.booleans(),
)


changes = st.builds(Change, st.integers(0, 30), st.one_of(st.none(), some_ranks))


steps = st.one_of(adds, adds, adds, ends, changes, st.builds(Rival, keys))


histories = st.lists(st.tuples(st.sampled_from(PAUSES), steps), max_size=50)


some_limits = st.sampled_from(
    [
        Limits(),
        Limits(checks_per_id=2, connections=2, max_bulk=3),
        Limits(checks_per_id=1, connections=2, bulk_requests=2),
        Limits(max_bulk=1),
        Limits(max_bulk=2, checks_per_id=2),
        Limits(singles_per_minute=3, connections=3),
    ]
)


@attrs.define
class World:
    """A dispatcher, its pacer, and a plain list of who is where."""

    limits: Limits
    pacer: Pacer
    dispatcher: Dispatcher
    now: float = NOW
    all: list[PendingCheck] = attrs.field(factory=list)
    paused: dict[PendingCheck, float] = attrs.field(factory=dict)
    here: list[PendingCheck] = attrs.field(factory=list)
    open: list[Request] = attrs.field(factory=list)
    went: Counter[PendingCheck] = attrs.field(factory=Counter)
    returned: Counter[PendingCheck] = attrs.field(factory=Counter)

    def do(self, step: Step) -> None:
        match step:
            case Add(key, rank, pause):
                self.all.append(check_of(key, str(len(self.all)), rank=rank))
                self.put_in(self.all[-1], pause)
            case Change(which, rank) if self.all:
                self.change(self.all[which % len(self.all)], rank)
            case End() if self.open:
                self.end(self.open.pop(step.which % len(self.open)), step)
            case Rival(key) if self.pacer.free_slots(now=self.now) > 0:
                if self.pacer.tokens(key, now=self.now) > 0 and self.pacer.singles_due_at(now=self.now) <= self.now:
                    used(self.pacer, key, at=self.now)

    def put_in(self, one: PendingCheck, pause: float) -> None:
        self.dispatcher.add(one, due_at=self.now + pause if pause else -math.inf)
        if pause:
            self.paused[one] = self.now + pause
        else:
            self.here.append(one)

    def change(self, one: PendingCheck, rank: float | None) -> None:
        if rank is not None:
            self.dispatcher.promote(one, rank)
            return
        self.dispatcher.withdraw(one)
        self.paused.pop(one, None)
        if one in self.here:
            self.here.remove(one)

    def end(self, request: Request, step: End) -> None:
        self.pacer.finished(request.keys, bulk=request.bulk, how=step.how, now=self.now)
        if step.is_refused and len(request.checks) > 1:
            self.dispatcher.bisection.batch_refused(request.checks)
        for one in request.checks:
            if step.retry is not None and one.state is CheckState.IN_FLIGHT:
                self.returned[one] += 1
                self.put_in(one, step.retry)
            else:
                self.dispatcher.withdraw(one)
        if request.bulk and not step.is_refused:
            self.dispatcher.bisection.batch_succeeded(len(request.checks))

    def could_go(self, now: float) -> list[PendingCheck]:
        """Whom the limits and the rules of the two lanes let go at this instant, if nothing happens until then."""
        pacer = self.pacer
        may_single = pacer.singles_due_at(now=now) <= now
        may_bulk = pacer.bulk_due_at(now=now) <= now
        if pacer.free_slots(now=now) <= 0:
            return []
        here = [*self.here, *(one for one, at in self.paused.items() if at <= now)]
        of_id = Counter(one.identity[0] for one in here)
        tokens = {key: pacer.tokens(key, now=now) for key in of_id}
        return [
            one
            for one in here
            if (may_bulk and tokens[one.identity[0]] > 0)
            or (may_single and tokens[one.identity[0]] > (of_id[one.identity[0]] > tokens[one.identity[0]]))
        ]

    def take_all(self) -> None:
        """Everything that goes at this instant, each request looked at."""
        for one, at in list(self.paused.items()):
            if at <= self.now:
                del self.paused[one]
                self.here.append(one)
        while True:
            candidates = self.could_go(self.now)
            request = self.dispatcher.take(self.pacer, now=self.now)
            if request is None:
                assert not candidates, "one could have gone"
                return
            self.check(request, candidates)
            self.pacer.started(request.keys, bulk=request.bulk, now=self.now)
            self.open.append(request)
            for one in request.checks:
                self.here.remove(one)
                self.went[one] += 1

    def check(self, request: Request, candidates: list[PendingCheck]) -> None:
        assert len(set(request.checks)) == len(request.checks)
        assert set(request.checks) <= set(candidates)
        assert set(request.keys) == {one.identity[0] for one in request.checks}
        assert len(set(request.keys)) == len(request.keys)
        assert len(request.checks) <= (self.dispatcher.bisection.limit if request.bulk else 1)
        innocent = [one for one in candidates if not self.dispatcher.bisection.is_suspect(one)]
        if innocent == candidates:
            age = [(one.rank, one.order) for one in request.checks]
            oldest = sorted((one.rank, one.order) for one in (candidates if request.bulk else self.singly(candidates)))
            assert age == oldest[: len(age)]

    def singly(self, candidates: list[PendingCheck]) -> list[PendingCheck]:
        of_id = Counter(one.identity[0] for one in self.here)
        tokens = {key: self.pacer.tokens(key, now=self.now) for key in of_id}
        return [
            one for one in candidates if tokens[one.identity[0]] > (of_id[one.identity[0]] > tokens[one.identity[0]])
        ]


def live(limits: Limits, history: Sequence[tuple[float, Step]]) -> World:
    world = World(limits, Pacer(limits), Dispatcher(limits.max_bulk))
    for pause, step in history:
        if pause:
            world.now += pause
            world.take_all()
        world.do(step)
        assert world.dispatcher.waiting == len(world.here) + len(world.paused)
    world.take_all()
    return world


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=300, deadline=None)
def test_the_oldest_message_that_may_go_goes(limits: Limits, history: list[tuple[float, Step]]) -> None:
    """Whenever nothing is given out, neither the limits nor the rules of the lanes let anything go."""
    live(limits, history)


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_nothing_is_lost_and_nothing_goes_twice(limits: Limits, history: list[tuple[float, Step]]) -> None:
    """Each comes out once for each time that it was put in, unless it was withdrawn; at the end nothing is left."""
    world = live(limits, history)
    for _ in range(400):
        while world.open:
            world.end(world.open.pop(), End(0, REPLIED, None))
        if not world.dispatcher.waiting:
            break
        world.now += 61.0
        world.take_all()
    assert not world.here
    assert not world.paused
    assert world.dispatcher.waiting == 0
    assert all(one.state is CheckState.DONE for one in world.all)
    for one in world.all:
        assert world.went[one] <= 1 + world.returned[one]


@pytest.mark.slow
@given(some_limits, histories)
@settings(max_examples=200, deadline=None)
def test_the_end_of_all_waiting_gives_back_every_message_that_waits(
    limits: Limits, history: list[tuple[float, Step]]
) -> None:
    """They are the ones that a plain list has."""
    world = live(limits, history)
    taken_out = sorted(drained(world.dispatcher), key=lambda one: one.order)
    assert taken_out == sorted([*world.here, *world.paused], key=lambda one: one.order)
    assert drained(world.dispatcher) == []


@pytest.mark.slow
@given(some_limits, histories)
@example(  # the last token is kept for the bulk lane, but another one is back before that
    limits=Limits(),
    history=[
        *[(0.0, Add(1, 0.0, 0.0))] * 3,
        (0.0, Rival(1)),
        (0.0, Add(1, 0.0, 0.0)),
        (0.0, Rival(1)),
        (0.5, End(0, RequestEnd.REPLIED, 0.0, False)),
    ],
)
@settings(max_examples=300, deadline=None)
def test_due_at_is_never_later_than_the_next_possible_start(limits: Limits, history: list[tuple[float, Step]]) -> None:
    """If nothing happens, nothing could go before `due_at`; and `due_at` itself is later than now."""
    world = live(limits, history)
    pacer, dispatcher, now = world.pacer, world.dispatcher, world.now
    due_at = dispatcher.due_at(pacer, now=now)
    assert due_at > now
    starts = {one: dispatcher.start_at(one, pacer, now=now) for one in [*world.here, *world.paused]}
    assert all(start >= dispatcher.soonest_at(pacer, now=now) for start in starts.values())
    instants = [now + half / 2 for half in range(2 * 80)]
    for at in instants:
        ready = world.could_go(at)
        assert not (ready and at < due_at)
        assert all(starts[one] <= at for one in ready)
        if ready:
            break
