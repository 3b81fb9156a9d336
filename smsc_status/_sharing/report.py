"""How a shared account stands, as its log tells. To read it is not to use the account: nothing is appended."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import attrs

from smsc_status._core.scheduling.ledger import Entry, Joined, Ledger, decode, limits_of
from smsc_status._core.scheduling.pacing import BULK
from smsc_status._sharing.store import NoLog, Store
from smsc_status.limiter import LONGEST_REQUEST
from smsc_status.models import Limits


@attrs.frozen(kw_only=True)
class ProcessState:
    """A process that has used the account lately.

    - `name`: its host and process id, as `host/123`. A process with several event loops is there several times.
    - `open_requests`: how many of its requests are in flight.
    - `last_request_ago`: how many seconds ago its last request was permitted; `None` if the log tells of none.
    """

    name: str
    open_requests: int
    last_request_ago: float | None


@attrs.frozen(kw_only=True)
class AccountState:
    """How an account stands. All durations are in seconds.

    - `where`: where the log is.
    - `limits`: those that its processes keep; the vendor's if none has used the account lately.
    - `processes`: those that have used the account lately.
    - `open_requests`: the requests in flight.
    - `free_slots`: how many requests may start now.
    - `bulk_slot_in`: until the next bulk request may start; 0.0 means now.
    - `ids_remembered`: how many ids were asked lately.
    - `quarantine_in`: until requests may start again after a log was begun that may lack requests; 0.0 as a
      rule. If there is no log to read, it is what it will be if a process begins one now.
    - `no_log`: why there is no log to read; `None` if there is one.
    """

    where: str
    limits: Limits = attrs.field(factory=Limits)
    processes: tuple[ProcessState, ...] = ()
    open_requests: int = 0
    free_slots: int = 0
    bulk_slot_in: float = 0.0
    ids_remembered: int = 0
    quarantine_in: float = 0.0
    no_log: str | None = None


async def read_state(store: Store) -> AccountState:
    """Read the log once.

    Raises:
        LimiterUnavailable: it can't be reached.
        ConfigError: it is not such a log, or one of another version.
    """
    try:
        tail = await store.append(None, log="", after=0)
    except NoLog as missing:
        return _without_log(store, missing)
    limits = _limits_in(tail.entries)
    ledger = Ledger(limits)
    for entry in tail.entries:
        ledger.apply(entry)
    now = max(store.now(), ledger.at)
    ledger.advance(now)
    pacer = ledger.pacer
    quarantine_in = max(0.0, ledger.quiet_until - now)
    is_bulk_remembered = pacer.tokens(BULK, now=now) < limits.bulk_requests
    return AccountState(
        where=store.where,
        limits=limits,
        processes=tuple(
            ProcessState(
                name=member.name,
                open_requests=member.open,
                last_request_ago=round(now - member.last_took_at, 3) if member.last_took_at > -inf else None,
            )
            for member in ledger.active(now=now)
        ),
        open_requests=pacer.open_requests,
        free_slots=0 if quarantine_in else max(0, pacer.free_slots(now=now)),
        bulk_slot_in=round(max(quarantine_in, pacer.bulk_due_at(now=now) - now), 3),
        ids_remembered=len(pacer) - is_bulk_remembered,
        quarantine_in=round(quarantine_in, 3),
    )


def _without_log(store: Store, missing: NoLog) -> AccountState:
    """How the account stands for the next process, which begins a log, if it keeps the vendor's limits."""
    limits = Limits()
    quarantine_in = 0.0
    if missing.quiet_from is not None:
        seconds = limits.period + limits.margin + limits.linger + LONGEST_REQUEST
        quarantine_in = round(max(0.0, missing.quiet_from + seconds - store.now()), 3)
    return AccountState(
        where=store.where,
        free_slots=0 if quarantine_in else limits.connections,
        bulk_slot_in=quarantine_in,
        quarantine_in=quarantine_in,
        no_log=missing.reason,
    )


def _limits_in(entries: Sequence[Entry]) -> Limits:
    for entry in reversed(entries):
        record = decode(entry.data)
        if isinstance(record, Joined):
            return limits_of(record)
    return Limits()
