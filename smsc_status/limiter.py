"""Waiting for the limits, for all clients of one account.

`Limiter` is what a client needs; `LocalLimiter` keeps the limits for one process. One that is shared by processes or
machines implements the same four methods: it may keep a `Pacer` of its own as its belief of the account's tokens, and
ask the others' consent before it lets `take` return.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from functools import partial
from math import inf
from typing import Any, Generic, Protocol, TypeVar
from weakref import WeakSet, WeakValueDictionary

import anyio
import attrs

from smsc_status import loops
from smsc_status.core.pacing import Pacer, Settlement
from smsc_status.errors import ConfigError
from smsc_status.models import Key, Limits


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
        """A request that the pacer lets start now, or the instant at which to ask again (`inf`: only an event)."""


class Permit(Generic[WantedT_co]):
    """Leave to send one request: its tokens are out until it is settled.

    One that is lost unsettled (its loop has ended, say) counts as given up when that is found.
    """

    __slots__ = ("__weakref__", "_lost", "loop", "settled", "wanted")

    def __init__(self, wanted: WantedT_co, lost: deque[Any] | None = None, loop: object = None) -> None:
        self.wanted = wanted
        self.settled = False
        self.loop = loop
        self._lost = lost

    def __del__(self) -> None:
        # May run anywhere, even while the pacer is at work: only leave a note.
        if not self.settled and self._lost is not None:
            self._lost.append(self.wanted)


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

    def reconsider(self) -> None:
        """What those who wait in this loop would choose may have changed: ask them again."""

    def slots(self) -> Slots:
        """What is known of the account now."""


@attrs.frozen
class Slots:
    """A glance at an account: its open requests, and the seconds until the next bulk request may start."""

    open_requests: int
    bulk_slot_in: float


@attrs.define(eq=False)
class _Waiter:
    choose: Chooser[Wanted]
    loop: object
    woken: anyio.Event
    ask_at: float = inf
    permit: Permit[Any] | None = None


class LocalLimiter:
    """The limiter of one account for one process: exact, fair, safe to cancel, on any number of event loops."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.pacer = Pacer(self.limits)
        self.outlives_clients = False
        self._waiters: dict[_Waiter, None] = {}
        self._permits: WeakSet[Permit[Any]] = WeakSet()
        self._lost: deque[Wanted] = deque()
        self._lock = threading.RLock()

    async def take(self, choose: Chooser[WantedT]) -> Permit[WantedT]:
        """See `Limiter.take`."""
        waiter = _Waiter(choose, loops.this_loop(), anyio.Event(), ask_at=-inf)
        with self._lock:
            self._waiters[waiter] = None
        try:
            while True:
                self._serve_due()
                if waiter.permit is not None:
                    return waiter.permit
                waiter.woken = anyio.Event()
                with anyio.move_on_after(max(0.0, waiter.ask_at - loops.now())):
                    await waiter.woken.wait()
        except BaseException:
            if waiter.permit is not None:
                await self.settle(waiter.permit, Settlement.NEVER_LEFT)
            raise
        finally:
            with self._lock:
                self._waiters.pop(waiter, None)

    async def settle(self, permit: Permit[Any], how: Settlement) -> None:
        """See `Limiter.settle`."""
        with self._lock:
            if permit.settled:
                return
            permit.settled = True
            self._permits.discard(permit)
            self.pacer.finished(permit.wanted.keys, bulk=permit.wanted.bulk, how=how, now=loops.now())
            here = loops.this_loop()
            elsewhere = {waiter.loop for waiter in self._waiters} - {here}
        self._serve_all(here)
        for loop in elsewhere:
            self._serve_elsewhere(loop)

    def reconsider(self) -> None:
        """See `Limiter.reconsider`."""
        self._serve_all(loops.this_loop())

    def slots(self) -> Slots:
        """See `Limiter.slots`."""
        with self._lock:
            now = loops.now()
            return Slots(self.pacer.open_requests, max(0.0, self.pacer.bulk_due_at(now=now) - now))

    def is_idle(self) -> bool:
        """Whether every token is back: nothing is remembered any more."""
        with self._lock:
            self._find_lost(None)
            return self.pacer.is_idle(now=loops.now())

    def _serve_due(self) -> None:
        """Ask those of this loop whose time has come, the first comer first."""
        here = loops.this_loop()
        with self._lock:
            self._find_lost(here)
            now = loops.now()
            for waiter in [waiter for waiter in self._waiters if waiter.ask_at <= now and waiter.loop is here]:
                self._serve(waiter, now)

    def _serve_all(self, loop: object) -> None:
        """Ask all those of this loop; each loop's choosers are asked in the loop's own thread."""
        with self._lock:
            self._find_lost(loop)
            now = loops.now()
            for waiter in [waiter for waiter in self._waiters if waiter.loop is loop]:
                self._serve(waiter, now)

    def _serve(self, waiter: _Waiter, now: float) -> None:
        wanted = waiter.choose(self.pacer, now=now)
        if isinstance(wanted, float | int):
            if wanted < waiter.ask_at:
                waiter.woken.set()
            waiter.ask_at = wanted
            return
        self.pacer.started(wanted.keys, bulk=wanted.bulk, now=now)
        waiter.permit = Permit(wanted, self._lost, waiter.loop)
        self._permits.add(waiter.permit)
        del self._waiters[waiter]
        waiter.woken.set()
        if self.outlives_clients:
            _unfinished.add(self)

    def _find_lost(self, here: object) -> None:
        for permit in [permit for permit in self._permits if permit.loop is not here]:
            if loops.has_ended(permit.loop) and not permit.settled:
                permit.settled = True
                self._permits.discard(permit)
                self._lost.append(permit.wanted)
        while self._lost:
            wanted = self._lost.popleft()
            self.pacer.finished(wanted.keys, bulk=wanted.bulk, how=Settlement.GIVEN_UP, now=loops.now())

    def _serve_elsewhere(self, loop: object) -> None:
        if loops.has_ended(loop):
            with self._lock:
                for waiter in [waiter for waiter in self._waiters if waiter.loop is loop]:
                    del self._waiters[waiter]
        else:
            loops.call_in(loop, partial(self._serve_all, loop))

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
