"""Decides which tracked messages are asked next, whether an answer is a change, and whether tracking has ended.

A change is found half an interval late on average. Messages share a limited number of checks a second, and the sum of
their delays is least if each is asked at a rate in proportion to `sqrt(h)`, where `h` is its hazard: how likely it is
to change now. `HazardModel` learns the hazard by age. A message's effort is the integral of `sqrt(h)` over its age. The
message is due again when its effort has grown by the sum of `sqrt(h)` over all messages, divided by the checks a
second. So more messages or a slower server stretch all intervals alike, and young messages stay ahead.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from itertools import chain
from math import ceil, inf

from smsc_status._core.stale import has_outgrown
from smsc_status._core.tracking.archive import (
    DAY,
    MINUTE,
    SETTLED_BEFORE_SWEEP,
    Deadlines,
    archive_deadline,
    next_deadline,
)
from smsc_status._core.tracking.calendar_queue import CalendarQueue
from smsc_status._core.tracking.dates import Dates
from smsc_status._core.tracking.hazard import HazardModel
from smsc_status._core.tracking.tracked import Policy, Tracked
from smsc_status.codes import Status
from smsc_status.errors import Archived, TrackingEnded, TrackingTimeout
from smsc_status.models import Key, MessageRef, StatusRecord

LAST_CHANCE = 3.0
"""A message is asked for the last time about this many seconds before its deadline."""

LAG = 1.0
"""A token comes back a cycle after the reply, and the reply comes about this many seconds after the check began."""

MANY_WITHOUT_TOKEN = 64
"""When more ids than this have no token, those whose cycle has passed are forgotten."""

RETRY_AFTER = 5.0
"""A message whose check got no answer is asked again after this many seconds, or after `least_interval` if longer."""

FURTHEST_AHEAD = 31 * DAY
LONGEST_AGO = 3650 * DAY
"""A time of sending further in the future, or longer ago, counts as a mistake. It is treated as not known."""

NOT_FOUND, STOPPED = int(Status.NOT_FOUND), int(Status.STOPPED)


class PollScheduler:
    """The tracked messages, and the order in which they are asked.

    `now` is an instant of one monotonic clock. `dates` turns it into a date, and the caller keeps `dates` up to date.
    A message waits here from `add` or `put_back` until it is taken.

    Messages near their deadline have priority over everything else that a client checks: those whose last call has
    come, and those that are asked again between the last call and the deadline. All others are asked in the order of
    the instants at which they are due.

    Args:
        policy: how checks are spent.
        max_bulk: how many messages a bulk request takes.
        cycle: seconds from one bulk request to the next.
        slots: how many connections there are; `policy.eagerness` says how many of them single checks may occupy.
        checks: how often an id may be named in a cycle.
    """

    def __init__(self, policy: Policy, *, max_bulk: int, cycle: float, slots: int, checks: int) -> None:
        self.policy = policy
        self.hazard: HazardModel = HazardModel()
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
        # Messages that are due sooner because of their deadline. Once due they move to `_urgent_due`: they go before
        # others that are due, in the order of their deadlines (dates, in seconds since 1970).
        self._urgent: CalendarQueue[Tracked] = CalendarQueue(1.0)
        self._urgent_due: CalendarQueue[Tracked] = CalendarQueue(60.0)
        self._urgent_due_since = inf
        self._urgent_is_near = False
        # Messages near their deadline, by that deadline, whose ids have no token for single checks.
        self._bulk_only_near: CalendarQueue[Tracked] = CalendarQueue(60.0)
        # Messages that wait for a bulk request, because a single check of their id found no token.
        self._bulk_only: CalendarQueue[Tracked] = CalendarQueue(1.0)
        self._queues = (self._young, self._urgent, self._old, self._bulk_only)
        # Messages whose last call has come, by their deadline (a date).
        self._last_call: CalendarQueue[Tracked] = CalendarQueue(60.0)
        # Until when messages of an id go in bulk, because a single check found no token.
        self._without_token: dict[Key, float] = {}
        self._deadlines: Deadlines[Tracked] = Deadlines()
        # How many messages had their last answer in each second, by `Tracked.second`.
        self._answered_in: dict[int, int] = {}
        self._shared_answers: dict[tuple[int, int | None], tuple[int, int | None]] = {}
        self._waiting = 0
        # The sums of the waiting messages' rates: of the young ones, and of all.
        self._young_rates = 0.0
        self._rates = 0.0

    def __len__(self) -> int:
        return self._waiting

    @property
    def entries(self) -> int:
        """How many entries its queues hold, those that have no meaning any more included."""
        waiting = (*self._queues, self._last_call, self._urgent_due, self._bulk_only_near)
        return sum(queue.entries for queue in waiting)

    def __iter__(self) -> Iterator[Tracked]:
        return chain(self._last_call, self._urgent_due, self._bulk_only_near, *self._queues)

    @property
    def expire_after(self) -> float:
        """For how long a message is followed, in seconds after it was sent."""
        return self.policy.expire_after

    # Which date it is.

    def read_local_date(self, date: float, *, now: float) -> None:
        """The local clock shows this date, in seconds since 1970."""
        self.dates.read_local(date, now=now)

    def read_server_date(self, date: float, *, now: float) -> None:
        """A reply has just come with this date, in seconds since 1970."""
        self.dates.read_server(date, now=now)

    @property
    def is_clock_overruled(self) -> bool:
        """Whether the replies' date counts, because the local clock differs from it."""
        return self.dates.is_overruled

    # Taking messages and answers in.

    def add(self, ref: MessageRef, *, now: float) -> Tracked:
        """Track one more message. It is due at once, unless it was only just sent or will be sent later."""
        date = now + self.dates.offset
        sent_at = _seconds_of(ref.sent_at) if ref.sent_at is not None else inf
        is_known = _is_plausible(sent_at, date)
        sent_at = sent_at if is_known else date
        item = Tracked(ref, sent_at, is_known=is_known, answered_at=min(now, now + sent_at - date))
        item.last = ref.seen
        self._count_answered(item.second, 1)
        self._schedule(item, now=now, first=True)
        self._deadlines.watch(item)
        return item

    def _learn_sent_at(self, item: Tracked, record: StatusRecord, now: float) -> None:
        """Replace the time of sending by the one in a reply, if that is plausible."""
        sent_at = record.sent_at
        if sent_at is None or not _is_plausible(sent_at.timestamp(), now + self.dates.offset):
            return
        if not item.is_dated or sent_at.timestamp() != item.sent_at:
            item.sent_at, item.added_at = sent_at.timestamp(), None
            self._deadlines.watch(item)

    def polled(self, item: Tracked, record: StatusRecord, *, done: bool, now: float) -> bool:
        """Take in a record. Returns whether its status or error differs from what was last seen, if anything was."""
        before = item.second
        if record.send_timestamp is not None or record.send_date is not None:
            self._learn_sent_at(item, record, now)
        # The message was followed from the age `low` to the age `high`. The difference is measured by the monotonic
        # clock, because the date may have been corrected in between.
        high = max(0.0, now + self.dates.offset - item.sent_at)
        low = 0.0 if item.last is None else max(0.0, high - max(0.0, now - item.answered_at))
        if done:
            changed_at = record.changed_at
            high = min(high, max(low, changed_at.timestamp() - item.sent_at)) if changed_at is not None else high
            self.hazard.ended(high)
        self.hazard.survived(low, high)
        item.answered_at = now
        if int(now) != before:
            self._count_answered(before, -1)
            self._count_answered(int(now), 1)
        last = item.last
        if last is not None and last[0] == record.status and last[1] == record.err:
            return False
        seen = record.status, record.err
        item.last = self._shared_answers.setdefault(seen, seen)  # a million messages share a few different answers
        return True

    def put_back(self, item: Tracked, *, now: float) -> None:
        """Schedule the next check of a message that was answered and is not done."""
        self._schedule(item, now=now, first=False)

    def put_back_unanswered(self, item: Tracked, *, now: float) -> None:
        """Schedule another check, since the last one got no answer. If that was the last call, it is called again."""
        age = now + self.dates.offset - item.sent_at
        at = now + max(RETRY_AFTER, self.policy.least_interval)
        if item.checks_in_cycle >= self._checks:
            at = max(at, self._tokens_back_at(item))
        deadline = self._deadline_of(item, now)
        if self._nears(deadline, now):
            self._enter(item, self._urgent, at)
        else:
            self._enter(item, self._young if age + at - now <= self.policy.young else self._old, at)
            if deadline > now + self.dates.offset:  # the check without an answer may have been its last call
                self._deadlines.watch(item, after=now + self.dates.offset)

    def forget(self, item: Tracked) -> None:
        """Forget a message that is done. It must have been taken."""
        self._count_answered(item.second, -1)
        self._deadlines.forget(item)

    def ending(self, item: Tracked) -> TrackingEnded | None:
        """Why tracking gives the message up, by its last answer; `None` to follow it on."""
        if not self.dates.is_sure(now=item.answered_at):
            return None
        status = item.last[0] if item.last is not None else None
        date = item.answered_at + self.dates.offset
        if status == NOT_FOUND and date >= archive_deadline(item.sent_at):
            return Archived("the vendor's archive has it: no final status was read before")
        if date - item.sent_at >= self.policy.expire_after:
            return TrackingTimeout(f"followed for {self.policy.expire_after:g} s: status {status} is not final")
        return None

    def put_back_for_bulk(self, item: Tracked, *, now: float) -> None:
        """Put back a message for whose single check there was no token. For a cycle, messages of its id go in bulk."""
        if len(self._without_token) > MANY_WITHOUT_TOKEN:
            self._without_token = {key: until_at for key, until_at in self._without_token.items() if until_at > now}
        self._without_token[item.ref.identity[0]] = now + self._cycle
        item.checks_in_cycle -= 1
        if self._nears(self._deadline_of(item, now), now):
            self._enter(item, self._bulk_only_near, self._deadline_of(item, now))
            return
        item.queue = self._bulk_only
        self._schedule(item, now=now, first=True)

    def put_back_until_token(self, item: Tracked, at: float, *, now: float) -> None:
        """Put back a message that was taken for a bulk request, but whose id has no token before the instant `at`."""
        item.checks_in_cycle -= 1
        self._enter(item, self._urgent if self._nears(self._deadline_of(item, now), now) else self._old, at)

    def record_round_trip(self, seconds: float) -> None:
        """Take in how long a single check took."""
        self._round_trip += 0.1 * (max(seconds, 0.01) - self._round_trip)
        self._singles_a_second = self.slots / self._round_trip

    # Choosing the next messages.

    @property
    def has_priority(self) -> bool:
        """Whether messages are due that go before everything else, as of the last `call_last`."""
        return self._singles_have_priority or self._bulk_only_near.due_at() < inf

    @property
    def _singles_have_priority(self) -> bool:
        return self._last_call.due_at() < inf or (self._urgent_is_near and self._urgent_due.due_at() < inf)

    def due_at(self, *, singly: bool = False) -> float:
        """When the next message is due; `-inf` if one has priority, `inf` if there is none.

        With `singly`, only messages that a single check may take count.
        """
        if self._singles_have_priority or (not singly and self._bulk_only_near.due_at() < inf):
            return -inf
        due_at = min(self._young.due_at(), self.urgent_due_at(), self._old.due_at())
        return due_at if singly else min(due_at, self._bulk_only.due_at())

    def urgent_due_at(self) -> float:
        """When the next message is due because of its deadline; `-inf` if it has priority, `inf` if there is none."""
        if self._singles_have_priority:
            return -inf
        due_since = self._urgent_due_since if self._urgent_due.due_at() < inf else inf
        return min(self._urgent.due_at(), due_since)

    def take_single(self, *, now: float, near_deadline: bool = False) -> Tracked | None:
        """Take the next message for a single check, if one is due: a young one, one near its deadline, or another.

        With `near_deadline`, only a message near its deadline.
        """
        self._collect_urgent_due(now)
        by_deadline = (self._last_call, self._urgent_due)
        for queue in by_deadline if near_deadline else (self._young, *by_deadline, self._old):
            while (queue in by_deadline and queue.due_at() < inf) or queue.due_at() <= now:
                [item] = queue.take()
                has_no_token = bool(self._without_token) and self._without_token.get(item.ref.identity[0], now) > now
                has_aged = queue is self._young and now + self.dates.offset - item.sent_at > self.policy.young
                if not (has_no_token or has_aged):
                    return self._mark_taken(item, now)
                self._leave(item)
                if has_no_token and queue in by_deadline:
                    self._enter(item, self._bulk_only_near, self._deadline_of(item, now))
                else:
                    self._enter(item, self._bulk_only if has_no_token else self._old, now)
        return None

    def take(self, at_most: int, *, until: float = inf, now: float) -> list[Tracked]:
        """Take the next messages for a bulk request, of those that are due at the instant `until` or before.

        Those with priority come first, then those that their deadline makes due, then the others in the order in which
        they are due. With `until=-inf`, only those with priority over everything else. By default also those that are
        not due yet: they fill up a request that is sent anyway.
        """
        self._collect_urgent_due(now)
        taken: list[Tracked] = []
        without_token: list[Tracked] = []
        while len(taken) < at_most:
            queue = self._next_queue(until)
            if queue is None:
                break
            for item in queue.take(at_most - len(taken)):
                if item.checks_in_cycle < self._checks or self._tokens_back_at(item) <= now:
                    taken.append(self._mark_taken(item, now))
                else:
                    without_token.append(item)
        for item in without_token:  # they would only take up room in the batch
            self._leave(item)
            self._enter(item, self._old, self._tokens_back_at(item))
        return taken

    def call_last(self, *, now: float, shared_by: int = 1) -> None:
        """Find the messages whose last call has come. Call this before selecting bulk requests, and once a minute.

        `shared_by` is how many schedulers share the bulk requests.
        """
        each = self._cycle / self._max_bulk * shared_by
        guard = self.policy.guard + self._cycle * shared_by
        # A million messages may share one deadline, so only as many are called as can be asked until the next look.
        singly = int(MINUTE * self._connections / self._round_trip)
        at_most = max(0, 2 * self._max_bulk + singly - self.last_calls)
        called = self._deadlines.take(
            now + self.dates.offset, seconds_each=each, guard=guard, at_most=at_most, queued=self.last_calls
        )
        for item, deadline_minute in called:
            if item.due_bucket is not None:  # otherwise it is being asked at this moment
                self._last_call.add(item, deadline_minute)
            if deadline_minute + MINUTE < item.sent_at + DAY:
                self._deadlines.watch(item, after=deadline_minute + MINUTE)
        self._collect_urgent_due(now)
        for queue in (*self._queues, self._urgent_due, self._bulk_only_near):
            if has_outgrown(queue.entries, self._waiting):
                queue.forget_gone()

    def due(self, *, now: float) -> tuple[int, int]:
        """How many messages are due, and how many of them have been due for longer than a cycle."""
        overdue = sum(queue.due(now - self._cycle) for queue in self._queues)
        near = self._urgent_due.due(inf) + self._bulk_only_near.due(inf)
        return self.last_calls + near + sum(queue.due(now) for queue in self._queues), overdue

    def stalest(self, *, now: float) -> float:
        """The greatest age of a message's last answer, in seconds, accurate to a second.

        A message without an answer counts from when it was sent, or added if that is not known.
        """
        return max(0.0, now - min(self._answered_in, default=inf))

    @property
    def last_calls(self) -> int:
        """How many messages wait whose last call has come."""
        return self._last_call.due(inf)

    # Keeping the queues.

    def _schedule(self, item: Tracked, *, now: float, first: bool) -> None:
        policy = self.policy
        ahead = max(0.0, item.sent_at - now - self.dates.offset)
        age = max(0.0, now + self.dates.offset - item.sent_at)
        capacity = self._singles_a_second + self._bulk_a_second
        effort = self._rates / capacity
        if age <= policy.young and self.slots:
            effort = min(effort, self._young_rates / self._singles_a_second)
        item.rate, wait = self.hazard.outlook(age, effort)
        if first and age >= policy.least_interval:
            wait = 0.0
        else:
            longest = min(policy.longest_interval, policy.longest_turn * self._waiting / capacity)
            wait = max(min(wait, longest), policy.least_interval, policy.least_share * age)
            if item.last is not None and item.last[0] == STOPPED:
                wait = max(wait, policy.stopped)
            wait = max(wait, min(ahead, policy.ahead))
        queue = None
        if age + 2 * wait > SETTLED_BEFORE_SWEEP:  # check more and more often towards the deadline
            left = next_deadline(item.sent_at, item.sent_at + age) - LAST_CHANCE - item.sent_at - age
            if 0 < left < 2 * wait:
                wait = min(wait, max(policy.least_interval, left / 2))
                queue = self._urgent
        if item.checks_in_cycle >= self._checks:
            wait = max(wait, self._tokens_back_at(item) - now)
        queue = queue or (self._young if age + wait <= policy.young else self._old)
        self._enter(item, self._bulk_only if item.queue is self._bulk_only else queue, now + wait)

    def _deadline_of(self, item: Tracked, now: float) -> float:
        """Its next archive deadline, in seconds since 1970."""
        return next_deadline(item.sent_at, now + self.dates.offset)

    def _nears(self, deadline: float, now: float) -> bool:
        """Whether the deadline, a date, lies ahead and is so near that the message must go before all others."""
        left = deadline - now - self.dates.offset
        return 0 < left <= self.policy.guard + 2 * self._cycle

    def _collect_urgent_due(self, now: float) -> None:
        """Move the urgent messages that have become due to `_urgent_due`, which is in the order of deadlines."""
        if self._urgent_due.due_at() == inf:
            self._urgent_due_since = inf
        while (due_at := self._urgent.due_at()) <= now:
            self._urgent_due_since = min(self._urgent_due_since, due_at)
            for item in self._urgent.take(self._max_bulk):
                self._urgent_due.add(item, self._deadline_of(item, now))
                item.queue = self._urgent_due
        self._urgent_is_near = self._nears(self._urgent_due.due_at(), now)

    def _next_queue(self, until: float) -> CalendarQueue[Tracked] | None:
        if self._last_call.due_at() < inf:
            return self._last_call
        if self._bulk_only_near.due_at() < inf and not (self._urgent_is_near and self._urgent_due.due_at() < inf):
            return self._bulk_only_near
        due_at = self.due_at()
        if due_at > until or due_at == inf:
            return None
        return self._urgent_due if self._urgent_due.due_at() < inf else min(self._queues, key=CalendarQueue.due_at)

    def _tokens_back_at(self, item: Tracked) -> float:
        return item.cycle_began_at + self._cycle + LAG

    def _enter(self, item: Tracked, queue: CalendarQueue[Tracked], at: float) -> None:
        queue.add(item, at)
        item.queue = queue
        self._waiting += 1
        self._rates += item.rate
        if queue is self._young:
            self._young_rates += item.rate

    def _leave(self, item: Tracked) -> None:
        self._waiting -= 1
        self._rates = max(0.0, self._rates - item.rate)
        if item.queue is self._young:
            self._young_rates = max(0.0, self._young_rates - item.rate)
        item.queue = None

    def _mark_taken(self, item: Tracked, now: float) -> Tracked:
        self._leave(item)
        if now >= item.cycle_began_at + self._cycle:
            item.cycle_began_at, item.checks_in_cycle = now, 0
        item.checks_in_cycle += 1
        return item

    def _count_answered(self, second: int, count: int) -> None:
        seconds = self._answered_in
        asked = seconds.get(second, 0) + count
        if asked:
            seconds[second] = asked
        else:
            del seconds[second]


@lru_cache(maxsize=4096)
def _seconds_of(date: datetime) -> float:
    """The date in seconds since 1970. Messages that were sent at the same instant share the number: it saves memory."""
    return date.timestamp()


def _is_plausible(sent_at: float, date: float) -> bool:
    return date - LONGEST_AGO < sent_at < date + FURTHEST_AHEAD
