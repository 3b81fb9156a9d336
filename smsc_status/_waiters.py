"""Those who wait for the limits, and which of them is to be asked next."""

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
    """One that waits: its number in the order of coming, its selector, what it is woken by, and its event loop."""

    number: int
    select: Any
    woken: anyio.Event
    loop: object = None
    ask_at: float = inf
    is_called: bool = False
    """Whether it is to be asked in its turn, even if no slot is free."""
    wants_slot: bool = False
    """Whether it is to be asked as soon as a slot is free; or else something other than a slot is missing."""
    permit: Any = None
    error: Exception | None = None
    """What its selector has raised."""

    def __lt__(self, other: Waiter) -> bool:
        return self.number < other.number


@attrs.define(eq=False)
class WaitQueue:
    """All who wait, of all event loops: the urgent ones first, then in the order of coming.

    A slot is what everyone needs. So those who were asked while there was none are asked again one by one, as far as
    slots come free; those who were asked while there was one wait for something else, until the instant that they say.
    """

    waiting: dict[Waiter, None] = attrs.field(factory=dict)
    _of: dict[object, list[Waiter]] = attrs.field(factory=dict)
    _alarms: list[tuple[float, int, Waiter]] = attrs.field(factory=list)
    _called: list[Waiter] = attrs.field(factory=list)
    _for_slot: list[Waiter] = attrs.field(factory=list)
    # Those who may be urgent, and what says whether they are.
    _urgency: dict[Waiter, Any] = attrs.field(factory=dict)

    def join(self, waiter: Waiter) -> None:
        """It waits."""
        self.waiting[waiter] = None
        self._of.setdefault(waiter.select, []).append(waiter)
        is_urgent = _urgency_of(waiter.select)
        if is_urgent is not None:
            self._urgency[waiter] = is_urgent

    def leave(self, waiter: Waiter) -> None:
        """It does not wait any more; nothing if it did not."""
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
        """It was asked, while a slot was free or not, and is to be asked again at that instant."""
        before, waiter.ask_at = waiter.ask_at, ask_at
        if ask_at < before:
            waiter.woken.set()
        if ask_at < inf and ask_at != before:
            heappush(self._alarms, (ask_at, waiter.number, waiter))
            self._tidy()
        if not has_slot:
            self.offer_slot(waiter)

    def offer_slot(self, waiter: Waiter) -> None:
        """It is to be asked when its turn for a slot has come."""
        if not waiter.wants_slot:
            waiter.wants_slot = True
            heappush(self._for_slot, waiter)

    def offer_all(self) -> None:
        """All are to be asked in their turn: whatever they have waited for, it may be there."""
        self._for_slot = list(self.waiting)
        for waiter in self.waiting:
            waiter.wants_slot = True

    def call(self, waiters: Iterable[Waiter]) -> None:
        """They are to be asked in their turn, even if no slot is free."""
        for waiter in waiters:
            if not waiter.is_called:
                waiter.is_called = True
                heappush(self._called, waiter)

    def call_due(self, now: float) -> None:
        """Those whose instant has come are to be asked."""
        while self._alarms and self._alarms[0][0] <= now:
            entry = heappop(self._alarms)
            waiter = entry[2]
            if self._stands(entry):
                waiter.ask_at = inf
                self.call([waiter])

    def first(self, *, has_slot: bool, now: float) -> Waiter | None:
        """The one whose turn it is to be asked, while a slot is free or not."""
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
        """It is asked now."""
        waiter.is_called = waiter.wants_slot = False

    def of(self, select: object) -> list[Waiter]:
        """Those with this selector."""
        return list(self._of.get(select, ()))

    def inside(self, loop: object) -> list[Waiter]:
        """Those who wait in this event loop."""
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
    """What says whether the selector is urgent: its own method, or that of the object whose method it is."""
    own = getattr(select, "is_urgent", None)
    return own if own is not None else getattr(getattr(select, "__self__", None), "is_urgent", None)
