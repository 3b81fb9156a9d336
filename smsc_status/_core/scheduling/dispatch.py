"""Which waiting messages go in the next request: in a single or a bulk request, and now or when?

Messages wait in groups, one for each id, because each id has its own tokens. Two heaps order the groups by the rank of
their oldest message. Groups in the heap `_ready` may use either a single or a bulk request. Groups in the heap
`_bulk_only` may use only a bulk request: more of their messages wait than they have tokens, and their last token is
kept for a bulk request, which answers many messages with it. A group without tokens is in neither heap. Groups that are
not in `_ready` have an alarm, at which they are put back into it. Before a group is used, the pacer is asked for its
tokens, because other clients take tokens of the same account.

An entry stays behind in a heap or among the alarms when its group moves to another heap. The move gives the group a
new stamp. An entry with an older stamp is stale: it is skipped, and dropped later.

In addition there are feeds. A feed holds many messages of its own, says when the next one is due, and is asked for some
of them while a request is selected. A batch is filled in this order:

    1. if a feed has messages near a deadline: first the messages that a caller waits for now, then those messages
    2. the messages of the groups and the due messages of feeds, the oldest first; a feed's message counts as waiting
       since the instant at which it was due
    3. if there is room left, the feeds' messages that are due next
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush
from itertools import islice
from math import inf
from typing import Any

import attrs

from smsc_status._core.scheduling.bisection import BatchBisection
from smsc_status._core.scheduling.checks import CheckState, Feed, PendingCheck, Request
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.stale import has_outgrown
from smsc_status.models import Key

CALLER_CHECKS_EXAMINED = 64
"""To find a message that can go, at most this many of those that callers wait for are examined."""

FEED_SINGLE_HEAD_START = 60.0
"""Seconds. For single requests, a feed's message is placed as if it had been due this much earlier."""


class _Group:
    """The waiting messages of one id, the oldest first."""

    __slots__ = ("key", "queue", "stamp", "waiting")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.queue: list[tuple[float, int, PendingCheck]] = []
        self.waiting = 0
        self.stamp = 0

    def head(self) -> PendingCheck:
        """The oldest message that still waits. There must be one: `waiting` is not 0."""
        queue = self.queue
        while not _is_current(queue[0]):
            heappop(queue)
        return queue[0][2]


def _is_current(entry: tuple[float, int, PendingCheck]) -> bool:
    """Whether this entry of a group's queue is not stale."""
    rank, _, check = entry
    return check.state is CheckState.WAITING and check.rank == rank


def _slot_at(pacer: Pacer, now: float) -> float:
    """The earliest instant at which a slot can be free.

    It is `now` if a request is in flight, because its reply may come at any moment.
    """
    return now if pacer.open_requests else pacer.slot_due_at(now=now)


def _due_at(feed: Feed) -> float:
    return feed.due_at()


def _single_due_at(feed: Feed) -> float:
    return feed.due_at(singly=True)


def _drain_steps(
    groups: dict[Key, _Group], caller_checks: dict[PendingCheck, None], queues: tuple[list[Any], ...]
) -> Iterator[PendingCheck | None]:
    backing_off, *_ = queues
    for queue in itertools.chain((group.queue for group in groups.values()), [backing_off]):
        for *_, check in queue:
            yield check if check.state in (CheckState.WAITING, CheckState.BACKING_OFF) else None
        while queue:
            queue.pop()
            yield None
    for queue in queues:
        while queue:
            queue.pop()
            yield None
    while groups:
        groups.popitem()
        yield None
    while caller_checks:
        caller_checks.popitem()
        yield None


@attrs.define(eq=False)
class _BatchSelection:
    """A bulk request that is being selected."""

    size: int
    taken: list[PendingCheck] = attrs.field(factory=list)
    skipped_suspects: list[PendingCheck] = attrs.field(factory=list)
    """Suspects that may not be in this one."""
    single_tokens: dict[Key, int] = attrs.field(factory=dict)
    """By id, how many more of its messages could go in single requests instead."""
    could_go_singly: int = 0
    suspects: int = 0
    from_feeds: int = 0

    @property
    def room(self) -> int:
        return self.size - len(self.taken)


_Entry = tuple[float, int, int, _Group]


class Dispatcher:
    """The waiting messages of one client, and the order in which they are sent."""

    def __init__(self, max_bulk: int) -> None:
        self.bisection: BatchBisection = BatchBisection(max_bulk)
        self.waiting: int = 0
        """How many checks wait, including those that are backing off. Messages of feeds are not counted."""
        self._feeds: dict[Feed, None] = {}
        # Waiting checks that a caller waits for at this moment, in the order of arrival.
        self._caller_checks: dict[PendingCheck, None] = {}
        self._groups: dict[Key, _Group] = {}
        # Groups that may use either kind of request, and groups that may use only a bulk request.
        self._ready: list[_Entry] = []
        self._bulk_only: list[_Entry] = []
        self._alarms: list[tuple[float, int, _Group]] = []
        self._backing_off: list[tuple[float, int, PendingCheck]] = []
        self._counter = itertools.count(1)
        self._refunds = 0

    # Feeds.

    def add_feed(self, feed: Feed) -> None:
        """From now on ask this feed for messages when a request is selected."""
        self._feeds[feed] = None

    def remove_feed(self, feed: Feed) -> None:
        """Do not ask this feed any more."""
        self._feeds.pop(feed, None)

    def remove_feeds(self) -> None:
        """Do not ask any feed any more."""
        self._feeds.clear()

    # Questions.

    @property
    def batch_limit(self) -> int:
        """How many messages the next bulk request may have."""
        return self.bisection.limit

    @property
    def has_work(self) -> bool:
        """Whether anything waits, or will be due in a feed."""
        return bool(self.waiting) or any(feed.due_at() < inf for feed in self._feeds)

    @property
    def has_caller_checks(self) -> bool:
        """Whether a caller waits at this moment for one of the waiting messages."""
        return bool(self._caller_checks)

    @property
    def has_last_calls(self) -> bool:
        """Whether a feed has messages near their archive deadline."""
        return any(feed.due_at() == -inf for feed in self._feeds)

    def wants_bulk(self, slots: int, *, now: float) -> bool:
        """Whether more messages wait than `slots` single requests take, or a message of a feed is due."""
        return self.waiting > slots or any(feed.due_at() <= now for feed in self._feeds)

    # Reports of what happened.

    def add(self, check: PendingCheck, *, due_at: float = -inf) -> None:
        """This check waits, for the first time or again. It is not sent before `due_at`."""
        check.order = check.order or next(self._counter)
        check.is_sent = False
        check.due_at = due_at
        self.waiting += 1
        if due_at > -inf:
            check.state = CheckState.BACKING_OFF
            heappush(self._backing_off, (due_at, check.order, check))
        else:
            self._enqueue(check)

    def promote(self, check: PendingCheck, rank: float, *, head_start: float = 0.0) -> None:
        """The check gets this rank, if it is smaller than its own, and this head start, if it is larger."""
        check.head_start = max(check.head_start, head_start)
        if check.state is CheckState.WAITING and check.head_start:
            self._caller_checks[check] = None
        if rank < check.rank:
            self._rank(check, rank)

    def demote(self, check: PendingCheck) -> None:
        """No caller waits for the check any more, but others do. It gets the rank of a message without a head start."""
        self._caller_checks.pop(check, None)
        rank, check.head_start = min(check.rank + check.head_start, check.since), 0.0
        if rank > check.rank:
            self._rank(check, rank)

    def _rank(self, check: PendingCheck, rank: float) -> None:
        check.rank = rank
        if check.state is CheckState.WAITING:
            group = self._groups[check.identity[0]]
            heappush(group.queue, (rank, check.order, check))
            self._mark_ready(group, group.head())

    def withdraw(self, check: PendingCheck) -> None:
        """Nobody waits for the check any more."""
        waited, check.state = check.state, CheckState.DONE
        self.bisection.done(check)
        if waited in (CheckState.WAITING, CheckState.BACKING_OFF):
            self.waiting -= 1
            self._drop_stale()
        if waited is CheckState.WAITING:
            self._caller_checks.pop(check, None)
            self._remove_one(self._groups[check.identity[0]])

    def ended(self, check: PendingCheck) -> None:
        """The check has its outcome, so it is no suspect any more."""
        self.bisection.done(check)

    def single_refused(self, check: PendingCheck) -> None:
        """The server refused a request for this check alone."""
        self.bisection.refused_alone(check)

    def bulk_refused(self, checks: Collection[PendingCheck]) -> None:
        """The server refused a bulk request of these checks as a whole. The caller adds them again itself."""
        self.bisection.batch_refused(checks)
        self._promote_lone_suspect()

    def bulk_timed_out(self, size: int) -> None:
        """The server did not answer a bulk request of `size` messages in time."""
        self.bisection.batch_timed_out(size)

    def bulk_succeeded(self, size: int) -> None:
        """The server answered a bulk request of `size` messages."""
        self.bisection.batch_succeeded(size)
        self._promote_lone_suspect()

    def _promote_lone_suspect(self) -> None:
        """Send the last suspect first. Until it has gone, a bulk request has room for only one message."""
        suspect = self.bisection.lone_suspect
        if isinstance(suspect, PendingCheck):
            self.promote(suspect, -inf)

    def drain(self) -> Iterator[PendingCheck | None]:
        """Remove everything that waits, at once, and return an iterator over it.

        It goes id by id; what is backing off comes last. It goes step by step, because going through very many at once
        takes long. More checks may be added between the steps. The caller ends each check that it is given, and may
        end others before; a step that yields `None` has only freed memory.
        """
        groups, self._groups = self._groups, {}
        caller_checks, self._caller_checks = self._caller_checks, {}
        queues: tuple[list[Any], ...] = (self._backing_off, self._ready, self._bulk_only, self._alarms)
        self._backing_off, self._ready, self._bulk_only, self._alarms = [], [], [], []
        self.waiting = 0
        self.bisection.forget_suspects()
        return _drain_steps(groups, caller_checks, queues)

    # What to do now, and when to look again.

    def take(self, pacer: Pacer, *, at_most: float = inf, now: float) -> Request | None:
        """The next request, with at most `at_most` messages, if one may start now. The caller starts it.

        If the minute's bulk slot is free, and single requests in the free slots could not take all messages that can
        go, a bulk request takes them. Otherwise one message goes in a single request. The oldest messages go first.
        """
        if not self.has_work:
            return None
        self._process_due(pacer, now)
        slots = pacer.free_slots(now=now)
        if slots <= 0:
            return None
        may_single = pacer.singles_due_at(now=now) <= now
        if pacer.bulk_due_at(now=now) <= now:
            request = self._take_bulk(pacer, slots if may_single else 0, at_most, now)
            if request is not None:
                return request
        return self._take_single(pacer, now) if may_single else None

    def due_at(self, pacer: Pacer, *, now: float) -> float:
        """When to call `take` again after it returned nothing; `inf` if only an event can change that."""
        lane_at = inf
        if self._first_current(self._ready):
            lane_at = min(pacer.singles_due_at(now=now), pacer.bulk_due_at(now=now))
        elif self._first_current(self._bulk_only):
            lane_at = pacer.bulk_due_at(now=now)
        for feed in self._feeds:
            bulk_at = max(feed.due_at(), pacer.bulk_due_at(now=now))
            lane_at = min(lane_at, bulk_at, max(feed.due_at(singly=True), pacer.singles_due_at(now=now)))
        due_at = max(lane_at, pacer.slot_due_at(now=now))
        return min(due_at, self._next_alarm_at(), self._next_retry_at())

    def start_at(self, check: PendingCheck, pacer: Pacer, *, now: float) -> float:
        """The earliest instant at which this waiting check can be sent, as far as is known.

        The true instant may be later, but not earlier.
        """
        token_at = pacer.due_at(check.identity[0], now=now)
        single_at = pacer.singles_due_at(now=now)
        group = self._groups.get(check.identity[0])
        tokens = 0 if group is None else pacer.tokens(group.key, now=now)
        if group is not None and 0 < tokens <= self._tokens_for_bulk(group, pacer, now):
            # A single request needs one token more than these.
            single_at = max(single_at, pacer.due_at(group.key, spare=tokens, now=now))
        lane_at = min(single_at, pacer.bulk_due_at(now=now))
        return max(token_at, lane_at, _slot_at(pacer, now), check.due_at)

    def soonest_at(self, pacer: Pacer, *, now: float) -> float:
        """The earliest instant at which any check can be sent, as far as is known. The true one is not earlier."""
        lane_at = min(pacer.singles_due_at(now=now), pacer.bulk_due_at(now=now))
        return max(lane_at, _slot_at(pacer, now))

    # Internals.

    def _enqueue(self, check: PendingCheck) -> None:
        check.state = CheckState.WAITING
        key = check.identity[0]
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group(key)
        heappush(group.queue, (check.rank, check.order, check))
        group.waiting += 1
        if check.head_start:
            self._caller_checks[check] = None
        if group.queue[0][2] is check:
            self._mark_ready(group, check)

    def _remove_one(self, group: _Group) -> None:
        group.waiting -= 1
        if group.waiting:
            if has_outgrown(len(group.queue), group.waiting):
                group.queue = [entry for entry in group.queue if _is_current(entry)]
                heapify(group.queue)
            self._mark_ready(group, group.head())
        else:
            group.stamp = -1
            del self._groups[group.key]

    def _pop_oldest(self, group: _Group) -> PendingCheck:
        check = group.head()
        heappop(group.queue)
        self._remove(check, group)
        return check

    def _remove(self, check: PendingCheck, group: _Group) -> None:
        check.state = CheckState.IN_FLIGHT
        self._caller_checks.pop(check, None)
        self.waiting -= 1
        self._remove_one(group)

    def _take_single(self, pacer: Pacer, now: float) -> Request | None:
        """Select the oldest message that may go in a single request. Messages of feeds have a head start."""
        while True:
            entry = self._first_current(self._ready)
            feed = min(self._feeds, key=_single_due_at, default=None)
            # Near a deadline: only messages that a caller waits for go before the feed's.
            if feed is not None and feed.due_at(singly=True) == -inf:
                check = self._take_caller_check(pacer, now)
                if check is not None:
                    return Request((check,), (check.identity[0],), bulk=False)
            if feed is not None and self._feed_goes_first(feed, entry, now):
                check = feed.take_single(pacer, now=now)
                if check is None:
                    continue
                return Request((check,), (check.identity[0],), bulk=False)
            if entry is None:
                return None
            group = entry[3]
            if pacer.tokens(group.key, now=now) <= self._tokens_for_bulk(group, pacer, now):
                self._mark_not_ready(group, pacer, now)
                continue
            return Request((self._pop_oldest(group),), (group.key,), bulk=False)

    def _take_caller_check(self, pacer: Pacer, now: float) -> PendingCheck | None:
        """Select the first message that a caller waits for and that can go in a single request, if there is one.

        Only the first `CALLER_CHECKS_EXAMINED` are examined.
        """
        for check in islice(self._caller_checks, CALLER_CHECKS_EXAMINED):
            group = self._groups[check.identity[0]]
            if pacer.tokens(group.key, now=now) > self._tokens_for_bulk(group, pacer, now):
                self._remove(check, group)
                return check
        return None

    def _feed_goes_first(self, feed: Feed, entry: _Entry | None, now: float) -> bool:
        """Whether the feed's next message goes in a single request before the oldest message of the groups."""
        due_at = feed.due_at(singly=True)
        return due_at <= now and (entry is None or due_at - FEED_SINGLE_HEAD_START < entry[0])

    def _take_bulk(self, pacer: Pacer, slots: int, at_most: float, now: float) -> Request | None:
        """Select a batch, in the order that the module's docstring gives.

        Returns `None` if single requests in the free slots can take all of it, and no message of a feed is in it.
        """
        batch = _BatchSelection(int(min(self.bisection.limit, at_most)))
        if any(feed.has_priority(now=now) for feed in self._feeds):
            for check in list(self._caller_checks):
                if not batch.room:
                    break
                self._add_from_group(check, batch, pacer, now)
            self._add_from_feeds(batch, pacer, until=-inf, now=now)
        self._add_oldest(batch, pacer, now)
        fits_in_slots = not batch.from_feeds and len(batch.taken) <= min(slots, batch.could_go_singly)
        for check in [*batch.skipped_suspects, *batch.taken] if fits_in_slots else batch.skipped_suspects:
            self.add(check)
        if fits_in_slots:
            return None
        self._add_from_feeds(batch, pacer, until=inf, now=now)
        keys = tuple(dict.fromkeys(check.identity[0] for check in batch.taken))
        return Request(tuple(batch.taken), keys, bulk=True)

    def _add_oldest(self, batch: _BatchSelection, pacer: Pacer, now: float) -> None:
        while batch.room:
            group = self._oldest_group()
            head = None if group is None else group.head()
            head_at = inf if head is None else head.rank
            fed_at = min(map(_due_at, self._feeds)) if self._feeds else inf
            if fed_at <= now and fed_at <= head_at:
                self._add_from_feeds(batch, pacer, until=min(head_at, now), now=now)
            elif head is not None:
                self._add_from_group(head, batch, pacer, now)
            else:
                break

    def _add_from_group(self, check: PendingCheck, batch: _BatchSelection, pacer: Pacer, now: float) -> None:
        group = self._groups[check.identity[0]]
        if group.key not in batch.single_tokens:
            tokens = pacer.tokens(group.key, now=now)
            if not tokens:
                self._mark_not_ready(group, pacer, now)
                return
            batch.single_tokens[group.key] = tokens - (group.waiting > tokens)
        self._remove(check, group)
        if self.bisection.is_suspect(check):
            if batch.suspects == self.bisection.portion:
                batch.skipped_suspects.append(check)
                return
            batch.suspects += 1
        batch.taken.append(check)
        if batch.single_tokens[group.key]:
            batch.single_tokens[group.key] -= 1
            batch.could_go_singly += 1

    def _add_from_feeds(self, batch: _BatchSelection, pacer: Pacer, *, until: float, now: float) -> None:
        """Add messages of the feeds; the feed whose next message has been due longest goes first."""
        for feed in sorted(self._feeds, key=_due_at):
            if batch.room and feed.due_at() < inf and (until > -inf or feed.has_priority(now=now)):
                checks = feed.take(pacer, at_most=batch.room, until=until, now=now)
                batch.taken += checks
                batch.from_feeds += len(checks)

    def _oldest_group(self) -> _Group | None:
        ready, bulk_only = self._first_current(self._ready), self._first_current(self._bulk_only)
        entry = ready or bulk_only if ready is None or bulk_only is None else min(ready, bulk_only)
        return None if entry is None else entry[3]

    def _first_current(self, queue: list[_Entry]) -> _Entry | None:
        while queue:
            entry = queue[0]
            if entry[2] == entry[3].stamp:
                return entry
            heappop(queue)
        return None

    def _next_alarm_at(self) -> float:
        while self._alarms and self._alarms[0][1] != self._alarms[0][2].stamp:
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else inf

    def _next_retry_at(self) -> float:
        while self._backing_off and self._backing_off[0][2].state is not CheckState.BACKING_OFF:
            heappop(self._backing_off)
        return self._backing_off[0][0] if self._backing_off else inf

    def _tokens_for_bulk(self, group: _Group, pacer: Pacer, now: float) -> int:
        """How many of the group's tokens single requests must leave for a bulk request."""
        return 1 if group.waiting > pacer.tokens(group.key, now=now) else 0

    def _mark_ready(self, group: _Group, head: PendingCheck) -> None:
        group.stamp = next(self._counter)
        heappush(self._ready, (head.rank, head.order, group.stamp, group))
        self._drop_stale()

    def _drop_stale(self) -> None:
        """Filter each heap that has too many stale entries."""
        entries = len(self._ready) + len(self._bulk_only) + len(self._alarms) + len(self._backing_off)
        if not has_outgrown(entries, len(self._groups)):  # as nearly always
            return
        for queue in (self._ready, self._bulk_only):
            if has_outgrown(len(queue), len(self._groups)):
                queue[:] = [entry for entry in queue if entry[2] == entry[3].stamp]
                heapify(queue)
        if has_outgrown(len(self._alarms), len(self._groups)):
            self._alarms = [entry for entry in self._alarms if entry[1] == entry[2].stamp]
            heapify(self._alarms)
        if has_outgrown(len(self._backing_off), self.waiting):
            self._backing_off = [entry for entry in self._backing_off if entry[2].state is CheckState.BACKING_OFF]
            heapify(self._backing_off)

    def _mark_not_ready(self, group: _Group, pacer: Pacer, now: float) -> None:
        """Take the group out of `_ready`, put it into `_bulk_only` if it has tokens, and set its alarm."""
        tokens = pacer.tokens(group.key, now=now)
        head = group.head()
        group.stamp = next(self._counter)
        if tokens:
            heappush(self._bulk_only, (head.rank, head.order, group.stamp, group))
        heappush(self._alarms, (pacer.due_at(group.key, spare=tokens, now=now), group.stamp, group))

    def _process_due(self, pacer: Pacer, now: float) -> None:
        while self._backing_off and self._backing_off[0][0] <= now:
            *_, check = heappop(self._backing_off)
            if check.state is CheckState.BACKING_OFF:
                self._enqueue(check)
        refunded, self._refunds = pacer.refunds != self._refunds, pacer.refunds
        while self._alarms and (refunded or self._alarms[0][0] <= now):
            _, stamp, group = heappop(self._alarms)
            if stamp == group.stamp:
                self._mark_ready(group, group.head())
