"""Which subscribers with a time limit must be told now that their request cannot start in time?

Other requests may delay a waiting check, so its earliest start is computed again and again. To bound the cost, at most
`AT_ONCE` subscribers are examined at a time, and with more of them at most once in `LOOK_AGAIN` seconds. Two cases need
no such examination: no check can start in time, or a deadline has passed. For these, all subscribers are also kept in
the order of their deadlines.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count, islice
from math import inf
from typing import Generic, NamedTuple, TypeVar

from smsc_status._core.scheduling.dispatch import PendingCheck
from smsc_status._core.stale import has_outgrown

AT_ONCE = 64
LOOK_AGAIN = 0.05
"""Seconds. With more than `AT_ONCE` subscribers, `AT_ONCE` of them are examined once in so many seconds."""

WhoT = TypeVar("WhoT")


class TooLate(NamedTuple, Generic[WhoT]):
    """A subscriber whose check cannot start in time, as far as is known."""

    who: WhoT
    check: PendingCheck
    start_at: float


class StartDeadlines(Generic[WhoT]):
    """Subscribers that each wait for a check, and the instants by which their requests must have started."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[WhoT, tuple[PendingCheck, float]] = OrderedDict()
        # The entry of a subscriber that has left stays here until it reaches the front, or until `join` filters the
        # heap.
        self._by_deadline: list[tuple[float, int, WhoT]] = []
        self._counter = count()
        self._looked_at = -inf

    def __len__(self) -> int:
        return len(self._waiting)

    def join(self, who: WhoT, check: PendingCheck, start_by: float) -> None:
        """A subscriber waits, or now waits for another check. The latest to join is examined first."""
        self._waiting[who] = check, start_by
        self._waiting.move_to_end(who, last=False)
        heappush(self._by_deadline, (start_by, next(self._counter), who))
        if has_outgrown(len(self._by_deadline), len(self._waiting)):
            self._by_deadline = [entry for entry in self._by_deadline if self._stands(entry)]
            heapify(self._by_deadline)

    def leave(self, who: WhoT) -> None:
        """A subscriber no longer waits. Does nothing if it did not wait."""
        self._waiting.pop(who, None)

    def let_go(self) -> Iterator[None]:
        """Forget all subscribers, step by step, because forgetting very many at once takes long."""
        while self._waiting:
            self._waiting.popitem()
            yield
        while self._by_deadline:
            self._by_deadline.pop()
            yield

    def take_too_late(
        self, start_at: Callable[[PendingCheck], float], *, soonest: float, now: float, at_most: float = inf
    ) -> list[TooLate[WhoT]]:
        """Remove and return subscribers that cannot be served in time, as far as can be told now.

        `start_at` gives the earliest instant at which a check can start, `soonest` the earliest for any check. About
        `at_most` are returned; the subscribers that are examined may come on top, `AT_ONCE` at most.
        """
        late: list[TooLate[WhoT]] = []
        while len(late) < at_most and ((end := self._next_end()) < soonest or end <= now):
            who = heappop(self._by_deadline)[2]
            check, _ = self._waiting.pop(who)
            late.append(TooLate(who, check, start_at(check)))
        if len(self._waiting) <= AT_ONCE or now >= self._looked_at + LOOK_AGAIN:
            self._looked_at = now
            for who, (check, start_by) in list(islice(self._waiting.items(), AT_ONCE)):
                self._waiting.move_to_end(who)
                at = start_at(check)
                if at > start_by:
                    del self._waiting[who]
                    late.append(TooLate(who, check, at))
        return late

    def look_at(self, *, now: float) -> float:
        """When to look again even if nothing else happens; `inf` if there is no need to."""
        again_at = self._looked_at + LOOK_AGAIN if len(self._waiting) > AT_ONCE else inf
        return max(now, min(again_at, self._next_end()))

    def _next_end(self) -> float:
        while self._by_deadline and not self._stands(self._by_deadline[0]):
            heappop(self._by_deadline)
        return self._by_deadline[0][0] if self._by_deadline else inf

    def _stands(self, entry: tuple[float, int, WhoT]) -> bool:
        start_by, _, who = entry
        known = self._waiting.get(who)
        return known is not None and known[1] == start_by
