"""The limiter that processes share. See `smsc_status._sharing.participant` for how it works."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from smsc_status import _loops
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._sharing.participant import Participant
from smsc_status._sharing.replica import OpenStore, Replica
from smsc_status._sharing.store import Store
from smsc_status._sharing.tally import LogTally
from smsc_status.limiter import LONGEST_REQUEST, Permit, Selector, Slots, WantedT
from smsc_status.models import Limits


class SharedLimiter:
    """Keeps the limits of one account, together with all processes that use the same log. See `Limiter`.

    Each event loop takes part by itself, as a process of its own would.

    Args:
        limits: what to keep. All processes must keep the same.
        open_store: makes the store object for an event loop.
        where: where the log is, for people: without secrets. When the store is opened, its own `where` takes the place
            of this one. It is more exact: a directory holds a log for each account.
    """

    def __init__(self, limits: Limits, open_store: OpenStore, *, where: str) -> None:
        self.limits: Limits = limits
        self.where = where
        self.longest_request: float = 0.0
        """How long a request of this process's clients may take, in seconds. 0 if no client has said so yet."""
        self.tally: LogTally = LogTally()
        self._open_store = open_store
        self._participants: WeakKeyDictionary[Any, Participant] = WeakKeyDictionary()
        _all.add(self)

    async def acquire(self, select: Selector[WantedT]) -> Permit[WantedT]:
        """See `Limiter.acquire`.

        Raises:
            LimiterUnavailable: the log can't be reached.
            ConfigError: another process keeps other limits, or uses another version.
        """
        return await self._participant().acquire(select)

    async def release(self, permit: Permit[Any], how: RequestEnd) -> None:
        """See `Limiter.release`.

        Raises:
            LimiterUnavailable: the log can't be reached. Then the permit is not released yet.
        """
        if not permit.released and permit.loop is _loops.this_loop():
            await self._participant().release(permit, how)

    def wake(self, select: Selector[Any] | None = None) -> None:
        """See `Limiter.wake`."""
        self._participant().wake(select)

    def slots(self) -> Slots:
        """See `Limiter.slots`. It tells what this event loop has read of the log; elsewhere it tells nothing."""
        try:
            participant = self._participants.get(_loops.this_loop())
        except RuntimeError:
            participant = None
        return Slots(0, 0.0, shared_by=self.where) if participant is None else participant.slots(self.where)

    def silence(self) -> float:
        """For how many seconds the store has not answered the running event loop."""
        participant = self._participants.get(_loops.this_loop())
        return 0.0 if participant is None else participant.silence()

    async def leave(self) -> None:
        """Close the running loop's connections to the store, if no client uses them any more."""
        participant = self._participants.get(_loops.this_loop())
        if participant is not None and participant.is_unused:
            del self._participants[_loops.this_loop()]
            await participant.aclose()

    def reset_after_fork(self) -> None:
        """Leave everything to the parent, whose requests and event loops these are. A new loop takes part anew."""
        _loops.keep((dict(self._participants), self.tally))
        self.tally = LogTally()
        self._participants = WeakKeyDictionary()

    @property
    def loops(self) -> int:
        """How many event loops it takes part for."""
        return len(self._participants)

    @property
    def budget(self) -> float:
        """The seconds after which a request of this process is surely over."""
        return self.longest_request or LONGEST_REQUEST

    async def _opened_store(self) -> Store:
        store = await self._open_store()
        self.where = store.where
        return store

    def _participant(self) -> Participant:
        loop = _loops.this_loop()
        participant = self._participants.get(loop)
        if participant is None:
            for ended in [known for known in self._participants if _loops.has_ended(known)]:
                del self._participants[ended]
            participant = self._participants[loop] = Participant(
                Replica(self.limits, self._opened_store, where=self.where, budget=lambda: self.budget, tally=self.tally)
            )
        return participant


_all: WeakSet[SharedLimiter] = WeakSet()


def _reset_after_fork() -> None:
    for limiter in list(_all):
        limiter.reset_after_fork()


_loops.at_fork(_reset_after_fork)
