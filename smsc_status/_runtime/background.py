"""One background thread with an event loop, for callers that are not async.

It starts with the first call, and in a forked process with the first call there. It ends with the process.
"""

from __future__ import annotations

import atexit
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

import anyio
from anyio.from_thread import BlockingPortal

from smsc_status import _loops
from smsc_status.errors import ConfigError

ResultT = TypeVar("ResultT")


class _Thread:
    """A thread with a running event loop.

    anyio's `start_blocking_portal` is not used: in a forked process it would try to stop the parent's loop.
    """

    def __init__(self) -> None:
        has_begun: Future[tuple[BlockingPortal, Any]] = Future()

        async def work() -> None:
            async with BlockingPortal() as portal:
                has_begun.set_result((portal, _loops.this_loop()))
                await portal.sleep_until_stopped()

        self._thread = threading.Thread(target=anyio.run, args=(work,), name="smsc_status", daemon=True)
        self._thread.start()
        self._portal, self.loop = has_begun.result()

    def end(self) -> None:
        """Cancel what still runs in it, and wait until it has ended."""
        self._portal.call(self._portal.stop, True)
        self._thread.join()


_lock = threading.Lock()
_running: list[_Thread] = []
"""This process's thread; empty before the first call."""

closed_at_exit: WeakSet[Any] = WeakSet()
"""Objects whose `close` is called before the thread ends with the process."""


def begin(work: Callable[[], Awaitable[ResultT]], told: SimpleQueue[object]) -> _loops.Call[ResultT]:
    """Call an async function in the background thread. `told` gets the call when it is done.

    Raises:
        ConfigError: the caller is that thread, which would wait for itself. Or the interpreter is going away, as in
            `__del__` of a global: no thread runs any more, so nobody would answer.
    """
    if sys.is_finalizing():
        raise ConfigError("a blocking call while the interpreter goes away: expected one before")
    with _lock:
        if not _running:
            _running.append(_Thread())
        return _loops.Call(_running[0].loop, work, told)


def call(function: Callable[..., Awaitable[ResultT]], *args: Any, **options: Any) -> ResultT:
    """Call an async function in the background thread, and wait for it.

    If the waiting is interrupted (Ctrl-C), the call is cancelled.

    Raises:
        ConfigError: as from `begin`.
    """
    told: SimpleQueue[object] = SimpleQueue()
    begun = begin(partial(function, *args, **options), told)
    try:
        told.get()
        return begun.result()
    finally:
        begun.cancel()


async def plainly(function: Callable[[], ResultT]) -> ResultT:
    """Call a function that is not async, where an async one is expected."""
    return function()


@atexit.register
def end() -> None:
    """Close the objects in `closed_at_exit`, and end the thread. A later call starts another one."""
    for thing in list(closed_at_exit) if _running else ():
        thing.close()
    while _running:
        _running.pop().end()


def _lock_for_fork() -> None:
    _lock.acquire()


def _leave_to_parent() -> None:
    _loops.keep(list(_running))
    _running.clear()
    _lock.release()


_loops.at_fork(_leave_to_parent, before=_lock_for_fork, in_parent=_lock.release)
