"""Which tracked messages are asked next, what is a change, who is done, whose archive deadline is near?

A change that comes with the hazard `h` is found `interval / 2` late on average, so that among messages that share a
capacity the delays add up to the least if each is asked at a rate in proportion to `sqrt(h)`. That is the plan: the
`HazardModel` learn the hazard by age, and their `effort` is the integral of its root over a life. Each message is due again
when its effort has grown by as much as the capacity affords: the sum of the roots over all messages, divided by the
checks a second. More messages or a slower server stretch all intervals alike; young messages keep their lead.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from math import ceil, inf

import attrs

from smsc_status._core.stale import has_outgrown
from smsc_status._core.tracking.archive import (
    DAY,
    MINUTE,
    SETTLED_BEFORE_SWEEP,
    Deadlines,
    archive_deadline,
    next_deadline,
)
from smsc_status._core.tracking.bucket import Bucket
from smsc_status._core.tracking.calendar_queue import CalendarQueue
from smsc_status._core.tracking.dates import Dates
from smsc_status._core.tracking.hazard import HazardModel
from smsc_status.codes import Status
from smsc_status.errors import Archived, TrackingEnded, TrackingTimeout
from smsc_status.models import Key, MessageRef, StatusRecord

LAST_CHANCE = 3.0
"""So long before its deadline a message is asked for the last time, in seconds."""

LAG = 1.0
"""An id's tokens come back by the time of the replies, which are about so many seconds later than the checks."""

MANY_BUSY = 64
"""Of more ids without a token than this, those whose period has passed are forgotten."""

RETRY_AFTER = 5.0
"""A message whose check got no answer is asked again after this many seconds, or at the least interval if longer."""

FURTHEST_AHEAD = 31 * DAY
LONGEST_AGO = 3650 * DAY
"""A time of sending further in the future, or longer ago, is taken for a mistake, and for not known."""

NOT_FOUND, STOPPED = int(Status.NOT_FOUND), int(Status.STOPPED)


@attrs.frozen(kw_only=True)
class Policy:
    """How tracking spends its checks. Seconds everywhere. `benchmarks/day.py` shows what other values would do.

    `eagerness`, 0 to 1, is the share of the connections that single checks of tracked messages may take up beside the
    bulk requests. By default half of them stay free for the account's other work.
    """

    eagerness: float = 0.5
    expire_after: float = 2 * DAY
    least_interval: float = 3.6
    """No message is asked more often. The five checks a minute that an id has reach over the age of 2 to 20 s so, in
    which most messages are delivered."""
    least_share: float = 0.005
    """Nor more often than at every such share of its age: an old message's minute matters less."""
    longest_interval: float = 3600.0
    """None is due later than that, however many there are."""
    longest_turn: float = 2.0
    """Nor later than in so many times the seconds that asking everyone in turn would take."""
    young: float = 120.0
    """Up to this age a message goes before all older ones in single checks, and only its like stretch its intervals."""
    stopped: float = 600.0
    """How often one that was stopped (-2) is asked at least."""
    guard: float = 90.0
    """The last call before a deadline begins so much earlier than its bulk requests take."""
    ahead: float = 60.0
    """How often a message that will only be sent is asked at most: one whose time of sending lies in the future."""


class Tracked:
    """One message that is followed. `sent_at` and `told_at` are dates, all other instants are monotonic."""

    __slots__ = (
        "answered_at",
        "burst",
        "burst_at",
        "last",
        "minute",
        "queue",
        "rate",
        "ref",
        "sent_at",
        "told_at",
        "turn",
    )  # fmt: skip

    def __init__(self, ref: MessageRef, sent_at: float, *, is_known: bool, answered_at: float) -> None:
        self.ref: MessageRef = ref
        self.sent_at: float = sent_at
        self.told_at: float | None = None if is_known else sent_at
        """When it was given to us, while the time of sending is not known."""
        self.answered_at: float = answered_at
        """When its last answer came in; before the first, when it was sent, or given to us."""
        self.turn: Bucket[Tracked] | None = None
        """When it is due; `None` while it is being asked."""
        self.minute: Bucket[Tracked] | None = None
        self.queue: CalendarQueue[Tracked] | None = None
        self.rate: float = 0.0
        self.last: tuple[int, int | None] | None = None
        self.burst_at: float = -inf
        self.burst: int = 0
        """So many checks began within a period from `burst_at` on."""

    @property
    def is_dated(self) -> bool:
        """Whether the time of sending is known."""
        return self.told_at is None

    @property
    def second(self) -> int:
        """The monotonic second of `answered_at`."""
        return int(self.answered_at)


class PollScheduler:
    """The messages that are followed, and the order in which they are asked.

    `now` is on one monotonic clock; `dates` slots it, and is kept by whoever can look at a clock. A message waits in
    the plan from `add` or `put_back` until it is taken.

    Messages near their deadline have priority over everything else that a client checks: those whose last call has
    come, and those that were called and are asked again before the deadline. All others are due at an instant, and it
    is their rank among all that wait.

    Args:
        policy: how checks are spent.
        max_bulk: how many a bulk request takes.
        cycle: seconds from one bulk request to the next.
        slots: how many single checks may be open at once.
        checks: how often an id may be named in a cycle.
    """

    def __init__(self, policy: Policy, *, max_bulk: int, cycle: float, slots: int, checks: int) -> None:
        self.policy = policy
        self.ages: HazardModel = HazardModel()
        self.dates: Dates = Dates()
        self.slots: int = ceil(slots * policy.eagerness)
        self._connections = slots
        self._max_bulk = max_bulk
        self._cycle = cycle
        self._checks = checks
        self._round_trip = 0.3
        self._singles_a_second = self.slots / self._round_trip
        self._bulk_a_second = max_bulk / cycle
        self._young: CalendarQueue[Tracked] = CalendarQueue(0.1)
        self._old: CalendarQueue[Tracked] = CalendarQueue(1.0)
        # Those that a deadline makes due sooner than they would be. Once due they are pressing: they go before others
        # that are due, in the order of their deadlines (since 1970).
        self._urgent: CalendarQueue[Tracked] = CalendarQueue(1.0)
        self._pressing: CalendarQueue[Tracked] = CalendarQueue(60.0)
        self._pressing_at = inf
        self._is_near = False
        # Those near their deadline that wait for a bulk request, because single checks of their id found no token.
        self._held_near: CalendarQueue[Tracked] = CalendarQueue(60.0)
        # Those that wait for a bulk request, because single checks of their id found no token.
        self._patient: CalendarQueue[Tracked] = CalendarQueue(1.0)
        self._queues = (self._young, self._urgent, self._old, self._patient)
        # Those that must be asked at once because of their deadline, by that deadline (since 1970).
        self._last_call: CalendarQueue[Tracked] = CalendarQueue(60.0)
        self._busy: dict[Key, float] = {}
        self._deadlines: Deadlines[Tracked] = Deadlines()
        # How many were asked last in each second.
        self._seconds: dict[int, int] = {}
        self._answers: dict[tuple[int, int | None], tuple[int, int | None]] = {}
        self._count = 0
        # The rates of those that wait: of the young ones, and of all.
        self._young_rates = 0.0
        self._rates = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tracked]:
        return chain(self._last_call, self._pressing, self._held_near, *self._queues)

    @property
    def expire_after(self) -> float:
        """For how long a message is followed, in seconds after it was sent."""
        return self.policy.expire_after

    # Which date it is.

    def read_clock(self, date: float, *, now: float) -> None:
        """The local clock shows this date, in seconds since 1970."""
        self.dates.read(date, now=now)

    def told_date(self, date: float, *, now: float) -> None:
        """A reply has just said that it is this date."""
        self.dates.told(date, now=now)

    @property
    def is_clock_overruled(self) -> bool:
        """Whether the replies' date counts, because the local clock differs from it."""
        return self.dates.is_overruled

    # What happens to messages.

    def add(self, ref: MessageRef, *, now: float) -> Tracked:
        """Follow one more; a message that was not just sent is due at once."""
        date = now + self.dates.offset
        sent_at = ref.sent_at.timestamp() if ref.sent_at is not None else inf
        is_known = _is_plausible(sent_at, date)
        sent_at = sent_at if is_known else date
        item = Tracked(ref, sent_at, is_known=is_known, answered_at=min(now, now + sent_at - date))
        self._note(item.second, 1)
        self._schedule(item, now=now, first=True)
        self._deadlines.watch(item)
        return item

    def _learn_sent_at(self, item: Tracked, record: StatusRecord, now: float) -> None:
        """A reply's own time of sending overrules what was believed."""
        sent_at = record.sent_at
        if sent_at is None or not _is_plausible(sent_at.timestamp(), now + self.dates.offset):
            return
        if not item.is_dated or sent_at.timestamp() != item.sent_at:
            item.sent_at, item.told_at = sent_at.timestamp(), None
            self._deadlines.watch(item)

    def polled(self, item: Tracked, record: StatusRecord, *, done: bool, now: float) -> bool:
        """A record came in; whether it is the first, or a change of status or error."""
        before = item.second
        if record.send_timestamp is not None or record.send_date is not None:
            self._learn_sent_at(item, record, now)
        # Followed from `low` to `high`, in seconds of its age. Time that passes is monotonic, whatever clocks say.
        high = max(0.0, now + self.dates.offset - item.sent_at)
        low = 0.0 if item.last is None else max(0.0, high - max(0.0, now - item.answered_at))
        if done:
            changed_at = record.changed_at
            high = min(high, max(low, changed_at.timestamp() - item.sent_at)) if changed_at is not None else high
            self.ages.ended(high)
        self.ages.survived(low, high)
        item.answered_at = now
        if int(now) != before:
            self._note(before, -1)
            self._note(int(now), 1)
        last = item.last
        if last is not None and last[0] == record.status and last[1] == record.err:
            return False
        seen = record.status, record.err
        item.last = self._answers.setdefault(seen, seen)  # a million messages give a few different answers
        return True

    def put_back(self, item: Tracked, *, now: float) -> None:
        """It is not done: it will be asked again."""
        self._schedule(item, now=now, first=False)

    def put_back_failed(self, item: Tracked, *, now: float) -> None:
        """Its check got no answer: it is owed one, a last call too."""
        age = now + self.dates.offset - item.sent_at
        at = now + max(RETRY_AFTER, self.policy.least_interval)
        if item.burst >= self._checks:
            at = max(at, self._tokens_back_at(item))
        deadline = self._deadline_of(item, now)
        if self._nears(deadline, now):
            self._enter(item, self._urgent, at)
        else:
            self._enter(item, self._young if age + at - now <= self.policy.young else self._old, at)
            if deadline > now + self.dates.offset:  # its last call may have been this one
                self._deadlines.watch(item, after=now + self.dates.offset)

    def forget(self, item: Tracked) -> None:
        """It is done, and was taken before."""
        self._note(item.second, -1)
        self._deadlines.forget(item)

    def ending(self, item: Tracked) -> TrackingEnded | None:
        """Why it will not become final for us, by its last answer; `None` while it may."""
        if not self.dates.is_sure(now=item.answered_at):
            return None
        status = item.last[0] if item.last is not None else None
        date = item.answered_at + self.dates.offset
        if status == NOT_FOUND and date >= archive_deadline(item.sent_at):
            return Archived("the vendor's archive has it: no final status was read before")
        if date - item.sent_at >= self.policy.expire_after:
            return TrackingTimeout(f"followed for {self.policy.expire_after:g} s: status {status} is not final")
        return None

    def held_up(self, item: Tracked, *, now: float) -> None:
        """A single check of it found no token: until a period has passed, messages of its id go in bulk."""
        if len(self._busy) > MANY_BUSY:
            self._busy = {key: until_at for key, until_at in self._busy.items() if until_at > now}
        self._busy[item.ref.identity[0]] = now + self._cycle
        item.burst -= 1
        if self._nears(self._deadline_of(item, now), now):
            self._enter(item, self._held_near, self._deadline_of(item, now))
            return
        item.queue = self._patient
        self._schedule(item, now=now, first=True)

    def wait_for_token(self, item: Tracked, at: float, *, now: float) -> None:
        """There was room for it, but its id has no token before the instant `at`."""
        item.burst -= 1
        self._enter(item, self._urgent if self._nears(self._deadline_of(item, now), now) else self._old, at)

    def record_round_trip(self, seconds: float) -> None:
        """A single check took so long."""
        self._round_trip += 0.1 * (max(seconds, 0.01) - self._round_trip)
        self._singles_a_second = self.slots / self._round_trip

    # Who is next.

    @property
    def has_priority(self) -> bool:
        """Whether some are due that go before everything else, as far as `call_last` has found."""
        return self._singles_have_priority or self._held_near.due_at() < inf

    @property
    def _singles_have_priority(self) -> bool:
        return self._last_call.due_at() < inf or (self._is_near and self._pressing.due_at() < inf)

    def due_at(self, *, singly: bool = False) -> float:
        """When the next one is due, `singly`: for a single check; `-inf` for last calls, `inf` if there is none."""
        if self._singles_have_priority or (not singly and self._held_near.due_at() < inf):
            return -inf
        due_at = min(self._young.due_at(), self.pressing_at(), self._old.due_at())
        return due_at if singly else min(due_at, self._patient.due_at())

    def pressing_at(self) -> float:
        """When the next one is due whose deadline makes it so; `-inf` for last calls, `inf` if there is none."""
        if self._singles_have_priority:
            return -inf
        pressing_at = self._pressing_at if self._pressing.due_at() < inf else inf
        return min(self._urgent.due_at(), pressing_at)

    def take_single(self, *, now: float, near_deadline: bool = False) -> Tracked | None:
        """The next for a single check, if one is due: the young, those near their deadline, then the others.

        With `near_deadline`, none but those.
        """
        self._press(now)
        by_deadline = (self._last_call, self._pressing)
        for queue in by_deadline if near_deadline else (self._young, *by_deadline, self._old):
            while (queue in by_deadline and queue.due_at() < inf) or queue.due_at() <= now:
                [item] = queue.take()
                is_busy = bool(self._busy) and self._busy.get(item.ref.identity[0], now) > now
                has_aged = queue is self._young and now + self.dates.offset - item.sent_at > self.policy.young
                if not (is_busy or has_aged):
                    return self._taken(item, now)
                self._leave(item)
                if is_busy and queue in by_deadline:
                    self._enter(item, self._held_near, self._deadline_of(item, now))
                else:
                    self._enter(item, self._patient if is_busy else self._old, now)
        return None

    def take(self, at_most: int, *, until: float = inf, now: float) -> list[Tracked]:
        """The next for a bulk request, of those that are due at the instant `until` or before.

        Those near their deadline come first, then the urgent that are due, then the others in the order in which they
        are due. With `until=-inf` only those that have priority over everything else; by default, also those that are
        due only later: they fill up a request that leaves anyway.
        """
        self._press(now)
        taken: list[Tracked] = []
        spent: list[Tracked] = []
        while len(taken) < at_most:
            queue = self._next_line(until)
            if queue is None:
                break
            for item in queue.take(at_most - len(taken)):
                if item.burst < self._checks or self._tokens_back_at(item) <= now:
                    taken.append(self._taken(item, now))
                else:
                    spent.append(item)
        for item in spent:  # they would only fill it up, and wait
            self._leave(item)
            self._enter(item, self._old, self._tokens_back_at(item))
        return taken

    def call_last(self, *, now: float, shared_by: int = 1) -> None:
        """Look whose last call has come; to be asked before bulk requests are selected, and once a minute.

        The bulk requests are shared by so many plans.
        """
        each = self._cycle / self._max_bulk * shared_by
        guard = self.policy.guard + self._cycle * shared_by
        # No more than that at once, for a million may have one deadline; but enough until the next look.
        singly = int(MINUTE * self._connections / self._round_trip)
        at_most = max(0, 2 * self._max_bulk + singly - self.last_calls)
        called = self._deadlines.take(
            now + self.dates.offset, seconds_each=each, guard=guard, at_most=at_most, queued=self.last_calls
        )
        for item, begins_at in called:
            if item.turn is not None:  # else it is being asked at this moment
                self._last_call.add(item, begins_at)
            if begins_at + MINUTE < item.sent_at + DAY:
                self._deadlines.watch(item, after=begins_at + MINUTE)
        self._press(now)
        for queue in (*self._queues, self._pressing, self._held_near):
            if has_outgrown(queue.entries, self._count):
                queue.forget_gone()

    def due(self, *, now: float) -> tuple[int, int]:
        """How many are due, and how many of them have been for longer than a bulk request's turn."""
        overdue = sum(queue.due(now - self._cycle) for queue in self._queues)
        pressing = self._pressing.due(inf) + self._held_near.due(inf)
        return self.last_calls + pressing + sum(queue.due(now) for queue in self._queues), overdue

    def stalest(self, *, now: float) -> float:
        """How long ago the oldest answer came in, or a message without one was sent or given to us; to the second."""
        return max(0.0, now - min(self._seconds, default=inf))

    @property
    def last_calls(self) -> int:
        """How many are called before all others now, because of their deadline."""
        return self._last_call.due(inf)

    # Inside.

    def _schedule(self, item: Tracked, *, now: float, first: bool) -> None:
        policy = self.policy
        ahead = max(0.0, item.sent_at - now - self.dates.offset)
        age = max(0.0, now + self.dates.offset - item.sent_at)
        capacity = self._singles_a_second + self._bulk_a_second
        effort = self._rates / capacity
        if age <= policy.young and self.slots:
            effort = min(effort, self._young_rates / self._singles_a_second)
        item.rate, wait = self.ages.outlook(age, effort)
        if first and age >= policy.least_interval:
            wait = 0.0
        else:
            longest = min(policy.longest_interval, policy.longest_turn * self._count / capacity)
            wait = max(min(wait, longest), policy.least_interval, policy.least_share * age)
            if item.last is not None and item.last[0] == STOPPED:
                wait = max(wait, policy.stopped)
            wait = max(wait, min(ahead, policy.ahead))
        queue = None
        if age + 2 * wait > SETTLED_BEFORE_SWEEP:  # towards the deadline ever more often
            left = next_deadline(item.sent_at, item.sent_at + age) - LAST_CHANCE - item.sent_at - age
            if 0 < left < 2 * wait:
                wait = min(wait, max(policy.least_interval, left / 2))
                queue = self._urgent
        if item.burst >= self._checks:
            wait = max(wait, self._tokens_back_at(item) - now)
        queue = queue or (self._young if age + wait <= policy.young else self._old)
        self._enter(item, self._patient if item.queue is self._patient else queue, now + wait)

    def _deadline_of(self, item: Tracked, now: float) -> float:
        """Its next archive deadline, in seconds since 1970."""
        return next_deadline(item.sent_at, now + self.dates.offset)

    def _nears(self, deadline: float, now: float) -> bool:
        """Whether the deadline, a date that lies ahead, is too near for a slot in the queue of all."""
        left = deadline - now - self.dates.offset
        return 0 < left <= self.policy.guard + 2 * self._cycle

    def _press(self, now: float) -> None:
        """Put those urgent ones that are due into the order of their deadlines."""
        if self._pressing.due_at() == inf:
            self._pressing_at = inf
        while (due_at := self._urgent.due_at()) <= now:
            self._pressing_at = min(self._pressing_at, due_at)
            for item in self._urgent.take(self._max_bulk):
                self._pressing.add(item, self._deadline_of(item, now))
                item.queue = self._pressing
        self._is_near = self._nears(self._pressing.due_at(), now)

    def _next_line(self, until: float) -> CalendarQueue[Tracked] | None:
        if self._last_call.due_at() < inf:
            return self._last_call
        if self._held_near.due_at() < inf and not (self._is_near and self._pressing.due_at() < inf):
            return self._held_near
        due_at = self.due_at()
        if due_at > until or due_at == inf:
            return None
        return self._pressing if self._pressing.due_at() < inf else min(self._queues, key=CalendarQueue.due_at)

    def _tokens_back_at(self, item: Tracked) -> float:
        return item.burst_at + self._cycle + LAG

    def _enter(self, item: Tracked, queue: CalendarQueue[Tracked], at: float) -> None:
        queue.add(item, at)
        item.queue = queue
        self._count += 1
        self._rates += item.rate
        if queue is self._young:
            self._young_rates += item.rate

    def _leave(self, item: Tracked) -> None:
        self._count -= 1
        self._rates = max(0.0, self._rates - item.rate)
        if item.queue is self._young:
            self._young_rates = max(0.0, self._young_rates - item.rate)
        item.queue = None

    def _taken(self, item: Tracked, now: float) -> Tracked:
        self._leave(item)
        if now >= item.burst_at + self._cycle:
            item.burst_at, item.burst = now, 0
        item.burst += 1
        return item

    def _note(self, second: int, count: int) -> None:
        seconds = self._seconds
        asked = seconds.get(second, 0) + count
        if asked:
            seconds[second] = asked
        else:
            del seconds[second]


def _is_plausible(sent_at: float, date: float) -> bool:
    return date - LONGEST_AGO < sent_at < date + FURTHEST_AHEAD
