"""A queue for very many items, ordered by the instant at which they are due.

All items of one instant share a bucket, and a heap orders the instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import ceil, inf
from typing import Any, Generic, Protocol, TypeVar

from smsc_status._core.tracking.bucket import Bucket


class Due(Protocol):
    """An item of a queue. Queues set its `due_bucket`: `None` while it is in none."""

    due_bucket: Bucket[Any] | None


DueT = TypeVar("DueT", bound=Due)


class CalendarQueue(Generic[DueT]):
    """Items in the order of the instants at which they are due, rounded up to whole grains.

    Adding or taking an item works at the end of a list; a heap of instants is touched only when an instant comes or
    goes. An item leaves when it is taken, or when it is added to another queue.

    Args:
        grain: seconds.
    """

    def __init__(self, grain: float) -> None:
        self.entries: int = 0
        """How many entries it holds, those of items that left for another queue included."""
        self._grain = grain
        self._buckets: dict[int, Bucket[DueT]] = {}
        self._keys: list[int] = []

    def __iter__(self) -> Iterator[DueT]:
        for bucket in self._buckets.values():
            yield from dict.fromkeys(item for item in bucket if item.due_bucket is bucket)

    def add(self, item: DueT, at: float) -> None:
        """Add an item that is due at this instant; it leaves the queue that it was in."""
        key = ceil(at / self._grain)
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Bucket(key * self._grain)
            heappush(self._keys, key)
        if item.due_bucket is not None:
            item.due_bucket.live -= 1
        bucket.append(item)
        bucket.live += 1
        self.entries += 1
        item.due_bucket = bucket

    def due_at(self) -> float:
        """When the next item is due; `inf` if there is none."""
        while self._keys:
            bucket = self._buckets[self._keys[0]]
            if bucket.live:
                return bucket.at
            self.entries -= len(bucket)
            del self._buckets[heappop(self._keys)]
        return inf

    def take(self, at_most: int = 1) -> list[DueT]:
        """Take at most `at_most` of the items that are due next: all at one instant, which may still lie ahead."""
        if self.due_at() == inf:
            return []
        bucket: Bucket[DueT] = self._buckets[self._keys[0]]
        taken: list[DueT] = []
        before = len(bucket)
        while bucket and len(taken) < at_most:
            item = bucket.pop()
            if item.due_bucket is bucket:
                item.due_bucket = None
                taken.append(item)
        bucket.live -= len(taken)
        self.entries -= before - len(bucket)
        return taken

    def due(self, now: float) -> int:
        """How many items are due now."""
        return sum(bucket.live for bucket in self._buckets.values() if bucket.at <= now)

    def forget_gone(self) -> None:
        """Drop the entries of items that have left."""
        for key, bucket in list(self._buckets.items()):
            bucket[:] = dict.fromkeys(item for item in bucket if item.due_bucket is bucket)
            if not bucket:
                del self._buckets[key]
        self.entries = sum(map(len, self._buckets.values()))
        self._keys = list(self._buckets)
        heapify(self._keys)
