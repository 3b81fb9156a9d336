"""Computes until when a status can be read, and finds the messages whose deadline is near.

The vendor's page (https://smsc.ru/api/http/status_messages/check_status/) says: ask for a status within 24 hours of
sending. At 03:00 Moscow time the vendor also moves messages to an archive: those that have a final status and were
sent before 18:00 of the day before. An archived message is "not found".
"""

from __future__ import annotations

from math import inf
from typing import Any, Generic, Protocol, TypeVar

from smsc_status._core.stale import has_outgrown
from smsc_status._core.tracking.bucket import Bucket

DAY = 86_400.0
MINUTE = 60.0

SETTLED_BEFORE_SWEEP = 9 * 3600.0
"""Seconds from 18:00 to the sweep at 03:00, Moscow time. The sweep spares messages that were sent in between."""


def archive_deadline(sent_at: float) -> float:
    """When a message sent at `sent_at` may be gone; both in seconds since 1970.

    That is 24 hours after sending, or at the first 03:00 Moscow time (midnight UTC) that follows an 18:00 after
    sending, whichever comes first.

    >>> from datetime import datetime
    >>> for clock in ("17:59:59", "18:00:00"):
    ...     sent_at = datetime.fromisoformat(f"2026-03-10T{clock}+03:00")
    ...     deadline = archive_deadline(sent_at.timestamp())
    ...     print(datetime.fromtimestamp(deadline, sent_at.tzinfo))
    2026-03-11 03:00:00+03:00
    2026-03-11 18:00:00+03:00
    """
    sweep_at = ((sent_at + SETTLED_BEFORE_SWEEP) // DAY + 1) * DAY
    return min(sent_at + DAY, sweep_at)


def next_deadline(sent_at: float, date: float) -> float:
    """The archive deadline, or once it has passed, 24 hours after sending.

    A message that is not final at the sweep stays until its 24 hours are over.
    """
    deadline = archive_deadline(sent_at)
    return deadline if date < deadline else sent_at + DAY


class Dated(Protocol):
    """An item with a deadline. `Deadlines` sets its `deadline_bucket`: `None` while no deadline of it is watched."""

    sent_at: float
    deadline_bucket: Bucket[Any] | None


DatedT = TypeVar("DatedT", bound=Dated)


class Deadlines(Generic[DatedT]):
    """The next deadline of each message, rounded down to the minute."""

    def __init__(self) -> None:
        self._buckets: dict[float, Bucket[DatedT]] = {}

    @property
    def minutes(self) -> int:
        """How many different deadlines are watched."""
        return len(self._buckets)

    @property
    def entries(self) -> int:
        """How many entries it holds, those of items that are not watched any more included."""
        return sum(map(len, self._buckets.values()))

    def watch(self, item: DatedT, *, after: float = 0.0) -> None:
        """Watch the item's first deadline after the date `after`. It replaces the deadline watched so far."""
        at = next_deadline(item.sent_at, after) // MINUTE * MINUTE
        if item.deadline_bucket is not None:
            if item.deadline_bucket.at == at:
                return
            self.forget(item)
        bucket = self._buckets.get(at)
        if bucket is None:
            bucket = self._buckets[at] = Bucket(at)
        bucket.append(item)
        bucket.live += 1
        item.deadline_bucket = bucket

    def forget(self, item: DatedT) -> None:
        """Stop watching the item's deadline."""
        bucket = item.deadline_bucket
        if bucket is None:
            return
        item.deadline_bucket = None
        bucket.live -= 1
        if not bucket.live:
            self._buckets.pop(bucket.at, None)
        elif has_outgrown(len(bucket), bucket.live):
            bucket[:] = dict.fromkeys(other for other in bucket if other.deadline_bucket is bucket)

    def take(
        self, date: float, *, seconds_each: float, guard: float, at_most: int, queued: int = 0
    ) -> list[tuple[DatedT, float]]:
        """Take the messages that must be asked from now on to be asked in time, earliest deadline first.

        A message must be asked once the time left until its deadline is no longer than asking it and all messages with
        an earlier or the same deadline takes, plus `guard`. All messages with an earlier deadline are taken with it.

        Args:
            date: now, in seconds since 1970.
            seconds_each: how long it takes to ask one message.
            guard: seconds.
            at_most: how many to take; the rest stay for another call.
            queued: how many messages that were taken before are still waiting; they are asked first.

        Returns:
            Each message with its deadline, rounded down to the minute.
        """
        before, critical_at = queued, -inf
        buckets = sorted(self._buckets.values(), key=lambda bucket: bucket.at)
        for bucket in buckets:
            before += bucket.live
            if bucket.at - date <= before * seconds_each + guard:
                critical_at = bucket.at
        taken: list[tuple[DatedT, float]] = []
        for bucket in buckets:
            if bucket.at > critical_at or len(taken) >= at_most:
                break
            while bucket.live and len(taken) < at_most:
                item = bucket.pop()
                if item.deadline_bucket is bucket:
                    item.deadline_bucket = None
                    bucket.live -= 1
                    taken.append((item, bucket.at))
            if not bucket.live:
                del self._buckets[bucket.at]
        return taken
