"""The clocks, and the event loop's tasks and callbacks. Only this module knows whether asyncio or trio runs.

A background task belongs to the event loop, not to a caller. So a client may be opened in one task and closed in
another, and a caller's cancellation ends only the caller's own waiting.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from queue import SimpleQueue
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet, ref

import anyio
from anyio.lowlevel import current_token

from smsc_status.errors import ConfigError

ResultT = TypeVar("ResultT")

logger = logging.getLogger("smsc_status")


def _is_trio() -> bool:
    """Whether the calling code runs in trio, which may be a guest of asyncio. trio tells sniffio when it runs."""
    sniffio = sys.modules.get("sniffio")
    return sniffio is not None and sniffio.thread_local.name == "trio"


def _empty_context() -> contextvars.Context:
    """An empty context, in which sniffio is told that asyncio runs (as `anyio.run` tells it).

    Otherwise anyio and httpcore look for the library again in every call, which takes a tenth of a request's time, and
    they do not find it in a callback.
    """
    context = contextvars.Context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None and not _is_trio():
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class Timeline:
    """One monotonic clock, in seconds, for all event loops of the process.

    Each loop's own clock has a different origin, but tokens outlive loops. So when a loop is met for the first time,
    its present is taken to be the last instant that was read, plus the real time that has passed since.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offsets: WeakKeyDictionary[object, float] = WeakKeyDictionary()
        # The loop that was met last, and its offset. Most processes have only one loop, so this spares a look-up.
        self._last: tuple[Callable[[], object], float] = (object, 0.0)
        self._seen_at = 0.0
        self._seen_monotonic = time.monotonic()

    def now(self) -> float:
        """The present instant. Also works where no loop runs."""
        try:
            return self.here_and_now()[1]
        except RuntimeError:
            return self._extrapolate()

    def here_and_now(self) -> tuple[object, float]:
        """The running loop's identity, and the present instant. Raises RuntimeError where no loop runs."""
        if "trio" in sys.modules and _is_trio():
            loop, here = current_token().native_token, anyio.current_time()
        else:
            loop = asyncio.get_running_loop()
            here = loop.time()
        last, offset = self._last
        if last() is not loop:
            offset = self._offset_of(loop, here)
            self._last = ref(loop), offset
        now = here + offset
        self._seen_at, self._seen_monotonic = now, time.monotonic()
        return loop, now

    def _offset_of(self, loop: object, here: float) -> float:
        offset = self._offsets.get(loop)
        if offset is None:
            with self._lock:
                offset = self._offsets[loop] = self._extrapolate() - here
        return offset

    def _extrapolate(self) -> float:
        return self._seen_at + max(0.0, time.monotonic() - self._seen_monotonic)

    def forget_loops(self) -> list[object]:
        """Forget all loops, and return those that had been met. Time goes on."""
        met = list(self._offsets)
        self._lock = threading.Lock()
        self._offsets = WeakKeyDictionary()
        self._last = (object, 0.0)
        return met


_timeline = Timeline()
now = _timeline.now
"""The present instant in seconds, on the one clock that all loops of the process share."""
here_and_now = _timeline.here_and_now
"""The running loop's identity and that instant, in one call. Raises RuntimeError where no loop runs."""

# On other systems than Linux, none of Python's clocks is sure to count sleep.
_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def boot_now() -> float:
    """Seconds of real time, on a clock that never steps back. On Linux it also counts while the machine sleeps.

    It is the same clock for all processes of the machine. Virtual time does not move it.
    """
    return time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK)


class BackgroundTask:
    """A piece of background work. Any task of its loop can cancel it or wait for it."""

    def __init__(self, work: Callable[[], Awaitable[None]], among: set[BackgroundTask] | None = None) -> None:
        self._work = work
        self._among = set() if among is None else among
        # These are made when they are first used, which is always in a task. This constructor may run in a callback.
        self._scope: anyio.CancelScope | None = None
        self._end_event: anyio.Event | None = None
        self._is_cancelled = self._has_ended = False
        self._loop = this_loop()

    def cancel(self) -> None:
        """Ask it to stop. It has stopped when `wait` returns. In another loop than its own it is asked there."""
        self._is_cancelled = True
        if self._scope is None or self._has_ended:
            return
        if self._loop is this_loop():
            self._scope.cancel()
        else:
            call_in(self._loop, self._scope.cancel)

    async def wait(self) -> None:
        """Wait until it has ended, in whatever way. In another loop than its own there is nothing to wait for."""
        if not self._has_ended and self._loop is this_loop():
            self._end_event = self._end_event or anyio.Event()
            await self._end_event.wait()

    async def _run(self) -> None:
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_cancelled:
                    self._scope.cancel()
                await self._work()
        except Exception:  # on trio an exception that escaped would end the whole program
            logger.exception("background work ended by an unexpected error")
        finally:
            self._has_ended = True
            self._among.discard(self)
            if self._end_event is not None:
                self._end_event.set()


# Strong references to the tasks: asyncio itself keeps only weak ones.
_tasks: dict[asyncio.AbstractEventLoop, set[asyncio.Task[None]]] = {}


def _tasks_of(loop: asyncio.AbstractEventLoop) -> set[asyncio.Task[None]]:
    if loop not in _tasks:
        for ended in [known for known in _tasks if known.is_closed()]:
            del _tasks[ended]
    return _tasks.setdefault(loop, set())


def spawn(
    work: Callable[[], Awaitable[None]],
    *,
    context: contextvars.Context | None = None,
    among: set[BackgroundTask] | None = None,
) -> BackgroundTask:
    """Start `work` in the background of the running loop, outside every caller's cancel scope.

    It runs in `context`, or else in an empty one, because work for many callers belongs in no single caller's trace. It
    is in the set `among` until it has ended. An eager task may have ended before this returns.
    """
    background = BackgroundTask(work, among)
    background._among.add(background)
    context = context or _empty_context()
    if _is_trio():
        import trio  # noqa: PLC0415 (only where trio already runs)

        trio.lowlevel.spawn_system_task(background._run, name="smsc_status", context=context)
    else:
        loop = asyncio.get_running_loop()
        task = loop.create_task(background._run(), name="smsc_status", context=context)
        tasks = _tasks_of(loop)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    return background


def call_soon(function: Callable[[], None]) -> None:
    """Call `function` in the running loop after one turn of it, in an empty context. It runs in a callback or in a
    task.

    Only for very short work that never fails, because nobody can wait for it or cancel it.
    """
    if _is_trio():

        async def call() -> None:
            function()

        spawn(call)
    else:
        asyncio.get_running_loop().call_soon(function, context=_empty_context())


def later(seconds: float, function: Callable[[], None]) -> None:
    """Call `function` in the running loop after `seconds` seconds. As for `call_soon`, it must never fail."""
    if _is_trio():

        async def call() -> None:
            await anyio.sleep(seconds)
            function()

        spawn(call)
    else:
        asyncio.get_running_loop().call_later(seconds, function, context=_empty_context())


def this_loop() -> object:
    """The running loop's identity: the same object as long as it runs. Raises RuntimeError where no loop runs."""
    if "trio" in sys.modules and _is_trio():
        return current_token().native_token
    return asyncio.get_running_loop()


def call_in(loop: Any, function: Callable[[], object]) -> None:
    """Have `function` called soon in another loop. Does nothing if that loop has ended."""
    if loop in _parent_loops:
        return
    try:
        if hasattr(loop, "run_sync_soon"):
            loop.run_sync_soon(function)
        else:
            loop.call_soon_threadsafe(function)
    except RuntimeError:  # closed (asyncio), finished (trio)
        logger.debug("a call to an event loop that has ended is dropped")


class Call(Generic[ResultT]):
    """An async function that is called in an asyncio loop, by another thread. `told` gets this object when it is done.

    `asyncio.run_coroutine_threadsafe` and `concurrent.futures.Future` take 1.5 times as long.

    Raises:
        ConfigError: the loop runs in this thread, so the thread would wait for itself.
    """

    def __init__(self, loop: Any, work: Callable[[], Awaitable[ResultT]], told: SimpleQueue[object]) -> None:
        if _asyncio_loop() is loop:
            raise ConfigError("a blocking call in the background thread: expected one in another thread")
        self.is_done: bool = False
        self._loop = loop
        self._told = told
        self._task: asyncio.Task[None] | None = None
        self._results: list[ResultT] = []
        self._error: BaseException | None = None
        loop.call_soon_threadsafe(self._start, work)

    def _start(self, work: Callable[[], Awaitable[ResultT]]) -> None:
        self._task = self._loop.create_task(self._run(work))

    async def _run(self, work: Callable[[], Awaitable[ResultT]]) -> None:
        try:
            self._results.append(await work())
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.is_done = True
            self._told.put(self)

    def result(self) -> ResultT:
        """What it has returned, once it is done; or raises what it has raised."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame
        return self._results[0]

    def cancel(self) -> None:
        """Cancel it in its loop, if it is not done."""
        if not self.is_done:
            call_in(self._loop, self._cancel)

    def _cancel(self) -> None:
        if self._task is not None:  # pragma: no branch (`_start` was called first)
            self._task.cancel()


def _asyncio_loop() -> object:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def has_ended(loop: Any) -> bool:
    """Whether the loop can no longer run anything. In a forked process that includes every loop of the parent."""
    if loop in _parent_loops:
        return True
    is_closed = getattr(loop, "is_closed", None)
    if is_closed is not None:
        return bool(is_closed())
    try:
        loop.run_sync_soon(_noop)
    except RuntimeError:
        return True
    return False


def is_running(loop: Any) -> bool:
    """Whether the loop runs now. An asyncio loop may stop and be run again; a trio loop runs until it ends."""
    if has_ended(loop):
        return False
    return bool(loop.is_running()) if hasattr(loop, "is_running") else True


def run_between(loop: object, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run the work in an asyncio loop that stands still between two runs, as between two tests.

    Does nothing for a loop that runs or is closed, nor for one of trio, which can't be run from outside.
    """
    if isinstance(loop, asyncio.AbstractEventLoop) and not is_running(loop) and not has_ended(loop):
        loop.run_until_complete(work())


def _noop() -> None:
    pass


# In a forked process: the parent's event loops, which do not run here. Their tasks and sockets belong to the parent.
# Any use of them here, even their destruction, may affect the parent's sockets or the `epoll` that both processes
# share. So they are kept for good and never touched.
_parent_loops: WeakSet[Any] = WeakSet()
_never_destroyed: list[object] = []


def keep(thing: object) -> None:
    """Never destroy this object, which belongs to the parent of this forked process."""
    _never_destroyed.append(thing)


def at_fork(
    in_child: Callable[[], None], *, before: Callable[[], None] = _noop, in_parent: Callable[[], None] = _noop
) -> None:
    """Have these functions called at every fork of this process: `before` ahead of it, the other two after it.

    `in_parent` and `in_child` run before anything else does in their process.
    """
    if hasattr(os, "register_at_fork"):  # pragma: no branch (Windows has no fork)
        os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


def _disown_parent_loops() -> None:
    for loop in _timeline.forget_loops():
        _parent_loops.add(loop)
        keep(loop)
    keep(dict(_tasks))
    _tasks.clear()


at_fork(_disown_parent_loops)
