"""Many messages in, their outcomes out as they come: read lazily, held in bounds, lost never."""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from functools import partial
from math import inf
from typing import Any, NoReturn, Self

import attrs
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._core.scheduling.dispatch import PendingCheck
from smsc_status._core.scheduling.pending import CONCERNS_ACCOUNT
from smsc_status._operations import source
from smsc_status._operations.source import Messages
from smsc_status._runtime.engine import Engine
from smsc_status._runtime.signals import Signal
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import Detail, FailedCheck, MessageRef, StatusRecord

HELD_BULKS = 4
"""A stream holds at most this many bulk requests' messages: read, and not yet given out."""

TWIN_AGE = 1.0
"""A message that is put in again is given the record that came in at most so many seconds ago."""

YIELD_EVERY = 64
"""Outcomes that are there already are given out without a pause, but for other tasks' sake every so many."""


@attrs.define(eq=False)
class _Item:
    """One message of a stream, from being read to being given out."""

    ref: MessageRef
    stream: _State
    check: PendingCheck | None = None
    outcome: StatusRecord | FailedCheck | None = None

    start_by = inf
    has_plan = False

    def on_result(self, outcome: StatusRecord | SmscError) -> None:
        self.stream.take_in(self, outcome)


class _State:
    """What a stream is doing, apart from the object that the caller holds: dropping that one ends the stream."""

    def __init__(self, engine: Engine, messages: Messages, detail: Detail) -> None:
        self.engine = engine
        self.detail = detail
        self.held: dict[_Item, None] = {}
        self.ready: deque[_Item] = deque()
        self.limit = HELD_BULKS * engine.limiter.limits.max_bulk
        self.asked = 0
        self.error: SmscError | None = None
        self.input_error: Exception | None = None
        self.ended = False
        self.is_over = False
        self.loop: object = None
        self.reader: _loops.BackgroundTask | None = None
        self._given_out = 0
        self._news = Signal()
        self._room = Signal()
        self._source: Iterator[Any] | None = None
        self._async_source: AsyncIterator[Any] | None = None
        if isinstance(messages, AsyncIterable):
            self._async_source = aiter(messages)
        else:
            self._source = iter(messages)

    async def next(self) -> StatusRecord | FailedCheck:
        """The next outcome.

        Raises:
            StopAsyncIteration: there are no more.
            ConfigError: it was begun in another event loop.
        """
        await self._begin()
        while True:
            self._given_out += 1
            if self._given_out % YIELD_EVERY == 0:
                await checkpoint()
            while self._source is not None and self._has_room():
                self._read_on(self._source)
                if self._has_room():
                    await self.engine.read_on_later()
            if self.ready:
                return self._give_out()
            if self.error is not None:
                error, self.error = self.error, None
                error.pending = tuple(item.ref for item in self.held)
                raise error
            if self._is_through():
                self.engine.cancellables.discard(self)
                self.is_over = True
                error_of_input, self.input_error = self.input_error, None
                raise error_of_input or StopAsyncIteration
            await self._news.wait()

    def take_in(self, item: _Item, outcome: StatusRecord | SmscError) -> None:
        """What came of one message."""
        if item.check is not None:
            item.check = None
            self.asked -= 1
            if self.is_over:  # it was to be given up, and stays pending
                return
        if isinstance(outcome, CONCERNS_ACCOUNT):
            self.give_up(outcome)
            return
        item.outcome = outcome if isinstance(outcome, StatusRecord) else FailedCheck(item.ref, outcome)
        self.ready.append(item)
        self._tell()

    def give_up(self, error: SmscError) -> None:
        """The account is refused, or the client closed: after what is ready, the stream ends with this."""
        if not self.is_over:
            self.error = self.error or error
            self.stop()

    def stop(self) -> None:
        """Read no more, and ask no more for what is held."""
        self.engine.cancellables.discard(self)
        self.ended = self.is_over = True
        self._source = None
        if self.asked:
            self.engine.pending.drop_all(self._give_back())
        self.engine.look_again()
        if self.reader is not None:
            self.reader.cancel()
        self._tell()

    def _give_back(self) -> Iterator[tuple[PendingCheck, _Item]]:
        """What is still asked, and is not any more."""
        for item in list(self.held):
            check, item.check = item.check, None
            if check is not None:
                self.asked -= 1
                yield check, item
        self._tell()

    async def _begin(self) -> None:
        if self.loop is not None and not self.is_over and self.loop is not _loops.this_loop():
            raise ConfigError("this stream was begun in another event loop: put what is pending into a new one")
        if self.loop is not None or self.ended:
            return
        await self.engine.bind()
        self.loop = _loops.this_loop()
        self.engine.pending.keep_records(TWIN_AGE)
        self.engine.cancellables.add(self)
        if self._async_source is not None:
            pause = self.engine.read_on_later
            read = partial(source.read, self._async_source, self._put_in_and_wait, pause=pause, end=self._end_input)
            self.reader = self.engine.spawn(read, context=contextvars.copy_context())

    def _is_through(self) -> bool:
        """Whether nothing comes any more. What is given up is told so in portions, while the loop of its own runs."""
        is_told = not self.engine.is_telling or self.loop is not _loops.this_loop()
        return self.ended and (not self.asked or (self.is_over and is_told))

    def _has_room(self) -> bool:
        return len(self.held) < self.limit and not self.ended

    def _read_on(self, messages: Iterator[Any]) -> None:
        for _ in range(source.READ_AT_ONCE):
            if not self._has_room():
                break
            try:
                value = next(messages)
            except StopIteration:
                self._end_input(None)
            except Exception as error:
                self._end_input(error)
            else:
                self._put_in(value)

    async def _put_in_and_wait(self, value: Any) -> None:
        self._put_in(value)
        while not self._has_room() and not self.ended:
            await self._room.wait()

    def _end_input(self, error: Exception | None) -> None:
        if self.ended:
            return
        self.ended = True
        self._source = None
        self.input_error = error
        self._tell()

    def _put_in(self, value: Any) -> None:
        try:
            ref = MessageRef.of(value)
        except ConfigError as error:
            item = _Item(value, self)
            self.held[item] = None
            self.take_in(item, error)
            return
        item = _Item(ref, self)
        self.held[item] = None
        if self.ended:  # too late to be asked, but not to be given back
            return
        known = self.engine.pending.known(ref, self.detail, max_age=TWIN_AGE, now=_loops.now())
        if known is not None:
            self.take_in(item, known)
        else:
            self.asked += 1
            item.check = self.engine.ask(self.detail, item)

    def _give_out(self) -> StatusRecord | FailedCheck:
        item = self.ready.popleft()
        del self.held[item]
        self._room.send()
        assert item.outcome is not None  # noqa: S101 (narrows the type: `take_in` has set it)
        return item.outcome

    def _tell(self) -> None:
        self._news.send()
        if self.ended:
            self._room.send()


class OutcomeStream:
    """The outcomes of many messages, in the order in which the answers come.

    Iterate over it, at once or inside `async with`; leaving the loop early ends it. It holds at most four bulk
    requests' messages, and reads on as they come out. An async generator that it reads is closed with it.
    """

    def __init__(self, engine: Engine, messages: Messages, detail: Detail) -> None:
        self._state = _State(engine, messages, detail)

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is asynchronous: iterate over it with `async for`, not `for`")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusRecord | FailedCheck:
        return await self._state.next()

    def pending(self) -> list[MessageRef]:
        """The messages that were read from the input and have not come out, in their order, ready to be put in again.

        What can't be read as a message is among them as it was put in.
        """
        return [item.ref for item in self._state.held]

    async def aclose(self) -> None:
        """End it: nothing more is read, asked or given out. `pending` stays."""
        state = self._state
        state.ready.clear()
        state.stop()
        if state.reader is not None:
            await state.reader.wait()
        while state.asked and state.engine.is_telling:
            await state.engine.tell_more()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        state = getattr(self, "_state", None)  # absent where the input could not be iterated over
        if state is not None and state.loop is not None and not state.is_over:
            _loops.call_in(state.loop, state.stop)
