"""Which subscribers with a time limit must be told now that their request cannot start in time?

Other requests may delay a waiting check, so its earliest start is computed again and again. To bound the cost, at most
`EXAMINED_AT_ONCE` subscribers are examined at a time. If more wait, this is done at most every `EXAMINE_INTERVAL`
seconds. Two cases are found without it: the deadline is before the earliest start of any check, or it has passed. To
find them, all subscribers are also kept in the order of their deadlines.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count, islice
from math import inf
from typing import Generic, NamedTuple, TypeVar

from smsc_status._core.scheduling.checks import PendingCheck
from smsc_status._core.stale import has_outgrown

EXAMINED_AT_ONCE = 64
EXAMINE_INTERVAL = 0.05
"""Seconds. With more subscribers than `EXAMINED_AT_ONCE`, only that many are examined, once in this time."""

SubscriberT = TypeVar("SubscriberT")


class TooLate(NamedTuple, Generic[SubscriberT]):
    """A subscriber whose check cannot start in time, as far as is known."""

    subscriber: SubscriberT
    check: PendingCheck
    start_at: float


class StartDeadlines(Generic[SubscriberT]):
    """Subscribers that each wait for a check, and the instants by which their requests must have started."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[SubscriberT, tuple[PendingCheck, float]] = OrderedDict()
        # The entry of a subscriber that has left stays until it reaches the front, until `join` filters the heap, or
        # until nobody waits.
        self._by_deadline: list[tuple[float, int, SubscriberT]] = []
        self._counter = count()
        self._examined_at = -inf

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def entries(self) -> int:
        """How many entries it holds in the order of their deadlines, those of subscribers that have left included."""
        return len(self._by_deadline)

    def join(self, subscriber: SubscriberT, check: PendingCheck, start_by: float) -> None:
        """A subscriber waits, or now waits for another check. The latest to join is examined first."""
        self._waiting[subscriber] = check, start_by
        self._waiting.move_to_end(subscriber, last=False)
        heappush(self._by_deadline, (start_by, next(self._counter), subscriber))
        if has_outgrown(len(self._by_deadline), len(self._waiting)):
            self._by_deadline = [entry for entry in self._by_deadline if self._is_current(entry)]
            heapify(self._by_deadline)

    def leave(self, subscriber: SubscriberT) -> None:
        """A subscriber no longer waits. Does nothing if it did not wait."""
        self._waiting.pop(subscriber, None)
        if not self._waiting:
            self._by_deadline.clear()

    def drain(self) -> Iterator[None]:
        """Forget all subscribers, step by step, because forgetting very many at once takes long."""
        while self._waiting:
            self._waiting.popitem()
            yield
        while self._by_deadline:
            self._by_deadline.pop()
            yield

    def take_too_late(
        self, start_at: Callable[[PendingCheck], float], *, soonest: float, now: float, at_most: float = inf
    ) -> list[TooLate[SubscriberT]]:
        """Remove and return subscribers that cannot be served in time, as far as can be told now.

        `start_at` gives the earliest instant at which a check can start, `soonest` the earliest for any check. No more
        than `at_most` are returned, and up to `EXAMINED_AT_ONCE` more that are found by examination.
        """
        late: list[TooLate[SubscriberT]] = []
        while len(late) < at_most and ((end := self._next_deadline()) < soonest or end <= now):
            subscriber = heappop(self._by_deadline)[2]
            check, _ = self._waiting.pop(subscriber)
            late.append(TooLate(subscriber, check, start_at(check)))
        if len(self._waiting) <= EXAMINED_AT_ONCE or now >= self._examined_at + EXAMINE_INTERVAL:
            self._examined_at = now
            for subscriber, (check, start_by) in list(islice(self._waiting.items(), EXAMINED_AT_ONCE)):
                self._waiting.move_to_end(subscriber)
                at = start_at(check)
                if at > start_by:
                    del self._waiting[subscriber]
                    late.append(TooLate(subscriber, check, at))
        return late

    def due_at(self, *, now: float) -> float:
        """When to look again even if nothing else happens; `inf` if there is no need to."""
        again_at = self._examined_at + EXAMINE_INTERVAL if len(self._waiting) > EXAMINED_AT_ONCE else inf
        return max(now, min(again_at, self._next_deadline()))

    def _next_deadline(self) -> float:
        while self._by_deadline and not self._is_current(self._by_deadline[0]):
            heappop(self._by_deadline)
        return self._by_deadline[0][0] if self._by_deadline else inf

    def _is_current(self, entry: tuple[float, int, SubscriberT]) -> bool:
        start_by, _, subscriber = entry
        known = self._waiting.get(subscriber)
        return known is not None and known[1] == start_by
