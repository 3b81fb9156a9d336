"""The outcomes of a stream or a tracker for code that is not async. Its input is read by the thread that iterates."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator
from functools import partial
from queue import SimpleQueue
from threading import Lock
from time import monotonic
from typing import Any, Generic, Self, TypeVar

import anyio

from smsc_status import _loops
from smsc_status._operations.source import READ_AT_ONCE
from smsc_status._runtime.background import begin, call, plainly
from smsc_status.models import DataT, MessageRef

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

READ_FOR = 0.01
"""Seconds. The reader reads for this long, then checks again whether an outcome has come."""


class Handover:
    """Messages that are read by the thread that waits for outcomes: a database's cursor allows no other thread.

    `feed` asks for messages in the event loop. `serve` reads them in the calling thread, while it waits.
    """

    def __init__(self, messages: Iterable[Any]) -> None:
        self._messages = iter(messages)
        self._read: list[Any] = []
        self._has_ended = False
        self._error: Exception | None = None
        # Set while more is wanted: the loop of `feed`, and what tells it that there is more.
        self._wanted: tuple[object, anyio.Event] | None = None
        self._news: SimpleQueue[object] = SimpleQueue()

    async def feed(self) -> AsyncGenerator[Any, None]:
        """The messages, as they are wanted."""
        while not self._has_ended:
            has_read = anyio.Event()
            self._wanted = _loops.this_loop(), has_read
            self._news.put(None)
            await has_read.wait()
            messages, self._read = self._read, []
            for message in messages:
                yield message
        if self._error is not None:
            raise self._error

    def serve(self, work: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """Call an async function in the background thread, and read what is wanted until it is done."""
        call = begin(work, self._news)
        try:
            while not call.is_done:
                if self._wanted is not None:
                    self._read_on()
                else:
                    self._news.get()
            return call.result()
        finally:
            call.cancel()

    def _read_on(self) -> None:
        until = monotonic() + READ_FOR
        try:
            for message in self._messages:
                self._read.append(message)
                if len(self._read) >= READ_AT_ONCE or monotonic() > until:
                    break
            else:
                self._has_ended = True
        except Exception as error:
            self._has_ended, self._error = True, error
        assert self._wanted is not None  # noqa: S101 (narrows the type: `serve` has looked)
        (loop, has_read), self._wanted = self._wanted, None
        _loops.call_in(loop, has_read.set)


async def _fetch(source: Any, got: deque[Any]) -> bool:
    async for item in source:
        got.append(item)  # it is not lost if nobody waits for it any more
        return True
    return False


class BlockingStream(Generic[ItemT, DataT]):
    """The outcomes of a stream or a tracker, or lists of them: see `OutcomeStream` and `TrackStream`.

    Iterate over it, at once or inside `with`; leaving the loop early ends it. The input is read lazily, in the thread
    that iterates. After Ctrl-C the iteration may go on, and nothing is lost.
    """

    def __init__(self, source: Any, handover: Handover) -> None:
        self._source = source
        self._handover = handover
        self._got: deque[Any] = deque()
        self._lock = Lock()

    def __iter__(self) -> Iterator[ItemT]:
        return self

    def __next__(self) -> ItemT:
        with self._lock:  # threads take turns
            while not self._got:
                if not self._handover.serve(partial(_fetch, self._source, self._got)):
                    raise StopIteration
            item: ItemT = self._got.popleft()
            return item

    def batches(self, max_size: int, max_seconds: float) -> BlockingStream[list[ItemT], DataT]:
        """The same outcomes in lists: see `OutcomeStream.batches`."""
        return BlockingStream(self._source.batches(max_size, max_seconds), self._handover)

    def pending(self) -> list[MessageRef[DataT]]:
        """The messages that were read and are not done, ready to be put in again."""
        refs: list[MessageRef[DataT]] = call(plainly, self._source.pending)
        got = [one.ref for item in self._got for one in (item if isinstance(item, list) else [item])]
        return [*(ref for ref in got if not any(ref is other for other in refs)), *refs]

    def close(self) -> None:
        """End it: nothing more is read, asked or given out. `pending` stays."""
        call(self._source.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def opened(begin_stream: Callable[..., Any], messages: Any, **options: Any) -> BlockingStream[Any, Any]:
    """A stream or a tracker of messages that are read by the thread that iterates, unless they are async."""
    if isinstance(messages, AsyncIterable):  # it is read in the background thread
        return BlockingStream(begin_stream(messages, **options), Handover(()))
    handover = Handover(messages)
    return BlockingStream(begin_stream(handover.feed(), **options), handover)
