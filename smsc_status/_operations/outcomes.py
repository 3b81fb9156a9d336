"""What streams and trackers have in common: where they begin, how they end, and what the caller holds.

The work and the object that the caller holds are apart. When the caller drops the object, the work stops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from math import inf
from typing import Any, ClassVar, Generic, NamedTuple, NoReturn, Self

import anyio
from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._arguments import seconds, whole
from smsc_status._runtime.engine import Engine
from smsc_status._runtime.signals import Signal
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import DataT_co, FailedCheck, MessageRef, StatusRecord

Outcome = StatusRecord[Any] | FailedCheck[Any]

YIELD_EVERY = 64
"""Outcomes that are ready are given out without a pause, but other tasks get a turn after every this many."""


ROUNDING = 1e-6
"""Seconds. More than the rounding error of an instant, also of one that was divided by a speed and multiplied again."""


class Ready(NamedTuple):
    """An outcome that has not been taken yet."""

    outcome: Outcome
    of: Any
    """What the outcome belongs to; each kind of work has its own."""
    came_at: float
    """When it came; `-inf` if nobody had asked for a batch yet. It matters for batches alone."""


class Work(ABC):
    """Messages that are being asked, and their outcomes. It belongs to the event loop in which it began."""

    operation: ClassVar[str]
    """The name of the client's method."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop: object = None
        self.link: object = None
        """The link of the caller that began it: what an observer knows the caller by."""
        self.is_over: bool = False
        """Nothing is read or asked any more."""
        self.ready: deque[Ready] = deque()
        """What has come out and was not taken yet, in the order in which it came."""
        self.batch_size: int = 0
        """The size of the largest batch that is asked for. There is room for one such batch."""
        self._has_all_input = self._is_closed = False
        self._error: SmscError | None = None
        self._input_error: BaseException | None = None
        self._given_out = 0
        # `_news`: something has come for the task that takes the outcomes. `_room`: there is room for more input.
        self._news = Signal()
        self._room = Signal()

    async def next(self) -> Outcome:
        """The next outcome.

        Raises:
            StopAsyncIteration: there are no more.
            ConfigError: it was begun in another event loop.
        """
        if self.loop is not _loops.this_loop():
            await self._begin()
        while True:
            if self._given_out >= YIELD_EVERY:  # other tasks have their turn
                self._given_out = 0
                await checkpoint()
            await self._read_ahead()
            if self.ready and not self._is_closed:
                return self._take()
            self._raise_if_over()
            await self._news.wait()

    async def batch(self, max_size: int, max_seconds: float) -> list[Outcome]:
        """The next outcomes, one or more: `max_size` of them, or what has come `max_seconds` after the first.

        They stay in `ready` until all are handed out, so a cancellation before that changes nothing.

        Raises:
            StopAsyncIteration, ConfigError: as from `next`.
        """
        await self._begin()
        self.batch_size = max(self.batch_size, max_size)
        await checkpoint()
        while True:
            await self._read_ahead()
            if self.ready and not self._is_closed:
                left = self.ready[0].came_at + max_seconds - _loops.now()
                if len(self.ready) >= max_size or left <= ROUNDING or self._is_through():
                    return [self._take() for _ in range(min(max_size, len(self.ready)))]
                with anyio.move_on_after(left):
                    await self._news.wait()
            else:
                self._raise_if_over()
                await self._news.wait()

    def _take(self) -> Outcome:
        first = self.ready.popleft()
        self._given_out += 1
        self._taken(first)
        return first.outcome

    def _put_out(self, outcome: Outcome, of: Any) -> None:
        self.ready.append(Ready(outcome, of, _loops.now() if self.batch_size else -inf))
        if self.engine.observer is not None:
            self.engine.observer.came_out(self.operation, outcome)
        self._news.send()

    @abstractmethod
    async def _begin(self) -> None:
        """Start, if it has not."""

    @abstractmethod
    async def _read_ahead(self) -> None:
        """Read more of the input, if that is done by the task that takes the outcomes."""

    @abstractmethod
    def _taken(self, ready: Ready) -> None:
        """An outcome has just been taken."""

    @abstractmethod
    def _is_through(self) -> bool:
        """Whether no more outcomes come than those that are ready."""

    @abstractmethod
    def _end(self) -> None:
        """Everything has come out."""

    @abstractmethod
    def pending(self) -> list[Any]:
        """What was read from the input and has not come out."""

    @abstractmethod
    def stop(self) -> None:
        """Read no more and ask no more. What is not done stays pending."""

    @abstractmethod
    async def aclose(self) -> None:
        """Stop, and wait until that is done."""

    def give_up(self, error: SmscError) -> None:
        """The account is refused, or the client is closed: what is ready comes out, and then this error."""
        if not self.is_over:
            self._error = self._error or error
            self.stop()

    async def _enter_loop(self) -> bool:
        """Belong to the running event loop from now on. Returns `False` if it does so already, or is over.

        Raises:
            ConfigError: it belongs to another event loop, or the client does.
        """
        if self.is_over:
            return False
        if self.loop is not None:
            if self.loop is not _loops.this_loop():
                raise ConfigError("this stream was begun in another event loop: put what is pending into a new one")
            return False
        await self.engine.bind()
        self.loop = _loops.this_loop()
        if self.engine.observer is not None:
            self.link = self.engine.observer.link()
        return True

    def _raise_if_over(self) -> None:
        """Raise what has stopped the work, or the end of the iteration, if nothing more comes."""
        self._raise_error()
        if self._is_through():
            self._end()
            self._raise_end()

    def _raise_error(self) -> None:
        """Raise what has stopped the work, once."""
        if self._error is not None:
            error, self._error = self._error, None
            error.pending = tuple(self.pending())
            raise error

    def _raise_end(self) -> NoReturn:
        """Raise what the input has raised, once, or the end of the iteration."""
        error, self._input_error = self._input_error, None
        if error is None:
            raise StopAsyncIteration
        if isinstance(error, StopAsyncIteration):
            raise RuntimeError("the input or `until` raised StopAsyncIteration") from error
        raise error


class Outcomes(ABC, Generic[DataT_co]):
    """What the caller iterates over. The work stops when this object is gone."""

    def __init__(self, work: Work) -> None:
        self._work = work

    @abstractmethod
    def pending(self) -> list[MessageRef[DataT_co]]:
        """What was read from the input and is not done."""

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is asynchronous: iterate over it with `async for`, not `for`")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusRecord[DataT_co] | FailedCheck[DataT_co]:
        return await self._work.next()

    def batches(self, max_size: int, max_seconds: float) -> Batches[DataT_co]:
        """The same outcomes in lists, to be stored together.

        A list has one outcome at least, and `max_size` at most. It is given at the latest `max_seconds` after its first
        outcome came. Nothing is lost if the waiting for a list is cancelled: what was gathered comes with the next one,
        and is in `pending` like everything that was not taken.

        Raises:
            ConfigError: `max_size` is no whole number of at least 1, or `max_seconds` no time of at least 0 seconds.
        """
        return Batches(self, self._work, whole(max_size, "max_size", at_least=1), seconds(max_seconds, "max_seconds"))

    async def aclose(self) -> None:
        """End it: nothing more is read, asked or given out. `pending` stays."""
        await self._work.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        work = getattr(self, "_work", None)  # absent where the input could not be iterated over
        if work is not None and work.loop is not None and not work.is_over:
            _loops.call_in(work.loop, work.stop)


class Batches(Generic[DataT_co]):
    """The outcomes of a stream or a tracker, in lists. See `OutcomeStream.batches`.

    Iterate over it, at once or inside `async with`; leaving the loop early ends the stream.
    """

    def __init__(self, outcomes: Outcomes[DataT_co], work: Work, max_size: int, max_seconds: float) -> None:
        self._outcomes = outcomes  # the work stops when nobody holds these
        self._work = work
        self._max_size = max_size
        self._max_seconds = max_seconds

    def __iter__(self) -> NoReturn:
        raise TypeError("Batches is asynchronous: iterate over it with `async for`, not `for`")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[StatusRecord[DataT_co] | FailedCheck[DataT_co]]:
        return await self._work.batch(self._max_size, self._max_seconds)

    def pending(self) -> list[MessageRef[DataT_co]]:
        """See `OutcomeStream.pending`, and `TrackStream.pending`."""
        return self._outcomes.pending()

    async def aclose(self) -> None:
        """End it: nothing more is read, asked or given out. `pending` stays."""
        await self._outcomes.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
