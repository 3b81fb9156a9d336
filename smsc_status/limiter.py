"""Waiting for the limits, for all clients of one account.

`Limiter` is what a client needs; `LocalLimiter` keeps the limits for one process. One that is shared by processes or
machines implements the same four methods: it may keep a `Pacer` of its own as its belief of the account's tokens, and
ask the others' consent before it lets `acquire` return.
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

LEAST_PAUSE = 1e-6
"""Seconds. The loop's clock may be too coarse for a shorter pause: in virtual time such a pause never ends."""

PATIENCE = 0.05
"""So many seconds a loop has to ask its first in the queue; then the turn goes on to the next one's loop."""

LOOK = 1.0
"""While several loops share a limiter, those that can't be heard of are looked at once in so many seconds."""

LONGEST_REQUEST = 30.0
"""How long a request may take, in seconds, if no client says that its own may take longer."""


class Wanted(Protocol):
    """A request as the limits see it."""

    @property
    def keys(self) -> Collection[Key]:
        """The distinct ids that it names, each once."""

    @property
    def bulk(self) -> bool:
        """Whether the server takes it for a bulk request."""


WantedT = TypeVar("WantedT", bound=Wanted)
WantedT_co = TypeVar("WantedT_co", bound=Wanted, covariant=True)


class Selector(Protocol[WantedT_co]):
    """Says what to start now, if anything. It is called in the event loop of the one who waits, and nowhere else.

    A selector, or the object whose method it is, may have a method `is_urgent(*, now: float) -> bool`. Of those whose
    turn has come, the urgent ones are asked first, whichever client or loop they are of; else the first comer is. It is
    called in any thread whenever a turn is given, so that it must be quick, take no lock and raise nothing.
    """

    def __call__(self, pacer: Pacer, *, now: float) -> WantedT_co | float:
        """A request that the pacer lets start now, or the instant at which to ask again (`inf`: only an event).

        Events are: a slot comes free where there was none; a bulk request ends; one of any kind ends otherwise than by
        a reply; one that this same selector has named ends; `wake`. Choosers are hashable; the same method of the
        same object is the same selector.
        """


class Permit(Generic[WantedT_co]):
    """Leave to send one request: its tokens are out until it is released.

    One that is lost unreleased (its loop has ended, say) counts as given up when that is found.
    """

    __slots__ = ("loop", "lost", "number", "released", "select", "wanted")

    def __init__(
        self,
        wanted: WantedT_co,
        select: Selector[WantedT_co] | None = None,
        loop: object = None,
        number: int = 0,
        lost: deque[Any] | None = None,
    ) -> None:
        self.wanted: WantedT_co = wanted
        self.released: bool = False
        self.select: Selector[WantedT_co] | None = select
        self.loop: object = loop
        self.number: int = number
        self.lost: deque[Any] | None = lost

    def __del__(self) -> None:
        # May run anywhere, even while the pacer is at work: only leave a note.
        if not self.released and self.lost is not None:
            self.lost.append((self.loop, self.number))


class Limiter(Protocol):
    """Keeps one account within its limits. All methods are called from inside an event loop, any one."""

    limits: Limits

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """Wait until `select` names a request that may start now, and start it.

        First come, first served among those who wait for the same thing; nobody waits for a thing he has no need of.
        Cancelled, it takes nothing.
        """

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """The permitted request has ended. A second release of the same permit does nothing."""

    def wake(self, select: Selector[Any] | None = None) -> None:
        """What this one, or by default anyone who waits in this loop, would select may have changed: ask again."""

    def slots(self) -> Slots:
        """What is known of the account now."""


@attrs.frozen
class Slots:
    """A glance at an account: its open requests, and the seconds until the next bulk request may start."""

    open_requests: int
    bulk_slot_in: float


class LocalLimiter:
    """The limiter of one account for one process: exact, fair, safe to cancel, on any number of event loops.

    Whoever waits is asked in his turn, and only in his own loop's thread. So where the first in the queue is of another
    loop, the turn is handed to that loop, and nobody after him is asked until he has been, or for `PATIENCE` seconds. A
    loop that lets them pass is not waited for again until it is heard of.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits: Limits = limits or Limits()
        self.pacer: Pacer = Pacer(self.limits)
        self.outlives_clients = False
        self.longest_request = LONGEST_REQUEST
        """How long a request of its clients may take, in seconds. One of a loop that stands still is given up then."""
        self._numbers = count()
        self._begin()
        with _registry:
            _all.add(self)

    def _begin(self) -> None:
        self._queue = WaitQueue()
        # The requests in flight, by the loop that they were permitted in and the number of their permit.
        self._open: dict[object, dict[int, Wanted]] = {}
        # The permits that were lost.
        self._lost: deque[tuple[object, int]] = deque()
        # The loop whose turn it is, and until when the others wait for it.
        self._turn: tuple[object, float] = (None, -inf)
        # Those that have not taken their turn, and those that will be told when a turn is over.
        self._late: WeakSet[Any] = WeakSet()
        self._timed: WeakSet[Any] = WeakSet()
        # The one that was met first, and whether there are others.
        self._home: object = None
        self._is_shared = False
        self._look_at = -inf
        # Since when which loop has been standing still, as far as anybody has looked.
        self._still: dict[object, float] = {}
        self.lock: threading.RLock = threading.RLock()

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Limiter.take`."""
        here, now = _loops.here_and_now()
        with self.lock:
            self._look(here, now)
            waiter = Waiter(next(self._numbers), select, anyio.Event(), here)
            if self._turn[0] is None:
                wanted = select(self.pacer, now=now)
                if not isinstance(wanted, float | int):
                    return self._start(wanted, select, here, now)
                self._queue.join(waiter)
                self._queue.looked(waiter, wanted, has_slot=self.pacer.free_slots(now=now) > 0)
            else:  # others come first
                self._queue.join(waiter)
                self._queue.call([waiter])
                self._tell_when_over(here)
        return await self._wait(waiter, here)

    async def _wait(self, waiter: Waiter, here: object) -> Permit[Any]:
        try:
            while waiter.permit is None:
                waiter.woken = anyio.Event()
                at_most = LOOK if self._is_shared else inf
                with anyio.move_on_after(min(max(LEAST_PAUSE, waiter.ask_at - _loops.now()), at_most)):
                    await waiter.woken.wait()
                with self.lock:
                    self._look(here, _loops.now())
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
        # Its loop stood still for so long that the permit was given up meanwhile.
        return await self.acquire(partial(_again, permit.wanted))

    def _is_open(self, permit: Permit[Any]) -> bool:
        return permit.number in self._open.get(permit.loop, ())

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """See `Limiter.release`."""
        here, now = _loops.here_and_now()
        with self.lock:
            if permit.released:
                return
            permit.released = True
            self._hear_of(here)
            self._find_lost(here, now)
            is_found = self._finish(permit.loop, permit.number, how, now)
            if self._queue.waiting:
                if is_found:
                    self._call_after(permit, how)
                self._go_round(here, now)

    def wake(self, select: Selector[Any] | None = None) -> None:
        """See `Limiter.wake`."""
        here, now = _loops.here_and_now()
        with self.lock:
            self._queue.call(self._queue.inside(here) if select is None else self._queue.of(select))
            self._look(here, now)

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
        """Whether every token is back: nothing is remembered any more."""
        with self.lock:
            now = _loops.now()
            self._find_lost(None, now)
            self._go_round(None, now)
            return self.pacer.is_idle(now=now)

    # Whom to ask. Each loop's selectors are asked in the loop's own thread.

    def _look(self, here: object, now: float) -> None:
        """Ask whoever is to be asked by now."""
        self._hear_of(here)
        self._find_lost(here, now)
        self._queue.call_due(now)
        self._go_round(here, now)

    def _call_after(self, permit: Permit[Any], how: RequestEnd) -> None:
        queue = self._queue
        if how is RequestEnd.NOT_SENT:
            queue.offer_all()
        # After a single one's reply nothing has changed but its slot and its own selector's affairs; what never left
        # has taken nothing from anybody. What else happens may put off what others count on.
        for_all = how in (RequestEnd.REFUSED, RequestEnd.ABANDONED) or (
            permit.wanted.bulk and how is RequestEnd.REPLIED
        )
        queue.call(queue.waiting if for_all else queue.of(permit.select))

    def _go_round(self, here: object, now: float) -> None:
        """Ask one after the other whose turn it is, as far as they are of this loop; then it is another's."""
        queue = self._queue
        while (waiter := queue.first(has_slot=self.pacer.free_slots(now=now) > 0, now=now)) is not None:
            if waiter.loop is here:
                queue.taken(waiter)
                self._ask(waiter, now)
            elif _loops.has_ended(waiter.loop):
                for left in queue.inside(waiter.loop):
                    queue.leave(left)
            elif waiter.loop in self._late:
                queue.taken(waiter)
            elif self._turn[0] is not waiter.loop:
                self._hand_turn_to(waiter.loop, here, now)
                return
            elif now < self._turn[1]:
                return
            else:
                self._late.add(waiter.loop)
        self._turn = (None, -inf)

    def _ask(self, waiter: Waiter, now: float) -> None:
        try:
            wanted = waiter.select(self.pacer, now=now)
        except Exception as error:  # which is for its own taker, not for the one who happens to ask
            waiter.error = error
        else:
            if isinstance(wanted, float | int):
                self._queue.looked(waiter, wanted, has_slot=self.pacer.free_slots(now=now) > 0)
                return
            waiter.permit = self._start(wanted, waiter.select, waiter.loop, now)
        self._queue.leave(waiter)
        waiter.woken.set()

    def _hand_turn_to(self, loop: object, here: object, now: float) -> None:
        self._turn = (loop, now + PATIENCE)
        _loops.call_in(loop, self._look_from)
        for other in {waiter.loop for waiter in self._queue.waiting}:
            if other is here:
                self._tell_when_over(here)
            elif other is not loop:
                _loops.call_in(other, self._tell_when_over_there)

    def _look_from(self) -> None:
        here, now = _loops.here_and_now()
        with self.lock:
            self._look(here, now)

    def _tell_when_over(self, here: Any) -> None:
        """Look from this loop when whoever has the turn has had it long enough."""
        if here not in self._timed:
            self._timed.add(here)
            # A little later than that: the clocks of two loops are the same but for rounding.
            _loops.later(PATIENCE + 0.001, self._turn_may_be_over)

    def _tell_when_over_there(self) -> None:
        with self.lock:
            self._tell_when_over(_loops.this_loop())

    def _turn_may_be_over(self) -> None:
        here, now = _loops.here_and_now()
        with self.lock:
            self._timed.discard(here)
            self._look(here, now)
            if self._turn[0] not in (None, here) and self._queue.inside(here):
                self._tell_when_over(here)

    def _hear_of(self, here: Any) -> None:
        """This loop runs, and may be another than before."""
        if here is not self._home:
            self._meet(here)
        if self._still:
            self._still.pop(here, None)
        if self._late and here in self._late:
            self._late.discard(here)
            self._queue.call(self._queue.inside(here))

    def _meet(self, here: object) -> None:
        if self._is_shared:
            return
        if self._home is not None and not _loops.has_ended(self._home):
            self._is_shared = True
            _loops.call_in(self._home, self._wake_all)  # from now on they look at the other loops
        else:
            self._home = here

    def _wake_all(self) -> None:
        with self.lock:
            for waiter in self._queue.inside(_loops.this_loop()):
                waiter.woken.set()

    # What is in flight.

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
        """Whether it was open; one whose loop has ended has been given up already."""
        wanted = self._open.get(loop, {}).pop(number, None)
        if wanted is None:
            return False
        if not self._open[loop]:
            del self._open[loop]
        self.pacer.finished(wanted.keys, wanted.bulk, how, now)
        return True

    def _find_lost(self, here: object, now: float) -> None:
        if len(self._open) > (here in self._open) and (here is None or now >= self._look_at):  # there are others
            self._look_at = now + LOOK
            for loop in [loop for loop in self._open if loop is not here and self._is_over(loop, now)]:
                self._lost += [(loop, number) for number in self._open[loop]]
        found = False
        while self._lost:
            loop, number = self._lost.popleft()
            found = self._finish(loop, number, RequestEnd.ABANDONED, now) or found
        if found:
            self._queue.call(self._queue.waiting)  # what they count on comes later

    def _is_over(self, loop: object, now: float) -> bool:
        """Whether all that is in flight in this loop must have ended: it has, or stands still for longer than that."""
        if _loops.is_running(loop):
            self._still.pop(loop, None)
            return False
        since = self._still.setdefault(loop, now)
        is_over = _loops.has_ended(loop) or now - since >= self.longest_request
        if is_over:
            del self._still[loop]
        return is_over

    def begin_anew(self) -> None:
        """In a process that was forked: nothing here is its own but the tokens that the account has out.

        Requests in flight are the parent's. They count as given up, since nobody here learns how they end.
        """
        for in_loop in self._open.values():
            for wanted in in_loop.values():
                self.pacer.finished(wanted.keys, wanted.bulk, RequestEnd.ABANDONED, _loops.now())
        _loops.keep((self._queue, self._open, self._lost))
        self._begin()

    def forget_if_idle(self) -> None:
        """Nothing has to outlive its clients any more."""
        with self.lock:
            if self.is_idle():
                _unfinished.discard(self)


def _again(wanted: Wanted, pacer: Pacer, *, now: float) -> Any:
    """The selector of one that has chosen before, and wants no other."""
    lane_at = pacer.bulk_due_at(now=now) if wanted.bulk else pacer.singles_due_at(now=now)
    at = max(lane_at, pacer.slot_due_at(now=now), *(pacer.due_at(key, now=now) for key in wanted.keys))
    return wanted if at <= now else at


_shared: WeakValueDictionary[str, LocalLimiter] = WeakValueDictionary()
# What keeps a limiter alive after its last client: tokens that are still out.
_unfinished: set[LocalLimiter] = set()
_all: WeakSet[LocalLimiter] = WeakSet()
_registry = threading.RLock()


def shared(account: str, limits: Limits) -> LocalLimiter:
    """The one limiter that all clients of this account have in this process.

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


# A fork while another thread is at work on a limiter would copy it half changed, and locked for ever. So every lock is
# held while a process is forked.
_held: list[LocalLimiter] = []


def _hold() -> None:
    _registry.acquire()
    _held.extend(_all)
    for limiter in _held:
        limiter.lock.acquire()


def _release() -> None:
    for limiter in _held:
        limiter.lock.release()
    _held.clear()
    _registry.release()


def _begin_anew() -> None:
    global _registry  # noqa: PLW0603 (this thread holds the old one, and other threads may have waited for it)
    _registry = threading.RLock()
    for limiter in _held:
        limiter.begin_anew()
    _held.clear()


_loops.at_fork(before=_hold, in_parent=_release, in_child=_begin_anew)
