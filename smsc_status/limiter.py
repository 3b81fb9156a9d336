"""Waiting for the limits of one account, on behalf of all its clients.

A client needs only the `Limiter` protocol. `LocalLimiter` implements it within one process. The limiter that processes
share is in `smsc_status._sharing.limiter`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from functools import partial
from itertools import count
from math import inf
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet, WeakValueDictionary

import anyio
import attrs

from smsc_status import _loops
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._waiters import Waiter, WaitQueue
from smsc_status.errors import ConfigError
from smsc_status.models import Key, Limits

__all__ = ["Limiter", "LocalLimiter", "Pacer", "Permit", "RequestEnd", "Selector", "Slots", "Wanted"]

MIN_PAUSE = 1e-6
"""Seconds. A loop's clock may be too coarse for a shorter pause; in virtual time a shorter pause never ends."""

TURN_TIMEOUT = 0.05
"""Seconds that a loop has to call the selector whose turn it is. After that, the next waiter's loop has the turn."""

LOOP_WATCH_INTERVAL = 1.0
"""Seconds. While several loops share a limiter, it checks this often that the others still run: a loop that has stopped
cannot report it."""

LONGEST_REQUEST = 30.0
"""How long a request may take, in seconds, unless a client says that its own requests may take longer."""


class Wanted(Protocol):
    """A request, as far as the limits are concerned."""

    @property
    def keys(self) -> Collection[Key]:
        """The distinct ids that it names, each once."""

    @property
    def bulk(self) -> bool:
        """Whether the server counts it as a bulk request."""


WantedT = TypeVar("WantedT", bound=Wanted)
WantedT_co = TypeVar("WantedT_co", bound=Wanted, covariant=True)


class Selector(Protocol[WantedT_co]):
    """Says which request to start now, if any. It is called only in the event loop of the caller that waits.

    A selector, or the object whose method it is, may have a method `is_urgent(*, now: float) -> bool`. Of the selectors
    that are to be called, urgent ones are called first, whatever their client or loop; after them, those that have
    waited longest. `is_urgent` is called in any thread, each time that the next selector is chosen. So it must be
    quick, take no lock and raise nothing.

    Two more optional methods tell other processes what this one waits for. `has_work() -> bool` says whether the
    selector has anything to send at all; a selector without it counts as having something.
    `wants_bulk(*, now: float) -> bool` says whether it would use the bulk slot.
    """

    def __call__(self, pacer: Pacer, *, now: float) -> WantedT_co | float:
        """A request that the pacer lets start now, or the instant at which to ask again (`inf`: only after an event).

        Events are: a slot comes free when there was none; a bulk request ends; a request of either kind ends as
        anything but `RequestEnd.REPLIED`; a request that this selector named has ended; `wake` is called. Selectors are
        hashable. The same method of the same object is the same selector.
        """


class Permit(Generic[WantedT_co]):
    """The right to send one request. The request counts as in flight until the permit is released.

    A permit may be lost before its release, for example because its loop has ended. Its request counts as abandoned as
    soon as the loss is noticed.

    Attributes:
        wanted: the request that was permitted.
        released: whether its end has been reported.
        granted_at: the instant from which the client's `timeout` for the request counts; by default, when the permit
            was made. Once that time is over, the request is not sent any more. In seconds of
            `time.clock_gettime(time.CLOCK_BOOTTIME)` on Linux, of `time.monotonic()` elsewhere.
    """

    __slots__ = ("granted_at", "loop", "lost", "number", "released", "select", "wanted")

    def __init__(
        self,
        wanted: WantedT_co,
        select: Selector[WantedT_co] | None = None,
        loop: object = None,
        number: int = 0,
        lost: deque[Any] | None = None,
        *,
        granted_at: float | None = None,
    ) -> None:
        self.granted_at: float = _loops.boot_now() if granted_at is None else granted_at
        self.wanted: WantedT_co = wanted
        self.released: bool = False
        self.select: Selector[WantedT_co] | None = select
        self.loop: object = loop
        self.number: int = number
        self.lost: deque[Any] | None = lost

    def __del__(self) -> None:
        # This may run anywhere, even while the pacer is at work. So it only takes a note.
        if not self.released and self.lost is not None:
            self.lost.append((self.loop, self.number))


class Limiter(Protocol):
    """Keeps one account within its limits. All methods are called from inside an event loop, which may be any."""

    limits: Limits

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """Wait until `select` names a request that may start now, and start it.

        Callers that wait for the same token or slot are served in the order of arrival. A caller does not wait behind
        one that waits for another token. A cancelled call takes nothing. The client's `timeout` for the request counts
        from the permit's `granted_at`, so return soon after you have made the permit.
        """

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """Report that the permitted request has ended. A second release of the same permit does nothing."""

    def wake(self, select: Selector[Any] | None = None) -> None:
        """Call `select` again: its answer may have changed. By default, call all selectors that wait in this loop."""

    def slots(self) -> Slots:
        """What is known of the account now."""


@attrs.frozen
class Slots:
    """The state of an account: its open requests, and the seconds until the next bulk request may start.

    If processes share it: how many have used it lately, the seconds until requests may start after the shared log was
    lost, and what it is shared by.
    """

    open_requests: int
    bulk_slot_in: float
    processes: int = 1
    quarantine_in: float = 0.0
    shared_by: str = "process"


class LocalLimiter:
    """Keeps the limits of one account in one process: exact, fair, safe to cancel, on any number of event loops.

    A selector is called only in the thread of its own loop. So if the next selector to call is of another loop, the
    turn is given to that loop. No later selector is called until that loop has called its own, or for at most
    `TURN_TIMEOUT` seconds. A loop that misses its turn gets no more turns until it runs again.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits: Limits = limits or Limits()
        self.pacer: Pacer = Pacer(self.limits)
        self.outlives_clients = False
        self.longest_request = LONGEST_REQUEST
        """How long a request of its clients may take, in seconds. After that, the requests of a loop that has stopped
        count as abandoned."""
        self._numbers = count()
        self._reset()
        with _registry:
            _all.add(self)

    def _reset(self) -> None:
        self._queue = WaitQueue()
        # The requests in flight, by the loop of their permit and by its number.
        self._open: dict[object, dict[int, Wanted]] = {}
        # Loop and number of each permit that was lost.
        self._lost: deque[tuple[object, int]] = deque()
        # The loop that has the turn, and the instant until which the others wait for it.
        self._turn: tuple[object, float] = (None, -inf)
        # Loops that have missed their turn, and loops that have a timer set for the end of a turn.
        self._unresponsive: WeakSet[Any] = WeakSet()
        self._with_timer: WeakSet[Any] = WeakSet()
        # The loop that was met first, and whether there are others.
        self._first_loop: object = None
        self._is_shared = False
        self._watch_at = -inf
        # By loop, the instant since which it is known to have stopped.
        self._stopped_since: dict[object, float] = {}
        self.lock: threading.RLock = threading.RLock()

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Limiter.acquire`."""
        here, now = _loops.here_and_now()
        with self.lock:
            self._call_due_selectors(here, now)
            waiter = Waiter(next(self._numbers), select, here)
            if self._turn[0] is None:
                wanted = select(self.pacer, now=now)
                if not isinstance(wanted, float | int):
                    return self._start(wanted, select, here, now)
                self._queue.join(waiter)
                self._queue.defer(waiter, wanted, has_slot=self.pacer.free_slots(now=now) > 0)
            else:  # other selectors are to be called first
                self._queue.join(waiter)
                self._queue.mark_due([waiter])
                self._set_turn_timer(here)
        return await self._wait(waiter, here)

    async def _wait(self, waiter: Waiter, here: object) -> Permit[Any]:
        try:
            while waiter.permit is None:
                waiter.woken = anyio.Event()
                at_most = LOOP_WATCH_INTERVAL if self._is_shared else inf
                pause = inf if waiter.ask_at == inf else max(MIN_PAUSE, waiter.ask_at - _loops.now())
                with anyio.move_on_after(min(pause, at_most)):
                    await waiter.woken.wait()
                with self.lock:
                    self._call_due_selectors(here, _loops.now())
                if waiter.error is not None:
                    raise waiter.error
            permit: Permit[Any] = waiter.permit
            if self._is_open(permit):
                return permit
        except BaseException:
            if waiter.permit is not None:
                await self.release(waiter.permit, RequestEnd.NOT_SENT)
            raise
        finally:
            with self.lock:
                self._queue.leave(waiter)
        # The loop had stopped for so long that the request counted as abandoned. So wait for a new permit.
        return await self.acquire(partial(_select_again, permit.wanted))

    def _is_open(self, permit: Permit[Any]) -> bool:
        return permit.number in self._open.get(permit.loop, ())

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """See `Limiter.release`."""
        here, now = _loops.here_and_now()
        with self.lock:
            if permit.released:
                return
            permit.released = True
            self._note_running(here)
            self._find_lost(here, now)
            is_found = self._finish(permit.loop, permit.number, how, now)
            if self._queue.waiting:
                if is_found:
                    self._mark_after_release(permit, how)
                self._call_in_order(here, now)

    def wake(self, select: Selector[Any] | None = None) -> None:
        """See `Limiter.wake`."""
        here, now = _loops.here_and_now()
        with self.lock:
            self._queue.mark_due(self._queue.in_loop(here) if select is None else self._queue.with_selector(select))
            self._call_due_selectors(here, now)

    def slots(self) -> Slots:
        """See `Limiter.slots`."""
        with self.lock:
            now = _loops.now()
            return Slots(self.pacer.open_requests, max(0.0, self.pacer.bulk_due_at(now=now) - now))

    @property
    def waiting(self) -> int:
        """How many callers wait for a permit."""
        with self.lock:
            return len(self._queue.waiting)

    def is_idle(self) -> bool:
        """Whether every token and slot is back. If so, nothing is remembered any more."""
        with self.lock:
            now = _loops.now()
            self._find_lost(None, now)
            self._call_in_order(None, now)
            return self.pacer.is_idle(now=now)

    # Which selector to call. Each loop's selectors are called only in the loop's own thread.

    def _call_due_selectors(self, here: object, now: float) -> None:
        """Find out which selectors are due, and call those that may be called in this loop."""
        self._note_running(here)
        self._find_lost(here, now)
        self._queue.mark_due_by(now)
        self._call_in_order(here, now)

    def _mark_after_release(self, permit: Permit[Any], how: RequestEnd) -> None:
        queue = self._queue
        if how is RequestEnd.NOT_SENT:
            queue.mark_all_due_with_slot()
        # A reply to a single request changes only its slot and what its own selector may name, and an unsent request is
        # refunded. Any other end may delay tokens that other selectors count on.
        for_all = how in (RequestEnd.REFUSED, RequestEnd.ABANDONED) or (
            permit.wanted.bulk and how is RequestEnd.REPLIED
        )
        queue.mark_due(queue.waiting if for_all else queue.with_selector(permit.select))

    def _call_in_order(self, here: object, now: float) -> None:
        """Call the due selectors of this loop in order, until the next one is of another loop. Then give that loop the
        turn.
        """
        queue = self._queue
        while queue.may_be_due:
            waiter = queue.next_due(has_slot=self.pacer.free_slots(now=now) > 0, now=now)
            if waiter is None:
                break
            if waiter.loop is here:
                queue.unmark(waiter)
                self._call_selector(waiter, now)
            elif _loops.has_ended(waiter.loop):
                for left in queue.in_loop(waiter.loop):
                    queue.leave(left)
            elif waiter.loop in self._unresponsive:
                queue.unmark(waiter)
            elif self._turn[0] is not waiter.loop:
                self._give_turn_to(waiter.loop, here, now)
                return
            elif now < self._turn[1]:
                return
            else:
                self._unresponsive.add(waiter.loop)
        self._turn = (None, -inf)

    def _call_selector(self, waiter: Waiter, now: float) -> None:
        try:
            wanted = waiter.select(self.pacer, now=now)
        except Exception as error:  # the exception belongs to its own caller, not to the task that happens to run this
            waiter.error = error
        else:
            if isinstance(wanted, float | int):
                self._queue.defer(waiter, wanted, has_slot=self.pacer.free_slots(now=now) > 0)
                return
            waiter.permit = self._start(wanted, waiter.select, waiter.loop, now)
        self._queue.leave(waiter)
        waiter.wake()

    def _give_turn_to(self, loop: object, here: object, now: float) -> None:
        self._turn = (loop, now + TURN_TIMEOUT)
        _loops.call_in(loop, self._call_due_selectors_here)
        for other in {waiter.loop for waiter in self._queue.waiting}:
            if other is here:
                self._set_turn_timer(here)
            elif other is not loop:
                _loops.call_in(other, self._set_turn_timer_here)

    def _call_due_selectors_here(self) -> None:
        here, now = _loops.here_and_now()
        with self.lock:
            self._call_due_selectors(here, now)

    def _set_turn_timer(self, here: Any) -> None:
        """Have this loop call its due selectors when another loop's turn is over."""
        if here not in self._with_timer:
            self._with_timer.add(here)
            # A little later, because the clocks of two loops differ by rounding.
            _loops.later(TURN_TIMEOUT + 0.001, self._on_turn_timer)

    def _set_turn_timer_here(self) -> None:
        with self.lock:
            self._set_turn_timer(_loops.this_loop())

    def _on_turn_timer(self) -> None:
        here, now = _loops.here_and_now()
        with self.lock:
            self._with_timer.discard(here)
            self._call_due_selectors(here, now)
            if self._turn[0] not in (None, here) and self._queue.in_loop(here):
                self._set_turn_timer(here)

    def _note_running(self, here: Any) -> None:
        """Note that this loop runs. It may be a new one."""
        if here is not self._first_loop:
            self._note_loop(here)
        if self._stopped_since:
            self._stopped_since.pop(here, None)
        if self._is_shared and here in self._unresponsive:
            self._unresponsive.discard(here)
            self._queue.mark_due(self._queue.in_loop(here))

    def _note_loop(self, here: object) -> None:
        if self._is_shared:
            return
        if self._first_loop is not None and not _loops.has_ended(self._first_loop):
            self._is_shared = True
            _loops.call_in(self._first_loop, self._wake_all)  # from now on, its waiters watch the other loops
        else:
            self._first_loop = here

    def _wake_all(self) -> None:
        with self.lock:
            for waiter in self._queue.in_loop(_loops.this_loop()):
                waiter.wake()

    # Requests in flight.

    def _start(self, wanted: WantedT, select: Selector[WantedT], loop: object, now: float) -> Permit[WantedT]:
        self.pacer.started(wanted.keys, wanted.bulk, now)
        number = next(self._numbers)
        in_loop = self._open.get(loop)
        if in_loop is None:
            in_loop = self._open[loop] = {}
        in_loop[number] = wanted
        if self.outlives_clients:
            _unfinished.add(self)
        return Permit(wanted, select, loop, number, self._lost)

    def _finish(self, loop: object, number: int, how: RequestEnd, now: float) -> bool:
        """Report the end of a request. Returns whether it was open; if its loop had ended, it was abandoned before."""
        wanted = self._open.get(loop, {}).pop(number, None)
        if wanted is None:
            return False
        if not self._open[loop]:
            del self._open[loop]
        self.pacer.finished(wanted.keys, wanted.bulk, how, now)
        return True

    def _find_lost(self, here: object, now: float) -> None:
        # The first condition means that other loops have requests in flight.
        if len(self._open) > (here in self._open) and (here is None or now >= self._watch_at):
            self._watch_at = now + LOOP_WATCH_INTERVAL
            for loop in [loop for loop in self._open if loop is not here and self._requests_are_over(loop, now)]:
                self._lost += [(loop, number) for number in self._open[loop]]
        found = False
        while self._lost:
            loop, number = self._lost.popleft()
            found = self._finish(loop, number, RequestEnd.ABANDONED, now) or found
        if found:
            self._queue.mark_due(self._queue.waiting)  # tokens that they count on come back later

    def _requests_are_over(self, loop: object, now: float) -> bool:
        """Whether all requests of this loop must be over: it has ended, or has stopped for longer than any takes."""
        if _loops.is_running(loop):
            self._stopped_since.pop(loop, None)
            return False
        since = self._stopped_since.setdefault(loop, now)
        is_over = _loops.has_ended(loop) or now - since >= self.longest_request
        if is_over:
            del self._stopped_since[loop]
        return is_over

    def begin_anew(self) -> None:
        """Reset the limiter in a forked process. Only the tokens that are out are kept.

        The requests in flight belong to the parent. They count as abandoned, because this process does not learn how
        they end.
        """
        for in_loop in self._open.values():
            for wanted in in_loop.values():
                self.pacer.finished(wanted.keys, wanted.bulk, RequestEnd.ABANDONED, _loops.now())
        _loops.keep((self._queue, self._open, self._lost))
        self._reset()

    def forget_if_idle(self) -> None:
        """Do not keep this limiter alive without clients any longer, if it is idle."""
        with self.lock:
            if self.is_idle():
                _unfinished.discard(self)


def _select_again(wanted: Wanted, pacer: Pacer, *, now: float) -> Any:
    """The selector of a caller that has named its request before and wants no other."""
    lane_at = pacer.bulk_due_at(now=now) if wanted.bulk else pacer.singles_due_at(now=now)
    at = max(lane_at, pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in wanted.keys))
    return wanted if at <= now else at


_shared: WeakValueDictionary[str, LocalLimiter] = WeakValueDictionary()
# Limiters that must outlive their last client, because tokens are still out.
_unfinished: set[LocalLimiter] = set()
_all: WeakSet[LocalLimiter] = WeakSet()
_registry = threading.RLock()


def shared(account: str, limits: Limits) -> LocalLimiter:
    """The one limiter that all clients of this account share in this process.

    Raises:
        ConfigError: the account is in use with other limits.
    """
    with _registry:
        for old in list(_unfinished):
            old.forget_if_idle()
        limiter = _shared.get(account)
        if limiter is None:
            limiter = _shared[account] = LocalLimiter(limits)
            limiter.outlives_clients = True
        elif limiter.limits != limits:
            raise ConfigError(f"limits {limits!r}: this account is in use in this process with {limiter.limits!r}")
        return limiter


# A fork while another thread works on a limiter would copy that limiter half changed, and locked for ever. So the
# process holds every lock while it forks.
_locked: list[LocalLimiter] = []


def _lock_all() -> None:
    _registry.acquire()
    _locked.extend(_all)
    for limiter in _locked:
        limiter.lock.acquire()


def _unlock_all() -> None:
    for limiter in _locked:
        limiter.lock.release()
    _locked.clear()
    _registry.release()


def _reset_in_child() -> None:
    global _registry  # noqa: PLW0603 (this thread holds the old one, and other threads may have waited for it)
    _registry = threading.RLock()
    for limiter in _locked:
        limiter.begin_anew()
    _locked.clear()


_loops.at_fork(before=_lock_all, in_parent=_unlock_all, in_child=_reset_in_child)
