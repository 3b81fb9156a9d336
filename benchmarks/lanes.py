"""Simulates the two lanes and tracking without HTTP: a day takes half a minute. It compares policies.

The scheduler, the pacer and the referee that counts arrivals are the library's own. The client around them (its tasks,
httpx, JSON) is left out. The benchmark `day` runs both and prints them side by side.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from math import inf
from statistics import fmean
from typing import NamedTuple

import attrs

from smsc_status import Limits, MessageRef, StatusRecord
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status._core.tracking.archive import DAY, archive_deadline
from smsc_status._core.tracking.polling import PollScheduler
from smsc_status._core.tracking.tracked import Policy, Tracked
from smsc_status.codes import FINAL, MessageType
from smsc_status.emulator._limits import Kind, Referee
from smsc_status.emulator._lives import Draws, draw_life
from smsc_status.models import Key

START = datetime(2026, 3, 10, 6, 0, tzinfo=UTC).timestamp()
"""The date at which a simulated day begins: nine o'clock in the morning in Moscow."""

ROUND_TRIPS = 0.05, 0.3

LATE = 10.0
"""A message that ends less than this many seconds before its archive deadline can hardly be read in time."""

_PENDING = StatusRecord(status=0)
_GONE = StatusRecord(status=-3)


class Sent(NamedTuple):
    """One message of a simulated day: when it is sent, in seconds since the start, and at what age it ends."""

    at: float
    ends_after: float


def a_day(count: int, seconds: float, *, seed: int = 1) -> list[Sent]:
    """`count` messages, sent at random times within `seconds`. Their lives are those that the emulator draws."""
    draw = random.Random(seed)
    sent = sorted(draw.uniform(0, seconds) for _ in range(count))
    return [Sent(at, end_of(number, seed=seed)) for number, at in enumerate(sent, 1)]


def end_of(number: int, *, seed: int) -> float:
    """The age at which the message with this id gets its final status, in a world with this seed."""
    life = draw_life(MessageType.SMS, Draws(seed, "life", number, phone_of(number)))
    return next(step.after for step in life if step.status in FINAL)


def phone_of(number: int) -> str:
    """The phone of the message with this id."""
    return f"79{number % 10**9:09d}"


class _Request(NamedTuple):
    items: list[Tracked]
    bulk: bool
    started_at: float
    replied_at: float
    final: list[bool | None]
    """Whether each item was final when the server read the request, in the order of `items`; `None`: archived."""


@attrs.define
class Outcome:
    """The result of a run: the delays from the end of each message to its record, and the requests that were used."""

    delays: list[float] = attrs.field(factory=list)
    is_within_limits: bool = True
    singles: int = 0
    bulk: int = 0
    polled: int = 0
    lost: int = 0
    """Messages that were archived before their final status was read, even if they were not asked again since."""
    lost_in_vain: int = 0
    """Those of them that ended less than `LATE` seconds before their archive deadline."""
    most_tracked: int = 0
    stalest: float = 0.0
    """The longest time between two checks of a message, or between its sending and its first check."""
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        """The mean delay, in seconds."""
        return fmean(self.delays)

    def quantile(self, share: float) -> float:
        """The delay that this share (0 to 1) of the messages does not exceed."""
        return sorted(self.delays)[min(len(self.delays) - 1, int(share * len(self.delays)))]


class Lanes:
    """One run: messages are sent, are asked by the scheduler as the limits allow, and end.

    Args:
        day: the messages, in the order of sending.
        policy: the policy of the scheduler.
        limits: the account's limits.
        seed: the seed of the round trips, which are distributed evenly over `ROUND_TRIPS`.
    """

    def __init__(self, day: Sequence[Sent], policy: Policy, limits: Limits | None = None, *, seed: int = 1) -> None:
        self.limits = limits or Limits()
        self.outcome = Outcome()
        cycle = self.limits.period + self.limits.margin
        self.scheduler = PollScheduler(
            policy,
            max_bulk=self.limits.max_bulk,
            cycle=cycle,
            slots=self.limits.connections,
            checks=self.limits.checks_per_id,
        )
        self.scheduler.dates.offset = START
        self._day = day
        self._pacer = Pacer(self.limits)
        self._referee = Referee()
        self._random = random.Random(seed)
        # A heap of coming events. Each is a request that the server reads, or whose reply arrives.
        self._events: list[tuple[float, int, _Request]] = []
        self._read = 0
        self._order = 0
        self._singles = 0
        self._is_bulk_out = False

    def run(self, *, until: float = inf) -> Outcome:
        """Run until the last message has ended, or for `until` seconds."""
        now = 0.0
        while now < until:
            while self._read < len(self._day) and self._day[self._read].at <= now:
                self._send(self._day[self._read], now)
            while self._events and self._events[0][0] <= now:
                self._happen(heappop(self._events)[2], now)
            asleep = self._ask(now)
            arrives_at = self._day[self._read].at if self._read < len(self._day) else inf
            happens_at = self._events[0][0] if self._events else inf
            wakes_at = min(asleep, arrives_at, happens_at)
            if wakes_at == inf:
                break
            now = max(now, wakes_at)
        for item in self.scheduler:
            sent = self._day[int(item.ref.id) - 1]
            if self._is_archived(sent, now):
                self._lose(sent)
        self.outcome.seconds = now
        self.outcome.is_within_limits = self._referee.no_violations
        return self.outcome

    def _send(self, sent: Sent, now: float) -> None:
        self._read += 1
        ref = MessageRef(self._read, phone_of(self._read), datetime.fromtimestamp(START + sent.at, UTC))
        self.scheduler.add(ref, now=now)
        self.outcome.most_tracked = max(self.outcome.most_tracked, len(self.scheduler))

    def _ask(self, now: float) -> float:
        """Send what may be sent now. Returns when there may be more to send."""
        scheduler, pacer = self.scheduler, self._pacer
        slot_at = pacer.bulk_due_at(now=now)
        if not self._is_bulk_out and slot_at <= now and pacer.free_slots(now=now):
            batch = []
            for item in take_bulk(scheduler, self.limits.max_bulk, now=now):
                if pacer.tokens(item.ref.identity[0], now=now):
                    batch.append(item)
                else:
                    scheduler.put_back_for_bulk(item, now=now)
            if batch:
                self._is_bulk_out = True
                self.outcome.bulk += 1
                self._start(batch, now, bulk=True)
        while self._singles < scheduler.slots and pacer.free_slots(now=now):
            urgent = scheduler.take_single(now=now)
            if urgent is None:
                break
            if not pacer.tokens(urgent.ref.identity[0], now=now):
                scheduler.put_back_for_bulk(urgent, now=now)
                continue
            self._singles += 1
            self.outcome.singles += 1
            self._start([urgent], now, bulk=False)
        if not pacer.free_slots(now=now):
            return inf
        bulk_at = inf if self._is_bulk_out else max(slot_at, scheduler.due_at())
        return min(bulk_at, inf if self._singles >= scheduler.slots else max(now, scheduler.due_at(singly=True)))

    def _start(self, items: list[Tracked], now: float, *, bulk: bool) -> None:
        self._pacer.started(_keys(items), bulk=bulk, now=now)
        round_trip = self._random.uniform(*ROUND_TRIPS)
        self._expect(now + round_trip * self._random.random(), _Request(items, bulk, now, now + round_trip, []))
        for item in items:
            self.outcome.stalest = max(self.outcome.stalest, now - item.answered_at)

    def _expect(self, at: float, request: _Request) -> None:
        self._order += 1
        heappush(self._events, (at, self._order, request))

    def _happen(self, request: _Request, now: float) -> None:
        if request.final:
            self._take_in(request, now)
            return
        kind = Kind.BULK if request.bulk else Kind.SINGLE
        self._referee.arrived(_keys(request.items), kind, at=now, is_bulk=request.bulk)
        self._referee.left()
        for item in request.items:
            sent = self._day[int(item.ref.id) - 1]
            request.final.append(None if self._is_archived(sent, now) else now >= sent.at + sent.ends_after)
        self._expect(request.replied_at, request)

    def _is_archived(self, sent: Sent, now: float) -> bool:
        """Whether the message is archived, by the vendor's rules.

        One that was not final at its archive deadline stays until a day has passed since it was sent.
        """
        swept_at = archive_deadline(START + sent.at) - START
        return now >= sent.at + DAY or (now >= swept_at and sent.at + sent.ends_after <= swept_at)

    def _take_in(self, request: _Request, now: float) -> None:
        self._pacer.finished(_keys(request.items), bulk=request.bulk, how=RequestEnd.REPLIED, now=now)
        if request.bulk:
            self._is_bulk_out = False
        else:
            self._singles -= 1
            self.scheduler.record_round_trip(now - request.started_at)
        self.outcome.polled += len(request.items)
        for item, final in zip(request.items, request.final, strict=True):
            self._judge(item, final, now)

    def _judge(self, item: Tracked, final: bool | None, now: float) -> None:
        sent = self._day[int(item.ref.id) - 1]
        ended_at = sent.at + sent.ends_after
        if final is None:
            record = _GONE
            self._lose(sent)
        elif final:
            record = StatusRecord(status=1, last_timestamp=int(START + ended_at))
            self.outcome.delays.append(now - ended_at)
        else:
            record = _PENDING
        self.scheduler.polled(item, record, done=final is not False, now=now)
        if final is False:
            self.scheduler.put_back(item, now=now)
        else:
            self.scheduler.forget(item)

    def _lose(self, sent: Sent) -> None:
        self.outcome.lost += 1
        self.outcome.lost_in_vain += archive_deadline(START + sent.at) - START - sent.at - sent.ends_after < LATE


def take_bulk(scheduler: PollScheduler, max_bulk: int, *, now: float) -> list[Tracked]:
    """The messages for a bulk request; none if no message is due."""
    scheduler.call_last(now=now)
    return scheduler.take(max_bulk, now=now) if scheduler.due_at() <= now else []


def _keys(items: list[Tracked]) -> list[Key]:
    return [item.ref.identity[0] for item in items]
