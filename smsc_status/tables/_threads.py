"""Calls that block run in threads of their own, for which the program does not wait at its end.

anyio's worker threads are not used. On asyncio a program can't exit until each of them has returned, and a call to a
database that never answers does not return.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

from smsc_status import _loops

T = TypeVar("T")


class _Call(Generic[T]):
    """A call in a thread. The thread is a daemon, so it ends with the program at the latest."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.results: list[T] = []
        self.errors: list[BaseException] = []
        self.returned = anyio.Event()
        self._work = work
        self._loop = _loops.this_loop()
        threading.Thread(target=self._run, name="smsc_status database", daemon=True).start()

    def _run(self) -> None:
        try:
            self.results.append(self._work())
        except BaseException as error:
            self.errors.append(error)
        _loops.call_in(self._loop, self.returned.set)


async def in_thread(work: Callable[[], T]) -> T:
    """Call a function that blocks, in a thread. A caller who is cancelled does not wait for the thread.

    Raises:
        BaseException: what the function raises.
    """
    call = _Call(work)
    await call.returned.wait()
    if call.errors:
        raise call.errors.pop()
    return call.results.pop()
