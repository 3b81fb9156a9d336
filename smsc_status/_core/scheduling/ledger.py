"""What the log means that the processes of one account share.

Each process keeps a `Ledger` as its replica, and feeds it every entry of the log in order. The rule about tokens and
slots is `Pacer`'s; the ledger only tells it what happened, and when. Replicas of the same log are equal, because every
instant comes from the log: an entry's stamp, or such a stamp plus a duration that an entry gives.

The entries are records of five kinds:

- `Joined`: a process uses the account from now on, with these limits. It is repeated while the process is at work.
- `Took`: a request has been permitted. Its *budget* is the number of seconds within which it ends. The record may also
  say that the process's last request has ended before.
- `Ended`: a request has ended. If no record says so when the budget is over, the request counts as abandoned.
- `Waits`: a *ticket*. The process waits for a slot, for the bulk slot, or for both, until the ticket expires.
- `Quarantine`: the log has forgotten requests, so nothing may start until they are surely over.

Whose turn is it? A process lets others go first:

- A free slot goes to a process in which a caller waits for a `check`; then to the one with the fewest requests open;
  then to one that has waited `HANDOVER_AFTER` seconds longer than the other. There is no circle of processes that let
  each other go first, so one of those that wait can always go.
- The bulk slot goes to the process whose last bulk request was the longest ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from math import inf
from typing import Final, final

import attrs
import msgspec

from smsc_status._core.scheduling.pacing import REPLIED, Pacer, RequestEnd
from smsc_status.errors import ConfigError
from smsc_status.models import Key, Limits

VERSION: Final = 2
"""The version of these records. Processes of different versions do not share an account."""

TICKET_SECONDS: Final = 2.0
"""A ticket expires after this many seconds, unless its process renews it. So a process that has stopped does not delay
the others for longer."""

HANDOVER_AFTER: Final = 1.0
"""Seconds. A process that uses its slots again and again gives one up to a process that has waited this much longer.

If the log is a file, the others learn of a free slot some milliseconds late, and the slot is idle until then. At one
handover a second that costs little.
"""

MARK_SECONDS: Final = 1.0
"""The entries within this many seconds are kept or dropped together."""

SHARED_LIMITS: Final = ("checks_per_id", "bulk_requests", "period", "connections", "margin", "linger")
"""The limits that must be the same for all processes of an account."""

_LARGEST_INT: Final = 2**64 - 1
_ENDS: Final = tuple(RequestEnd)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An entry of a log: its number (the first is 1, and none is left out), its stamp in seconds, and its data.

    It is a struct because a process that joins makes thousands at once: a struct is made in a third of the time of an
    attrs class.
    """

    number: int
    at: float
    data: bytes


@final
class Joined(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A process uses the account. `who` is the number of its first such entry, or 0 in that entry itself.

    `last_bulk_at` is when its last bulk request was permitted. The entry of that request may have been dropped already.
    """

    version: int
    who: int
    name: str
    limits: tuple[float, ...]
    budget: float
    last_bulk_at: float = -inf


@final
class Took(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A request has been permitted to the process `who`; `serial` tells its requests apart.

    `after` is the serial of a request of this process that has ended before, and how, as in `Ended`.
    """

    who: int
    serial: int
    budget: float
    bulk: bool
    ids: tuple[int | str, ...]
    after: tuple[int, int] | None = None


@final
class Ended(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A request has ended; `how` is a position in `RequestEnd`."""

    who: int
    serial: int
    how: int


@final
class Waits(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A ticket; one that wants nothing takes back the last one."""

    who: int
    slot: bool
    urgent: bool
    bulk: bool


@final
class Quarantine(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Nothing may start for this many seconds after the entry's stamp."""

    seconds: float
    reason: str


Record = Joined | Took | Ended | Waits | Quarantine
# Code that runs for each entry asks `type(record) is Took`. A struct has a metaclass, so an `isinstance` that finds
# another class takes four times as long.

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)


def encode(record: Record) -> bytes:
    """The record as an entry's data."""
    return _encoder.encode(record)


def decode(data: bytes) -> Record:
    """The record in an entry's data.

    Raises:
        ConfigError: this version does not know such a record.
    """
    try:
        record: Record = _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"the shared log holds a record that can't be read ({error}): "
            f"expected one of version {VERSION}, so all processes need the same version of smsc_status"
        ) from None
    if type(record) is Joined and record.version != VERSION:
        raise ConfigError(
            f"the shared log is of version {record.version}: expected {VERSION}, "
            "so all processes need the same version of smsc_status"
        )
    return record


def joined(*, who: int, name: str, limits: Limits, budget: float, last_bulk_at: float = -inf) -> Joined:
    """The record of a process that uses the account with these limits."""
    return Joined(VERSION, who, name, _shared(limits), budget, last_bulk_at)


def took(
    *,
    who: int,
    serial: int,
    budget: float,
    bulk: bool,
    keys: Collection[Key],
    after: tuple[int, RequestEnd] | None = None,
) -> Took:
    """The record of a permitted request, and of the end of the one before, if that has not been told."""
    ended_before = None if after is None else (after[0], _ENDS.index(after[1]))
    return Took(who, serial, budget, bulk, tuple(map(_to_wire, keys)), ended_before)


def ended(*, who: int, serial: int, how: RequestEnd) -> Ended:
    """The record of a request that has ended."""
    return Ended(who, serial, _ENDS.index(how))


def _to_wire(key: Key) -> int | str:
    # An id may have forty digits; msgpack's numbers have at most 64 bits. No id that is a text begins with "#".
    return f"#{key}" if isinstance(key, int) and key > _LARGEST_INT else key


def _from_wire(id: int | str) -> Key:
    return int(id[1:]) if isinstance(id, str) and id.startswith("#") else id


def limits_of(record: Joined) -> Limits:
    """The limits that this process keeps. Those that processes need not have in common are the default."""
    values = dict(zip(SHARED_LIMITS, record.limits, strict=True))
    kinds = {name: type(getattr(Limits(), name)) for name in values}
    return Limits(**{name: kinds[name](value) for name, value in values.items()})


def _shared(limits: Limits) -> tuple[float, ...]:
    return tuple(getattr(limits, name) for name in SHARED_LIMITS)


@attrs.define
class Member:
    """A process that uses the account."""

    who: int
    name: str
    joined_at: float
    limits: tuple[float, ...] = ()
    """Its `SHARED_LIMITS`; empty if the log does not say."""
    joined_number: int = 0
    """The number of its last `Joined`; 0 if the log does not say."""
    open: int = 0
    last_took_at: float = -inf
    last_bulk_at: float = -inf
    matters_until: float = -inf
    """The instant from which none of its ended requests matters any more."""


@attrs.define
class Ticket:
    """What a process waits for, since when, and until when the others need to know."""

    since: float
    expires_at: float
    slot: bool
    urgent: bool
    bulk: bool


@attrs.define
class _Mark:
    """The entries within a second: when they began, their first number, and until when any of them is needed."""

    at: float
    number: int
    open: int = 0
    needed_until: float = -inf


class _Open(msgspec.Struct, gc=False):
    """A request in flight. It is a struct for the same reason as `Entry`."""

    keys: Sequence[Key]
    bulk: bool
    mark: _Mark
    expires_at: float
    """When its budget is over."""


class Ledger:
    """One process's replica. All instants are on the log's clock.

    Args:
        limits: what this process keeps. The other processes must keep the same.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pacer: Pacer = Pacer(attrs.evolve(limits, singles_per_minute=None))
        self.members: dict[int, Member] = {}
        self.number: int = 0
        """The number of the last entry; 0 before the first."""
        self.at: float = -inf
        """All that happened up to this instant is known."""
        self.quiet_until: float = -inf
        self.quarantines: int = 0
        self.changes: int = 0
        """How often something has happened after which a selector may name another instant than before.

        An answered single request does not count. It only frees a slot, and the selectors that lack a slot are called
        then anyway."""
        self._open: dict[tuple[int, int], _Open] = {}
        # No budget of a request in flight is over before this instant.
        self._no_end_before = inf
        self._tickets: dict[int, Ticket] = {}
        self.longest_budget: float = 0.0
        """The longest budget of any request so far, in seconds."""
        self._marks: deque[_Mark] = deque()
        self._back_after = limits.period + limits.margin

    # Reports of what happened.

    def apply(self, entry: Entry, record: Record | None = None) -> Record:
        """Take in the log's next entry. `record` is what its data says, if that is known. Returns it.

        Raises:
            ConfigError: a record of another version.
        """
        if record is None:
            record = decode(entry.data)
        self.advance(entry.at)
        now = self.at
        self.number = entry.number
        if not self._marks or now - self._marks[-1].at >= MARK_SECONDS:
            self._marks.append(_Mark(now, entry.number))
        if type(record) is Took:
            self._took(record, now)
        elif type(record) is Ended:
            self._finish((record.who, record.serial), _ENDS[record.how], now)
        elif type(record) is Waits:
            self._waits(record, now)
        elif type(record) is Joined:
            self._joined(record, entry.number, now)
        else:
            self.quarantines += 1
            self.changes += 1
            self.quiet_until = max(self.quiet_until, now + record.seconds)
            self._need_until(now + record.seconds)
        return record

    def advance(self, now: float) -> None:
        """The log has no further entries up to `now`. Requests whose budgets are over by then count as abandoned."""
        if now >= self._no_end_before:
            over = [(each.expires_at, request) for request, each in self._open.items() if each.expires_at <= now]
            for expires_at, request in sorted(over):
                self._finish(request, RequestEnd.ABANDONED, expires_at)
            self._no_end_before = self.next_end_at()
        if now > self.at:
            self.at = now

    def _took(self, record: Took, now: float) -> None:
        if record.after is not None:
            self._finish((record.who, record.after[0]), _ENDS[record.after[1]], now)
        # So an entry with a thousand ids takes 0.23 ms. With `isinstance` it takes 0.28, with a call for each id 0.36.
        keys = tuple([_from_wire(id) if id.__class__ is str else id for id in record.ids])
        expires_at = now + record.budget
        self.pacer.started(keys, record.bulk, now)
        mark = self._marks[-1]
        mark.open += 1
        self._open[record.who, record.serial] = _Open(keys, record.bulk, mark, expires_at)
        if expires_at < self._no_end_before:
            self._no_end_before = expires_at
        if record.budget > self.longest_budget:
            self.longest_budget = record.budget
        member = self.members.get(record.who)
        if member is None:
            member = self.members[record.who] = Member(record.who, "?", now)
        member.open += 1
        member.last_took_at = now
        if record.bulk:
            member.last_bulk_at = now

    def _finish(self, request: tuple[int, int], how: RequestEnd, now: float) -> None:
        open_request = self._open.pop(request, None)
        if open_request is not None:  # otherwise its budget was over before, or its start has been dropped from the log
            self.pacer.finished(open_request.keys, open_request.bulk, how, now)
            self.changes += open_request.bulk or how is not REPLIED
            until = now + (self._back_after if how is REPLIED else self._matters_for(how))
            mark, member = open_request.mark, self.members[request[0]]
            mark.open -= 1
            if until > mark.needed_until:
                mark.needed_until = until
            member.open -= 1
            if until > member.matters_until:
                member.matters_until = until

    def _matters_for(self, how: RequestEnd) -> float:
        """For how many seconds a request without an answer matters after its end."""
        if how is RequestEnd.NOT_SENT:
            return 0.0
        if how is RequestEnd.ABANDONED:
            return self.limits.linger + self._back_after
        return 2 * self._back_after  # a second or third refusal may stop all single requests for this long

    def _waits(self, record: Waits, now: float) -> None:
        if not record.slot and not record.bulk:
            self._tickets.pop(record.who, None)
            self.changes += 1
            return
        before = self._tickets.get(record.who)
        since = before.since if before is not None and before.expires_at > now else now
        expires_at = now + TICKET_SECONDS
        self._tickets[record.who] = Ticket(since, expires_at, record.slot, record.urgent, record.bulk)
        self._need_until(expires_at)

    def _joined(self, record: Joined, number: int, now: float) -> None:
        self.longest_budget = max(self.longest_budget, record.budget)
        who = record.who or number
        member = self.members.get(who)
        if member is None:
            member = self.members[who] = Member(who, record.name, now)
        member.name, member.joined_at, member.joined_number, member.limits = record.name, now, number, record.limits
        member.last_bulk_at = record.last_bulk_at

    def _need_until(self, at: float) -> None:
        """The entry that is being taken in is needed until this instant."""
        mark = self._marks[-1]
        mark.needed_until = max(mark.needed_until, at)

    # Questions.

    @property
    def horizon(self) -> float:
        """For how many seconds a request matters at most, counted from its permit."""
        limits = self.limits
        return self.longest_budget + limits.linger + limits.period + limits.margin

    def active(self, *, now: float) -> list[Member]:
        """The processes with requests that matter, and those that have joined within the last `horizon` seconds."""
        horizon = self.horizon
        return [
            member
            for member in self.members.values()
            if member.open or max(member.joined_at + horizon, member.matters_until) > now
        ]

    def check_limits(self, *, now: float) -> None:
        """Compare the limits of all processes that have used the account lately.

        Raises:
            ConfigError: one of them keeps other limits than this one.
        """
        ours = _shared(self.limits)
        for member in self.active(now=now):
            if member.limits and member.limits != ours:
                differing = [
                    f"{name} {their:g} and not {our:g}"
                    for name, their, our in zip(SHARED_LIMITS, member.limits, ours, strict=True)
                    if their != our
                ]
                raise ConfigError(
                    f"limits: {member.name} shares this account with {', '.join(differing)}: "
                    "expected the same limits in all processes"
                )

    def first_needed(self, *, now: float) -> int:
        """The number of an entry before which nothing matters any more.

        An entry matters as long as it changes an answer: a request until its tokens are back, a ticket until it
        expires, a quarantine until its end, and the last `Joined` of a process as long as the process is active.
        """
        found = [member.joined_number for member in self.active(now=now) if member.joined_number]
        needed = (mark.number for mark in self._marks if mark.open or mark.needed_until > now)
        return min([*found, next(needed, self.number)])

    def forget(self, *, now: float) -> None:
        """Forget the processes that have not used the account for long, and the numbers of old entries."""
        first = self.first_needed(now=now)
        while self._marks and self._marks[0].number < first:
            self._marks.popleft()
        self.members = {member.who: member for member in self.active(now=now)}
        self._tickets = {who: ticket for who, ticket in self._tickets.items() if ticket.expires_at > now}

    def is_open(self, who: int, serial: int) -> bool:
        """Whether this request is in flight."""
        return (who, serial) in self._open

    def next_end_at(self) -> float:
        """The earliest end of the budget of a request in flight; `inf` if none is."""
        return min([each.expires_at for each in self._open.values()], default=inf)

    def ticket(self, who: int) -> Ticket | None:
        """This process's last ticket, which may have expired, if it has not been taken back."""
        return self._tickets.get(who)

    def tickets_ahead(self, who: int, *, urgent: bool, now: float) -> list[float]:
        """When the tickets expire of the other processes to which this one leaves a free slot."""
        if not self._tickets:
            return []
        mine = self._slot_turn(who, urgent, now)
        return [
            ticket.expires_at
            for other, ticket in self._valid(who, now)
            if ticket.slot and _goes_first(self._slot_turn(other, ticket.urgent, now), mine)
        ]

    def bulk_tickets_ahead(self, who: int, *, now: float) -> list[float]:
        """When the tickets expire of the other processes to which this one leaves the bulk slot."""
        mine = self._bulk_turn(who)
        return [
            ticket.expires_at
            for other, ticket in self._valid(who, now)
            if ticket.bulk and self._bulk_turn(other) < mine
        ]

    def _valid(self, who: int, now: float) -> Iterator[tuple[int, Ticket]]:
        return ((other, ticket) for other, ticket in self._tickets.items() if other != who and ticket.expires_at > now)

    def _slot_turn(self, who: int, urgent: bool, now: float) -> tuple[bool, int, float]:
        """The process's turn for a slot: whether no caller waits, its open requests, and since when it waits.

        The smallest turn goes first.
        """
        member, ticket = self.members.get(who), self._tickets.get(who)
        since = now if ticket is None or ticket.expires_at <= now else ticket.since
        if member is None:
            return not urgent, 0, since
        return not urgent, member.open, max(since, member.last_took_at)

    def _bulk_turn(self, who: int) -> tuple[float, float, int]:
        member, ticket = self.members.get(who), self._tickets.get(who)
        return -inf if member is None else member.last_bulk_at, inf if ticket is None else ticket.since, who


def _goes_first(one: tuple[bool, int, float], other: tuple[bool, int, float]) -> bool:
    if one[:2] != other[:2]:
        return one[:2] < other[:2]
    # Among callers the one that has waited longer goes first, at once.
    return one[2] < other[2] - (HANDOVER_AFTER if one[0] else 0.0)
