"""Those who wait for the limits in one event loop, and which of them are to be asked when."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

import anyio
import attrs

SLACK = 64
"""So many notes of whom to ask may mean nothing, and twice as many as there are waiters."""


@attrs.define(eq=False)
class Waiter:
    """One that waits: its number in the order of coming, its chooser, and what it is woken by."""

    number: int
    choose: Any
    woken: anyio.Event
    ask_at: float = inf
    wants_place: bool = False
    """Whether it is to be asked as soon as a place is free; or else something other than a place is missing."""
    permit: Any = None
    error: Exception | None = None
    """What its chooser has raised."""


@attrs.define(eq=False)
class Line:
    """All of one loop, the first comer first.

    A place is what everyone needs. So those who were asked while there was none are asked again one by one, as far as
    places come free; those who were asked while there was one wait for something else, until the instant that they say.
    """

    waiting: dict[Waiter, None] = attrs.field(factory=dict)
    _of: dict[object, list[Waiter]] = attrs.field(factory=dict)
    _alarms: list[tuple[float, int, Waiter]] = attrs.field(factory=list)
    _for_place: list[tuple[int, Waiter]] = attrs.field(factory=list)

    def join(self, waiter: Waiter) -> None:
        """It waits."""
        self.waiting[waiter] = None
        self._of.setdefault(waiter.choose, []).append(waiter)

    def leave(self, waiter: Waiter) -> None:
        """It does not wait any more; nothing if it did not."""
        if waiter not in self.waiting:
            return
        del self.waiting[waiter]
        same = self._of[waiter.choose]
        same.remove(waiter)
        if not same:
            del self._of[waiter.choose]
        self._tidy()

    def answered(self, waiter: Waiter, ask_at: float, *, has_place: bool) -> None:
        """It was asked, while a place was free or not, and is to be asked again at that instant."""
        before, waiter.ask_at = waiter.ask_at, ask_at
        if ask_at < before:
            waiter.woken.set()
        if ask_at < inf and ask_at != before:
            heappush(self._alarms, (ask_at, waiter.number, waiter))
            self._tidy()
        if not has_place:
            self.offer_place(waiter)

    def offer_place(self, waiter: Waiter) -> None:
        """It is to be asked when its turn for a place has come."""
        if not waiter.wants_place:
            waiter.wants_place = True
            heappush(self._for_place, (waiter.number, waiter))

    def offer_all(self) -> None:
        """All are to be asked in their turn: whatever they have waited for, it may be there."""
        self._for_place = [(waiter.number, waiter) for waiter in self.waiting]
        for waiter in self.waiting:
            waiter.wants_place = True

    def next_for_place(self) -> Waiter | None:
        """The one whose turn it is."""
        while self._for_place:
            _, waiter = heappop(self._for_place)
            waiter.wants_place = False
            if waiter in self.waiting:
                return waiter
        return None

    def due(self, now: float) -> list[Waiter]:
        """Whose instant has come."""
        due = []
        while self._alarms and self._alarms[0][0] <= now:
            entry = heappop(self._alarms)
            waiter = entry[2]
            if self._stands(entry):
                waiter.ask_at = inf
                due.append(waiter)
        return sorted(due, key=lambda waiter: waiter.number)

    def of(self, choose: object) -> list[Waiter]:
        """Those with this chooser."""
        return list(self._of.get(choose, ()))

    def _stands(self, entry: tuple[float, int, Waiter]) -> bool:
        ask_at, _, waiter = entry
        return waiter.ask_at == ask_at and waiter in self.waiting

    def _tidy(self) -> None:
        most = SLACK + 2 * len(self.waiting)
        if len(self._alarms) > most:
            self._alarms = [entry for entry in self._alarms if self._stands(entry)]
            heapify(self._alarms)
        if len(self._for_place) > most:
            self._for_place = [entry for entry in self._for_place if entry[1] in self.waiting]
            heapify(self._for_place)
