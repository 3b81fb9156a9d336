"""Messages followed to their end: the plan says who is asked next, the engine asks, changes come out.

One task works for each tracker. A bulk request's worth of messages is handed to the engine when the account's bulk slot
is free, and single checks beside it, as many at a time as the policy's eagerness allows; both go by the client's lanes
like anybody's checks.
"""

from __future__ import annotations

import contextvars
import logging
from collections import deque
from collections.abc import AsyncIterable, Callable
from datetime import datetime
from functools import partial
from math import inf
from typing import Any, NoReturn, Self

import anyio
import attrs
from anyio.lowlevel import checkpoint

from smsc_status import loops, source
from smsc_status.core.dispatch import Question, State
from smsc_status.core.polling import Plan, Policy, Tracked
from smsc_status.desk import CONCERNS_ACCOUNT
from smsc_status.engine import Engine
from smsc_status.errors import ConfigError, ProtocolError, RateLimited, SmscError, TransportError
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord
from smsc_status.source import Messages, Source

LOOK_AT_CLOCK = 30.0
"""The wall clock is looked at at least once in so many seconds: a machine that slept has stopped the other one."""

HEAD_START = 60.0
"""Single checks of tracked messages wait as if they had come so many seconds earlier than a stream's."""

MAX_FAILURES = 3
"""So many unusable answers in a row are a message's outcome; lost requests, and what nobody can read, do not count."""

TOO_LONG = 1.0
"""A single check that has not left after so many seconds is left to the bulk requests."""

HELD = 10_000
"""Reading and asking rest while so many outcomes have not been taken."""

ONE_NIGHT = 6 * 3600.0
"""Last calls within so many seconds are told of once."""

logger = logging.getLogger("smsc_status")

Until = Callable[[StatusRecord], bool]


@attrs.define(eq=False)
class _Poll:
    """One check of one message."""

    item: Tracked
    tracker: Tracker
    started_at: float
    is_single: bool
    start_by: float = inf
    question: Question | None = None

    @property
    def ref(self) -> MessageRef:
        return self.item.ref

    def answered(self, outcome: StatusRecord | SmscError) -> None:
        self.tracker.take_in(self, outcome)


class Tracker:
    """What is followed, apart from the object that the caller holds: dropping that one ends it."""

    def __init__(
        self,
        engine: Engine,
        messages: Messages,
        *,
        detail: Detail,
        until: Until | None,
        policy: Policy,
        look_ahead: int | None,
        wall_clock: Callable[[], datetime],
    ) -> None:
        limits = engine.limiter.limits
        cycle = limits.period + limits.margin
        self.engine = engine
        self.plan = Plan(
            policy, max_bulk=limits.max_bulk, cycle=cycle, places=limits.connections, checks=limits.checks_per_id
        )
        self.error: SmscError | None = None
        self.is_over = False
        self.loop: object = None
        self._detail = detail
        self._until = until
        self._look_ahead = inf if look_ahead is None else look_ahead
        self._wall_clock = wall_clock
        self._polls: dict[_Poll, None] = {}
        self._singles: dict[_Poll, None] = {}
        self._bulk = 0
        self._ready: deque[tuple[StatusRecord | FailedCheck, Tracked | None]] = deque()
        self._work: list[loops.Background] = []
        self._input_error: Exception | None = None
        self._ended = False
        self._given_out = 0
        self._is_closed = False
        self._called_last_at = -inf
        self._unreadable = 0
        self._news = anyio.Event()
        self._wake = anyio.Event()
        self._room = anyio.Event()
        self._source: Source = aiter(messages) if isinstance(messages, AsyncIterable) else iter(messages)

    # For the caller.

    async def next(self) -> StatusRecord | FailedCheck:
        """The next outcome.

        Raises:
            StopAsyncIteration: there are no more.
            ConfigError: it was begun in another event loop.
        """
        await self._begin()
        while self._is_closed or not self._ready:
            if self.error is not None:
                error, self.error = self.error, None
                error.pending = tuple(self.pending())
                raise error
            if self.is_over or self._is_through():
                if not self.is_over:
                    logger.info("every message is done")
                self.stop()
                error_of_input, self._input_error = self._input_error, None
                raise error_of_input or StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        self._given_out += 1
        if self._given_out % 64 == 0:
            await checkpoint()
        outcome, _ = self._ready.popleft()
        self._room.set()
        if len(self._ready) == HELD - 1:
            self._wake.set()
        return outcome

    def pending(self) -> list[Any]:
        """What was read and is not done, or whose end was not given out yet."""
        ended = [item.ref if item is not None else outcome.ref for outcome, item in self._ready if _ends(outcome, item)]
        asked = [poll.item.ref for poll in self._polls]
        return [*ended, *asked, *(item.ref for item in self.plan)]

    def give_up(self, error: SmscError) -> None:
        """The account is refused, or the client closed: after what is ready, it ends with this."""
        self.error = self.error or error
        self.stop()

    def stop(self) -> None:
        """Read no more and ask no more; what is not done stays pending."""
        self.engine.others.discard(self)
        self._ended = self.is_over = True
        for poll in self._polls:
            question, poll.question = poll.question, None
            if question is not None:
                self.engine.desk.drop(question, poll)
        self.engine.look_again()
        for work in self._work:
            work.cancel()
        self._news.set()

    async def aclose(self) -> None:
        """Stop, and wait for what that ends."""
        self._is_closed = True
        self.stop()
        for work in self._work:
            await work.wait()

    # For the numbers.

    @property
    def tracked(self) -> int:
        """How many messages are followed now."""
        return len(self.plan) + len(self._polls)

    def due(self) -> tuple[int, int]:
        """How many are due, and how many of them are overdue."""
        return self.plan.due(now=loops.now())

    def stalest(self) -> float:
        """How stale the stalest answer is, in seconds."""
        return self.plan.stalest(now=loops.now())

    # What an answer means.

    def take_in(self, poll: _Poll, outcome: StatusRecord | SmscError) -> None:
        """What came of one check."""
        if poll.question is None:  # stopped meanwhile
            return
        if isinstance(outcome, CONCERNS_ACCOUNT):
            self.give_up(outcome)
            return
        del self._polls[poll]
        now, item = loops.now(), poll.item
        if poll.is_single:
            del self._singles[poll]
            self.plan.answered_in(now - poll.started_at)
        else:
            self._bulk -= 1
        if isinstance(outcome, StatusRecord):
            self._take_record(item, outcome, now)
        else:
            self._take_error(item, outcome, now)
        self._wake.set()

    def _take_record(self, item: Tracked, record: StatusRecord, now: float) -> None:
        self._unreadable = 0
        try:
            done = record.is_final if self._until is None else bool(self._until(record))
        except Exception as error:  # the caller's own mistake, told to the caller
            self.plan.put_back(item, now=now)
            self._input_error = error
            self._ended = self.is_over = True
            self._news.set()
            return
        changed = self.plan.polled(item, record, done=done, now=now)
        ending = None if done else self.plan.ending(item)
        if changed or done:
            self._tell(record, item if done else None)
        if done:
            self._finish(item, record.status_title.en if record.status_title else str(record.status))
        elif ending is not None:
            self._tell(FailedCheck(item.ref, ending), item)
            self._finish(item, type(ending).__name__)
        else:
            self.plan.put_back(item, now=now)

    def _take_error(self, item: Tracked, error: SmscError, now: float) -> None:
        if self._is_about(error):
            item.failures += 1
            if item.failures >= MAX_FAILURES:
                self._tell(FailedCheck(item.ref, error), item)
                self._finish(item, type(error).__name__)
                return
        self.plan.put_back(item, now=now)

    def _is_about(self, error: SmscError) -> bool:
        """Whether the error says something of the message, and not only of the server's present state.

        A reply that can't be read as a whole may be due to the message. As long as nobody gets another, it is not.
        """
        if isinstance(error, ProtocolError) and error.status is not None:
            self._unreadable += 1
            if self._unreadable == MAX_FAILURES:
                logger.warning("no reply can be read, and tracking goes on: %s", error)
            return self._unreadable == 1
        return not isinstance(error, TransportError | RateLimited)

    def _finish(self, item: Tracked, outcome: str) -> None:
        self.plan.forget(item)
        self.engine.desk.tally.done[outcome] += 1
        self._room.set()

    def _tell(self, outcome: StatusRecord | FailedCheck, item: Tracked | None) -> None:
        self._ready.append((outcome, item))
        self._news.set()

    # The work.

    async def _begin(self) -> None:
        if self.is_over:
            return
        if self.loop is not None:
            if self.loop is not loops.this_loop():
                raise ConfigError("this stream was begun in another event loop: put what is pending into a new one")
            return
        await self.engine.bind()
        self.loop = loops.this_loop()
        self.engine.others.add(self)
        context = contextvars.copy_context()
        read = partial(source.read, self._source, self._put_in, end=self._end_input)
        self._look_at_clock()
        self._work = [self.engine.spawn(read, context=context), self.engine.spawn(self._ask_on)]

    def _is_through(self) -> bool:
        return self._ended and not self.tracked

    def _look_at_clock(self) -> None:
        self.plan.offset = self._wall_clock().timestamp() - loops.now()

    def _end_input(self, error: Exception | None) -> None:
        if not self._ended:
            self._ended, self._input_error = True, error
            logger.info("the input has ended; %d messages are followed on", self.tracked)
        self._news.set()
        self._wake.set()

    async def _put_in(self, value: Any) -> None:
        try:
            ref = MessageRef.of(value)
        except ConfigError as error:
            self._tell(FailedCheck(value, error), None)
            self.engine.desk.tally.done["ConfigError"] += 1
        else:
            self.plan.add(ref, now=loops.now())
            self._wake.set()
        while self.tracked >= self._look_ahead or len(self._ready) >= HELD:
            self._room = anyio.Event()
            await self._room.wait()

    async def _ask_on(self) -> None:
        """Ask whoever is due, as the lanes come free, for as long as there is somebody."""
        while not (self._is_through() or self.is_over):
            self._wake = anyio.Event()
            self._look_at_clock()
            wait = self._ask_those_due()
            with anyio.move_on_after(min(wait, TOO_LONG if self._singles else LOOK_AT_CLOCK)):
                await self._wake.wait()
            await checkpoint()
        self._news.set()

    def _ask_those_due(self) -> float:
        """Hand what is due to the engine; how long nothing will be."""
        if len(self._ready) >= HELD:
            return inf
        now, plan = loops.now(), self.plan
        self._take_back_held_up(now)
        slot_in = self.engine.limiter.slots().bulk_slot_in
        if not slot_in and not self._bulk:
            for item in plan.take_bulk(now=now):
                self._ask(item, now, is_single=False)
            if plan.last_calls and now > self._called_last_at + ONE_NIGHT:
                self._called_last_at = now
                logger.info("an archive deadline is near: the messages that it concerns are asked first")
        while len(self._singles) < plan.places and (urgent := plan.take_single(now=now)) is not None:
            self._ask(urgent, now, is_single=True)
        bulk_in = inf if self._bulk else max(slot_in, plan.due_at() - now)
        single_in = inf if len(self._singles) >= plan.places else plan.due_at(singly=True) - now
        return max(0.0, min(bulk_in, single_in))

    def _take_back_held_up(self, now: float) -> None:
        """A single check that found no token for its id must not keep the others waiting."""
        late = [poll for poll in self._singles if poll.started_at <= now - TOO_LONG]
        for poll in late:
            question = poll.question
            if question is not None and question.state is State.WAITING:
                self.engine.desk.drop(question, poll)
                del self._polls[poll], self._singles[poll]
                self.plan.held_up(poll.item, now=now)

    def _ask(self, item: Tracked, now: float, *, is_single: bool) -> None:
        poll = _Poll(item, self, now, is_single)
        self._polls[poll] = None
        if is_single:
            self._singles[poll] = None
        else:
            self._bulk += 1
        detail = self._detail if item.is_dated else max(self._detail, Detail.FULL)
        poll.question = self.engine.ask(detail, poll, head_start=HEAD_START if is_single else 0.0)


def _ends(outcome: StatusRecord | FailedCheck, item: Tracked | None) -> bool:
    return item is not None or isinstance(outcome, FailedCheck)


class TrackStream:
    """The records of messages that are followed: the first of each, and every change, until each is done.

    Iterate over it, at once or inside `async with`; leaving the loop early ends it. An async generator that it reads is
    closed with it.
    """

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is asynchronous: iterate over it with `async for`, not `for`")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusRecord | FailedCheck:
        return await self._tracker.next()

    def pending(self) -> list[Any]:
        """The messages that were read from the input and are not done, ready to be tracked again.

        One whose last outcome was not taken yet is among them.
        """
        return self._tracker.pending()

    async def aclose(self) -> None:
        """End it: nothing more is read, asked or given out. `pending` stays."""
        await self._tracker.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        tracker = getattr(self, "_tracker", None)
        if tracker is not None and tracker.loop is not None and not tracker.is_over:
            loops.call_in(tracker.loop, tracker.stop)
