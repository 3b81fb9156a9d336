"""`stream`: asks each message of an input once, and gives out the outcomes as they come.

The input is read lazily, and only a bounded part of it is held.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from functools import partial
from math import inf
from typing import Any

import attrs

from smsc_status import _loops
from smsc_status._core.scheduling.checks import PendingCheck
from smsc_status._core.scheduling.verdicts import CONCERNS_ACCOUNT
from smsc_status._operations import source
from smsc_status._operations.outcomes import Outcome, Outcomes, Ready, Work
from smsc_status._operations.source import Messages
from smsc_status._runtime.engine import Engine
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import DataT_co, Detail, FailedCheck, MessageRef, StatusRecord

HELD_BULKS = 4
"""A stream holds at most as many messages as fit into this many bulk requests: read, and not yet given out. If batches
are asked for, it holds one more batch."""

TWIN_AGE = 1.0
"""Seconds. A message that is put in again gets the record of its twin if that came in no longer ago than this."""


@attrs.define(eq=False)
class _Item:
    """One message of a stream, from the time it is read until its outcome is given out."""

    ref: MessageRef
    stream: Streaming
    check: PendingCheck | None = None

    start_by = inf
    has_plan = False

    @property
    def link(self) -> object:
        return self.stream.link

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        self.stream.take_in(self, outcome)


class Streaming(Work):
    """A stream at work: each message is asked once."""

    operation = "stream"

    def __init__(self, engine: Engine, messages: Messages[Any], detail: Detail) -> None:
        super().__init__(engine)
        self.detail = detail
        self.held: dict[_Item, None] = {}
        self.limit = HELD_BULKS * engine.limits.max_bulk
        # Reading many at once takes a quarter of the time of reading one after each outcome.
        self._portion = min(source.READ_AT_ONCE, self.limit // 8)
        self.asked = 0
        self.reader: _loops.BackgroundTask | None = None
        self._source: Iterator[Any] | None = None
        self._async_source: AsyncIterator[Any] | None = None
        if isinstance(messages, AsyncIterable):
            self._async_source = aiter(messages)
        else:
            self._source = iter(messages)

    async def _read_ahead(self) -> None:
        if self.ready and self._room_left() < self._portion:
            return
        while self._source is not None and self._has_room():
            if self._read_on(self._source):
                await self.engine.read_on_later()

    def _end(self) -> None:
        self.engine.delist(self)
        self.is_over = True

    def take_in(self, item: _Item, outcome: StatusRecord | SmscError) -> None:
        """Take the outcome of one message."""
        if item.check is not None:
            item.check = None
            self.asked -= 1
            if self.is_over:  # `stop` has dropped it: it stays pending
                return
        if isinstance(outcome, CONCERNS_ACCOUNT):
            self.give_up(outcome)
            return
        self._give(item, outcome if isinstance(outcome, StatusRecord) else FailedCheck(item.ref, outcome))

    def _give(self, item: _Item, outcome: Outcome) -> None:
        self._put_out(outcome, item)
        if self._has_all_input:
            self._room.send()

    def pending(self) -> list[Any]:
        """See `Work.pending`; in the order in which they were read."""
        return [item.ref for item in self.held]

    def stop(self) -> None:
        """See `Work.stop`."""
        self.engine.delist(self)
        self._has_all_input = self.is_over = True
        self._source = None
        if self.asked:
            self.engine.drop_all(self._give_back())
        self.engine.look_again()
        if self.reader is not None:
            self.reader.cancel()
        self._tell()

    def _give_back(self) -> Iterator[tuple[PendingCheck, _Item]]:
        """Yield the messages that are still being asked, to be dropped one by one."""
        for item in list(self.held):
            check, item.check = item.check, None
            if check is not None:
                self.asked -= 1
                yield check, item
        self._tell()

    async def _begin(self) -> None:
        if not await self._enter_loop():
            return
        self.engine.keep_records(TWIN_AGE)
        self.engine.enlist(self)
        if self._async_source is not None:
            pause = self.engine.read_on_later
            read = partial(source.read, self._async_source, self._put_in_and_wait, pause=pause, end=self._end_input)
            self.reader = self.engine.spawn(read, context=contextvars.copy_context())

    def _is_through(self) -> bool:
        """Whether no more outcomes come. After `stop` the last ones are dropped in portions while the loop runs."""
        is_told = not self.engine.is_telling or self.loop is not _loops.this_loop()
        return self._has_all_input and (not self.asked or (self.is_over and is_told))

    def _has_room(self) -> bool:
        return self._room_left() > 0 and not self._has_all_input

    def _room_left(self) -> int:
        return self.limit + self.batch_size - len(self.held)

    def _read_on(self, messages: Iterator[Any]) -> bool:
        """Read some messages. Returns whether there is room for more, and there may be more."""
        now = _loops.now()
        for _ in range(min(source.READ_AT_ONCE, self._room_left())):
            try:
                value = next(messages)
            except StopIteration:
                self._end_input(None)
            except Exception as error:
                self._end_input(error)
            else:
                self._put_in(value, now=now)
            if self._has_all_input:
                return False
        return self._has_room()

    async def _put_in_and_wait(self, value: Any) -> None:
        self._put_in(value, now=_loops.now())
        while not self._has_room() and not self._has_all_input:
            await self._room.wait()

    def _end_input(self, error: BaseException | None) -> None:
        if self._has_all_input:
            return
        self._has_all_input = True
        self._source = None
        self._input_error = error
        self._tell()

    def _put_in(self, value: Any, *, now: float) -> None:
        try:
            ref = MessageRef.of(value)
        except ConfigError as error:
            item = _Item(value, self)
            self.held[item] = None
            self._give(item, FailedCheck(value, error))  # it concerns this message alone
            return
        item = _Item(ref, self)
        self.held[item] = None
        if self._has_all_input:  # it is too late to ask it: it stays pending
            return
        known = self.engine.known(ref, self.detail, max_age=TWIN_AGE, now=now)
        if known is not None:  # look again at the present time: a slow input may have made `now` old
            known = self.engine.known(ref, self.detail, max_age=TWIN_AGE, now=_loops.now())
        if known is not None:
            self.take_in(item, known)
        else:
            self.asked += 1
            item.check = self.engine.ask(self.detail, item, now=now)

    def _taken(self, ready: Ready) -> None:
        del self.held[ready.of]
        self._room.send()

    def _tell(self) -> None:
        """No more input comes: wake the tasks that wait for an outcome, or for room."""
        self._news.send()
        self._room.send()

    async def aclose(self) -> None:
        """See `Work.aclose`."""
        self._is_closed = True
        self.stop()
        if self.reader is not None:
            await self.reader.wait()
        while self.asked and self.engine.is_telling:
            await self.engine.tell_more()


class OutcomeStream(Outcomes[DataT_co]):
    """The outcomes of many messages, in the order in which the answers come.

    Iterate over it, at once or inside `async with`; leaving the loop early ends it. It holds at most as many
    messages as fit into four bulk requests and into one of its `batches`, and reads on as they come out. It closes an
    async generator that it reads.
    """

    def __init__(self, engine: Engine, messages: Messages[Any], detail: Detail) -> None:
        super().__init__(Streaming(engine, messages, detail))

    def pending(self) -> list[MessageRef[DataT_co]]:
        """The messages that were read from the input and have not come out, in their order, ready to be put in again.

        An item that can't be read as a message is among them as it was put in.
        """
        return self._work.pending()
