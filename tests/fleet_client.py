"""A program that uses the account beside others, for the tests of what may happen to processes that share it.

Its arguments are the server's URL, the client's `share`, and in JSON what it does; "work" names one of `WORKS`. It
prints its results in JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import quick_start  # noqa: F401 (what it does is needed)
import stopped_client
from stopped_client import TIMEOUT

from smsc_status import LimiterUnavailable, Limits, SmscError, StatusClient, StatusRecord, _loops
from smsc_status._core.scheduling import ledger
from smsc_status._core.scheduling.ledger import Entry, Ledger
from smsc_status._core.scheduling.pacing import RequestEnd
from smsc_status._sharing import file as file_module
from smsc_status._sharing import redis_connection
from smsc_status._sharing.limiter import SharedLimiter
from smsc_status._sharing.locked import write
from smsc_status._sharing.redis import RedisStore
from smsc_status._sharing.replica import Replica
from smsc_status._sharing.server_clock import ServerClock
from smsc_status._sharing.store import Tail

PHONE = "79990000000"  # that of `delivered` in `helpers`, whose import takes long
LIMITS: dict[str, Any] = {"period": 3.0, "margin": 0.2, "linger": 1.0}
TICK = 0.02

Said = dict[str, Any]


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Warnings(logging.Handler):
    """Keeps what the library warns of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


warnings = Warnings()


@asynccontextmanager
async def ticking(said: Said) -> AsyncIterator[None]:
    """Notes the longest time for which this event loop was blocked."""
    said["blocked"] = 0.0

    async def tick() -> None:
        while True:
            before = _loops.boot_now()
            await anyio.sleep(TICK)
            said["blocked"] = max(said["blocked"], _loops.boot_now() - before - TICK)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        yield
        tasks.cancel_scope.cancel()


async def stream(client: StatusClient, said: Said, *, first: int, count: int) -> None:
    """Check so many messages once each."""
    said["answered_at"] = answered_at = []
    async for outcome in client.stream((id, PHONE) for id in range(first, first + count)):
        assert isinstance(outcome, StatusRecord), outcome
        answered_at.append(_loops.boot_now())


async def go_on(client: StatusClient, said: Said, *, first: int, count: int) -> None:
    """Check these messages in turn, until the standard input is closed."""

    async def until_closed() -> None:
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        tasks.cancel_scope.cancel()

    def endless() -> Iterator[tuple[int, str]]:
        while True:
            yield from ((id, PHONE) for id in range(first, first + count))

    said["answered_at"] = answered_at = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(until_closed)
        async for _ in client.stream(endless()):
            answered_at.append(_loops.boot_now())
            if len(answered_at) == 1:
                _say("at work")


async def restarted(client: StatusClient, said: Said, *, id: int) -> None:
    """One bulk request, and five checks of one message."""
    await stream(client, said, first=id + 1, count=40)
    for _ in range(5):
        assert (await client.check(id, PHONE)).is_delivered


async def rarely(client: StatusClient, said: Said, *, first: int, count: int, pause: float) -> None:
    """Check one message after the other, with pauses."""
    said["took"] = took = []
    for id in range(first, first + count):
        began_at = _loops.boot_now()
        await client.check(id, PHONE)
        took.append(_loops.boot_now() - began_at)
        await anyio.sleep(pause)


async def each_method(client: StatusClient, said: Said) -> None:
    """Call each method once, and note how it fails and how long it takes."""

    async def drain(outcomes: Any) -> None:
        async for _ in outcomes:
            pass

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "check": lambda: client.check(1, PHONE),
        "stream": lambda: drain(client.stream([(1, PHONE)])),
        "track": lambda: drain(client.track([(1, PHONE)])),
        "delete": lambda: client.delete(1, PHONE),
    }
    said["failed"] = failed = {}
    for name, call in calls.items():
        began_at = _loops.boot_now()
        try:
            await call()
        except SmscError as error:
            failed[name] = [type(error).__name__, str(error), _loops.boot_now() - began_at]


async def told_when_away(client: StatusClient, said: Said, *, timeout: float) -> None:
    """Check a message in each way that has an end, after a line on the standard input."""
    await client.check(4999, PHONE)
    _say("at work")
    await anyio.to_thread.run_sync(sys.stdin.readline)
    failed = {}
    for name in ("timeout", "max_wait"):
        try:
            await client.check(4998, PHONE, **{name: timeout})  # type: ignore[call-overload]  # both are seconds
        except SmscError as error:
            failed[name] = type(error).__name__
    _say(failed)


async def forked(client: StatusClient, said: Said, *, first: int, count: int) -> None:
    """Fork while requests are open. The child goes on with the same client object in a loop of its own."""
    import multiprocessing  # noqa: PLC0415 (it takes long, and only this work needs it)

    reader, writer = multiprocessing.get_context("fork").Pipe(duplex=False)

    def in_child() -> None:
        child: Said = {"open_before": client.stats().open_requests}
        # In a thread of its own, because this one still counts as being in the parent's loop.
        thread = threading.Thread(target=anyio.run, args=(_in_child, client, child, first + count, count))
        thread.start()
        thread.join()
        writer.send(child)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(stream, client, said, first=first, count=count))
        while not client.stats().open_requests:  # noqa: ASYNC110 (there is no event)
            await anyio.sleep(0.01)
        process = multiprocessing.get_context("fork").Process(target=in_child)
        process.start()
        while process.is_alive():  # noqa: ASYNC110 (likewise)
            await anyio.sleep(0.05)
    process.join()
    said["child"] = reader.recv()


async def _in_child(client: StatusClient, said: Said, first: int, count: int) -> None:
    async with client:
        await stream(client, said, first=first, count=count)
        said["processes"] = client.stats().processes


WORKS: dict[str, Callable[..., Awaitable[None]]] = {
    work.__name__: work for work in (stream, go_on, restarted, rarely, each_method, told_when_away, forked)
}


def stop_with_lock() -> None:
    """Stop this process at its second transaction that writes, while it has the file locked."""
    calls = 0

    def stopping(fd: int, content: bytes, at: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            os.kill(os.getpid(), signal.SIGSTOP)
        write(fd, content, at)

    _replace(file_module, "write", stopping)


# The steps that hold the limits, to be replaced by ones that do not.
append, finish, take_step = RedisStore.append, Ledger._finish, Replica._take_step
follow_server = ServerClock.__init__


async def append_whatever_came(store: RedisStore, data: bytes | None, *, log: str, after: int) -> Tail:
    """Append after the last entry, whichever that is."""
    tail = await append(store, data, log=log, after=after)
    entries = list(tail.entries)
    while data is not None and not tail.is_appended:
        tail = await append(store, data, log=tail.log, after=entries[-1].number)
        entries += tail.entries
    return Tail(tail.log, entries, tail.is_whole, tail.is_appended)


async def take_step_alone(replica: Replica, data: bytes | None, log: str, after: int) -> Tail:
    """Go on without the log while it is out of reach."""
    try:
        return await take_step(replica, data, log, after)
    except LimiterUnavailable:
        entries = [] if data is None else [Entry(after + 1, replica._opened().now(), data)]
        return Tail(log, entries, is_appended=data is not None)


def finish_as_not_sent(ledger: Ledger, request: tuple[int, int], how: RequestEnd, now: float) -> None:
    """Take a request that nobody has ended for one that was not sent."""
    finish(ledger, request, RequestEnd.NOT_SENT if how is RequestEnd.ABANDONED else how, now)


GUARDS: dict[str, tuple[object, str, Callable[..., object]]] = {
    "quarantine": (Replica, "_quarantine_seconds", lambda replica: 0.0),
    "agreement": (Ledger, "check_limits", lambda ledger, *, now: None),
    "turns": (Ledger, "tickets_ahead", lambda ledger, who, *, urgent, now: []),
    "compare": (RedisStore, "append", append_whatever_came),
    "store": (Replica, "_take_step", take_step_alone),
    "abandoned": (Ledger, "_finish", finish_as_not_sent),
    "clock": (ServerClock, "__init__", lambda clock, tolerance: follow_server(clock, 10**15)),
    "fork": (SharedLimiter, "reset_after_fork", lambda limiter: None),
}
"""What can be switched off, so that the tests see that they would notice if it were missing."""


def _replace(owner: object, name: str, by: object) -> None:
    setattr(owner, name, by)


async def main(url: str, share: str, options: dict[str, Any]) -> None:
    """Do the work."""
    limits = Limits(**LIMITS | options.pop("limits", {}))
    work, said = WORKS[options.pop("work")], Said(pid=os.getpid())
    async with StatusClient(apikey="demo-key", base_url=url, share=share, limits=limits, timeout=TIMEOUT) as client:
        async with ticking(said):
            await work(client, said, **options)
        stats = client.stats()
        said["refused"], said["retries"] = sum(stats.refusals.values()), stats.retries
    said["warnings"] = warnings.texts
    _say(said)


if __name__ == "__main__":
    _, url_, share_, options_ = sys.argv
    asked = json.loads(options_)
    logging.getLogger("smsc_status").addHandler(warnings)
    without, stop = asked.pop("without", ""), asked.pop("stop", "")
    _replace(ledger, "VERSION", asked.pop("version", ledger.VERSION))
    _replace(redis_connection, "TIMEOUT", asked.pop("answered_within", redis_connection.TIMEOUT))
    if without in GUARDS:
        _replace(*GUARDS[without])
    if stop == "lock":
        stop_with_lock()
    elif stop:
        stopped_client.stop_before(stop, is_checked=without != "fence")
    anyio.run(main, url_, share_, asked)
