"""Until when can a status be read, and whose time is running out?

By the vendor's page (https://smsc.ru/api/http/status_messages/check_status/) statuses must be asked within 24 hours of
sending, and at 03:00 Moscow time the messages with a final status that were sent before 18:00 of the day before are
moved to an archive; what is asked after that is "not found".
"""

from __future__ import annotations

from math import inf
from typing import Any, Generic, Protocol, TypeVar

from smsc_status._core.stale import has_outgrown
from smsc_status._core.tracking.bucket import Bucket

DAY = 86_400.0
MINUTE = 60.0

SETTLED_BEFORE_SWEEP = 9 * 3600.0
"""Between 18:00 and the sweep at 03:00, Moscow time."""


def archive_deadline(sent_at: float) -> float:
    """When a message sent at `sent_at` may be gone; both in seconds since 1970.

    The earlier of two: 24 hours after sending; the first 03:00 Moscow time (midnight UTC) before which it lay since
    before 18:00 of the day before.

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
    """The deadline that lies ahead: what was not final at the sweep stays until 24 hours are over."""
    deadline = archive_deadline(sent_at)
    return deadline if date < deadline else sent_at + DAY


class Dated(Protocol):
    """What has a deadline. `Deadlines` sets its `minute`: `None` while no deadline of it is watched."""

    sent_at: float
    minute: Bucket[Any] | None


DatedT = TypeVar("DatedT", bound=Dated)


class Deadlines(Generic[DatedT]):
    """The next deadline of each message, to the minute."""

    def __init__(self) -> None:
        self._minutes: dict[float, Bucket[DatedT]] = {}

    def watch(self, item: DatedT, *, after: float = 0.0) -> None:
        """Watch its next deadline after a date, instead of the one that is being watched."""
        at = next_deadline(item.sent_at, after) // MINUTE * MINUTE
        if item.minute is not None:
            if item.minute.at == at:
                return
            self.forget(item)
        minute = self._minutes.get(at)
        if minute is None:
            minute = self._minutes[at] = Bucket(at)
        minute.append(item)
        minute.live += 1
        item.minute = minute

    def forget(self, item: DatedT) -> None:
        """It matters no more."""
        minute = item.minute
        if minute is None:
            return
        item.minute = None
        minute.live -= 1
        if not minute.live:
            self._minutes.pop(minute.at, None)
        elif has_outgrown(len(minute), minute.live):
            minute[:] = dict.fromkeys(other for other in minute if other.minute is minute)

    def take(
        self, date: float, *, seconds_each: float, guard: float, at_most: int, queued: int = 0
    ) -> list[tuple[DatedT, float]]:
        """Those that must be asked from now on, so that all are asked in time, and when their minute begins.

        The earliest come first. A message is out of time when it, and all with an earlier deadline, take until then to
        be asked, less `guard`.

        Args:
            date: now, in seconds since 1970.
            seconds_each: how long asking one takes.
            guard: seconds.
            at_most: no more than so many, and the rest at another call.
            queued: so many that were taken before are still to be asked, and go first.
        """
        before, critical_at = queued, -inf
        minutes = sorted(self._minutes.values(), key=lambda minute: minute.at)
        for minute in minutes:
            before += minute.live
            if minute.at - date <= before * seconds_each + guard:
                critical_at = minute.at
        taken: list[tuple[DatedT, float]] = []
        for minute in minutes:
            if minute.at > critical_at or len(taken) >= at_most:
                break
            while minute.live and len(taken) < at_most:
                item = minute.pop()
                if item.minute is minute:
                    item.minute = None
                    minute.live -= 1
                    taken.append((item, minute.at))
            if not minute.live:
                del self._minutes[minute.at]
        return taken
