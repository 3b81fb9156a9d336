"""The figures of a report. Rows go in one by one; what is kept does not grow with their number."""

from __future__ import annotations

import heapq
from collections import Counter
from datetime import date, datetime, tzinfo
from typing import NamedTuple

import attrs

from smsc_status import codes
from smsc_status.codes import Channel
from smsc_status.report._counting.histogram import Histogram
from smsc_status.report._counting.marks import DELIVERY, FAILED, FAILURE, MESSAGE
from smsc_status.report._counting.tallies import ByName, Costs, Group, Sums, Tally, plus
from smsc_status.report._rows import Row

MOST_SLOWEST = 10
"""How many of the slowest deliveries are kept."""

MOST_KINDS = 50_000
"""Rows that are alike are first counted together, for at most this many kinds. That takes a third of the time."""

MAX_NAME_CHARS = 100
"""Names that are alike so far are one name."""

_GROUP_OF: dict[int, Group] = {
    **dict.fromkeys(codes.FINAL, Group.FAILED),
    **dict.fromkeys(codes.DELIVERED, Group.DELIVERED),
    int(codes.Status.NOT_FOUND): Group.UNKNOWN,
}


@attrs.frozen(slots=True)
class Reason:
    """Why messages failed: the status, and the error of a channel's table. `is_email` says which table that is."""

    status: int | None
    err: int | None
    is_email: bool


@attrs.frozen(slots=True, order=True)
class Slow:
    """One delivery and the seconds that it took. `number` is less the later its row came in."""

    seconds: int
    number: int
    row: Row = attrs.field(order=False)


@attrs.define
class LookUps:
    """How many numbers can be reached, can't be, or are not known to."""

    reachable: int = 0
    unreachable: int = 0
    open: int = 0
    unknown: int = 0
    costs: Costs = attrs.field(factory=Costs)

    @property
    def total(self) -> int:
        """How many look-ups there are."""
        return self.reachable + self.unreachable + self.open + self.unknown

    def take(self, alike: Alike, sums: Sums) -> None:
        """Count look-ups that are alike, and what they cost."""
        if sums.costs:
            self.costs.add(sums.cost, sums.costs, are_delivered=alike.is_reachable is True)
        if alike.has_failed or alike.status == codes.Status.NOT_FOUND:
            self.unknown += sums.count
        elif alike.is_reachable is None:
            self.open += sums.count
        elif alike.is_reachable:
            self.reachable += sums.count
        else:
            self.unreachable += sums.count

    def add(self, other: LookUps) -> None:
        """Add the counts of others."""
        self.reachable += other.reachable
        self.unreachable += other.unreachable
        self.open += other.open
        self.unknown += other.unknown
        self.costs.include(other.costs)


class Alike(NamedTuple):
    """What is counted of a message or look-up, but its cost and its time."""

    day: date | None
    channel: Channel
    operator: str | None
    sender: str | None
    status: int | None
    err: int | None
    is_email: bool
    has_failed: bool
    is_look_up: bool
    is_reachable: bool | None

    @property
    def group(self) -> Group:
        """How the message stands."""
        if self.has_failed:
            return Group.UNKNOWN
        return Group.OPEN if self.status is None else _GROUP_OF.get(self.status, Group.OPEN)


@attrs.define(kw_only=True)
class Figures:
    """Everything that a report says, as numbers. First `take` all rows, then call `finish`.

    `zone` determines the day of a date. Messages whose day, channel, operator or sender is not known are in `messages`,
    but not in the counts by these.
    """

    zone: tzinfo
    rows: int = 0
    bad_rows: int = 0
    messages: Tally = attrs.field(factory=Tally)
    look_ups: LookUps = attrs.field(factory=LookUps)
    statuses: Counter[int | None] = attrs.field(factory=Counter)
    reasons: Counter[Reason] = attrs.field(factory=Counter)
    errors: ByName[str, Sums] = attrs.field(factory=lambda: ByName(Sums))
    by_day: ByName[date, Tally] = attrs.field(factory=lambda: ByName(Tally))
    by_channel: ByName[Channel, Tally] = attrs.field(factory=lambda: ByName(Tally))
    by_operator: ByName[str, Tally] = attrs.field(factory=lambda: ByName(Tally))
    by_sender: ByName[str, Tally] = attrs.field(factory=lambda: ByName(Tally))
    look_ups_by_operator: ByName[str, LookUps] = attrs.field(factory=lambda: ByName(LookUps))
    times: Histogram = attrs.field(factory=Histogram)
    times_by_operator: ByName[str, Histogram] = attrs.field(factory=lambda: ByName(Histogram))
    times_by_day: ByName[date, Histogram] = attrs.field(factory=lambda: ByName(Histogram))
    first_sent_at: datetime | None = None
    last_sent_at: datetime | None = None
    _sums: dict[Alike, Sums] = attrs.field(factory=dict, init=False)
    _slowest: list[Slow] = attrs.field(factory=list, init=False)

    def take(self, row: Row, marks: int) -> None:
        """Count a row, as far as its marks say."""
        self.rows += 1
        if marks & FAILURE:
            self.errors.at(row.error or "").count += 1
        if marks & MESSAGE:
            self._put(row, has_failed=bool(marks & FAILED))
        if marks & DELIVERY:
            self._take_delivery(row)

    def finish(self) -> None:
        """All rows were taken."""
        kinds, self._sums = self._sums, {}
        for alike, sums in kinds.items():
            if alike.is_look_up:
                self._count_look_ups(alike, sums)
            else:
                self._count_messages(alike, sums)

    @property
    def counted(self) -> int:
        """How many messages and look-ups there are."""
        return self.messages.total + self.look_ups.total

    @property
    def slowest(self) -> list[Slow]:
        """The slowest deliveries, the slowest one first."""
        return sorted(self._slowest, reverse=True)

    def _put(self, row: Row, *, has_failed: bool) -> None:
        sent_at, is_look_up = row.sent_at, row.is_look_up
        alike = Alike(
            None if sent_at is None else sent_at.astimezone(self.zone).date(),
            row.channel,
            _bounded(row.operator),
            _bounded(row.sender_id),
            row.status,
            row.err,
            row.is_email,
            has_failed,
            is_look_up,
            row.is_reachable if is_look_up else None,
        )
        sums = self._sums.get(alike)
        if sums is None:
            if len(self._sums) >= MOST_KINDS:
                self.finish()
            sums = self._sums[alike] = Sums()
        sums.count += 1
        if row.cost is not None:
            sums.cost = plus(sums.cost, row.cost)
            sums.costs += 1
        if sent_at is not None and not is_look_up:
            self._widen(sent_at)

    def _count_messages(self, alike: Alike, sums: Sums) -> None:
        group = alike.group
        self.messages.take(group, sums)
        self.by_channel.at(alike.channel).take(group, sums)
        if alike.operator:
            self.by_operator.at(alike.operator).take(group, sums)
        if alike.sender:
            self.by_sender.at(alike.sender).take(group, sums)
        if alike.day is not None:
            self.by_day.at(alike.day).take(group, sums)
        if not alike.has_failed:
            self.statuses[alike.status] += sums.count
        if group is Group.FAILED and alike.status is not None:
            self.reasons[Reason(alike.status, alike.err, alike.is_email)] += sums.count

    def _count_look_ups(self, alike: Alike, sums: Sums) -> None:
        self.look_ups.take(alike, sums)
        if alike.operator:
            self.look_ups_by_operator.at(alike.operator).take(alike, sums)

    def _take_delivery(self, row: Row) -> None:
        sent_at, changed_at = row.sent_at, row.changed_at
        if sent_at is None or changed_at is None or changed_at < sent_at or row.is_look_up:
            return
        seconds = int((changed_at - sent_at).total_seconds())
        self.times.add(seconds)
        operator = _bounded(row.operator)
        if operator:
            self.times_by_operator.at(operator).add(seconds)
        self.times_by_day.at(sent_at.astimezone(self.zone).date()).add(seconds)
        if len(self._slowest) < MOST_SLOWEST:
            heapq.heappush(self._slowest, Slow(seconds, -self.rows, row))
        elif seconds > self._slowest[0].seconds:
            heapq.heapreplace(self._slowest, Slow(seconds, -self.rows, row))

    def _widen(self, at: datetime) -> None:
        if self.first_sent_at is None or at < self.first_sent_at:
            self.first_sent_at = at
        if self.last_sent_at is None or at > self.last_sent_at:
            self.last_sent_at = at


def _bounded(name: str | None) -> str | None:
    return name if name is None or len(name) <= MAX_NAME_CHARS else name[:MAX_NAME_CHARS]
