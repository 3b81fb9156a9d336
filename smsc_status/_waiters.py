"""The waiters for an account's limits, and which of their selectors to call next.

The limiter calls the selectors. This module only keeps their order, and remembers which of them are due.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import anyio
import attrs

from smsc_status._core.stale import has_outgrown


@attrs.define(eq=False)
class Waiter:
    """One caller that waits: its number in the order of arrival, its selector, the event that wakes it, and its event
    loop.
    """

    number: int
    select: Any
    woken: anyio.Event
    loop: object = None
    ask_at: float = inf
    is_called: bool = False
    """Whether its selector is to be called, even if no slot is free."""
    wants_slot: bool = False
    """Whether its selector is to be called once a slot is free. If not, it lacks something other than a slot."""
    permit: Any = None
    error: Exception | None = None
    """The exception that its selector raised."""

    def __lt__(self, other: Waiter) -> bool:
        return self.number < other.number


@attrs.define(eq=False)
class WaitQueue:
    """All waiters of all event loops: urgent ones first, then in the order of arrival.

    Every request needs a slot. So waiters whose selectors were called while no slot was free are due again, one by one,
    as slots come free. Waiters whose selectors were called while a slot was free lack something else, and are due again
    at the instant that their selector gave.
    """

    waiting: dict[Waiter, None] = attrs.field(factory=dict)
    _of: dict[object, list[Waiter]] = attrs.field(factory=dict)
    _alarms: list[tuple[float, int, Waiter]] = attrs.field(factory=list)
    _called: list[Waiter] = attrs.field(factory=list)
    _for_slot: list[Waiter] = attrs.field(factory=list)
    # The waiters that may be urgent, and the function that says whether they are.
    _urgency: dict[Waiter, Any] = attrs.field(factory=dict)

    def join(self, waiter: Waiter) -> None:
        """Add the waiter."""
        self.waiting[waiter] = None
        self._of.setdefault(waiter.select, []).append(waiter)
        is_urgent = _urgency_of(waiter.select)
        if is_urgent is not None:
            self._urgency[waiter] = is_urgent

    def leave(self, waiter: Waiter) -> None:
        """Remove the waiter. Does nothing if it did not wait."""
        if waiter not in self.waiting:
            return
        del self.waiting[waiter]
        self._urgency.pop(waiter, None)
        same = self._of[waiter.select]
        same.remove(waiter)
        if not same:
            del self._of[waiter.select]
        self._tidy()

    def looked(self, waiter: Waiter, ask_at: float, *, has_slot: bool) -> None:
        """The waiter's selector was called and named no request; it is to be called again at `ask_at`.

        `has_slot` says whether a slot was free. If none was, the waiter is also due once one is.
        """
        before, waiter.ask_at = waiter.ask_at, ask_at
        if ask_at < before:
            waiter.woken.set()
        if ask_at < inf and ask_at != before:
            heappush(self._alarms, (ask_at, waiter.number, waiter))
            self._tidy()
        if not has_slot:
            self.offer_slot(waiter)

    def offer_slot(self, waiter: Waiter) -> None:
        """Its selector is to be called once a slot is free."""
        if not waiter.wants_slot:
            waiter.wants_slot = True
            heappush(self._for_slot, waiter)

    def offer_all(self) -> None:
        """All selectors are to be called once a slot is free: what their waiters lack may be there now."""
        self._for_slot = list(self.waiting)
        for waiter in self.waiting:
            waiter.wants_slot = True

    def call(self, waiters: Iterable[Waiter]) -> None:
        """Their selectors are to be called, even if no slot is free."""
        for waiter in waiters:
            if not waiter.is_called:
                waiter.is_called = True
                heappush(self._called, waiter)

    def call_due(self, now: float) -> None:
        """Mark the waiters whose instant has come: their selectors are to be called, even if no slot is free."""
        while self._alarms and self._alarms[0][0] <= now:
            entry = heappop(self._alarms)
            waiter = entry[2]
            if self._stands(entry):
                waiter.ask_at = inf
                self.call([waiter])

    def first(self, *, has_slot: bool, now: float) -> Waiter | None:
        """The waiter whose selector is to be called next; `has_slot` says whether a slot is free."""
        urgent = [
            waiter
            for waiter, is_urgent in self._urgency.items()
            if (waiter.is_called or (has_slot and waiter.wants_slot)) and is_urgent(now=now)
        ]
        if urgent:
            return min(urgent)
        while self._called and not self._is_called(self._called[0]):
            heappop(self._called)
        while self._for_slot and not self._is_for_slot(self._for_slot[0]):
            heappop(self._for_slot)
        heads = self._called[:1] + self._for_slot[: 1 if has_slot else 0]
        return min(heads, default=None)

    def taken(self, waiter: Waiter) -> None:
        """Its selector is being called now."""
        waiter.is_called = waiter.wants_slot = False

    def of(self, select: object) -> list[Waiter]:
        """The waiters with this selector."""
        return list(self._of.get(select, ()))

    def inside(self, loop: object) -> list[Waiter]:
        """The waiters of this event loop."""
        return [waiter for waiter in self.waiting if waiter.loop is loop]

    def _stands(self, entry: tuple[float, int, Waiter]) -> bool:
        ask_at, _, waiter = entry
        return waiter.ask_at == ask_at and waiter in self.waiting

    def _is_called(self, waiter: Waiter) -> bool:
        return waiter.is_called and waiter in self.waiting

    def _is_for_slot(self, waiter: Waiter) -> bool:
        return waiter.wants_slot and waiter in self.waiting

    def _tidy(self) -> None:
        live = len(self.waiting)
        if has_outgrown(len(self._alarms), live):
            self._alarms = [entry for entry in self._alarms if self._stands(entry)]
            heapify(self._alarms)
        if has_outgrown(len(self._called), live):
            self._called = list(dict.fromkeys(filter(self._is_called, self._called)))
            heapify(self._called)
        if has_outgrown(len(self._for_slot), live):
            self._for_slot = list(dict.fromkeys(filter(self._is_for_slot, self._for_slot)))
            heapify(self._for_slot)


def _urgency_of(select: Any) -> Any:
    """The selector's `is_urgent` method, or that of the object whose method it is; `None` if there is none."""
    own = getattr(select, "is_urgent", None)
    return own if own is not None else getattr(getattr(select, "__self__", None), "is_urgent", None)
