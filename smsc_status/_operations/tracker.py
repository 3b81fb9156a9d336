"""`track`: follows messages to their end.

A poll scheduler says which messages are asked next. A tracker is a feed of its client's dispatcher: when the dispatcher
selects a request, it asks the tracker for messages that are due. A message that a request does not answer goes back to
the scheduler. In the background the tracker reads its input and looks at the wall clock.

How old can an answer get? A cycle is a period and a margin: one bulk request can go in each. Bulk requests of `m`
messages ask all `n` tracked messages in `n / m` cycles.

- A message is due again after at most an hour, and after at most `2 n / m` cycles.
- Then it waits behind the messages that have been due for longer: at most `n` of its tracker, and the four batches that
  each of `s` streams holds at most.
- If `c` clients share a limiter, each has every `c`-th bulk request.

So an answer gets at most `c * (3 n / m + 4 s + 2)` cycles old. Single requests make that less; outages and refusals add
to it.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import AsyncIterable, Callable
from functools import partial
from inspect import isawaitable, iscoroutine
from math import inf
from typing import Any
from weakref import WeakKeyDictionary

import anyio
import attrs

from smsc_status import _loops
from smsc_status._core.scheduling.checks import PendingCheck
from smsc_status._core.scheduling.pacing import Pacer
from smsc_status._core.scheduling.pending import CALLER_HEAD_START, PendingChecks
from smsc_status._core.scheduling.subscribers import unexpected
from smsc_status._core.scheduling.verdicts import CONCERNS_ACCOUNT
from smsc_status._core.tracking.mailings import Mailings
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._core.tracking.tracked import Policy, Tracked
from smsc_status._operations import source
from smsc_status._operations.outcomes import ROUNDING, Outcome, Outcomes, Ready, Work
from smsc_status._operations.source import Messages, Source
from smsc_status._runtime.engine import Engine
from smsc_status.errors import ConfigError, ProtocolError, RateLimited, SmscError, TransportError
from smsc_status.limiter import Limiter
from smsc_status.models import DataT_co, Detail, FailedCheck, MessageRef, StatusRecord

LOOK_AT_CLOCK = 30.0
"""Seconds between looks at the wall clock. The monotonic clock stops while the machine sleeps."""

MAX_FAILURES = 3
"""A message fails after this many unusable answers of its own, or after `retries` + 1 if that is more."""

TOLD_APART = 2
"""After this many unreadable replies about it alone, while others' can be read, a message counts as the cause."""

HELD = 10_000
"""While this many outcomes have not been taken, nothing more is read or asked."""

ONE_NIGHT = 6 * 3600.0
"""Seconds. At most one line about last calls is logged in this time."""

logger = logging.getLogger("smsc_status")

Until = Callable[[StatusRecord[Any]], bool]

# How many trackers share a limiter's bulk requests. A tracker whose loop was torn down stays counted. Then last calls
# come earlier than they must.
_at_work: WeakKeyDictionary[Limiter, int] = WeakKeyDictionary()


@attrs.define(eq=False)
class _Poll:
    """One check of a tracked message."""

    item: Tracked
    tracker: Tracker
    started_at: float
    is_single: bool
    check: PendingCheck | None = None

    start_by = inf
    has_plan = True

    @property
    def ref(self) -> MessageRef:
        return self.item.ref

    @property
    def link(self) -> object:
        return self.tracker.link

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        self.tracker.take_in(self, outcome)


@attrs.define
class _Failures:
    """Unusable answers to one message in a row."""

    since: float
    count: int = 0
    """How many of them are held against the message."""
    read: int = 0
    """How many replies had been read when the last of these came."""


class Tracker(Work):
    """A tracker at work: each message is asked again until it is done.

    Its scheduler uses the server's time. With an emulator, that may pass `speed` times as fast as real time.
    """

    operation = "track"

    _checks: PendingChecks
    """Where its messages get their checks. Set when it begins, because a fork before that gives the engine new ones."""

    def __init__(
        self,
        engine: Engine,
        messages: Messages[Any],
        *,
        detail: Detail,
        until: Until | None,
        policy: Policy,
        look_ahead: int | None,
        speed: float,
    ) -> None:
        limits = engine.limits
        cycle = (limits.period + limits.margin) * speed
        super().__init__(engine)
        self.scheduler: PollScheduler = PollScheduler(
            policy, max_bulk=limits.max_bulk, cycle=cycle, slots=limits.connections, checks=limits.checks_per_id
        )
        self._detail = detail
        self._until = until
        self._look_ahead = inf if look_ahead is None else look_ahead
        self._speed = speed
        self._polls: dict[_Poll, None] = {}
        self._singles: set[_Poll] = set()
        self._failures: dict[Tracked, _Failures] = {}
        self._mailings = Mailings(limits.checks_per_id)
        self._tasks: list[_loops.BackgroundTask] = []
        self._is_counted = False
        self._called_last_at = -inf
        self._has_warned_of_clock = self._has_warned_of_wall = False
        self._source: Source = aiter(messages) if isinstance(messages, AsyncIterable) else iter(messages)

    # For the caller.

    def pending(self) -> list[Any]:
        """See `Work.pending`. A message whose last outcome was not taken yet is among them."""
        ended = [
            item.ref if item is not None else outcome.ref for outcome, item, _ in self.ready if _ends(outcome, item)
        ]
        asked = [poll.item.ref for poll in self._polls]
        return [*ended, *asked, *(item.ref for item in self.scheduler)]

    def stop(self) -> None:
        """See `Work.stop`."""
        self.engine.unfollow(self)
        if self._is_counted:
            self._is_counted = False
            _at_work[self.engine.limiter] -= 1
        self._has_all_input = self.is_over = True
        for poll in self._polls:
            check, poll.check = poll.check, None
            if check is not None:
                self.engine.drop(check, poll)
        self.engine.look_again()
        for work in self._tasks:
            work.cancel()
        self._news.send()
        self._room.send()

    async def aclose(self) -> None:
        """See `Work.aclose`."""
        self._is_closed = True
        self.stop()
        for work in self._tasks:
            await work.wait()

    # For the numbers.

    @property
    def tracked(self) -> int:
        """How many messages are followed now."""
        return len(self.scheduler) + len(self._polls)

    def due(self) -> tuple[int, int]:
        """How many messages are due, and how many of them are overdue."""
        return self.scheduler.due(now=self._now())

    def stalest(self) -> float:
        """How stale the stalest answer is, in seconds of the server's time."""
        return self.scheduler.stalest(now=self._now())

    # For the dispatcher, which selects a request.

    def due_at(self, *, singly: bool = False) -> float:
        """See `Feed.due_at`."""
        if self.is_over or not self._has_room():
            return inf
        due_at = self.scheduler.urgent_due_at() if singly and self._is_full() else self.scheduler.due_at(singly=singly)
        return due_at / self._speed

    def _is_full(self) -> bool:
        """Whether single checks use their whole share of the connections. Those near a deadline may use more."""
        return len(self._singles) >= self.scheduler.slots

    def has_priority(self, *, now: float) -> bool:
        """See `Feed.has_priority`."""
        self._call_last()
        return self.scheduler.has_priority and self.due_at() < inf

    def take(self, pacer: Pacer, *, at_most: int, until: float, now: float) -> list[PendingCheck]:
        """See `Feed.take`."""
        checks: list[PendingCheck] = []
        without_token: list[Tracked] = []
        while len(checks) < at_most:
            left = at_most - len(checks)
            due_at = self.due_at()
            items = self.scheduler.take(left, until=self._served(until), now=self._served(now))
            if not items:
                break
            rank = min(until, now) if until > -inf else now - CALLER_HEAD_START
            for item in items:
                if not pacer.tokens(item.ref.identity[0], now=now):
                    without_token.append(item)
                elif (check := self._ask(item, rank, now, due_at, is_single=False)) is not None:
                    checks.append(check)
        for item in without_token:
            token_at = pacer.due_at(item.ref.identity[0], now=now)
            self.scheduler.put_back_until_token(item, self._served(token_at), now=self._served(now))
        keys = [check.identity[0] for check in checks] + [item.ref.identity[0] for item in without_token]
        self._mailings.found(keys, now=now)
        return checks

    def take_single(self, pacer: Pacer, *, now: float) -> PendingCheck | None:
        """See `Feed.take_single`."""
        due_at = self.due_at(singly=True)
        item = self.scheduler.take_single(now=self._served(now), near_deadline=self._is_full())
        if item is None:
            return None
        key = item.ref.identity[0]
        if pacer.tokens(key, now=now) <= self._mailings.tokens_left(key, now=now):
            self.scheduler.put_back_for_bulk(item, now=self._served(now))
            return None
        return self._ask(item, now, now, due_at, is_single=True)

    def _ask(self, item: Tracked, rank: float, now: float, due_at: float, *, is_single: bool) -> PendingCheck | None:
        poll = _Poll(item, self, now, is_single)
        self._polls[poll] = None
        detail = self._detail if item.is_dated else max(self._detail, Detail.FULL)
        since = due_at if due_at > -inf else inf  # a last call has no instant at which it is due
        poll.check, is_new = self._checks.adopt(detail, poll, rank=rank, since=since)
        if not is_new:  # somebody else's request will answer it
            poll.is_single = False
            return None
        if is_single:
            self._singles.add(poll)
        return poll.check

    # What an answer means.

    def take_in(self, poll: _Poll, outcome: StatusRecord | SmscError) -> None:
        """Take the outcome of one check."""
        if poll.check is None:  # `stop` came first
            return
        if isinstance(outcome, CONCERNS_ACCOUNT):
            self.give_up(outcome)
            return
        self._polls.pop(poll, None)
        self._singles.discard(poll)
        now, item = _loops.now(), poll.item
        try:
            if poll.is_single:
                self.scheduler.record_round_trip((now - poll.started_at) * self._speed)
            if isinstance(outcome, StatusRecord):
                self._take_record(item, outcome, self._served(now))
            else:
                self._take_error(item, outcome, self._served(now), is_alone=poll.check.is_alone)
        except Exception as error:  # our own mistake: the message comes out all the same
            logger.exception("a tracked message could not be followed: unexpected error")
            self._fail(item, unexpected(error))

    def _take_record(self, item: Tracked, record: StatusRecord, now: float) -> None:
        self._failures.pop(item, None)
        self._has_warned_of_wall = False
        try:
            done = record.is_final if self._until is None else _is_done(self._until(record))
        except BaseException as error:  # the caller gets any error of `until`, and other messages are not affected
            self.scheduler.put_back(item, now=now)
            self._input_error = error
            self.stop()
            return
        changed = self.scheduler.polled(item, record, done=done, now=now)
        if changed and self.engine.observer is not None:
            self.engine.observer.noticed(record)
        ending = None if done else self.scheduler.ending(item)
        if changed or done:
            self._put_out(record, item if done else None)
        if done:
            self._finish(item, record.status_title.en if record.status_title else str(record.status))
        elif ending is not None:
            self._fail(item, ending)
        else:
            self.scheduler.put_back(item, now=now)

    def _take_error(self, item: Tracked, error: SmscError, now: float, *, is_alone: bool) -> None:
        if self._is_outcome(item, error, now, is_alone=is_alone):
            self._fail(item, error)
        else:
            self.scheduler.put_back_unanswered(item, now=now)

    def _is_outcome(self, item: Tracked, error: SmscError, now: float, *, is_alone: bool) -> bool:
        """Whether the error ends the message.

        - A lost request and a refusal because of the limits never end it: they say something of the server.
        - An unreadable reply to a batch does not either.
        - An unreadable reply about this message alone counts if others' replies could be read since the last one. After
          two that count, every further one counts: there may be no others left to compare with.
        - Any other error counts.

        Enough errors that count end it, and so does one that comes `expire_after` seconds after the first.
        """
        if isinstance(error, TransportError | RateLimited):
            return False
        is_unreadable = isinstance(error, ProtocolError) and error.status is not None
        if is_unreadable and self.engine.is_in_outage and not self._has_warned_of_wall:
            self._has_warned_of_wall = True
            logger.warning("no reply can be read, and tracking goes on: %s", error)
        if is_unreadable and not is_alone:
            return False
        read = self.engine.replies_read
        failures = self._failures.setdefault(item, _Failures(now))
        if not is_unreadable or failures.count >= TOLD_APART or read > failures.read:
            failures.count += 1
            failures.read = read
        is_enough = failures.count >= max(MAX_FAILURES, self.engine.retries + 1)
        return is_enough or now - failures.since >= self.scheduler.expire_after

    def _fail(self, item: Tracked, error: SmscError) -> None:
        self._put_out(FailedCheck(item.ref, error), item)
        self._finish(item, type(error).__name__)

    def _finish(self, item: Tracked, outcome: str) -> None:
        self._failures.pop(item, None)
        self.scheduler.forget(item)
        self.engine.count_done(outcome)
        self._room.send()

    # The work.

    async def _begin(self) -> None:
        if not await self._enter_loop():
            return
        context = contextvars.copy_context()
        pause = self.engine.read_on_later
        read = partial(source.read, self._source, self._put_in, pause=pause, end=self._end_input)
        self._is_counted = True
        _at_work[self.engine.limiter] = _at_work.get(self.engine.limiter, 0) + 1
        self._look_at_clock()
        self._checks = self.engine.pending
        self.engine.follow(self)
        self._tasks = [self.engine.spawn(read, context=context), self.engine.spawn(self._watch_clock)]

    async def _read_ahead(self) -> None:
        pass  # a background task reads the input

    def _has_room(self) -> bool:
        return len(self.ready) < HELD + self.batch_size

    def _taken(self, ready: Ready) -> None:
        self._room.send()
        if len(self.ready) == HELD + self.batch_size - 1:
            self.engine.look_again()

    def _is_through(self) -> bool:
        return self.is_over or (self._has_all_input and not self.tracked)

    def _end(self) -> None:
        if not self.is_over:
            logger.info("every message is done")
        self.stop()

    def _now(self) -> float:
        return self._served(_loops.now())

    def _served(self, now: float) -> float:
        """The instant in the server's time.

        It is rounded up a little. Otherwise a message that is due by our time might not be due by the server's.
        """
        return now if self._speed == 1.0 else now * self._speed + ROUNDING

    def _end_input(self, error: BaseException | None) -> None:
        if not self._has_all_input:
            self._has_all_input, self._input_error = True, error
            logger.info("the input has ended; %d messages are followed on", self.tracked)
        self._news.send()

    async def _put_in(self, value: Any) -> None:
        try:
            ref = MessageRef.of(value)
        except ConfigError as error:
            self._put_out(FailedCheck(value, error), None)
            self.engine.count_done(ConfigError.__name__)
        else:
            self.scheduler.add(ref, now=self._now())
            self.engine.look_again()
        while (self.tracked >= self._look_ahead or not self._has_room()) and not self.is_over:
            await self._room.wait()

    # Which date it is.

    def told(self, date: float) -> None:
        """See `Follower.told`."""
        self.scheduler.read_server_date(date, now=self._now())
        if self.scheduler.is_clock_overruled and not self._has_warned_of_clock:
            self._has_warned_of_clock = True
            logger.warning("this machine's clock differs from the server's by more than a minute: the server's counts")

    async def _watch_clock(self) -> None:
        while not self.is_over:
            await anyio.sleep(LOOK_AT_CLOCK)
            self._look_at_clock()
            self.engine.look_again()

    def _look_at_clock(self) -> None:
        self.scheduler.read_local_date(self.engine.wall_clock().timestamp(), now=self._now())
        self._call_last()

    def _call_last(self) -> None:
        now = self._now()
        self.scheduler.call_last(now=now, shared_by=max(1, _at_work.get(self.engine.limiter, 1)))
        if self.scheduler.last_calls and now > self._called_last_at + ONE_NIGHT:
            self._called_last_at = now
            logger.info("an archive deadline is near: the messages that it concerns are asked first")


def _is_done(said: object) -> bool:
    if isawaitable(said):
        if iscoroutine(said):
            said.close()
        raise ConfigError("until: expected a function that returns a bool, got an awaitable from it")
    return bool(said)


def _ends(outcome: Outcome, item: Tracked | None) -> bool:
    return item is not None or isinstance(outcome, FailedCheck)


class TrackStream(Outcomes[DataT_co]):
    """The records of messages that are followed: the first of each, and every change, until each is done.

    Iterate over it, at once or inside `async with`; leaving the loop early ends it. An async generator that it reads is
    closed with it.
    """

    def __init__(self, tracker: Tracker) -> None:
        super().__init__(tracker)

    def pending(self) -> list[MessageRef[DataT_co]]:
        """The messages that were read from the input and are not done, ready to be tracked again.

        One whose last outcome was not taken yet is among them.
        """
        return self._work.pending()
