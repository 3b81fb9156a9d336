"""What the tests of the dispatcher share: checks, pacers, and how a request starts and ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from smsc_status._core.scheduling.checks import CheckState, PendingCheck, Request
from smsc_status._core.scheduling.dispatch import Dispatcher
from smsc_status._core.scheduling.pacing import Pacer, RequestEnd
from smsc_status.models import Detail, Key, Limits, id_key

NOW = 100.0


REPLIED = RequestEnd.REPLIED


def check_of(id: Key, phone: str = "1", *, rank: float = 0.0, detail: Detail = Detail.BASIC) -> PendingCheck:
    return PendingCheck(str(id), phone, (id_key(id), phone), detail, rank)


def mailing(id: Key, count: int, *, rank: float = 0.0) -> list[PendingCheck]:
    return [check_of(id, str(phone), rank=rank) for phone in range(count)]


def waiting(*checks: PendingCheck, max_bulk: int = 1000) -> Dispatcher:
    dispatcher = Dispatcher(max_bulk)
    for one in checks:
        dispatcher.add(one)
    return dispatcher


def drained(dispatcher: Dispatcher) -> list[PendingCheck]:
    """What it gives when everything is taken out."""
    checks = []
    for one in dispatcher.drain():
        if one is not None:
            one.state = CheckState.DONE
            checks.append(one)
    return checks


def used(pacer: Pacer, *keys: Key, times: int = 1, bulk: bool = False, at: float = NOW) -> None:
    """So many answered requests of each id, or of all in bulk."""
    for _ in range(times):
        for names in [keys] if bulk else [(key,) for key in keys]:
            pacer.started(names, bulk=bulk, now=at)
            pacer.finished(names, bulk=bulk, how=REPLIED, now=at)


def start(dispatcher: Dispatcher, pacer: Pacer, now: float = NOW) -> Request | None:
    request = dispatcher.take(pacer, now=now)
    if request is not None:
        pacer.started(request.keys, bulk=request.bulk, now=now)
    return request


def start_all(dispatcher: Dispatcher, pacer: Pacer, now: float = NOW) -> list[Request]:
    """All that go at this instant."""
    requests: list[Request] = []
    while (request := start(dispatcher, pacer, now)) is not None:
        requests.append(request)
    return requests


def end(pacer: Pacer, requests: Iterable[Request], how: RequestEnd = REPLIED, now: float = NOW) -> None:
    for request in requests:
        pacer.finished(request.keys, bulk=request.bulk, how=how, now=now)


def without_bulk_slot() -> Pacer:
    """The slot comes back at 161."""
    pacer = Pacer(Limits())
    used(pacer, "other", bulk=True)
    return pacer


def sizes(requests: Sequence[Request]) -> list[int]:
    """The sizes of bulk requests; 0 is a single one."""
    return [len(request.checks) if request.bulk else 0 for request in requests]
