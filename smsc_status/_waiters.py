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
    """A caller that waits: its number in the order of arrival, its selector, and its event loop."""

    number: int
    select: Any
    loop: object = None
    woken: anyio.Event | None = None
    """What wakes its task, if it waits for that."""
    ask_at: float = inf
    is_due: bool = False
    """Whether its selector is to be called, even if no slot is free."""
    is_due_with_slot: bool = False
    """Whether its selector is to be called once a slot is free. If not, it lacks something other than a slot."""
    permit: Any = None
    error: Exception | None = None
    """The exception that its selector raised."""

    def wake(self) -> None:
        """Let its task go on, to see what has changed."""
        if self.woken is not None:
            self.woken.set()

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
    _by_selector: dict[object, list[Waiter]] = attrs.field(factory=dict)
    _alarms: list[tuple[float, int, Waiter]] = attrs.field(factory=list)
    _due: list[Waiter] = attrs.field(factory=list)
    _due_with_slot: list[Waiter] = attrs.field(factory=list)
    # The waiters that may be urgent, and the function that says whether they are.
    _maybe_urgent: dict[Waiter, Any] = attrs.field(factory=dict)

    def join(self, waiter: Waiter) -> None:
        """Add the waiter."""
        self.waiting[waiter] = None
        self._by_selector.setdefault(waiter.select, []).append(waiter)
        is_urgent = _find_method(waiter.select, "is_urgent")
        if is_urgent is not None:
            self._maybe_urgent[waiter] = is_urgent

    def leave(self, waiter: Waiter) -> None:
        """Remove the waiter. Does nothing if it did not wait."""
        if waiter not in self.waiting:
            return
        del self.waiting[waiter]
        self._maybe_urgent.pop(waiter, None)
        same = self._by_selector[waiter.select]
        same.remove(waiter)
        if not same:
            del self._by_selector[waiter.select]
        self._drop_stale()

    def defer(self, waiter: Waiter, ask_at: float, *, has_slot: bool) -> None:
        """The waiter's selector was called and named no request; it is to be called again at `ask_at`.

        `has_slot` says whether a slot was free. If none was, the waiter is also due once one is.
        """
        before, waiter.ask_at = waiter.ask_at, ask_at
        if ask_at < before:
            waiter.wake()
        if ask_at < inf and ask_at != before:
            heappush(self._alarms, (ask_at, waiter.number, waiter))
            self._drop_stale()
        if not has_slot:
            self.mark_due_with_slot(waiter)

    def mark_due_with_slot(self, waiter: Waiter) -> None:
        """Its selector is to be called once a slot is free."""
        if not waiter.is_due_with_slot:
            waiter.is_due_with_slot = True
            heappush(self._due_with_slot, waiter)

    def mark_all_due_with_slot(self) -> None:
        """All selectors are to be called once a slot is free: whatever their waiters lack may be there now."""
        self._due_with_slot = list(self.waiting)
        for waiter in self.waiting:
            waiter.is_due_with_slot = True

    def mark_due(self, waiters: Iterable[Waiter]) -> None:
        """Their selectors are to be called, even if no slot is free."""
        for waiter in waiters:
            if not waiter.is_due:
                waiter.is_due = True
                heappush(self._due, waiter)

    def mark_due_by(self, now: float) -> None:
        """Mark every waiter whose instant is at or before `now`. Its selector is to be called, even without a free
        slot.
        """
        while self._alarms and self._alarms[0][0] <= now:
            entry = heappop(self._alarms)
            waiter = entry[2]
            if self._is_current(entry):
                waiter.ask_at = inf
                self.mark_due([waiter])

    @property
    def may_be_due(self) -> bool:
        """Whether any waiter may be due. If not, `next_due` finds none."""
        return bool(self._due or self._due_with_slot)

    def next_due(self, *, has_slot: bool, has_urgent_slot: bool | None = None, now: float) -> Waiter | None:
        """The waiter whose selector is to be called next.

        `has_slot` says whether a slot is free, and `has_urgent_slot` whether one is for an urgent waiter, if that is
        not the same.
        """
        may_go = has_slot if has_urgent_slot is None else has_urgent_slot
        urgent = [
            waiter
            for waiter, is_urgent in self._maybe_urgent.items()
            if (waiter.is_due or (may_go and waiter.is_due_with_slot)) and is_urgent(now=now)
        ]
        if urgent:
            return min(urgent)
        while self._due and not self._is_still_due(self._due[0]):
            heappop(self._due)
        while self._due_with_slot and not self._is_still_due_with_slot(self._due_with_slot[0]):
            heappop(self._due_with_slot)
        heads = self._due[:1] + self._due_with_slot[: 1 if has_slot else 0]
        return min(heads, default=None)

    def unmark(self, waiter: Waiter) -> None:
        """Its selector is called now, so it is no longer due."""
        waiter.is_due = waiter.is_due_with_slot = False

    def with_selector(self, select: object) -> list[Waiter]:
        """The waiters with this selector."""
        return list(self._by_selector.get(select, ()))

    def is_waiting(self, waiter: Waiter) -> bool:
        """Whether the waiter has not left."""
        return waiter in self.waiting

    def is_urgent(self, waiter: Waiter, *, now: float) -> bool:
        """Whether the waiter goes before others."""
        is_urgent = self._maybe_urgent.get(waiter)
        return is_urgent is not None and bool(is_urgent(now=now))

    def has_work(self, waiter: Waiter) -> bool:
        """Whether the waiter has something to send. If its selector does not say, it counts as having something."""
        has_work = _find_method(waiter.select, "has_work")
        return has_work is None or bool(has_work())

    def wants_bulk(self, waiter: Waiter, *, now: float) -> bool:
        """Whether the waiter would use the bulk slot. If its selector does not say, it counts as not using it."""
        wants_bulk = _find_method(waiter.select, "wants_bulk")
        return wants_bulk is not None and bool(wants_bulk(now=now))

    def next_alarm_at(self) -> float:
        """The earliest instant at which a selector is to be called; `inf` if there is none."""
        while self._alarms and not self._is_current(self._alarms[0]):
            heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else inf

    def in_loop(self, loop: object) -> list[Waiter]:
        """The waiters of this event loop."""
        return [waiter for waiter in self.waiting if waiter.loop is loop]

    def _is_current(self, entry: tuple[float, int, Waiter]) -> bool:
        ask_at, _, waiter = entry
        return waiter.ask_at == ask_at and waiter in self.waiting

    def _is_still_due(self, waiter: Waiter) -> bool:
        return waiter.is_due and waiter in self.waiting

    def _is_still_due_with_slot(self, waiter: Waiter) -> bool:
        return waiter.is_due_with_slot and waiter in self.waiting

    def _drop_stale(self) -> None:
        live = len(self.waiting)
        if not has_outgrown(len(self._alarms) + len(self._due) + len(self._due_with_slot), live):  # as nearly always
            return
        if has_outgrown(len(self._alarms), live):
            self._alarms = [entry for entry in self._alarms if self._is_current(entry)]
            heapify(self._alarms)
        if has_outgrown(len(self._due), live):
            self._due = list(dict.fromkeys(filter(self._is_still_due, self._due)))
            heapify(self._due)
        if has_outgrown(len(self._due_with_slot), live):
            self._due_with_slot = list(dict.fromkeys(filter(self._is_still_due_with_slot, self._due_with_slot)))
            heapify(self._due_with_slot)


def _find_method(select: Any, name: str) -> Any:
    """The selector's method of this name, or that of the object whose method it is; `None` if there is none."""
    own = getattr(select, name, None)
    return own if own is not None else getattr(getattr(select, "__self__", None), name, None)
