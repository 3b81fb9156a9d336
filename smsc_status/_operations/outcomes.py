"""What streams and trackers have in common: where they begin, how they end, and what the caller holds.

The work and the object that the caller holds are apart. When the caller drops the object, the work stops.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NoReturn, Self

from anyio.lowlevel import checkpoint

from smsc_status import _loops
from smsc_status._runtime.engine import Engine
from smsc_status._runtime.signals import Signal
from smsc_status.errors import ConfigError, SmscError
from smsc_status.models import FailedCheck, StatusRecord

YIELD_EVERY = 64
"""Outcomes that are ready are given out without a pause, but other tasks get a turn after every so many."""


class Work(ABC):
    """Messages that are being asked, and their outcomes. It belongs to the event loop in which it began."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loop: object = None
        self.is_over: bool = False
        """Nothing is read or asked any more."""
        self._has_all_input = False
        self._error: SmscError | None = None
        self._input_error: BaseException | None = None
        self._given_out = 0
        # Something has come for whoever takes the outcomes; there is room for more input.
        self._news = Signal()
        self._room = Signal()

    @abstractmethod
    async def next(self) -> StatusRecord | FailedCheck:
        """The next outcome.

        Raises:
            StopAsyncIteration: there are no more.
            ConfigError: it was begun in another event loop.
        """

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
        """Belong to the running event loop from now on. `False` if it does so already, or is over.

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
        return True

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

    async def _yield_sometimes(self) -> bool:
        """Count an outcome, and give other tasks their turn after every `YIELD_EVERY`; whether that was done."""
        self._given_out += 1
        if self._given_out % YIELD_EVERY:
            return False
        await checkpoint()
        return True


class Outcomes:
    """What the caller iterates over. The work stops when this object is gone."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __iter__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is asynchronous: iterate over it with `async for`, not `for`")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StatusRecord | FailedCheck:
        return await self._work.next()

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
