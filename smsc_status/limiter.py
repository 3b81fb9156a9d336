"""Waiting for the limits, for all clients of one account.

`Limiter` is what a client needs; `LocalLimiter` keeps the limits for one process. One that is shared by processes or
machines implements the same four methods: it may keep a `Pacer` of its own as its belief of the account's tokens, and
ask the others' consent before it lets `take` return.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import count
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakValueDictionary

import anyio
import attrs

from smsc_status import loops
from smsc_status.core.pacing import Pacer, Settlement
from smsc_status.errors import ConfigError
from smsc_status.line import Line, Waiter
from smsc_status.models import Key, Limits

LEAST_PAUSE = 1e-6
"""Seconds. The loop's clock may be too coarse for a shorter pause: in virtual time such a pause never ends."""


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


class Chooser(Protocol[WantedT_co]):
    """Says what to start now, if anything."""

    def __call__(self, pacer: Pacer, *, now: float) -> WantedT_co | float:
        """A request that the pacer lets start now, or the instant at which to ask again (`inf`: only an event).

        Events are: a place comes free where there was none; a bulk request ends; one of any kind ends otherwise than by
        a reply; one that this same chooser has named ends; `reconsider`. Choosers are hashable; the same method of the
        same object is the same chooser.
        """


class Permit(Generic[WantedT_co]):
    """Leave to send one request: its tokens are out until it is settled.

    One that is lost unsettled (its loop has ended, say) counts as given up when that is found.
    """

    __slots__ = ("choose", "loop", "lost", "number", "settled", "wanted")

    def __init__(
        self,
        wanted: WantedT_co,
        choose: Chooser[WantedT_co] | None = None,
        loop: object = None,
        number: int = 0,
        lost: deque[Any] | None = None,
    ) -> None:
        self.wanted = wanted
        self.settled = False
        self.choose = choose
        self.loop = loop
        self.number = number
        self.lost = lost

    def __del__(self) -> None:
        # May run anywhere, even while the pacer is at work: only leave a note.
        if not self.settled and self.lost is not None:
            self.lost.append((self.loop, self.number))


class Limiter(Protocol):
    """Keeps one account within its limits. All methods are called from inside an event loop, any one."""

    limits: Limits

    async def take(self, choose: Chooser[WantedT]) -> Permit[WantedT]:
        """Wait until `choose` names a request that may start now, and start it.

        First come, first served among those who wait for the same thing; nobody waits for a thing he has no need of.
        Cancelled, it takes nothing.
        """

    async def settle(self, permit: Permit[Any], how: Settlement) -> None:
        """The permitted request has ended. A second settling of the same permit does nothing."""

    def reconsider(self, choose: Chooser[Any] | None = None) -> None:
        """What this one, or by default anyone who waits in this loop, would choose may have changed: ask again."""

    def slots(self) -> Slots:
        """What is known of the account now."""


@attrs.frozen
class Slots:
    """A glance at an account: its open requests, and the seconds until the next bulk request may start."""

    open_requests: int
    bulk_slot_in: float


class LocalLimiter:
    """The limiter of one account for one process: exact, fair, safe to cancel, on any number of event loops."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.pacer = Pacer(self.limits)
        self.outlives_clients = False
        self._numbers = count()
        self._lines: dict[object, Line] = {}
        # The requests in flight, by the loop that they were permitted in and the number of their permit.
        self._open: dict[object, dict[int, Wanted]] = {}
        # The permits that were lost.
        self._lost: deque[tuple[object, int]] = deque()
        self._lock = threading.RLock()

    async def take(self, choose: Chooser[WantedT]) -> Permit[WantedT]:
        """See `Limiter.take`."""
        here, now = loops.here_and_now()
        with self._lock:
            self._serve_due(here, now)
            wanted = choose(self.pacer, now=now)
            if not isinstance(wanted, float | int):
                return self._start(wanted, choose, here, now)
            waiter = Waiter(next(self._numbers), choose, anyio.Event())
            line = self._lines.setdefault(here, Line())
            line.join(waiter)
            line.answered(waiter, wanted, has_place=self.pacer.free_places(now=now) > 0)
        return await self._wait(waiter, here)

    async def _wait(self, waiter: Waiter, here: object) -> Permit[Any]:
        try:
            while waiter.permit is None:
                waiter.woken = anyio.Event()
                with anyio.move_on_after(max(LEAST_PAUSE, waiter.ask_at - loops.now())):
                    await waiter.woken.wait()
                with self._lock:
                    self._serve_due(here, loops.now())
                if waiter.error is not None:
                    raise waiter.error
            permit: Permit[Any] = waiter.permit
            return permit
        except BaseException:
            if waiter.permit is not None:
                await self.settle(waiter.permit, Settlement.NEVER_LEFT)
            raise
        finally:
            with self._lock:
                self._leave(waiter, here)

    async def settle(self, permit: Permit[Any], how: Settlement) -> None:
        """See `Limiter.settle`."""
        here, now = loops.here_and_now()
        with self._lock:
            if permit.settled:
                return
            permit.settled = True
            self._find_lost(here, now)
            if self._finish(permit.loop, permit.number, how, now) and self._lines:
                self._serve_after(permit, how, here)

    def reconsider(self, choose: Chooser[Any] | None = None) -> None:
        """See `Limiter.reconsider`."""
        here, now = loops.here_and_now()
        with self._lock:
            if choose is None:
                self._serve_all(here)
                return
            self._serve_due(here, now)
            line = self._lines.get(here)
            if line is not None:
                self._serve(line.of(choose), line, here, now)

    def slots(self) -> Slots:
        """See `Limiter.slots`."""
        with self._lock:
            now = loops.now()
            return Slots(self.pacer.open_requests, max(0.0, self.pacer.bulk_due_at(now=now) - now))

    def is_idle(self) -> bool:
        """Whether every token is back: nothing is remembered any more."""
        with self._lock:
            now = loops.now()
            self._find_lost(None, now)
            return self.pacer.is_idle(now=now)

    # Whom to ask. Each loop's choosers are asked in the loop's own thread.

    def _serve_after(self, permit: Permit[Any], how: Settlement, here: object) -> None:
        if how is Settlement.NEVER_LEFT:
            for line in self._lines.values():
                line.offer_all()
        # After a single one's reply nothing has changed but its place and its own chooser's affairs; what never left
        # has taken nothing from anybody. What else happens may put off what others count on.
        for_all = how in (Settlement.REFUSED, Settlement.GIVEN_UP) or (permit.wanted.bulk and how is Settlement.REPLIED)
        serve = self._serve_all if for_all else partial(self._serve_places, choose=permit.choose)
        serve(here)
        for loop in [loop for loop in self._lines if loop is not here]:
            self._serve_elsewhere(loop, partial(serve, loop))

    def _serve_due(self, here: object, now: float) -> None:
        """Ask those of this loop whose time has come."""
        self._find_lost(here, now)
        line = self._lines.get(here)
        if line is not None:
            self._serve(line.due(now), line, here, now)

    def _serve_all(self, loop: object) -> None:
        """Ask all those of this loop."""
        now = loops.now()
        with self._lock:
            self._find_lost(loop, now)
            line = self._lines.get(loop)
            if line is not None:
                self._serve(list(line.waiting), line, loop, now)

    def _serve_places(self, loop: object, choose: Chooser[Any] | None) -> None:
        """Ask those of this loop who want a place, as far as there are any, and those with this chooser anyway."""
        now = loops.now()
        with self._lock:
            line = self._lines.get(loop)
            if line is None:
                return
            concerned = line.of(choose)
            for waiter in concerned:
                line.offer_place(waiter)
            while self.pacer.free_places(now=now) > 0 and (next_one := line.next_for_place()) is not None:
                self._serve([next_one], line, loop, now)
            self._serve([waiter for waiter in concerned if waiter.wants_place], line, loop, now)

    def _serve(self, waiters: Iterable[Waiter], line: Line, loop: object, now: float) -> None:
        for waiter in waiters:
            if waiter not in line.waiting:
                continue
            try:
                wanted = waiter.choose(self.pacer, now=now)
            except Exception as error:  # which is for its own taker, not for the one who happens to ask
                waiter.error = error
            else:
                if isinstance(wanted, float | int):
                    line.answered(waiter, wanted, has_place=self.pacer.free_places(now=now) > 0)
                    continue
                waiter.permit = self._start(wanted, waiter.choose, loop, now)
            self._leave(waiter, loop)
            waiter.woken.set()

    def _start(self, wanted: WantedT, choose: Chooser[WantedT], loop: object, now: float) -> Permit[WantedT]:
        self.pacer.started(wanted.keys, wanted.bulk, now)
        number = next(self._numbers)
        in_loop = self._open.get(loop)
        if in_loop is None:
            in_loop = self._open[loop] = {}
        in_loop[number] = wanted
        if self.outlives_clients:
            _unfinished.add(self)
        return Permit(wanted, choose, loop, number, self._lost)

    def _finish(self, loop: object, number: int, how: Settlement, now: float) -> bool:
        """Whether it was open; one whose loop has ended has been given up already."""
        wanted = self._open.get(loop, {}).pop(number, None)
        if wanted is None:
            return False
        if not self._open[loop]:
            del self._open[loop]
        self.pacer.finished(wanted.keys, wanted.bulk, how, now)
        return True

    def _leave(self, waiter: Waiter, loop: object) -> None:
        line = self._lines.get(loop)
        if line is not None:
            line.leave(waiter)
            if not line.waiting:
                del self._lines[loop]

    def _find_lost(self, here: object, now: float) -> None:
        if len(self._open) > (here in self._open):  # there are others
            for loop in [loop for loop in self._open if loop is not here and loops.has_ended(loop)]:
                self._lost += [(loop, number) for number in self._open[loop]]
        found = False
        while self._lost:
            loop, number = self._lost.popleft()
            found = self._finish(loop, number, Settlement.GIVEN_UP, now) or found
        if found:
            for loop in list(self._lines):  # what they count on comes later
                self._serve_elsewhere(loop, partial(self._serve_all, loop))

    def _serve_elsewhere(self, loop: object, serve: Callable[[], object]) -> None:
        if loops.has_ended(loop):
            del self._lines[loop]
        else:
            loops.call_in(loop, serve)

    def forget_if_idle(self) -> None:
        """Nothing has to outlive its clients any more."""
        with self._lock:
            if self.is_idle():
                _unfinished.discard(self)


_shared: WeakValueDictionary[str, LocalLimiter] = WeakValueDictionary()
# What keeps a limiter alive after its last client: tokens that are still out.
_unfinished: set[LocalLimiter] = set()
_registry = threading.Lock()


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
