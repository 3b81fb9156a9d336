"""Which tracked messages are asked next, what is a change, who is done, whose archive deadline is near?

A change that comes with the hazard `h` is found `interval / 2` late on average, so that among messages that share a
capacity the delays add up to the least if each is asked at a rate in proportion to `sqrt(h)`. That is the plan: the
`Ages` learn the hazard by age, and their `effort` is the integral of its root over a life. Each message is due again
when its effort has grown by as much as the capacity affords: the sum of the roots over all messages, divided by the
checks a second. More messages or a slower server stretch all intervals alike; young messages keep their lead.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush
from itertools import chain
from math import ceil, inf, sqrt

import attrs

from smsc_status.codes import Status
from smsc_status.errors import Archived, Expired, TrackingEnded
from smsc_status.models import Key, MessageRef, StatusRecord

DAY = 86_400.0
SETTLED_BEFORE_SWEEP = 9 * 3600.0
"""Between 18:00 and the sweep at 03:00, Moscow time."""


LAST_CHANCE = 3.0
"""So long before its deadline a message is asked for the last time, in seconds."""

TAKEN = -inf
"""The `due_at` of a message that is being asked."""

LAG = 1.0
"""An id's tokens come back by the time of the replies, which are about so many seconds later than the checks."""

SLACK = 64
"""So many entries of a line may mean nothing, and as many as there are that do."""


def archive_deadline(sent_at: float) -> float:
    """When a message sent at `sent_at` may be gone; both in seconds since 1970.

    By the vendor's page the earlier of two: 24 hours after sending; the first 03:00 Moscow time (midnight UTC) before
    which it lay since before 18:00 of the day before.
    """
    sweep_at = ((sent_at + SETTLED_BEFORE_SWEEP) // DAY + 1) * DAY
    return min(sent_at + DAY, sweep_at)


@attrs.frozen(kw_only=True)
class Policy:
    """How tracking spends its checks. Seconds everywhere.

    `eagerness`, 0 to 1, is the share of the connections that single checks of tracked messages may take up beside the
    bulk requests. By default half of them stay free for the account's other work.
    """

    eagerness: float = 0.5
    expire_after: float = 2 * DAY
    least_interval: float = 3.6
    """No message is asked more often. The five checks a minute that an id has reach over the age of 2 to 20 s so, in
    which most messages are delivered."""
    least_share: float = 0.01
    """Nor more often than at every such share of its age: an old message's minute matters less."""
    longest_interval: float = 3600.0
    """None is due later than that, however many there are."""
    young: float = 600.0
    """Up to this age a message goes before older ones in single checks: most are delivered by then."""
    stopped: float = 600.0
    """How often one that was stopped (-2) is asked at least."""
    guard: float = 90.0
    """The last call before a deadline begins so much earlier than its bulk requests take."""


class Ages:
    """At what age do messages end? Learned from what was seen, from a prior on.

    Args:
        prior_weight: as many messages the prior counts for.
    """

    EDGES = (0.0, *(1.25**k for k in range(-2, 58)))
    REFRESH_EVERY = 500

    def __init__(self, prior_weight: float = 20.0) -> None:
        self._exposure: list[float] = []
        self._events: list[float] = []
        for low, high in zip(self.EDGES, (*self.EDGES[1:], 2 * self.EDGES[-1]), strict=True):
            # Before anything was seen: half of what is left at an age of 5 s ends within that time again, and so on.
            exposure = prior_weight * (high - low) * sqrt(5.0 / (5.0 + low))
            self._exposure.append(exposure)
            self._events.append(exposure * 0.5 / (5.0 + low))
        self._news = 0
        self._learn()

    def survived(self, low: float, high: float) -> None:
        """A message was followed from one age to another."""
        edges, bin = self.EDGES, self._bin(low)
        while low < high:
            end = min(high, edges[bin + 1]) if bin + 1 < len(edges) else high
            self._exposure[bin] += end - low
            low, bin = end, bin + 1

    def ended(self, age: float) -> None:
        """A message ended at this age."""
        self._events[self._bin(age)] += 1
        self._news += 1
        if self._news >= self.REFRESH_EVERY:
            self._learn()

    def rate(self, age: float) -> float:
        """The root of the hazard at an age."""
        return self._rates[self._bin(age)]

    def effort(self, age: float) -> float:
        """The integral of `rate` up to an age."""
        bin = self._bin(age)
        return self._efforts[bin] + self._rates[bin] * (age - self.EDGES[bin])

    def age_at(self, effort: float) -> float:
        """The age at which the effort is so much."""
        bin = max(0, bisect_right(self._efforts, effort) - 1)
        return self.EDGES[bin] + (effort - self._efforts[bin]) / self._rates[bin]

    def _bin(self, age: float) -> int:
        return max(0, bisect_right(self.EDGES, age) - 1)

    def _learn(self) -> None:
        self._news = 0
        self._rates = [sqrt(events / time) for events, time in zip(self._events, self._exposure, strict=True)]
        self._efforts = [0.0]
        for rate, low, high in zip(self._rates, self.EDGES, self.EDGES[1:], strict=False):
            self._efforts.append(self._efforts[-1] + rate * (high - low))


class Tracked:
    """One message that is followed. Instants are seconds since 1970, but for `due_at`, which is on the plan's line."""

    __slots__ = (
        "burst", "burst_at", "due_at", "failures", "is_patient", "last", "polled_at", "rate", "ref", "sent_at",
        "told_at",
    )  # fmt: skip

    def __init__(self, ref: MessageRef, sent_at: float, *, is_known: bool, now: float) -> None:
        self.ref = ref
        self.sent_at = sent_at
        self.told_at = 0.0 if is_known else now
        """When it was given to us, while the time of sending is not known; 0.0 once it is."""
        self.polled_at = 0.0
        self.due_at = 0.0
        self.rate = 0.0
        self.last: tuple[int, int | None] | None = None
        self.failures = 0
        self.burst_at = -inf
        self.burst = 0
        """So many checks began within a period from `burst_at` on."""
        self.is_patient = False
        """Whether it waits for a bulk request, because single checks of its id found no token."""

    @property
    def is_dated(self) -> bool:
        """Whether the time of sending is known."""
        return not self.told_at


_Entry = tuple[float, int, Tracked]


class Plan:
    """The messages that are followed, and the order in which they are asked.

    `now` is on one monotonic line; `offset` is the date (seconds since 1970) less that, and kept by whoever can look at
    a clock. A message waits in the plan from `add` or `put_back` until it is taken.

    Args:
        policy: how checks are spent.
        max_bulk: how many a bulk request takes.
        cycle: seconds from one bulk request to the next.
        places: how many single checks may be open at once.
        checks: how often an id may be named in a cycle.
    """

    def __init__(self, policy: Policy, *, max_bulk: int, cycle: float, places: int, checks: int) -> None:
        self.policy = policy
        self.ages = Ages()
        self.offset = 0.0
        self.places = ceil(places * policy.eagerness)
        self._max_bulk = max_bulk
        self._cycle = cycle
        self._round_trip = 0.3
        self._young: list[_Entry] = []
        self._old: list[_Entry] = []
        self._last_call: list[_Entry] = []
        self._patient: list[_Entry] = []
        self._checks = checks
        self._busy: dict[Key, float] = {}
        # By minute, those whose archive deadline falls into it: looked at when the minute is near, then dropped.
        self._deadlines: dict[int, set[Tracked]] = {}
        self._count = 0
        self._order = 0
        self._rates = 0.0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Tracked]:
        lines = chain(self._last_call, self._young, self._old, self._patient)
        return (item for due_at, _, item in lines if due_at == item.due_at)

    # What happens to messages.

    def add(self, ref: MessageRef, *, now: float) -> Tracked:
        """Follow one more; a message that was not just sent is due at once."""
        known = ref.sent_at is not None
        date = now + self.offset
        item = Tracked(ref, ref.sent_at.timestamp() if ref.sent_at is not None else date, is_known=known, now=date)
        self._schedule(item, now=now, first=True)
        self._watch_deadline(item)
        return item

    def learned(self, item: Tracked, record: StatusRecord) -> None:
        """A reply's own time of sending overrules what was believed."""
        sent_at = record.sent_at
        if sent_at is not None and (not item.is_dated or sent_at.timestamp() != item.sent_at):
            self._forget_deadline(item)
            item.sent_at, item.told_at = sent_at.timestamp(), 0.0
            self._watch_deadline(item)

    def polled(self, item: Tracked, record: StatusRecord, *, done: bool, now: float) -> bool:
        """A record came in; whether it is the first, or a change of status or error."""
        self.learned(item, record)
        now += self.offset
        low, high = max(0.0, (item.polled_at or item.sent_at) - item.sent_at), max(0.0, now - item.sent_at)
        if done:
            changed_at = record.changed_at
            high = min(high, max(low, changed_at.timestamp() - item.sent_at)) if changed_at is not None else high
            self.ages.ended(high)
        self.ages.survived(low, high)
        item.polled_at = now
        item.failures = 0
        seen = record.status, record.err
        changed, item.last = seen != item.last, seen
        return changed

    def put_back(self, item: Tracked, *, now: float) -> None:
        """It is not done: it will be asked again."""
        self._schedule(item, now=now, first=False)

    def forget(self, item: Tracked) -> None:
        """It is done, and was taken before."""
        self._forget_deadline(item)

    def ending(self, item: Tracked) -> TrackingEnded | None:
        """Why it will not become final for us, by its last answer; `None` while it may."""
        status = item.last[0] if item.last is not None else None
        if status == Status.NOT_FOUND and item.polled_at >= archive_deadline(item.sent_at):
            return Archived("the vendor's archive has it: no final status was read before")
        if item.polled_at - item.sent_at >= self.policy.expire_after:
            return Expired(f"followed for {self.policy.expire_after:g} s: status {status} is not final")
        return None

    def held_up(self, item: Tracked, *, now: float) -> None:
        """A single check of it found no token: until a period has passed, messages of its id go in bulk."""
        if len(self._busy) > SLACK:
            self._busy = {key: until_at for key, until_at in self._busy.items() if until_at > now}
        self._busy[item.ref.identity[0]] = now + self._cycle
        item.burst -= 1
        item.is_patient = True
        self._schedule(item, now=now, first=True)

    def answered_in(self, seconds: float) -> None:
        """A single check took so long."""
        self._round_trip += 0.1 * (max(seconds, 0.01) - self._round_trip)

    # Who is next.

    def take_single(self, *, now: float) -> Tracked | None:
        """The next for a single check, if one is due: the young, then last calls, then the others."""
        for line in (self._young, self._last_call, self._old):
            while (entry := self._front(line)) is not None and entry[0] <= now:
                item = entry[2]
                if not self._busy or self._busy.get(item.ref.identity[0], now) <= now:
                    return self._take(line, now)
                item.is_patient = True
                heappush(self._patient, heappop(line))
        return None

    def take_bulk(self, *, now: float) -> list[Tracked]:
        """Those for a bulk request, if one of them is due: last calls, the due, then the next to be."""
        self._call_last(now)
        if self.due_at() > now:
            return []
        taken: list[Tracked] = []
        while len(taken) < self._max_bulk:
            lines = [line for line in (self._young, self._old, self._patient) if self._front(line)]
            line = self._last_call if self._front(self._last_call) else min(lines, default=None)
            if line is None:
                break
            taken.append(self._take(line, now))
        return taken

    def due_at(self, *, singly: bool = False) -> float:
        """When the next one is due, `singly`: for a single check; `inf` if there is none."""
        lines = [self._last_call, self._young, self._old, *([] if singly else [self._patient])]
        fronts = (self._front(line) for line in lines)
        return min((entry[0] for entry in fronts if entry is not None), default=inf)

    def due(self, *, now: float) -> tuple[int, int]:
        """How many are due, and how many of them have been for longer than a bulk request's turn."""
        waiting = [item.due_at for item in self if item.due_at <= now]
        return len(waiting), sum(due_at < now - self._cycle for due_at in waiting)

    def stalest(self, *, now: float, others: Iterable[Tracked] = ()) -> float:
        """How long ago the message that was asked longest ago was asked, or given to us; 0.0 without any."""
        asked = (item.polled_at or item.told_at or item.sent_at for items in (self, others) for item in items)
        now += self.offset
        return max(0.0, now - min(asked, default=now))

    # Inside.

    def _schedule(self, item: Tracked, *, now: float, first: bool) -> None:
        policy, ages = self.policy, self.ages
        date = now + self.offset
        age = max(0.0, date - item.sent_at)
        item.rate = ages.rate(age)
        self._rates += item.rate
        self._count += 1
        self._order += 1
        line = self._patient if item.is_patient else self._young if age <= policy.young else self._old
        wait = 0.0 if first and age >= policy.least_interval else self._wait(item, age)
        left = archive_deadline(item.sent_at) - LAST_CHANCE - date
        if left > 0:  # towards the end ever more often
            wait = min(wait, max(policy.least_interval, left / 2))
        if item.burst >= self._checks:
            wait = max(wait, item.burst_at + self._cycle + LAG - now)
        item.due_at = now + wait
        heappush(line, (item.due_at, self._order, item))

    def _wait(self, item: Tracked, age: float) -> float:
        policy, ages = self.policy, self.ages
        capacity = self.places / self._round_trip + self._max_bulk / self._cycle
        wait = ages.age_at(ages.effort(age) + self._rates / capacity) - age
        least = max(policy.least_interval, policy.least_share * age)
        if item.last is not None and item.last[0] == Status.STOPPED:
            least = max(least, policy.stopped)
        return min(max(wait, least), max(policy.longest_interval, least))

    def _take(self, line: list[_Entry], now: float) -> Tracked:
        item = heappop(line)[2]
        item.is_patient = False
        if now >= item.burst_at + self._cycle:
            item.burst_at, item.burst = now, 0
        item.burst += 1
        item.due_at = TAKEN
        self._rates = max(0.0, self._rates - item.rate)
        self._count -= 1
        return item

    def _front(self, line: list[_Entry]) -> _Entry | None:
        while line and line[0][0] != line[0][2].due_at:
            heappop(line)
        return line[0] if line else None

    def _watch_deadline(self, item: Tracked) -> None:
        self._deadlines.setdefault(_minute(item), set()).add(item)

    def _forget_deadline(self, item: Tracked) -> None:
        minute = _minute(item)
        others = self._deadlines.get(minute)
        if others is not None:
            others.discard(item)
            if not others:
                del self._deadlines[minute]

    def _call_last(self, now: float) -> None:
        """Those that must be asked from now on so that all are asked before their deadline come first."""
        date = now + self.offset
        before, critical = 0, -1
        minutes = sorted(self._deadlines)
        for minute in minutes:
            before += len(self._deadlines[minute])
            if minute * 60 - date <= ceil(before / self._max_bulk) * self._cycle + self.policy.guard:
                critical = minute
        for minute in minutes:
            if minute > critical:
                break
            for item in self._deadlines.pop(minute):
                if item.due_at > TAKEN:  # else it is being asked at this moment
                    self._order += 1
                    item.due_at = now - DAY + (minute * 60 - date)
                    heappush(self._last_call, (item.due_at, self._order, item))
        for line in (self._young, self._old, self._patient):
            if len(line) > SLACK + 2 * self._count:
                line[:] = [entry for entry in line if entry[0] == entry[2].due_at]
                heapify(line)


def _minute(item: Tracked) -> int:
    return int(archive_deadline(item.sent_at) // 60)
